// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/edge"
	"github.com/sluice-mesh/sluice/cmd/internal/kube"
	"github.com/sluice-mesh/sluice/cmd/internal/marathon"
	"github.com/sluice-mesh/sluice/cmd/internal/mesh"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/files"
	"github.com/sluice-mesh/sluice/discovery/static"
)

// runFlags are the flags of sluice run.
type runFlags struct {
	files     []string
	instances instanceFlags
	mesh      mesh.Options
	kept      plane.Options // Dir is empty without a store
	cluster   kube.Options
	marathon  marathon.Options
	service   node.Service
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run -f FILE|DIR [-f ...] | run --data-dir DIR [-f ...] | run --kubernetes [-f ...] | run --marathon URL [-f ...]",
		Short: "Serve the gateways of files, of a store with an API, or of a cluster",
		Long: `Run serves the gateways that stand in files and directories (*.yaml, *.yml and
*.json directly inside). They are watched: a good change is live at once and
cuts no request; a wrong one is logged, counted and shown on /status, and the
last good form of its gateway serves on.

With --data-dir there is a store as well, with the API of 'sluice control', on
this machine alone: control plane and proxy in one process. Where the API has a
gateway of the same name as a file, that of the API counts. For proxies on
other machines, take it apart: 'sluice control' opens the same folder.

With --kubernetes selectors find what runs in the cluster that it runs in, or
that a kubeconfig file names, and gateways may stand in objects of the cluster.
With --marathon they find the tasks of a Marathon, and gateways may stand in
labels of apps (--marathon-lb-groups).

SIGINT or SIGTERM lets requests in flight end, as long as --drain says; a
second one ends at once. SIGHUP reads everything anew and believes absences
that are held back, such as a file that became empty.`,
		Example: `  sluice run -f gateways/
  sluice run -f gateways/ --instances instances.yaml
  sluice run -f shop.yaml --gateway-address 127.0.0.1
  sluice run -f gateways/ --marathon http://marathon.mesos:8080
  sluice run --data-dir data     # and sluice apply -f shop.yaml
  SLUICE_FILE=/etc/sluice SLUICE_LOG_FORMAT=json sluice run`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "file", "f", nil, "file or directory with gateways; may be repeated")
	f.instances.flags(cmd)
	f.cluster.Flags(flags)
	f.marathon.Flags(flags)
	f.service.Flags(cmd, &f.mesh.Options)
	flags.StringVar(&f.kept.Dir, "data-dir", "", "folder of a store, with an API to write it; made if it is not there (default none)")
	flags.StringVar(&f.kept.API, "api", "127.0.0.1:8090", "address of the API, on this machine; with --data-dir")
	flags.StringVar(&f.kept.Stream, "stream", "127.0.0.1:0", "address that further proxies of this machine connect to; with --data-dir")
	return cmd
}

func run(ctx context.Context, f runFlags, stdout, stderr io.Writer) error {
	if len(f.files) == 0 && f.kept.Dir == "" && !f.cluster.Enabled() && !f.marathon.Enabled() {
		return usagef("which gateways? name a file or a directory with -f, a folder for a store with --data-dir, or a cluster with --kubernetes or --marathon")
	}
	if err := f.service.Open(ctx, &f.mesh.Options, stderr); err != nil {
		return err
	}
	ctx, signals := boot.Notify(ctx)
	defer signals.Release()
	var err error
	if f.mesh.Select, err = f.instances.options(); err != nil {
		return err
	}
	f.mesh.Source = sourceOf(f.files, f.instances.paths, f.mesh.Log)
	if f.kept.Cluster, err = f.cluster.Open(); err != nil {
		return usage(err)
	}
	if f.kept.Marathon, err = f.marathon.Open(); err != nil {
		return usage(err)
	}
	if f.kept.Dir != "" {
		return runKept(ctx, f, signals, stdout)
	}
	if err = f.watch(); err != nil {
		return err
	}
	m, err := mesh.Open(ctx, f.mesh)
	if err != nil {
		return err
	}
	a := node.Attendant{Node: m.Node(), Signals: signals, Stdout: stdout, Hangup: func(ctx context.Context) {
		f.mesh.Log.InfoContext(ctx, "reading everything anew", "confirmed", m.Confirm())
	}}
	return a.Run(ctx, m.Run)
}

// watch adds what the cluster and Marathon say to what files say.
func (f *runFlags) watch() error {
	if cluster := f.kept.Cluster; cluster != nil {
		if len(cluster.Environments) > 0 {
			return usagef("--kubernetes-environment: one process without a store serves one namespace: add --data-dir")
		}
		if cluster.Labels() {
			return usagef("--kubernetes-namespace-labels: one process without a store serves one namespace: add --data-dir")
		}
		if flag := f.cluster.Writing(); flag != "" {
			return usagef("%s: one process without a store writes nothing to the cluster: add --data-dir", flag)
		}
		f.mesh.Watched = append(f.mesh.Watched, cluster.Source(store.DefaultNamespace, "", f.mesh.Log).Source)
	}
	if f.kept.Marathon != nil {
		if len(f.kept.Marathon.Environments) > 0 {
			return usagef("--marathon-environment: one process without a store serves one namespace: add --data-dir")
		}
		s, err := f.kept.Marathon.Source(store.DefaultNamespace, "", f.mesh.Log)
		if err != nil {
			return usage(err)
		}
		f.mesh.Watched = append(f.mesh.Watched, s)
	}
	return nil
}

// runKept serves what a store and files say: a control plane, and a proxy that
// is connected to it like any other.
func runKept(ctx context.Context, f runFlags, signals *boot.Signals, stdout io.Writer) error {
	f.kept.Source, f.kept.Select, f.kept.Log = f.mesh.Source, f.mesh.Select, f.mesh.Log
	f.kept.Compile.VirtualHostsDomain = f.mesh.VirtualHostsDomain
	p, err := plane.Open(ctx, f.kept)
	if err != nil {
		return err
	}
	e, err := edge.Open(ctx, edge.Options{
		Options: f.mesh.Options,
		Servers: []string{p.Stream()}, Name: "local", Namespaces: []string{store.DefaultNamespace},
		DataDir: filepath.Join(f.kept.Dir, "proxy"),
	})
	if err != nil {
		return errors.Join(err, p.Close())
	}
	a := node.Attendant{Node: e.Node(), Signals: signals, Stdout: stdout, Hangup: func(ctx context.Context) {
		confirmed, err := p.Reread()
		f.mesh.Log.InfoContext(ctx, "reading everything anew", "confirmed", confirmed)
		if err != nil {
			f.mesh.Log.ErrorContext(ctx, "the certificates cannot be used; the last good ones stay", "error", err)
		}
	}}
	return a.Run(ctx, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return p.Run(ctx) })
		g.Go(func() error { return e.Run(ctx) })
		return g.Wait()
	})
}

// sourceOf returns what files say of gateways and instances, or nil without
// any.
func sourceOf(gateways, instances []string, log *slog.Logger) discovery.Source {
	var all []discovery.Source
	if len(gateways) > 0 {
		all = append(all, files.New(gateways, files.Options{Log: log}))
	}
	if len(instances) > 0 {
		all = append(all, static.New(instances, files.Options{Log: log}))
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return discovery.Join(all...)
}
