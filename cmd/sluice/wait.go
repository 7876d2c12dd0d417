// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
)

// defaultWait is how long --wait without a time waits.
const defaultWait = 30 * time.Second

// waitFlag adds --wait[=TIME].
func waitFlag(cmd *cobra.Command, wait *time.Duration) {
	cmd.Flags().DurationVar(wait, "wait", 0, "wait until all proxies serve it, this long at most; exits with 5 if they do not")
	cmd.Flags().Lookup("wait").NoOptDefVal = defaultWait.String()
}

// checkWait refuses times that nobody can wait.
func checkWait(wait time.Duration) error {
	if wait < 0 {
		return usagef("--wait: %v is not a time to wait; --wait=30s, or --wait alone for that", wait)
	}
	return nil
}

// awaitServed tells of what was written what the control plane warns of, and
// waits until all proxies serve it. It tells how far the change has come, and
// fails if that is not far enough within the time.
func awaitServed(ctx context.Context, c *client.Client, written client.Written, wait time.Duration, w io.Writer) error {
	tellWarnings(written, w)
	if wait <= 0 {
		return nil
	}
	// What is unchanged may be on its way yet, by the change that made it.
	change := written.Change
	if change == 0 {
		for _, i := range written.Items {
			change = max(change, i.Revision)
		}
	}
	if change == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	last, err := c.Await(ctx, change, func(now client.Change) {
		if !now.Settled() {
			fmt.Fprintln(w, progress(now))
		}
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return &exit{Code: exitTimeout, Err: fmt.Errorf("after %v: %s; it goes on, 'sluice get change %d' tells how far it is", wait, progress(last), change)}
	}
	if err != nil {
		return advised(err)
	}
	switch last.State {
	case client.StateNoProxies:
		fmt.Fprintln(w, "no proxy is connected: it is stored, and nothing serves it yet")
	case client.StateRefused:
		return fmt.Errorf("%s", progress(last))
	default:
		fmt.Fprintf(w, "served by %s after %v\n", proxies(last.Proxies), rounded(last.TookSeconds))
	}
	return nil
}

func tellWarnings(written client.Written, w io.Writer) {
	for _, warning := range written.Warnings {
		fmt.Fprintln(w, warning)
	}
}

func rounded(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
}

// maxLaggards is how many laggards are named at a time.
const maxLaggards = 5

// progress says how far a change has come, and what keeps it.
func progress(c client.Change) string {
	if c.State == "" || c.State == client.StatePending {
		return "it is in no table yet"
	}
	text := fmt.Sprintf("%d of %s serve it", c.Served, proxies(c.Proxies))
	for i, l := range c.Laggards {
		if i == maxLaggards {
			return text + fmt.Sprintf("; and %d more", len(c.Laggards)-i)
		}
		text += "; " + l.Node
		if l.Reason != "" {
			text += ": " + l.Reason
		}
	}
	return text
}

// proxies returns n and the noun.
func proxies(n int) string {
	if n == 1 {
		return "1 proxy"
	}
	return fmt.Sprintf("%d proxies", n)
}
