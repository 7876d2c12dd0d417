// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/control/client"
)

// eventFlags are the flags of sluice events.
type eventFlags struct {
	tags   []string
	kind   string
	follow bool
	output string
	bare   bool
}

func newEvents() *cobra.Command {
	var c connection
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to gateways and proxies",
		Long: `Events shows the newest events, the oldest of them first, such as who wrote
what, which weights changed, and which proxies came and went. With --follow it
goes on with those that happen, until it is interrupted; when the control plane
is away it connects again and misses none.

An event has tags, such as gateways:shop and archive:update; --tag asks for
those that have all of its tags.`,
		Example: `  sluice events
  sluice events --tag gateways:shop --follow
  sluice events --type archive -o json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(eventOutputs, f.output) {
				return usagef("--output: %q is not a form; %s", f.output, enumerate(eventOutputs))
			}
			cl, err := c.open()
			if err != nil {
				return err
			}
			defer cl.Close()
			return f.run(cmd, cl)
		},
	}
	c.flags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.tags, "tag", nil, "tag that events have; may be repeated")
	flags.StringVar(&f.kind, "type", "", "type of events (default all)")
	flags.BoolVar(&f.follow, "follow", false, "go on with those that happen")
	flags.StringVarP(&f.output, "output", "o", "table", "form of the result: "+enumerate(eventOutputs))
	flags.BoolVar(&f.bare, "no-headers", false, "leave out the names of columns")
	return cmd
}

var eventOutputs = []string{"table", "wide", "json", "yaml"}

func (f *eventFlags) run(cmd *cobra.Command, c *client.Client) error {
	ctx, signals := boot.Notify(cmd.Context())
	defer signals.Release()
	query := client.EventQuery{Tags: f.tags, Type: f.kind}
	p := f.printer(cmd.OutOrStdout())
	last := "0" // there is none before
	newest, err := c.Events(ctx, query)
	if err != nil {
		return advised(err)
	}
	slices.Reverse(newest)
	for _, e := range newest {
		last = e.ID
		p.add(e)
	}
	if err := p.flush(!f.follow); err != nil || !f.follow {
		return err
	}
	return f.goOn(ctx, c, query, p, last, cmd.ErrOrStderr())
}

// goOn prints events as they happen, behind the last one.
func (f *eventFlags) goOn(
	ctx context.Context, c *client.Client, query client.EventQuery, p *eventPrinter, last string, stderr io.Writer,
) error {
	for e, err := range c.Follow(ctx, query, last) {
		if ctx.Err() != nil {
			return nil
		}
		if _, away := errors.AsType[*client.UnreachableError](err); away {
			fmt.Fprintf(stderr, "%v; connecting again\n", err)
			continue
		}
		if err != nil {
			return advised(err)
		}
		p.add(e)
		if err := p.flush(false); err != nil {
			return err
		}
	}
	return nil
}

// eventPrinter prints events in one form.
type eventPrinter struct {
	w      io.Writer
	output string
	stream bool
	table  *table
	all    []client.Event
}

func (f *eventFlags) printer(w io.Writer) *eventPrinter {
	p := &eventPrinter{w: w, output: f.output, stream: f.follow}
	switch f.output {
	case "table":
		p.table = newTable(w, f.bare, "TIME", "TYPE", "TAGS")
	case "wide":
		p.table = newTable(w, f.bare, "TIME", "TYPE", "TAGS", "VALUE")
	}
	return p
}

func (p *eventPrinter) add(e client.Event) {
	if p.table == nil {
		p.all = append(p.all, e)
		return
	}
	cells := []string{when(e.Timestamp), e.Type, strings.Join(plainTags(e.Tags), " "), shortened(string(e.Value))}
	p.table.row(cells[:len(p.table.widths)]...)
}

// plainTags leaves out tags that another one says more exactly: of a and a:b
// the former.
func plainTags(tags []string) []string {
	var plain []string
	for _, t := range tags {
		if !slices.ContainsFunc(tags, func(other string) bool { return strings.HasPrefix(other, t+":") }) {
			plain = append(plain, t)
		}
	}
	return plain
}

// maxValueRunes is how much of an event's value a row shows.
const maxValueRunes = 80

func shortened(text string) string {
	runes := []rune(text)
	if len(runes) <= maxValueRunes {
		return text
	}
	return string(runes[:maxValueRunes-3]) + "..."
}

// eventReport is an event for programs.
type eventReport struct {
	ID string `json:"id,omitempty"`
	client.Event
}

// flush prints what was added. Of a stream each event is a document of its
// own.
func (p *eventPrinter) flush(last bool) error {
	if p.table != nil {
		return p.table.flush()
	}
	reports := make([]eventReport, 0, len(p.all))
	for _, e := range p.all {
		reports = append(reports, eventReport{e.ID, e})
	}
	p.all = nil
	if last {
		if p.output == "yaml" {
			return printYAML(p.w, reports)
		}
		return printJSON(p.w, reports)
	}
	for _, r := range reports {
		if p.output == "yaml" {
			fmt.Fprintln(p.w, "---")
			if err := printYAML(p.w, r); err != nil {
				return err
			}
			continue
		}
		if err := json.NewEncoder(p.w).Encode(r); err != nil { // one on a line
			return err
		}
	}
	return nil
}
