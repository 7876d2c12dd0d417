// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
)

// artifactKinds are the kinds of what is stored, as they are written in
// commands: the plural, and the singular in their order.
var (
	artifactKinds = []string{"gateways", "conditions", "rewrites", "routes", "templates"}
	singularKinds = []string{"gateway", "condition", "rewrite", "route", "template"}
)

// pluralKind reads a kind; kinds are those that a verb knows.
func pluralKind(text string, kinds []string) (string, error) {
	kind := strings.ToLower(text)
	if i := slices.Index(singularKinds, kind); i >= 0 {
		kind = artifactKinds[i]
	}
	if !slices.Contains(kinds, kind) {
		return "", usagef("%.40q is not a kind%s", text, nearest(kind, kinds))
	}
	return kind, nil
}

// artifactArgs reads KIND NAME or KIND/NAME.
func artifactArgs(args []string) (kind, name string, err error) {
	if len(args) == 1 {
		args = strings.SplitN(args[0], "/", 2)
	}
	if len(args) != 2 || args[1] == "" {
		return "", "", usagef("which artifact? KIND NAME or KIND/NAME, such as gateways/shop")
	}
	kind, err = pluralKind(args[0], artifactKinds)
	return kind, args[1], err
}

func newDelete() *cobra.Command {
	var c connection
	var wait time.Duration
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete KIND NAME",
		Short: "Take a gateway or another artifact away",
		Long: `Delete takes an artifact away: proxies close the port of a gateway that is gone,
and let go of connections as when they drain. The artifact's former versions are
kept for a while, so that 'sluice rollback' brings a gateway back.

It asks before, unless --yes is given; without a terminal it needs --yes.`,
		Example: `  sluice delete gateway shop
  sluice delete gateways/shop --yes --wait
  sluice delete condition beta --yes`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := artifactArgs(args)
			if err == nil {
				err = checkWait(wait)
			}
			if err != nil {
				return err
			}
			cl, err := c.open()
			if err != nil {
				return err
			}
			defer cl.Close()
			found, err := cl.Get(cmd.Context(), kind, name)
			if err != nil {
				return advised(err)
			}
			if err := confirmed(cmd, yes, fmt.Sprintf("delete %s/%s in %s", kind, name, cl.Namespace())); err != nil {
				return err
			}
			// What somebody changed after it was looked at is not deleted.
			written, err := cl.Delete(cmd.Context(), kind, name, client.Write{If: client.Condition{Revision: found.Revision}})
			if err != nil {
				return advised(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s/%s deleted\n", kind, name)
			return awaitServed(cmd.Context(), cl, written, wait, cmd.ErrOrStderr())
		},
		ValidArgsFunction: c.completeArtifacts(artifactKinds),
	}
	c.flags(cmd)
	yesFlag(cmd, &yes)
	waitFlag(cmd, &wait)
	return cmd
}

func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do it without asking")
}

// errNo reports that somebody who was asked did not say yes.
var errNo = errors.New("nothing was done; --yes does it without asking")

// confirmed asks whether something is to be done, unless yes says so.
func confirmed(cmd *cobra.Command, yes bool, what string) error {
	if yes {
		return nil
	}
	in := cmd.InOrStdin()
	if !isTerminal(in) {
		return usagef("%s? nobody can be asked here; say --yes", what)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s? [y/N] ", what)
	answer, err := bufio.NewReader(io.LimitReader(in, maxTokenBytes)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errNo
}
