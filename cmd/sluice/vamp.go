// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
)

// The verbs of this file are those of Vamp's command line client, for scripts
// that have them.

func newList() *cobra.Command {
	f := getFlags{}
	cmd := &cobra.Command{
		Use:   "list gateways",
		Short: "List gateways in the columns of Vamp's client",
		Long: `List lists gateways with name, port, where they are reached from outside, whether
they are sticky, and their type, as Vamp's command line client does. 'sluice get'
shows more.`,
		Example: `  sluice list gateways`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := pluralKind(args[0], artifactKinds[:1]); err != nil {
				return err
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			defer c.Close()
			gateways, err := c.Gateways(cmd.Context())
			if err != nil {
				return advised(err)
			}
			t := newTable(cmd.OutOrStdout(), f.bare, "NAME", "PORT", "SERVICE HOST", "SERVICE PORT", "STICKY", "TYPE")
			for _, g := range gateways {
				t.row(g.Name, g.Port, g.Service.Host, g.Service.Port, strconv.FormatBool(g.Sticky != ""), gatewayType(g))
			}
			return t.flush()
		},
		ValidArgs: artifactKinds[:1],
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&f.bare, "no-headers", false, "leave out the names of columns")
	return cmd
}

// gatewayType returns Vamp's word for whose a gateway is.
func gatewayType(g client.Gateway) string {
	if g.Internal {
		return "internal"
	}
	return "external"
}

func newDescribe() *cobra.Command {
	var c connection
	cmd := &cobra.Command{
		Use:   "describe gateway NAME",
		Short: "Show a gateway with its routes, as Vamp's client does",
		Long: `Describe shows a gateway: name, type, port, where it is reached from outside, and
its routes with weight, condition, strength and targets.`,
		Example: `  sluice describe gateway shop`,
		Args:    arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := artifactArgs(args)
			if err == nil {
				_, err = pluralKind(kind, artifactKinds[:1])
			}
			if err != nil {
				return err
			}
			cl, err := c.open()
			if err != nil {
				return err
			}
			defer cl.Close()
			g, err := cl.Gateway(cmd.Context(), name)
			if err != nil {
				return advised(err)
			}
			return describeGateway(cmd.OutOrStdout(), g)
		},
		ValidArgsFunction: c.completeArtifacts(artifactKinds[:1]),
	}
	c.flags(cmd)
	return cmd
}

func describeGateway(w io.Writer, g client.Gateway) error {
	head := newTable(w, true, "", "")
	for _, pair := range [...][2]string{
		{"Name:", g.Name},
		{"Type:", gatewayType(g)},
		{"Port:", g.Port},
		{"Service host:", g.Service.Host},
		{"Service port:", g.Service.Port},
		{"Sticky:", g.Sticky},
		{"Virtual hosts:", strings.Join(g.VirtualHosts, ", ")},
		{"Selector:", g.Selector},
	} {
		head.row(pair[0], pair[1])
	}
	if err := head.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t := newTable(w, false, "ROUTE", "WEIGHT", "CONDITION", "STRENGTH", "TARGETS")
	for _, r := range g.Routes {
		t.row(r.Path, r.Weight, r.Condition, r.Strength, strings.Join(r.Targets, ", "))
	}
	return t.flush()
}

// updateFlags are the flags of sluice update-gateway.
type updateFlags struct {
	weightFlags
	weights   []string
	route     string
	condition string
	strength  string
}

func newUpdateGateway() *cobra.Command {
	var f updateFlags
	cmd := &cobra.Command{
		Use:   "update-gateway NAME",
		Short: "Change weights, or the condition of a route, as Vamp's client does",
		Long: `Update-gateway changes the weights of a gateway's routes, or the condition of one
route; the text null takes the condition away. Without --strength a route keeps
the strength that it has.

A route that the gateway does not have is refused, where Vamp's client went on
without it. Nothing is written if somebody else changes the gateway meanwhile.`,
		Example: `  sluice update-gateway shop --weights shop-1.0.0@50%,shop-1.1.0@50%
  sluice update-gateway shop --route shop-1.1.0 --condition 'user-agent == Firefox' --strength 100%
  sluice update-gateway shop --route shop-1.1.0 --condition null`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			if len(f.weights) > 0 {
				asked, err := parseWeights(f.weights, "@")
				if err != nil {
					return err
				}
				return f.weightFlags.run(cmd, args[0], asked)
			}
			return f.run(cmd, args[0])
		},
		ValidArgsFunction: f.completeNames("gateways", 1),
	}
	f.flags(cmd)
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.weights, "weights", "w", nil, "weights of routes, ROUTE@N% with commas between them")
	flags.StringVarP(&f.route, "route", "r", "", "route whose condition or strength is to change")
	flags.StringVarP(&f.condition, "condition", "c", "", "its condition, null for none")
	flags.StringVarP(&f.strength, "strength", "s", "", "its strength, N%")
	dryRunFlag(cmd, &f.dryRun)
	waitFlag(cmd, &f.wait)
	return cmd
}

