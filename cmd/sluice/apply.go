// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
)

// applyFlags are the flags of sluice apply.
type applyFlags struct {
	connection
	files  []string
	wait   time.Duration
	dryRun bool
}

func newApply() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR",
		Short: "Write gateways and what they use to the control plane",
		Long: `Apply writes all documents of files, in their order, by one change: either all
of them take effect or none. What is there already and is not in the files
stays; 'sluice delete' takes it away. Of a directory it reads *.yaml, *.yml and
*.json directly inside; "-" is standard input.

For each document it prints whether it was created, configured or is unchanged.
Faults are printed as file:line:col: path: what is wrong, as by 'sluice
validate'; those that only the control plane can see are among them, such as a
port that another gateway has. With --dry-run everything is checked and nothing
written.

It exits with 0 when it is stored (with --wait: when all connected proxies serve
it), with 2 if something is refused, and with 5 if --wait was too short, which
takes nothing back.`,
		Example: `  sluice apply -f gateways/
  sluice apply -f shop.yaml --wait
  sluice apply -f shop.yaml --wait=2m --host https://control.example:8090
  sluice apply -f gateways/ --dry-run`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.flags(cmd)
	fileFlag(cmd, &f.files)
	dryRunFlag(cmd, &f.dryRun)
	waitFlag(cmd, &f.wait)
	return cmd
}

func fileFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "file", "f", nil, "file or directory with documents, - for standard input; may be repeated")
}

func dryRunFlag(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "have everything checked, and write nothing")
}

func (f *applyFlags) run(cmd *cobra.Command) error {
	if err := checkWait(f.wait); err != nil {
		return err
	}
	b, err := f.bundle(cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	c, err := f.open()
	if err != nil {
		return err
	}
	defer c.Close()
	written, err := c.Apply(cmd.Context(), b.text, client.Write{DryRun: f.dryRun})
	if err != nil {
		return b.told(err, cmd.ErrOrStderr())
	}
	for _, i := range written.Items {
		fmt.Fprintf(cmd.OutOrStdout(), "%s/%s %s%s\n", i.Kind, i.Name, i.Result, dry(f.dryRun))
	}
	written.Warnings = b.unseen(written.Warnings)
	if f.dryRun {
		tellWarnings(written, cmd.ErrOrStderr())
		return nil
	}
	return awaitServed(cmd.Context(), c, written, f.wait, cmd.ErrOrStderr())
}

// dry marks what was only tried.
func dry(run bool) string {
	if run {
		return " (dry run)"
	}
	return ""
}

// bundle reads the files, and refuses what needs no control plane to be seen.
func (f *applyFlags) bundle(stdin io.Reader, stderr io.Writer) (*bundle, error) {
	if len(f.files) == 0 {
		return nil, usagef("which files? name at least one FILE or DIR with -f, or - for standard input")
	}
	b, err := readBundle(f.files, stdin)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(stderr, telling(b.faults))
	if n := len(refused(b.faults)); n > 0 {
		fmt.Fprintf(stderr, "%s: nothing was sent\n", count(n, "fault"))
		return nil, &exit{Code: exitUsage}
	}
	if len(b.docs) == 0 {
		return nil, usagef("there is no document in what -f names; 'sluice delete' takes things away")
	}
	return b, nil
}

// told tells what the control plane refuses, by its place in the files.
func (b *bundle) told(err error, stderr io.Writer) error {
	e, ok := errors.AsType[*client.Error](err)
	if !ok || len(e.Faults) == 0 {
		return advised(err)
	}
	for _, f := range e.Faults {
		fmt.Fprintln(stderr, b.place(f))
	}
	fmt.Fprintf(stderr, "%s: nothing was written\n", count(len(refused(e.Faults)), "fault"))
	return &exit{Code: exitUsage}
}
