// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/mesh"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/files"
	"github.com/sluice-mesh/sluice/discovery/static"
)

// runFlags are the flags of sluice run.
type runFlags struct {
	files     []string
	instances instanceFlags
	mesh      mesh.Options
	service   node.Service
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run -f FILE|DIR [-f ...]",
		Short: "Serve the gateways of files",
		Long: `Run serves the gateways that stand in files and directories (*.yaml, *.yml and
*.json directly inside). They are watched: a good change is live at once and
cuts no request; a wrong one is logged, counted and shown on /status, and the
last good form of its gateway serves on.

SIGINT or SIGTERM lets requests in flight end, as long as --drain says; a
second one ends at once. SIGHUP reads everything anew and believes absences
that are held back, such as a file that became empty.`,
		Example: `  sluice run -f gateways/
  sluice run -f gateways/ --instances instances.yaml
  sluice run -f shop.yaml --gateway-address 127.0.0.1
  SLUICE_FILE=/etc/sluice SLUICE_LOG_FORMAT=json sluice run`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "file", "f", nil, "file or directory with gateways; may be repeated")
	f.instances.flags(cmd)
	f.service.Flags(cmd, &f.mesh.Options)
	return cmd
}

func run(ctx context.Context, f runFlags, stdout, stderr io.Writer) error {
	if len(f.files) == 0 {
		return usagef("which gateways? name a file or a directory with -f")
	}
	if err := f.service.Open(ctx, &f.mesh.Options, stderr); err != nil {
		return err
	}
	log := f.mesh.Log
	ctx, signals := boot.Notify(ctx)
	defer signals.Release()

	var err error
	if f.mesh.Select, err = f.instances.options(); err != nil {
		return err
	}
	f.mesh.Source = files.New(f.files, files.Options{Log: log})
	if len(f.instances.paths) > 0 {
		f.mesh.Source = discovery.Join(f.mesh.Source, static.New(f.instances.paths, files.Options{Log: log}))
	}
	m, err := mesh.Open(ctx, f.mesh)
	if err != nil {
		return err
	}
	a := node.Attendant{Node: m.Node(), Signals: signals, Stdout: stdout, Hangup: func(ctx context.Context) {
		log.InfoContext(ctx, "reading everything anew", "confirmed", m.Confirm())
	}}
	return a.Run(ctx, m.Run)
}
