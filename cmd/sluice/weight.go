// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
	"github.com/sluice-mesh/sluice/routing"
)

// weightFlags are the flags of sluice weight.
type weightFlags struct {
	connection
	wait   time.Duration
	dryRun bool
}

func newWeight() *cobra.Command {
	var f weightFlags
	cmd := &cobra.Command{
		Use:   "weight GATEWAY ROUTE=N[%]...",
		Short: "Move traffic between the routes of a gateway",
		Long: `Weight gives routes of a gateway other weights and leaves all else of it alone.
Routes are named by their paths, as 'sluice get gateways' shows them; those that
are not named keep their weights, and together all must have 100%. Of a gateway
with two routes one is enough: the other takes the rest.

If somebody else changes the weights meanwhile nothing is written, and the
present ones are told.

It exits with 0 when it is stored (with --wait: when all connected proxies serve
it), with 2 if the weights cannot be, and with 5 if --wait was too short, which
takes nothing back.`,
		Example: `  sluice weight shop shop-1.0.0=90% shop-1.1.0=10%
  sluice weight shop shop-1.1.0=25 --wait
  sluice weight shop '(1.0.0)=99.5%' '(1.1.0)=0.5%' --dry-run`,
		Args: arguments(func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("which weights? GATEWAY ROUTE=N, such as shop shop-1.1.0=10%")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, err := parseWeights(args[1:], "=")
			if err == nil {
				err = checkWait(f.wait)
			}
			if err != nil {
				return err
			}
			return f.run(cmd, args[0], asked)
		},
		ValidArgsFunction: f.completeWeights,
	}
	f.flags(cmd)
	dryRunFlag(cmd, &f.dryRun)
	waitFlag(cmd, &f.wait)
	return cmd
}

// routeWeight is a weight for a route.
type routeWeight struct {
	path   string
	weight routing.Weight
}

// parseWeights reads weights, each ROUTE, a separator and a percentage.
func parseWeights(args []string, separator string) ([]routeWeight, error) {
	var all []routeWeight
	for _, arg := range args {
		i := strings.LastIndex(arg, separator)
		if i < 1 {
			return nil, usagef("%.80q is not ROUTE%sN, such as shop-1.1.0%s10%%", arg, separator, separator)
		}
		w, err := client.ParseWeight(arg[i+1:])
		if err != nil {
			return nil, usagef("%s: %w", arg[:i], err)
		}
		if slices.ContainsFunc(all, func(r routeWeight) bool { return r.path == arg[:i] }) {
			return nil, usagef("route %s stands there twice", arg[:i])
		}
		all = append(all, routeWeight{arg[:i], w})
	}
	return all, nil
}

func (f *weightFlags) run(cmd *cobra.Command, gateway string, asked []routeWeight) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	defer c.Close()
	g, err := c.Gateway(cmd.Context(), gateway)
	if err != nil {
		return advised(err)
	}
	before, err := weightsOf(g)
	if err != nil {
		return err
	}
	after, rest, err := reweigh(gateway, before, asked)
	if err != nil {
		return err
	}
	if rest != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "route %s takes the rest\n", rest)
	}
	if slices.Equal(before, after) {
		fmt.Fprintf(cmd.OutOrStdout(), "gateways/%s unchanged\n", gateway)
		present := client.Written{Items: []client.Item{{Artifact: client.Artifact{Kind: "gateways", Name: gateway, Revision: g.Revision}}}}
		return awaitServed(cmd.Context(), c, present, f.wait, cmd.ErrOrStderr())
	}
	written, err := writeWeights(cmd.Context(), c, g, before, after, f.dryRun)
	if err != nil {
		return advised(err)
	}
	if err := printWeights(cmd.OutOrStdout(), gateway, before, after, f.dryRun); err != nil || f.dryRun {
		return err
	}
	return awaitServed(cmd.Context(), c, written, f.wait, cmd.ErrOrStderr())
}

// weightsOf returns the weights of a gateway's routes, in their order.
func weightsOf(g client.Gateway) ([]routeWeight, error) {
	var all []routeWeight
	for _, r := range g.Routes {
		w, err := client.ParseWeight(r.Weight)
		if err != nil {
			return nil, fmt.Errorf("gateway %s, route %s: %w", g.Name, r.Path, err)
		}
		all = append(all, routeWeight{r.Path, w})
	}
	return all, nil
}

// reweigh returns the weights that are asked for, with the others as they are.
// rest names the route that takes what is left over, if one does.
func reweigh(gateway string, before, asked []routeWeight) (after []routeWeight, rest string, err error) {
	after = slices.Clone(before)
	for _, a := range asked {
		i := slices.IndexFunc(after, func(r routeWeight) bool { return r.path == a.path })
		if i < 0 {
			return nil, "", usagef("gateway %s has no route %.80q%s", gateway, a.path, nearest(a.path, pathsOf(before)))
		}
		after[i].weight = a.weight
	}
	if len(after) == 2 && len(asked) == 1 {
		other := &after[0]
		if other.path == asked[0].path {
			other = &after[1]
		}
		other.weight = routing.FullWeight - asked[0].weight
		return after, other.path, nil
	}
	sum := int64(0)
	for _, r := range after {
		sum += int64(r.weight)
	}
	if sum != int64(routing.FullWeight) {
		return nil, "", usagef("the weights would add up to %s, not 100%%: %s", hundredths(sum), listWeights(after))
	}
	return after, "", nil
}

func pathsOf(routes []routeWeight) []string {
	paths := make([]string, len(routes))
	for i, r := range routes {
		paths[i] = r.path
	}
	return paths
}

// hundredths writes a sum of weights, which may be more than a weight can be.
func hundredths(n int64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%02d", n/100, n%100), "0"), ".") + "%"
}

func listWeights(routes []routeWeight) string {
	texts := make([]string, len(routes))
	for i, r := range routes {
		texts[i] = r.path + " " + r.weight.String()
	}
	return strings.Join(texts, ", ")
}

// writeWeights writes weights if those that were read are still there.
func writeWeights(ctx context.Context, c *client.Client, g client.Gateway, before, after []routeWeight, dryRun bool) (client.Written, error) {
	weights := make(map[string]string, len(after))
	for _, r := range after {
		weights[r.path] = r.weight.String()
	}
	w := client.Write{If: client.Condition{Revision: g.Revision}, DryRun: dryRun}
	for again := false; ; again = true {
		written, err := c.Weights(ctx, g.Name, weights, w)
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Status != http.StatusPreconditionFailed {
			return written, err
		}
		// Somebody wrote the gateway, though maybe not its weights.
		present, err := c.Gateway(ctx, g.Name)
		if err != nil {
			return written, err
		}
		now, err := weightsOf(present)
		if err != nil {
			return written, err
		}
		if again || !slices.Equal(now, before) {
			return written, fmt.Errorf("somebody else changed gateway %s meanwhile, so nothing was written; its weights are now %s", g.Name, listWeights(now))
		}
		w.If.Revision = present.Revision
	}
}

func printWeights(w io.Writer, gateway string, before, after []routeWeight, dryRun bool) error {
	fmt.Fprintf(w, "gateways/%s configured%s\n", gateway, dry(dryRun))
	t := newTable(w, false, "ROUTE", "BEFORE", "AFTER")
	for i, r := range after {
		t.row(r.path, before[i].weight.String(), r.weight.String())
	}
	return t.flush()
}
