// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/control/client"
)

// completionTime bounds how long a shell waits for names.
const completionTime = 2 * time.Second

// names asks the control plane for the names of a kind; none if it cannot be
// asked. A shell has nowhere to show why.
func (c *connection) names(cmd *cobra.Command, kind string) []string {
	cl, ctx, done := c.shortly(cmd)
	defer done()
	if cl == nil {
		return nil
	}
	if kind == kindProxies {
		all, _ := cl.Proxies(ctx)
		names := make([]string, len(all))
		for i, p := range all {
			names[i] = p.Node
		}
		return names
	}
	all, _ := cl.List(ctx, kind)
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.Name
	}
	return names
}

// shortly makes a client that is used for completion only: nil if it cannot
// be made.
func (c *connection) shortly(cmd *cobra.Command) (*client.Client, context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	// Cobra completes without the step in which the environment is read.
	if boot.ReadEnviron(cmd.Flags(), os.LookupEnv) != nil {
		return nil, ctx, cancel
	}
	cl, err := c.open()
	if err != nil {
		return nil, ctx, cancel
	}
	return cl, ctx, func() { cancel(); cl.Close() }
}

// beginning returns the words that begin with what was typed and are not
// among those that were typed before.
func beginning(words []string, typed string, before []string) []string {
	return slices.DeleteFunc(words, func(w string) bool {
		return !strings.HasPrefix(w, typed) || slices.Contains(before, w)
	})
}

// completeNames completes up to so many names of a kind.
func (c *connection) completeNames(kind string, most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return beginning(c.names(cmd, kind), typed, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeArtifacts completes KIND NAME and KIND/NAME.
func (c *connection) completeArtifacts(kinds []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		switch kind, _, whole := strings.Cut(typed, "/"); {
		case len(args) == 0 && whole:
			plural, err := pluralKind(kind, kinds)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names := c.names(cmd, plural)
			for i := range names {
				names[i] = kind + "/" + names[i]
			}
			return beginning(names, typed, nil), cobra.ShellCompDirectiveNoFileComp
		case len(args) == 0:
			return beginning(slices.Clone(kinds), typed, nil), cobra.ShellCompDirectiveNoFileComp
		case len(args) == 1 && !strings.Contains(args[0], "/"):
			plural, err := pluralKind(args[0], kinds)
			if err == nil {
				return beginning(c.names(cmd, plural), typed, nil), cobra.ShellCompDirectiveNoFileComp
			}
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// complete completes a kind and names of it.
func (f *getFlags) complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return beginning(slices.Clone(getKinds), typed, nil), cobra.ShellCompDirectiveNoFileComp
	}
	kind, err := f.kind(args[0])
	if err != nil || kind == kindEvents || kind == kindChanges {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return beginning(f.names(cmd, kind), typed, args[1:]), cobra.ShellCompDirectiveNoFileComp
}

// completeWeights completes a gateway, and then its routes up to the weight.
func (f *weightFlags) completeWeights(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return beginning(f.names(cmd, "gateways"), typed, nil), cobra.ShellCompDirectiveNoFileComp
	}
	cl, ctx, done := f.shortly(cmd)
	defer done()
	if cl == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	g, err := cl.Gateway(ctx, args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	for _, r := range g.Routes {
		if word := r.Path + "="; !slices.ContainsFunc(args[1:], func(a string) bool { return strings.HasPrefix(a, word) }) {
			words = append(words, word)
		}
	}
	return beginning(words, typed, nil), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeContexts completes the names of contexts.
func (c *connection) completeContexts(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	_, config, err := c.readConfig(os.LookupEnv)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return beginning(slices.Sorted(maps.Keys(config.Contexts)), typed, nil), cobra.ShellCompDirectiveNoFileComp
}
