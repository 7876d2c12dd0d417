// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/store"
)

// fleet is clients that speak as proxies do, each over a connection of its
// own, and serve nothing: they acknowledge what they are told at once.
type fleet struct {
	n      int
	joins  chan struct{} // bounds the clients that read their first table at a time
	cancel context.CancelFunc
	g      *errgroup.Group

	mu      sync.Mutex // guards what follows
	whole   int        // clients that have a complete table
	arrived map[uint64][]time.Time
	all     chan struct{} // closed when something arrived
}

// newFleet connects n clients and waits until each has a table of so many
// gateways. It returns how long that took.
func newFleet(t *testing.T, at string, n, gateways int) (*fleet, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{n: n, joins: make(chan struct{}, 50), cancel: cancel, arrived: map[uint64][]time.Time{}, all: make(chan struct{})}
	f.g, ctx = errgroup.WithContext(ctx)
	begun := time.Now()
	for i := range n {
		f.g.Go(func() error {
			if err := f.follow(ctx, at, fmt.Sprintf("node-%d", i), gateways); ctx.Err() == nil {
				return fmt.Errorf("node-%d: %w", i, err)
			}
			return nil
		})
	}
	t.Cleanup(func() {
		cancel()
		if err := f.g.Wait(); err != nil {
			t.Error(err)
		}
	})
	f.await(t, ctx, "all clients have a table", func() bool { return f.whole == n })
	return f, time.Since(begun)
}

// await waits until a claim about what arrived holds; it is asked with mu held.
func (f *fleet) await(t *testing.T, ctx context.Context, what string, claim func() bool) { //nolint:revive // the test comes first everywhere
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		f.mu.Lock()
		ok, all := claim(), f.all
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-all:
		case <-ctx.Done():
			t.Fatalf("%s: a client has ended: %v", what, f.g.Wait())
		case <-late.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// follow is one client.
func (f *fleet) follow(ctx context.Context, at, node string, gateways int) error {
	f.joins <- struct{}{} // else all read at once, and nobody is left to answer pings
	leave := sync.OnceFunc(func() { <-f.joins })
	defer leave()
	conn, err := grpc.NewClient("passthrough:///"+at, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := controlpb.NewControlClient(conn).Connect(ctx)
	if err != nil {
		return err
	}
	hello := &controlpb.Hello{Protocol: 1, Node: node, Namespaces: []string{store.DefaultNamespace}, Build: "scale"}
	if err := s.Send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Hello{Hello: hello}}); err != nil {
		return err
	}
	ack := &controlpb.Ack{}
	for has := 0; ; {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if p := m.GetPing(); p != nil {
			if err := s.Send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Pong{Pong: &controlpb.Pong{Number: p.GetNumber()}}}); err != nil {
				return err
			}
		}
		if l := m.GetLeave(); l != nil {
			return fmt.Errorf("the control plane asks to leave: %s", l.GetReason())
		}
		u := m.GetUpdate()
		if u == nil {
			continue
		}
		for _, named := range u.GetChanged() {
			ack.Served = append(ack.Served, &controlpb.Held{Gateway: named.GetName(), Hash: named.GetHash()})
		}
		for _, c := range u.GetChanges() {
			ack.Changes = append(ack.Changes, c.GetId())
		}
		if u.GetMore() {
			continue
		}
		ack.Version, ack.Number = u.GetVersion(), u.GetNumber()
		if err := s.Send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: ack}}); err != nil {
			return err
		}
		first := has < gateways
		has += len(ack.GetServed())
		if first && has >= gateways {
			leave()
		}
		f.note(first && has >= gateways, ack.GetChanges())
		ack = &controlpb.Ack{}
	}
}

// note tells that a client has acknowledged changes, or has its first table.
func (f *fleet) note(whole bool, changes []uint64) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if whole {
		f.whole++
	}
	woken := whole && f.whole == f.n
	for _, id := range changes {
		f.arrived[id] = append(f.arrived[id], now)
		woken = woken || len(f.arrived[id]) == f.n
	}
	if woken {
		close(f.all)
		f.all = make(chan struct{})
	}
}

// acknowledged waits until all clients have acknowledged a change, and returns
// how long after begun each did, ascending.
func (f *fleet) acknowledged(t *testing.T, change uint64, begun time.Time) []time.Duration {
	t.Helper()
	f.await(t, t.Context(), fmt.Sprintf("all clients have change %d", change), func() bool { return len(f.arrived[change]) >= f.n })
	f.mu.Lock()
	defer f.mu.Unlock()
	var took []time.Duration
	for _, at := range f.arrived[change] {
		took = append(took, at.Sub(begun))
	}
	delete(f.arrived, change)
	slices.Sort(took)
	return took
}
