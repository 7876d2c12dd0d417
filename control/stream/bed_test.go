// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

const home = "default/default"

// bed is a control plane on loopback.
type bed struct {
	*stream.Server
	address string
	stop    func() error // ends it, and returns what Serve did
}

func serve(tb testing.TB, o stream.Options) *bed {
	tb.Helper()
	s, err := stream.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	b := &bed{Server: s, address: ln.Addr().String()}
	b.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	tb.Cleanup(func() {
		if err := b.stop(); err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})
	return b
}

// version is a revision of the epoch of all tests.
func version(revision uint64) routing.Version { return routing.Version{Epoch: 7, Revision: revision} }

// gateway is one whose form is told by a text.
func gateway(name, form string) *routing.Gateway {
	return &routing.Gateway{Name: name, Port: routing.Port{Number: 8080}, Routes: []*routing.Route{{Path: name + "/a", Condition: form}}}
}

// plan makes a plan of a namespace.
func plan(namespace string, revision uint64, gateways ...*routing.Gateway) planner.Plan {
	return planner.Plan{Namespace: namespace, Table: &routing.Table{Version: version(revision), Gateways: gateways}}
}

// with adds changes of people to a plan.
func with(p planner.Plan, ids ...uint64) planner.Plan {
	for _, id := range ids {
		p.Changes = append(p.Changes, discovery.Change{ID: id, At: time.Now()})
	}
	return p
}

// many are gateways g0 to gN-1.
func many(n int) []*routing.Gateway {
	all := make([]*routing.Gateway, n)
	for i := range all {
		all[i] = gateway(fmt.Sprintf("g%d", i), "a")
	}
	return all
}

// until waits for what must come to be.
func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			tb.Fatalf("it never came to be: %s", what)
		case <-tick.C:
		}
	}
}