// check refuses flags that do not go together.
func (f *updateFlags) check(cmd *cobra.Command) error {
	conditional := cmd.Flags().Changed("condition") || cmd.Flags().Changed("strength")
	switch {
	case len(f.weights) > 0 && (conditional || f.route != ""):
		return usagef("--weights stands alone; change conditions by another call")
	case len(f.weights) > 0:
	case f.route == "" && conditional:
		return usagef("--route: which route has the condition?")
	case !conditional:
		return usagef("what is to change? --weights, or --route with --condition or --strength")
	}
	return checkWait(f.wait)
}

// run changes the condition of a route.
func (f *updateFlags) run(cmd *cobra.Command, name string) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	defer c.Close()
	g, err := c.Gateway(cmd.Context(), name)
	if err != nil {
		return advised(err)
	}
	text, err := f.edit(cmd, g)
	if err != nil {
		return err
	}
	written, err := c.Put(cmd.Context(), "gateways", name, text, client.Write{
		If: client.Condition{Revision: g.Revision}, DryRun: f.dryRun,
	})
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusPreconditionFailed {
		return fmt.Errorf("somebody else changed gateway %s meanwhile, so nothing was written; try again", name)
	}
	if err != nil {
		return advised(err)
	}
	result := cmp.Or(written.Items[0].Result, client.Configured)
	if f.dryRun {
		result, f.wait = client.Configured, 0 // there is nothing to wait for
	}
	fmt.Fprintf(cmd.OutOrStdout(), "gateways/%s %s%s\n", name, result, dry(f.dryRun))
	return awaitServed(cmd.Context(), c, written, f.wait, cmd.ErrOrStderr())
}

// edit returns the gateway with the route changed.
func (f *updateFlags) edit(cmd *cobra.Command, g client.Gateway) ([]byte, error) {
	doc, err := parseJSON(g.Body)
	if err != nil {
		return nil, err
	}
	var route *ordered
	if routes := doc.at("routes"); routes != nil {
		route = routes.at(f.route)
	}
	if route == nil {
		var paths []string
		for _, r := range g.Routes {
			paths = append(paths, r.Path)
		}
		return nil, usagef("gateway %s has no route %.80q%s", g.Name, f.route, nearest(f.route, paths))
	}
	if cmd.Flags().Changed("condition") {
		condition := &f.condition
		if f.condition == "null" || f.condition == "" {
			condition = nil
		}
		route.set("condition", condition)
	}
	if cmd.Flags().Changed("strength") {
		w, err := client.ParseWeight(f.strength)
		if err != nil {
			return nil, usagef("--strength: %w", err)
		}
		strength := w.String()
		route.set("condition_strength", &strength)
	}
	var b bytes.Buffer
	err = doc.write(&b)
	return b.Bytes(), err
}

func newEmit() *cobra.Command {
	var c connection
	var tags []string
	cmd := &cobra.Command{
		Use:   "emit VALUE",
		Short: "Add an event, for others to react to",
		Long: `Emit adds an event with tags and a value, which is a text. Those who follow the
tags get it at once, and 'sluice events' shows it.`,
		Example: `  sluice emit 'release 1.1.0 has begun' --tags release,gateways:shop`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(tags) == 0 {
				return usagef("--tags: an event has at least one tag")
			}
			cl, err := c.open()
			if err != nil {
				return err
			}
			defer cl.Close()
			e, err := cl.Emit(cmd.Context(), tags, args[0])
			if err != nil {
				return advised(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "event %s at %s\n", e.ID, e.Timestamp.Format(time.RFC3339))
			return nil
		},
	}
	c.flags(cmd)
	cmd.Flags().StringSliceVarP(&tags, "tags", "t", nil, "tags of the event, with commas between them")
	return cmd
}
