// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	kubenames "k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/control/kube/keys"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

func newPKISecrets() *cobra.Command {
	var access kubernetes.Access
	var ring keys.Ring
	var proxies, sidecars []string
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "secrets --name HOST[,HOST...]",
		Short: "Make or renew the credentials of an installation, in Secrets of Kubernetes",
		Long: `Secrets keeps six Secrets of a Kubernetes namespace, whose names begin with
--prefix, sluice unless said otherwise: sluice-authority, on which all rests;
sluice-control, which the control plane shows; sluice-tokens, what it knows of
tokens; sluice-proxy, by which proxies join; sluice-sidecar, by which those join
that are handed no Secrets, in the first --namespace; and sluice-admin, with a
token of an admin of everything.

Where there are proxies in other Kubernetes namespaces, it keeps a sluice-proxy
there (--proxies) or a sluice-sidecar (--sidecars), with tokens for what they are
to serve and nothing else.

It makes what is missing, renews what has less than half of its time left, and
writes nothing else, so it may run as often as you like. Processes that have the
Secrets mounted follow them. A new authority is made known first; a certificate
of it is shown by the first run an hour later. Tokens that it made and that allow
what nobody asks for any more end in an hour. A Secret of such a name that is not
labelled app.kubernetes.io/managed-by: sluice, or is of another installation, is
left alone, and is an error.`,
		Example: `  sluice pki secrets --name sluice-control.sluice.svc
  kubectl get secret sluice-admin -o jsonpath='{.data.token}' | base64 -d`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(ring.Hosts) == 0 {
				return usagef("--name: by which names is the control plane reached?")
			}
			var err error
			if ring.Proxies, err = readPlaces("--proxies", proxies); err != nil {
				return err
			}
			if ring.Sidecars, err = readPlaces("--sidecars", sidecars); err != nil {
				return err
			}
			access.Agent = "sluice/" + boot.ReadBuild().Version
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			return keepSecrets(ctx, access, ring, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&ring.Name, "prefix", "sluice", "what the names of the Secrets begin with")
	flags.StringSliceVar(&ring.Hosts, "name", nil, "names and addresses under which the control plane is reached, separated by commas")
	flags.StringSliceVar(&ring.Namespaces, "namespace", []string{"default/default"}, "namespaces that proxies may join, ORGANISATION/ENVIRONMENT; may be repeated")
	flags.StringArrayVar(&proxies, "proxies", nil, "ORGANISATION/ENVIRONMENT=NAMESPACE: proxies in that Kubernetes namespace may join that environment; may be repeated")
	flags.StringArrayVar(&sidecars, "sidecars", nil, "ORGANISATION/ENVIRONMENT=NAMESPACE: the same of proxies that are handed no Secrets; may be repeated")
	flags.StringVar(&ring.Home, "kubernetes-home", "", "Kubernetes namespace of the Secrets (default that of the pod, or of the context)")
	flags.StringVar(&access.File, "kubeconfig", "", "kubeconfig file (default the account of the pod, or the file of the user)")
	flags.StringVar(&access.Context, "kube-context", "", "context of the kubeconfig file (default its current one)")
	flags.DurationVar(&within, "timeout", time.Minute, "how long the API server may take")
	return cmd
}

// readPlaces reads which namespaces may be joined from which Kubernetes
// namespaces, ORGANISATION/ENVIRONMENT=NAMESPACE each.
func readPlaces(flag string, texts []string) (map[string][]string, error) {
	places := make(map[string][]string, len(texts))
	for _, text := range texts {
		of, place, _ := strings.Cut(text, "=")
		if len(kubenames.IsDNS1123Label(place)) > 0 {
			return nil, usagef("%s: %q is not ORGANISATION/ENVIRONMENT=NAMESPACE", flag, text)
		}
		if err := store.CheckNamespace(of); err != nil {
			return nil, usagef("%s: %q: %w", flag, text, err)
		}
		places[place] = append(places[place], of)
	}
	return places, nil
}

// keepSecrets keeps what ring says, and tells what was made.
func keepSecrets(ctx context.Context, access kubernetes.Access, ring keys.Ring, stdout io.Writer) error {
	client, err := kubernetes.Connect(access)
	if err != nil {
		return err
	}
	ring.Client, ring.Home = client.API, cmp.Or(ring.Home, client.Home)
	made := false
	ring.Told = func(secret, what string) {
		made = true
		fmt.Fprintf(stdout, "secret %s: %s\n", secret, what)
	}
	err = ring.Keep(ctx)
	if err == nil && !made {
		fmt.Fprintln(stdout, "all credentials are as they should be")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the API server does not answer in time: %w", err)
	}
	return err
}
