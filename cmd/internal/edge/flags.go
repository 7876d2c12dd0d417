// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/cmd/internal/verb"
	"github.com/sluice-mesh/sluice/control/agent"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/routing"
)

// flags are those of the verb.
type flags struct {
	o           Options
	service     node.Service
	labels      []string
	credentials string // directory
	token       string // file
}

// Command returns the verb under a name: "proxy", or that of a binary which is
// nothing else. called is how people call it.
func Command(name, called string) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   name + " --control ADDR[,ADDR...]",
		Short: "Serve the gateways that a control plane hands out, and go on without it",
		Long: `Proxy takes route tables from a control plane and serves them. Changes are live
at once and cut no request. Without the control plane the last good table
serves on, for as long as it takes; with --data-dir it also serves after a
restart.

Several addresses are of one control plane: one is drawn, the next follows when
it fails. A control plane on another machine needs --credentials, a folder of
'sluice pki issue', or one with its ca.crt and a join token. What was missing in
the first table of another store, such as a restored one, is kept as long as
--hold says; POST /confirm on the admin address believes it.

SIGINT or SIGTERM lets requests in flight end, as long as --drain says; a
second one ends at once. SIGHUP reads the credentials anew.`,
		Example: strings.ReplaceAll(`  CALLED --control 127.0.0.1:8091 --data-dir proxy-data
  CALLED --control control-1.example:8091,control-2.example:8091 --credentials edge-1 --data-dir /var/lib/sluice
  CALLED --control control.example:8091 --credentials trust --join-token-file token --namespace acme/prod --node edge-2`, "CALLED", called),
		Args: verb.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.service.Open(cmd.Context(), &f.o.Options, cmd.ErrOrStderr()); err != nil {
				return err
			}
			if err := f.open(); err != nil {
				return err
			}
			return serve(cmd.Context(), f.o, cmd.OutOrStdout())
		},
	}
	set := cmd.Flags()
	set.Var((*addresses)(&f.o.Servers), "control", "addresses of the control plane, HOST:PORT, separated by commas; may be repeated")
	set.StringArrayVar(&f.o.Namespaces, "namespace", nil, "namespace whose gateways are served, ORGANISATION/ENVIRONMENT; may be repeated (default those of the certificate, or default/default)")
	set.StringVar(&f.o.Name, "name", "", "name of this proxy to the control plane (default that of the certificate, that of --node, or the host name)")
	set.StringArrayVar(&f.labels, "label", nil, "label of this proxy, NAME=VALUE; may be repeated")
	set.StringVar(&f.credentials, "credentials", "", "folder with ca.crt, and tls.crt and tls.key unless a token is given (default none: in clear, on this machine alone)")
	set.StringVar(&f.token, "join-token-file", "", "file with the join token, read anew at each connect")
	set.StringVar(&f.o.DataDir, "data-dir", "", "folder in which the last good tables are kept (default none: a proxy that starts without its control plane serves nothing)")
	set.StringVar(&f.o.SecretsDir, "secrets-dir", "", "folder of the keys and certificates that come with the tables, such as one in memory (default secrets in --data-dir; without that they go with the process)")
	set.DurationVar(&f.o.Hold, "hold", agent.DefaultHoldBack, "how long gateways are kept that only seem to be gone")
	f.service.Flags(cmd, &f.o.Options)
	return cmd
}

// addresses is a flag that lists addresses. Their colons keep it from being a
// list of pflag, which the environment separates by colons. It is a
// pflag.Value.
type addresses []string

// Set adds addresses, separated by commas.
func (a *addresses) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*a = append(*a, part)
		}
	}
	return nil
}

// String returns what was set.
func (a *addresses) String() string { return strings.Join(*a, ",") }

// Type names the form of the value.
func (*addresses) Type() string { return "addresses" }

// open reads what the flags name.
func (f *flags) open() (err error) {
	if len(f.o.Servers) == 0 {
		return verb.Usagef("which control plane? name its address with --control")
	}
	if f.o.Hold <= 0 {
		return verb.Usagef("--hold: %s is no time to keep anything for; 1ms and more", f.o.Hold)
	}
	for _, text := range f.labels {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return verb.Usagef("--label: %q is not of the form NAME=VALUE", text)
		}
		f.o.Labels = append(f.o.Labels, routing.Label{Name: name, Value: value})
	}
	var who auth.Identity
	if f.credentials != "" {
		if f.o.Credentials, err = auth.LoadCredentials(f.credentials, auth.Options{Log: f.o.Log}); err != nil {
			return fmt.Errorf("--credentials: %w", err)
		}
		who = f.o.Credentials.Identity()
	}
	if f.token != "" {
		f.o.Token = func() (string, error) { return readToken(f.token) }
		if _, err := f.o.Token(); err != nil {
			return err
		}
	}
	return f.name(who)
}

// name fills in what the proxy says of itself. who is whom its certificate
// names.
func (f *flags) name(who auth.Identity) error {
	host, err := os.Hostname()
	f.o.Name = cmp.Or(f.o.Name, who.Node, f.o.Node, host)
	if f.o.Name == "" {
		return fmt.Errorf("the host has no name (%w); say who this proxy is with --name", err)
	}
	if len(f.o.Namespaces) == 0 {
		f.o.Namespaces = who.Namespaces
	}
	if len(f.o.Namespaces) == 0 {
		f.o.Namespaces = []string{"default/default"}
	}
	if f.o.DataDir == "" {
		f.o.Log.Warn("without --data-dir the table is not kept: started without its control plane, this proxy serves nothing")
	}
	return nil
}

// maxToken bounds a file with a token.
const maxToken = 4 << 10

var (
	errNoToken   = errors.New("it is empty")
	errLongToken = errors.New("it is longer than a token can be")
)

// readToken returns the token in a file.
func readToken(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("--join-token-file: %w", err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxToken+1))
	switch {
	case err != nil:
	case len(text) > maxToken:
		err = errLongToken
	case strings.TrimSpace(string(text)) == "":
		err = errNoToken
	}
	if err != nil {
		return "", fmt.Errorf("--join-token-file %s: %w", path, err)
	}
	return strings.TrimSpace(string(text)), nil
}
