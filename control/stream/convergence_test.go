// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/metrics"
)

// converges waits for a change.
func (b *bed) converges(tb testing.TB, change uint64) stream.Convergence {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := b.Wait(ctx, change)
	if err != nil {
		tb.Fatalf("change %d: %v; it is %+v", change, err, c)
	}
	return c
}

// becomes waits until a change has a state and a number of laggards.
func (b *bed) becomes(tb testing.TB, change uint64, state stream.State, laggards int) stream.Convergence {
	tb.Helper()
	var c stream.Convergence
	until(tb, fmt.Sprintf("change %d is %s with %d laggards", change, state, laggards), func() bool {
		var known bool
		c, known = b.Convergence(change)
		return known && c.State == state && len(c.Laggards) == laggards
	})
	return c
}

func TestConvergence(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	settled := make(chan stream.Settled, 100)
	b := serve(t, stream.Options{Registry: registry, Hooks: stream.Hooks{Settled: func(s stream.Settled) { settled <- s }}})
	if _, known := b.Convergence(1); known {
		t.Error("a change is known that nobody planned")
	}
	b.Publish(with(plan(home, 1, gateway("a", "1")), 1))
	if c := b.converges(t, 1); c.State != stream.NoProxies || c.Proxies != 0 || c.Version != version(1) {
		t.Errorf("without proxies it is %+v", c)
	}
	one := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("one")})
	b.becomes(t, 1, stream.Planned, 1)
	one.Ack(one.Receive())
	if c := b.converges(t, 1); c.State != stream.Converged || c.Proxies != 1 || c.Served != 1 {
		t.Errorf("with a proxy that serves it, it is %+v", c)
	}
	if s := <-settled; fmt.Sprint(s.New, s.Gone) != "[a] []" || s.Version != version(1) || len(s.Changes) != 1 {
		t.Errorf("settled is %+v", s)
	}
	two := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("two")})
	two.Ack(two.Receive())
	until(t, "both serve", func() bool { return b.Deployed(home, "a").Served == 2 })

	p := plan(home, 2, gateway("a", "2"), gateway("b", "1"))
	p.Changes = []discovery.Change{{ID: 2, At: time.Now()}, {ID: 3, At: time.Now(), Kind: discovery.Endpoints}, {At: time.Now()}}
	b.Publish(p)
	one.Ack(one.Receive())
	update := two.Receive()
	c := b.becomes(t, 3, stream.Planned, 1)
	if l := c.Laggards[0]; c.Kind != "endpoints" || c.Served != 1 || l.Node != "two" || !strings.Contains(l.Reason, "has not acknowledged") || l.Since.IsZero() {
		t.Errorf("before the second answers, it is %+v", c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	if c, err := b.Wait(ctx, 3); !errors.Is(err, context.DeadlineExceeded) || c.State != stream.Planned {
		t.Errorf("Wait = %+v, %v, want how far it is when the time is up", c, err)
	}
	cancel()
	two.Ack(update)
	for id := uint64(2); id <= 3; id++ {
		if c := b.converges(t, id); c.State != stream.Converged || c.Served != 2 || c.Took <= 0 {
			t.Errorf("change %d: %+v", id, c)
		}
	}
	if s := <-settled; fmt.Sprint(s.New, s.Gone) != "[b] []" || s.Last != "two" || len(s.Changes) != 3 || s.Table.Version != version(2) {
		t.Errorf("settled is %+v", s)
	}
	for kind, want := range map[string]uint64{"config": 2, "endpoints": 1} {
		var h metrics.Histogram
		if registry.ControlConvergence(kind).Read(&h); h.Count() != want {
			t.Errorf("%d changes of kind %s were observed, want %d: not the one that found no proxy", h.Count(), kind, want)
		}
	}
}

// A change that makes no difference has converged when its table is served.
func TestChangesWithoutDifferenceConverge(t *testing.T) {
	b := serve(t, stream.Options{})
	b.Publish(plan(home, 1, gateway("a", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	first := p.Receive()
	b.Publish(with(plan(home, 1, gateway("a", "1")), 5))
	b.becomes(t, 5, stream.Planned, 1)
	p.Ack(first)
	b.converges(t, 5)
	b.Publish(with(plan(home, 1, gateway("a", "1")), 6))
	if c := b.converges(t, 6); c.State != stream.Converged || c.Version != version(1) {
		t.Errorf("it is %+v", c)
	}
}

func TestARefusedGatewayLags(t *testing.T) {
	refused := make(chan stream.Refusal, 100)
	b := serve(t, stream.Options{Hooks: stream.Hooks{Refused: func(_ stream.Proxy, r stream.Refusal) { refused <- r }}})
	good, bad := streamtest.Hello("good"), streamtest.Hello("bad")
	b.Publish(plan(home, 1, gateway("a", "1"), gateway("b", "1")))
	one := streamtest.Join(t, b.address, streamtest.Options{Hello: good})
	two := streamtest.Join(t, b.address, streamtest.Options{Hello: bad})
	one.Follow(version(1))
	two.Follow(version(1))
	b.Publish(with(plan(home, 2, gateway("a", "2"), gateway("b", "1")), 10))
	one.Follow(version(2))
	r := two.Receive()
	two.Nack(r, "a", "port 8080 is taken")
	two.Ack(&wire.Received{Table: r.Table})
	c := b.converges(t, 10)
	if c.State != stream.Refused || c.Served != 1 || len(c.Laggards) != 1 || c.Laggards[0].Reason != "refuses the gateway a: port 8080 is taken" {
		t.Errorf("it is %+v", c)
	}
	if r := <-refused; r.Gateway != "a" || r.Node != "bad" {
		t.Errorf("the hook was told %+v", r)
	}
	d := b.Deployed(home, "a")
	if d.Proxies != 2 || d.Served != 1 || len(d.Refused) != 1 || d.Refused[0].Reasons[0].Problem != "port 8080 is taken" {
		t.Errorf("the deployment is %+v", d)
	}
	if p := b.Proxies()[0]; p.Node != "bad" || p.Gateways != 1 || len(p.Refusals) != 1 {
		t.Errorf("the proxy is %+v", p)
	}

	// Changes of other gateways do not wait for it.
	b.Publish(with(plan(home, 3, gateway("a", "2"), gateway("b", "2")), 11))
	one.Follow(version(3))
	r = two.Receive()
	b.becomes(t, 11, stream.Planned, 1)
	// Since its form is another pointer, but equal, the gateway was not sent.
	for _, served := range r.Served {
		if served.GetGateway() == "a" {
			t.Error("the refused gateway was sent again")
		}
	}
	two.Ack(r)
	if c := b.converges(t, 11); c.State != stream.Converged {
		t.Errorf("a change of another gateway is %+v", c)
	}

	// It heals without a table.
	two.Nack(r, "a", "still taken") // says it again, in other words
	until(t, "the words change", func() bool {
		d := b.Deployed(home, "a")
		return len(d.Refused) == 1 && d.Refused[0].Reasons[0].Problem == "still taken"
	})
	var healed *controlpb.Held
	for _, h := range two.Receiver.Held() {
		if h.GetGateway() == "a" {
			healed = h
		}
	}
	two.Ack(&wire.Received{Table: r.Table, Served: []*controlpb.Held{healed}})
	if c := b.becomes(t, 10, stream.Converged, 0); c.Served != 2 {
		t.Errorf("healed, it is %+v", c)
	}
	if d := b.Deployed(home, "a"); d.Served != 2 || len(d.Refused) != 0 {
		t.Errorf("healed, the deployment is %+v", d)
	}
	select {
	case r := <-refused:
		t.Errorf("one form was told of twice: %+v", r)
	default:
	}
}

// A new form ends the refusal of the one before it.
func TestANewFormHeals(t *testing.T) {
	b := serve(t, stream.Options{})
	p := streamtest.Join(t, b.address, streamtest.Options{})
	b.Publish(with(plan(home, 1, gateway("a", "1"), gateway("b", "1")), 1))
	r := p.Receive()
	p.Nack(r, "a", "no")
	p.Nack(r, "b", "no")
	p.Ack(&wire.Received{Table: r.Table})
	b.becomes(t, 1, stream.Refused, 1)
	b.Publish(with(plan(home, 2, gateway("a", "2")), 2)) // and b goes
	p.Follow(version(2))
	b.becomes(t, 1, stream.Converged, 0)
	b.becomes(t, 2, stream.Converged, 0)
	if list := b.Proxies()[0].Refusals; len(list) != 0 {
		t.Errorf("it still refuses %+v", list)
	}
}

func TestARefusedTable(t *testing.T) {
	b := serve(t, stream.Options{})
	b.Publish(plan(home, 1, gateway("a", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	p.Follow(version(1))
	b.Publish(with(plan(home, 2, gateway("a", "2")), 1))
	r := p.Receive()
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{
		Version: wire.FromVersion(r.Table.Version), Reasons: []*controlpb.Reason{{Problem: "it crashed twice", Code: "QuarantinedTable"}},
	}}})
	if c := b.converges(t, 1); c.State != stream.Refused || c.Laggards[0].Reason != "refuses the table: it crashed twice" {
		t.Errorf("it is %+v", c)
	}
	if d := b.Deployed(home, "a"); d.Served != 0 || len(d.Refused) != 1 {
		t.Errorf("the deployment is %+v", d)
	}
	b.Publish(with(plan(home, 3, gateway("a", "3")), 2)) // comes, although the one before was not served
	p.Follow(version(3))
	b.becomes(t, 1, stream.Converged, 0)
	b.becomes(t, 2, stream.Converged, 0)
}

func TestProxiesThatGoAreNotWaitedFor(t *testing.T) {
	settled := make(chan stream.Settled, 100)
	b := serve(t, stream.Options{Hooks: stream.Hooks{Settled: func(s stream.Settled) { settled <- s }}})
	b.Publish(plan(home, 1, gateway("a", "1")))
	stays := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("stays")})
	goes := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("goes")})
	stays.Follow(version(1))
	goes.Follow(version(1))
	b.Publish(with(plan(home, 2, gateway("a", "2")), 1))
	stays.Follow(version(2))
	b.becomes(t, 1, stream.Planned, 1)
	goes.Close()
	if c := b.converges(t, 1); c.State != stream.Converged || c.Proxies != 1 {
		t.Errorf("it is %+v", c)
	}
	s := stream.Settled{}
	for s.Version != version(2) {
		s = <-settled
	}
	if s.Last != "goes" {
		t.Errorf("%q was waited for last, want the one that went", s.Last)
	}
	b.Publish(with(plan(home, 3, gateway("a", "3")), 2))
	b.becomes(t, 2, stream.Planned, 1)
	stays.Close()
	if c := b.converges(t, 2); c.State != stream.NoProxies {
		t.Errorf("when the last proxy went, it is %+v", c)
	}
}

