// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/control/client"
)

// The kinds that sluice get knows beside artifacts.
const (
	kindProxies = "proxies"
	kindEvents  = "events"
	kindChanges = "changes"

	kindCommits = "newest changes" // changes without a number
)

// getKinds are the kinds of sluice get.
var getKinds = append(slices.Clone(artifactKinds), kindProxies, kindEvents, kindChanges)

// getFlags are the flags of sluice get.
type getFlags struct {
	connection
	output string
	bare   bool
	watch  bool
}

func newGet() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get KIND [NAME...]",
		Short: "Show what the control plane has: gateways, proxies, events and so on",
		Long: `Get shows ` + enumerate(getKinds) + `,
all of them or those that are named. Of changes it shows the newest, and of one
that is named by its number how far it has come.

-o yaml and -o json show them as the REST API has them, and a single one can be
written again by 'sluice apply'; -o name shows kind and name; -o wide more columns.
Gateways of files that the control plane reads are not stored: tables show them,
too. Where a weight is another one now, by a selector, both are shown: 50%/0%.
With --watch it goes on and shows again what has changed, until it is
interrupted.`,
		Example: `  sluice get gateways
  sluice get gateway shop -o yaml
  sluice get gateways --watch
  sluice get proxies -o wide
  sluice get events --watch
  sluice get changes
  sluice get change 42`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := f.kind(args[0])
			if err != nil {
				return err
			}
			if !slices.Contains(getOutputs, f.output) {
				return usagef("--output: %q is not a form; %s", f.output, enumerate(getOutputs))
			}
			return f.run(cmd, kind, args[1:])
		},
		ValidArgsFunction: f.complete,
	}
	f.flags(cmd)
	f.outputFlags(cmd)
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on, and show what changes")
	return cmd
}

// getOutputs are the forms of what sluice get shows.
var getOutputs = []string{"table", "wide", "yaml", "json", "name"}

func (f *getFlags) outputFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "table", "form of the result: "+enumerate(getOutputs))
	flags.BoolVar(&f.bare, "no-headers", false, "leave out the names of columns")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(getOutputs, cobra.ShellCompDirectiveNoFileComp))
}

// kind reads the kind, in the singular or plural.
func (f *getFlags) kind(text string) (string, error) {
	for _, kind := range [...]string{kindProxies, kindEvents, kindChanges} {
		if lower := strings.ToLower(text); lower == kind || lower == strings.TrimSuffix(kind, "s") || lower == "proxy" && kind == kindProxies {
			return kind, nil
		}
	}
	return pluralKind(text, getKinds)
}

func (f *getFlags) run(cmd *cobra.Command, kind string, names []string) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	defer c.Close()
	if kind == kindEvents {
		e := eventFlags{output: f.output, bare: f.bare, follow: f.watch}
		if len(names) > 0 {
			return usagef("events have no names; 'sluice events --tag' chooses among them")
		}
		if !slices.Contains(eventOutputs, f.output) {
			return usagef("--output: events have no names; %s", enumerate(eventOutputs))
		}
		return e.run(cmd, c)
	}
	if kind == kindChanges && len(names) == 0 {
		kind = kindCommits
	}
	if f.watch {
		return f.follow(cmd, c, kind, names)
	}
	items, err := f.fetch(cmd.Context(), c, kind, names)
	if err != nil {
		return advised(err)
	}
	if len(items) == 0 && f.output != "json" && f.output != "yaml" {
		fmt.Fprintf(cmd.ErrOrStderr(), "no %s in %s\n", kind, c.Namespace())
		return nil
	}
	return f.print(cmd.OutOrStdout(), kind, items, len(names) == 1)
}

// item is one thing that sluice get shows.
type item struct {
	name string
	body json.RawMessage // as the REST API has it
	// cells are those of its row, as many as the kind has columns; the wide
	// ones last.
	cells []string
}

// fetch asks for the items of a kind: all, or those that are named. Gateways
// that are not stored have rows, but no form in which they could be written.
func (f *getFlags) fetch(ctx context.Context, c *client.Client, kind string, names []string) ([]item, error) {
	switch kind {
	case kindProxies:
		return proxyItems(ctx, c, names)
	case kindChanges:
		return changeItems(ctx, c, names)
	case kindCommits:
		return commitItems(ctx, c)
	}
	artifacts, err := artifactsOf(ctx, c, kind, names)
	if err != nil || kind != "gateways" {
		return artifactItems(kind, artifacts), err
	}
	return gatewayItems(ctx, c, artifacts, len(names) == 0 && f.output != "json" && f.output != "yaml")
}

