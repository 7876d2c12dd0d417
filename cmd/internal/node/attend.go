// SPDX-License-Identifier: Apache-2.0

package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"text/tabwriter"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/proxy"
)

// errCut ends a process that was told twice to end.
var errCut = errors.New("ended at once: requests in flight were cut")

// Attendant does what is to be done beside a node that runs: it says what is
// served once something is, and follows the signals.
type Attendant struct {
	Node    *Node
	Signals *boot.Signals
	Stdout  io.Writer
	// Hangup is called at each SIGHUP.
	Hangup func(context.Context)

	cut bool // it was told to end at once
}

// Run runs what serves by the node until it has ended.
func (a *Attendant) Run(ctx context.Context, run func(context.Context) error) error {
	ended := make(chan struct{})
	var attending sync.WaitGroup
	attending.Go(func() { a.attend(ctx, ended) })
	err := run(ctx)
	close(ended)
	attending.Wait()
	if err == nil && a.cut {
		err = errCut
	}
	return err
}

func (a *Attendant) attend(ctx context.Context, ended <-chan struct{}) {
	first, stop, again := a.Node.First(), ctx.Done(), a.Signals.Again
	for {
		select {
		case <-first:
			first = nil
			// A closed stdout is no reason to stop.
			_ = Print(a.Stdout, a.Node.Outline(), "sluice "+boot.ReadBuild().Version+" serves", a.Node.Admin())
		case <-a.Signals.Hangup:
			a.Hangup(ctx)
		case <-stop:
			stop = nil
			a.Node.log.InfoContext(ctx, "ending: requests in flight may finish",
				"why", context.Cause(ctx).Error(), "drain", a.Node.o.Drain.String())
		case <-again:
			again = nil
			a.cut = true
			a.Node.Cut()
		case <-ended:
			return
		}
	}
}

// Print prints gateways, how they stand, and where to look. The title is of the
// form "sluice v1 serves".
func Print(w io.Writer, gateways []proxy.GatewayStatus, title, admin string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	n := strconv.Itoa(len(gateways)) + " gateways"
	if len(gateways) == 1 {
		n = "1 gateway"
	}
	fmt.Fprintf(t, "%s %s; status on http://%s/status, metrics on http://%s/metrics\n", title, n, admin, admin)
	if len(gateways) > 0 {
		fmt.Fprintln(t, "GATEWAY\tPORT\tTYPE\tSTATE")
	}
	for _, g := range gateways {
		state := "deployed"
		if !g.Deployed {
			state = "not deployed: " + cmp.Or(g.Reason, "starting")
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", g.Name, g.Port, g.Type, state)
	}
	return t.Flush()
}
