// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
)

func newHistory() *cobra.Command {
	var c connection
	var output string
	cmd := &cobra.Command{
		Use:   "history KIND NAME",
		Short: "List the versions of an artifact: who wrote them, and when",
		Long: `History lists the versions of an artifact that are kept, the newest first. With
-o yaml or json it shows their texts, as they were written. 'sluice rollback'
writes one again.`,
		Example: `  sluice history gateways/shop
  sluice history condition beta -o yaml`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := artifactArgs(args)
			if err != nil {
				return err
			}
			if !slices.Contains(historyOutputs, output) {
				return usagef("--output: %q is not a form; %s", output, enumerate(historyOutputs))
			}
			cl, err := c.open()
			if err != nil {
				return err
			}
			defer cl.Close()
			versions, err := cl.History(cmd.Context(), kind, name)
			if err != nil {
				return advised(err)
			}
			switch output {
			case "json":
				return printJSON(cmd.OutOrStdout(), versions)
			case "yaml":
				return printYAML(cmd.OutOrStdout(), versions)
			}
			t := newTable(cmd.OutOrStdout(), false, "REVISION", "TIME", "AUTHOR", "WHAT")
			for _, v := range versions {
				what := count(strings.Count(strings.TrimRight(v.Text, "\n"), "\n")+1, "line")
				if v.Deleted {
					what = "deleted"
				}
				t.row(strconv.FormatUint(v.Revision, 10), when(v.Time), v.Author, what)
			}
			return t.flush()
		},
		ValidArgsFunction: c.completeArtifacts(artifactKinds),
	}
	c.flags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "form of the result: "+enumerate(historyOutputs))
	return cmd
}

var historyOutputs = []string{"table", "json", "yaml"}

func newRollback() *cobra.Command {
	var c connection
	var to uint64
	var wait time.Duration
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rollback GATEWAY",
		Short: "Write a former version of a gateway again",
		Long: `Rollback writes a former version of a gateway again, which makes a new one: the
one before the present one, or that of --to, as 'sluice history' lists them. It
is checked like any other write. What it refers to, such as a condition, counts
as it is now.`,
		Example: `  sluice rollback shop
  sluice history gateways/shop
  sluice rollback shop --to 42 --wait`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkWait(wait); err != nil {
				return err
			}
			cl, err := c.open()
			if err != nil {
				return err
			}
			defer cl.Close()
			written, err := cl.Rollback(cmd.Context(), args[0], to, client.Write{DryRun: dryRun})
			if err != nil {
				return advised(err)
			}
			result := "rolled back"
			if written.Change == 0 && !dryRun {
				result = client.Unchanged
			}
			fmt.Fprintf(cmd.OutOrStdout(), "gateways/%s %s%s\n", args[0], result, dry(dryRun))
			if dryRun {
				wait = 0 // there is nothing to wait for
			}
			return awaitServed(cmd.Context(), cl, written, wait, cmd.ErrOrStderr())
		},
		ValidArgsFunction: c.completeNames("gateways", 1),
	}
	c.flags(cmd)
	cmd.Flags().Uint64Var(&to, "to", 0, "revision of the version to write (default that before the present one)")
	dryRunFlag(cmd, &dryRun)
	waitFlag(cmd, &wait)
	return cmd
}
