// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/kube"
	"github.com/sluice-mesh/sluice/cmd/internal/marathon"
	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// controlFlags are the flags of sluice control.
type controlFlags struct {
	files     []string
	instances instanceFlags
	plane     plane.Options
	cluster   kube.Options
	marathon  marathon.Options
	logFormat string
	logLevel  string
}

func newControl() *cobra.Command {
	var f controlFlags
	cmd := &cobra.Command{
		Use:   "control --data-dir DIR",
		Short: "Keep gateways in a store, and hand them to proxies",
		Long: `Control keeps gateways in a store, serves the API by which they are written,
and hands each proxy the gateways of its namespaces. Proxies serve on without
it, from their own disk if need be, for as long as it takes.

Gateways may stand in files besides (-f), which are watched. They belong to the
namespace of --namespace; where the API has one of the same kind and name, that
of the API counts.

With --kubernetes it watches the cluster that it runs in, or that a kubeconfig
file names: selectors find pods and Services, and gateways may stand in objects
of the cluster. While the API server does not answer, what is known of the
cluster stays, over a restart, too.

With --marathon it watches the apps of a Marathon: selectors find their tasks
once Marathon says that these answer, names of DC/OS's layer-4 balancer lead to
them, and labels of marathon-lb may become gateways (--marathon-lb-groups).
Nothing is written to Marathon, and what is known of it stays as above.

On loopback addresses anybody on this machine may do everything, and nothing is
encrypted. Other addresses take certificates (--credentials); the API then asks
for a token, too. 'sluice pki' makes both.

SIGINT or SIGTERM ends it in good order; proxies serve on. SIGHUP reads files
and certificates anew and believes absences that are held back.`,
		Example: `  sluice control --data-dir /var/lib/sluice/control
  sluice control --data-dir data -f gateways/ --instances instances.yaml
  sluice control --data-dir data --kubeconfig ~/.kube/config --kubernetes-namespaces shop
  sluice control --data-dir data --marathon https://m1.mesos:8443,https://m2.mesos:8443 --marathon-ca-file ca.crt
  sluice pki init --dir pki --name control.example
  sluice control --data-dir data --credentials pki/control --api 0.0.0.0:8090 --stream 0.0.0.0:8091`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return control(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "file", "f", nil, "file or directory with gateways beside the store; may be repeated")
	flags.StringArrayVar(&f.instances.paths, "instances", nil, "file or directory with the instances that selectors find; may be repeated")
	flags.StringVar(&f.instances.base, "base-selector", "true", "selector that every other one is combined with by and")
	flags.DurationVar(&f.instances.keep, "keep-vanished", routing.KeepVanished, "how long a route that lost its instances has a claim to its weight; 0 for not at all")
	flags.StringVar(&f.plane.Namespace, "namespace", store.DefaultNamespace, "whose the gateways and instances in files are, ORGANISATION/ENVIRONMENT")
	planeFlags(cmd, &f.plane)
	flags.StringVar(&f.plane.Node, "node", "", "name of this control plane (default that of the machine)")
	f.cluster.Flags(flags)
	f.marathon.Flags(flags)
	flags.StringVar(&f.plane.Compile.VirtualHostsDomain, "virtual-hosts-domain", "", "domain below which every gateway gets a virtual host (default none)")
	flags.StringVar(&f.logFormat, "log-format", "text", "form of the log on standard error: text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "least level that is logged: debug, info, warn or error")
	return cmd
}

// planeFlags adds the flags of every verb that has a store.
func planeFlags(cmd *cobra.Command, o *plane.Options) {
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "data-dir", "", "folder of the store; made if it is not there")
	flags.StringVar(&o.API, "api", "127.0.0.1:8090", "address of the API")
	flags.StringVar(&o.Stream, "stream", "127.0.0.1:8091", "address that proxies connect to")
	flags.StringVar(&o.Credentials, "credentials", "", "folder with the certificate of the control plane, by which both addresses speak TLS")
	flags.StringVar(&o.Tokens, "tokens", "", "folder of the tokens of proxies and people (default the folder tokens in --credentials)")
	flags.IntVar(&o.MaxProxies, "max-proxies", 0, "most proxies that may be connected (default 10000)")
}

func control(ctx context.Context, f controlFlags, stdout, stderr io.Writer) error {
	if f.plane.Dir == "" {
		return usagef("--data-dir: in which folder is the store to be?")
	}
	log, err := boot.NewLog(stderr, f.logFormat, f.logLevel)
	if err != nil {
		return usage(err)
	}
	f.instances.namespace = "default"
	if f.plane.Select, err = f.instances.options(); err != nil {
		return err
	}
	if limit := boot.TuneMemory(os.LookupEnv); limit > 0 {
		log.DebugContext(ctx, "the heap is kept below a part of the control group's memory limit", "bytes", limit)
	}
	ctx, signals := boot.Notify(ctx)
	defer signals.Release()
	f.plane.Log = log
	f.plane.Source = sourceOf(f.files, f.instances.paths, log)
	if f.plane.Cluster, err = f.cluster.Open(); err != nil {
		return usage(err)
	}
	if f.plane.Marathon, err = f.marathon.Open(); err != nil {
		return usage(err)
	}
	p, err := plane.Open(ctx, f.plane)
	if err != nil {
		return err
	}
	a := warden{plane: p, signals: signals, log: log, stdout: stdout, flags: f, ended: make(chan struct{})}
	var attending sync.WaitGroup
	attending.Go(func() { a.attend(ctx) })
	err = p.Run(ctx)
	close(a.ended)
	attending.Wait()
	return err
}

// warden does what is to be done beside a control plane that runs.
type warden struct {
	plane   *plane.Plane
	signals *boot.Signals
	log     *slog.Logger
	stdout  io.Writer
	flags   controlFlags
	ended   chan struct{} // closed when the control plane has ended
}

// attend says what is served once it is, and follows the signals until the
// control plane has ended.
func (a *warden) attend(ctx context.Context) {
	first, stop := a.plane.First(), ctx.Done()
	for {
		select {
		case <-first:
			first = nil
			a.printServing()
		case <-a.signals.Hangup:
			confirmed, err := a.plane.Reread()
			a.log.InfoContext(ctx, "reading everything anew", "confirmed", confirmed)
			if err != nil {
				a.log.ErrorContext(ctx, "the certificates cannot be used; the last good ones stay", "error", err)
			}
		case <-stop:
			stop = nil
			a.log.InfoContext(ctx, "ending; proxies serve on", "why", context.Cause(ctx).Error())
		case <-a.ended:
			return
		}
	}
}

// printServing prints what is served, and what to type next. A closed stdout
// is no reason to stop.
func (a *warden) printServing() {
	w, p := a.stdout, a.plane
	scheme, join, host := "http", "", ""
	if dir := a.flags.plane.Credentials; dir != "" {
		scheme = "https"
		join = " --credentials DIR"
		host = fmt.Sprintf(" --host https://%s --ca %s --token-file FILE", p.API(), filepath.Join(dir, "ca.crt"))
	} else if p.API() != "127.0.0.1:8090" {
		host = " --host http://" + p.API()
	}
	fmt.Fprintf(w, "sluice %s keeps gateways in %s; API on %s://%s, proxies on %s\nNext:\n  sluice proxy --control %s%s\n  sluice apply -f gateways.yaml%s\n",
		boot.ReadBuild().Version, a.flags.plane.Dir, scheme, p.API(), p.Stream(), p.Stream(), join, host)
}