// However many tables a laggard misses, what is kept of them is bounded, and
// every change of the last 10,000 has its answer.
func TestManyChangesWaitForALaggard(t *testing.T) {
	b := serve(t, stream.Options{Patience: time.Hour})
	b.Publish(plan(home, 1, gateway("a", "0")))
	fast := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("fast")})
	slow := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("slow")})
	fast.Follow(version(1))
	first := slow.Receive()
	const tables, each = 400, 30
	id := uint64(0)
	for revision := uint64(2); revision < 2+tables; revision++ {
		p := plan(home, revision, gateway("a", time.Duration(revision).String()))
		for range each {
			id++
			p = with(p, id)
		}
		b.Publish(p)
		fast.Follow(version(revision))
	}
	if _, known := b.Convergence(id - 10_000); known {
		t.Error("more than 10,000 changes are known")
	}
	if _, err := b.Wait(t.Context(), id-10_000); !errors.Is(err, stream.ErrForgotten) {
		t.Errorf("Wait for one that is forgotten = %v", err)
	}
	for _, one := range []uint64{id - 9999, id - 5000, id} {
		b.becomes(t, one, stream.Planned, 1)
	}
	slow.Ack(first)
	slow.Follow(version(1 + tables))
	for _, one := range []uint64{id - 9999, id - 5000, id} {
		if c := b.converges(t, one); c.State != stream.Converged || c.Served != 2 {
			t.Errorf("change %d is %+v", one, c)
		}
	}
}