func artifactsOf(ctx context.Context, c *client.Client, kind string, names []string) ([]client.Artifact, error) {
	if len(names) == 0 {
		return c.List(ctx, kind)
	}
	var all []client.Artifact
	for _, name := range names {
		a, err := c.Get(ctx, kind, name)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// print prints items in the form that was asked for.
func (f *getFlags) print(w io.Writer, kind string, items []item, single bool) error {
	switch f.output {
	case "name":
		for _, i := range items {
			fmt.Fprintf(w, "%s/%s\n", strings.TrimPrefix(kind, "newest "), i.name)
		}
		return nil
	case "json", "yaml":
		bodies := make([]json.RawMessage, len(items))
		for i := range items {
			bodies[i] = items[i].body
		}
		var v any = bodies
		if single {
			v = bodies[0]
		}
		if f.output == "yaml" {
			return printYAML(w, v)
		}
		return printJSON(w, v)
	}
	t := f.table(w, kind)
	for _, i := range items {
		t.row(i.cells[:len(t.widths)]...)
	}
	return t.flush()
}

func (f *getFlags) table(w io.Writer, kind string) *table {
	columns, wide := columnsOf(kind)
	if f.output == "wide" {
		columns = slices.Concat(columns, wide)
	}
	return newTable(w, f.bare, columns...)
}

// watchStep is how often --watch asks.
const watchStep = time.Second

// follow prints items, and again whenever they change, until the command is
// interrupted.
func (f *getFlags) follow(cmd *cobra.Command, c *client.Client, kind string, names []string) error {
	ctx, signals := boot.Notify(cmd.Context())
	defer signals.Release()
	t := f.table(cmd.OutOrStdout(), kind)
	shown := make(map[string]string)
	tick := time.NewTicker(watchStep)
	defer tick.Stop()
	begun, away := false, false
	for {
		items, err := f.fetch(ctx, c, kind, names)
		_, unreachable := errors.AsType[*client.UnreachableError](err)
		switch {
		case ctx.Err() != nil:
			return nil
		case unreachable && begun: // it was there, and will be again
			if !away {
				fmt.Fprintln(cmd.ErrOrStderr(), advised(err))
			}
		case err != nil:
			return advised(err)
		default:
			begun = true
			for _, name := range vanished(shown, items) {
				if kind == kindCommits {
					continue // newer ones took its place
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s/%s is gone\n", kind, name)
			}
			if err := f.printChanged(cmd.OutOrStdout(), t, kind, items, shown); err != nil {
				return err
			}
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// printChanged prints those items that differ from what was shown.
func (f *getFlags) printChanged(w io.Writer, t *table, kind string, items []item, shown map[string]string) error {
	for _, i := range items {
		now := i.text(f.output, len(t.widths))
		if before, ok := shown[i.name]; ok && before == now {
			continue
		}
		shown[i.name] = now
		switch f.output {
		case "table", "wide":
			t.row(i.cells[:len(t.widths)]...)
		case "json": // one on a line
			fmt.Fprintln(w, now)
		case "yaml":
			fmt.Fprintln(w, "---")
			fallthrough
		default:
			if err := f.print(w, kind, []item{i}, true); err != nil {
				return err
			}
		}
	}
	if f.output != "table" && f.output != "wide" {
		return nil
	}
	return t.flush()
}

// vanished takes what is no longer there out of shown, and returns it sorted.
func vanished(shown map[string]string, items []item) []string {
	var gone []string
	for name := range shown {
		if !slices.ContainsFunc(items, func(i item) bool { return i.name == name }) {
			gone = append(gone, name)
			delete(shown, name)
		}
	}
	slices.Sort(gone)
	return gone
}

// text is what has to be another for an item to be shown again.
func (i item) text(output string, columns int) string {
	if output == "table" || output == "wide" {
		return strings.Join(i.cells[:columns], "\x00")
	}
	var b bytes.Buffer
	if json.Compact(&b, i.body) != nil {
		return string(i.body)
	}
	return b.String()
}