// Changes without effect come with the table that is there, for as long as it
// stays and some proxy does not serve it.
func TestChangesOfATableThatStaysAreBounded(t *testing.T) {
	b := serve(t, stream.Options{Patience: time.Hour})
	p := plan(home, 1, gateway("a", "1"))
	b.Publish(p)
	slow := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("slow")})
	first := slow.Receive()
	id := uint64(0)
	for range 5 {
		next := p
		for range 3000 {
			id++
			next.Changes = append(next.Changes, discovery.Change{ID: id, At: time.Now()})
		}
		b.Publish(next)
	}
	b.becomes(t, id, stream.Planned, 1)
	if n := b.Marked(home); n != 10_000 {
		t.Errorf("%d changes are kept with the table, want the last 10,000", n)
	}
	slow.Ack(first)
	if c := b.converges(t, id); c.State != stream.Converged {
		t.Errorf("it is %+v", c)
	}
}

// A change that two namespaces took in is as far as in the one that lags.
func TestAChangeOfTwoNamespaces(t *testing.T) {
	b := serve(t, stream.Options{})
	one := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("one", "a/x")})
	two := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("two", "a/y")})
	b.Publish(with(plan("a/x", 1, gateway("a", "1")), 1))
	b.Publish(with(plan("a/y", 2, gateway("a", "1")), 1))
	one.Follow(version(1))
	r := two.Receive()
	b.becomes(t, 1, stream.Planned, 1)
	two.Ack(r)
	b.becomes(t, 1, stream.Converged, 0)
}

// Gateways that come and go before a table settles are told of once, or not at
// all.
func TestSettledTellsWhatCameAndWent(t *testing.T) {
	settled := make(chan stream.Settled, 100)
	b := serve(t, stream.Options{Hooks: stream.Hooks{Settled: func(s stream.Settled) { settled <- s }}})
	stays := gateway("stays", "1")
	b.Publish(plan(home, 1, stays, gateway("old", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	p.Follow(version(1))
	<-settled
	b.Publish(plan(home, 2, stays, gateway("new", "1")))
	r := p.Receive()
	b.Publish(plan(home, 3, stays, gateway("new", "1"), gateway("brief", "1")))
	b.Publish(plan(home, 4, stays, gateway("new", "2")))
	until(t, "the last is known", func() bool { return !b.Deployed(home, "brief").Known && b.Deployed(home, "new").Known })
	p.Ack(r)
	p.Follow(version(4))
	var fresh, gone []string
	for s := (stream.Settled{}); s.Version != version(4); fresh, gone = append(fresh, s.New...), append(gone, s.Gone...) {
		s = <-settled
	}
	if fmt.Sprint(fresh, gone) != "[new] [old]" {
		t.Errorf("came %v and went %v", fresh, gone)
	}
}
