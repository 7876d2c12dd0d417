// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/routing"
)

// names returns the gateways of a table with their forms.
func names(t *routing.Table) string {
	var all []string
	for _, g := range t.Gateways {
		all = append(all, g.Name+"="+g.Routes[0].Condition)
	}
	return strings.Join(append(all, t.Broken...), " ")
}

func TestProxiesGetTheTableAndWhatChanges(t *testing.T) {
	b := serve(t, stream.Options{})
	a := gateway("a", "1")
	b.Publish(plan(home, 1, a, gateway("b", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	first := p.Receive()
	if got := names(first.Table); got != "a=1 b=1" || first.Table.Version != version(1) {
		t.Fatalf("the first table is %v with %q", first.Table.Version, got)
	}
	p.Ack(first)
	b.Publish(with(plan(home, 2, a, gateway("b", "2"), gateway("c", "1")), 41))
	second := p.Receive()
	if got := names(second.Table); got != "a=1 b=2 c=1" || second.Table.Version != version(2) {
		t.Fatalf("the second table is %v with %q", second.Table.Version, got)
	}
	if brought := len(second.Served); brought != 2 {
		t.Errorf("the update brings %d gateways, want the 2 that changed", brought)
	}
	if len(second.Changes) != 1 || second.Changes[0].GetId() != 41 {
		t.Errorf("the update names the changes %v, want 41", second.Changes)
	}
	p.Ack(second)
	until(t, "the proxy serves the second table", func() bool {
		list := b.Proxies()
		return len(list) == 1 && list[0].Version == version(2) && list[0].Behind.IsZero()
	})
}

func TestWhatAProxyHoldsIsNotSentAgain(t *testing.T) {
	b := serve(t, stream.Options{})
	b.Publish(plan(home, 1, many(50)...))
	before := streamtest.Join(t, b.address, streamtest.Options{})
	before.Receive()
	before.Close()
	hello := streamtest.Hello("edge")
	hello.Held = before.Receiver.Held()
	hello.Held[7].Hash[0] ^= 1 // another form of g14
	again := streamtest.Join(t, b.address, streamtest.Options{Hello: hello})
	m, err := again.Next()
	if err != nil {
		t.Fatal(err)
	}
	u := m.GetUpdate()
	if !u.GetComplete() || len(u.GetNames()) != 50 || len(u.GetChanged()) != 1 || u.GetChanged()[0].GetName() != hello.Held[7].GetGateway() {
		t.Errorf("the first update names %d gateways and brings %d, want 50 and the one that is held in another form", len(u.GetNames()), len(u.GetChanged()))
	}
}

// A proxy that does not answer gets no further update, and then the newest.
func TestSlowProxiesMissVersions(t *testing.T) {
	b := serve(t, stream.Options{Patience: time.Hour})
	b.Publish(plan(home, 1, gateway("a", "1")))
	slow := streamtest.Join(t, b.address, streamtest.Options{})
	fast := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("fast")})
	first := slow.Receive()
	fast.Follow(version(1))
	for revision := uint64(2); revision <= 100; revision++ {
		b.Publish(plan(home, revision, gateway("a", "x"+time.Duration(revision).String())))
		fast.Follow(version(revision))
	}
	slow.Ack(first)
	if got := slow.Receive().Table.Version; got != version(100) {
		t.Errorf("after version 1 came %v, want the newest, 100", got)
	}
}

// A proxy that does not acknowledge in time gets the next table all the same.
func TestAnswersAreNotWaitedForForEver(t *testing.T) {
	b := serve(t, stream.Options{Patience: time.Millisecond})
	b.Publish(plan(home, 1, gateway("a", "1")))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	for revision := uint64(2); revision <= 30; revision++ {
		got := p.Receive()
		if got.Table.Version != version(revision-1) {
			t.Fatalf("got %v, want revision %d", got.Table.Version, revision-1)
		}
		b.Publish(plan(home, revision, gateway("a", time.Duration(revision).String())))
	}
	p.Ack(p.Receive()) // all before it are forgotten
	until(t, "the last one is served", func() bool { return b.Proxies()[0].Version == version(30) })
}

func TestNamespaces(t *testing.T) {
	b := serve(t, stream.Options{Planned: func(ns string) bool { return ns == "a/late" }})
	b.Publish(plan("a/x", 3, gateway("one", "x"), gateway("two", "x")))
	b.Publish(plan("a/y", 5, gateway("two", "y"), gateway("three", "y")))
	until(t, "both are known", func() bool { return b.Deployed("a/y", "two").Known })
	for _, tt := range []struct {
		name, namespaces, want string
		version                routing.Version
	}{
		{"one namespace", "a/x", "one=x two=x", version(3)},
		{"of two the first one counts", "a/x a/y", "one=x two=x three=y", version(5)},
		{"in the order of the claim", "a/y a/x", "two=y three=y one=x", version(5)},
		{"one that has no plan is empty", "a/none", "", version(5)},
		{"one that has none beside another", "a/none a/x", "one=x two=x", version(3)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("edge", strings.Fields(tt.namespaces)...)})
			got := p.Receive()
			if names(got.Table) != tt.want || got.Table.Version != tt.version {
				t.Errorf("the table is %v with %q, want %v with %q", got.Table.Version, names(got.Table), tt.version, tt.want)
			}
		})
	}
	t.Run("one that will have a plan is waited for", func(t *testing.T) {
		p := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("late", "a/x", "a/late")})
		until(t, "it waits", func() bool {
			for _, one := range b.Proxies() {
				if one.Node == "late" {
					return !one.Behind.IsZero() && one.Version == routing.Version{}
				}
			}
			return false
		})
		b.Publish(plan("a/late", 6, gateway("four", "late")))
		if got := names(p.Receive().Table); got != "one=x two=x four=late" {
			t.Errorf("the first table is %q", got)
		}
	})
	t.Run("a hidden gateway says who hides it", func(t *testing.T) {
		p := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("both", "a/x", "a/y")})
		p.Ack(p.Receive())
		until(t, "it is served", func() bool { return b.Deployed("a/y", "three").Served >= 1 })
		d := b.Deployed("a/y", "two")
		if !d.Known || !slices.Equal(d.Hidden, []string{"a/x"}) {
			t.Errorf("the deployment is %+v, want it hidden by a/x", d)
		}
	})
}

// Nothing of a namespace goes to a proxy that did not ask for it.
func TestNamespacesAreIsolated(t *testing.T) {
	b := serve(t, stream.Options{Planned: func(string) bool { return false }})
	publish := func(revision uint64) {
		secret := gateway("secret-gateway", "secret-condition")
		secret.Routes[0].Path = "secret-path"
		p := plan("b/secret", revision, secret)
		p.Table.Broken = []string{"secret-broken"}
		b.Publish(with(p, 1_000_000+revision))
		b.Publish(plan("a/open", revision+1, gateway("open", time.Duration(revision).String())))
	}
	publish(1)
	p := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("edge", "a/open", "a/other")})
	other := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("other", "b/secret")})
	for revision := uint64(1); revision < 40; revision += 2 {
		other.Ack(other.Receive())
		for {
			m, err := p.Next()
			if err != nil {
				t.Fatal(err)
			}
			if text := m.String(); strings.Contains(text, "secret") || strings.Contains(text, "1000") {
				t.Fatalf("the proxy of another namespace was sent %s", text)
			}
			got, err := p.Receiver.Receive(m.GetUpdate())
			if err != nil {
				t.Fatal(err)
			}
			p.Ack(got)
			if got.Table.Version.Revision > revision {
				break
			}
		}
		publish(revision + 2)
	}
}

func TestASecondSessionTakesOver(t *testing.T) {
	left := make(chan stream.Proxy, 10)
	b := serve(t, stream.Options{Hooks: stream.Hooks{Left: func(p stream.Proxy) { left <- p }}})
	b.Publish(plan(home, 1, gateway("a", "1")))
	first := streamtest.Join(t, b.address, streamtest.Options{})
	first.Ack(first.Receive())
	second := streamtest.Join(t, b.address, streamtest.Options{})
	m, err := first.Next()
	if err != nil || !strings.Contains(m.GetLeave().GetReason(), "taken over") || m.GetLeave().GetAfterNs() == 0 {
		t.Fatalf("the first session got %v, %v, want to be told that it is taken over", m, err)
	}
	if m, err = first.Next(); err == nil {
		t.Fatalf("the first session goes on with %v", m)
	}
	second.Ack(second.Receive())
	until(t, "the second serves", func() bool {
		list := b.Proxies()
		return len(list) == 1 && list[0].Connected && list[0].Version == version(1)
	})
	third := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("edge", home, "a/b")})
	if n := len(b.Proxies()); n != 2 {
		t.Errorf("there are %d proxies, want one for each set of namespaces", n)
	}
	third.Close()
	second.Close()
	for range 2 {
		if p := <-left; p.Connected || p.Reason == "" {
			t.Errorf("a proxy left as %+v", p)
		}
	}
	select {
	case p := <-left:
		t.Errorf("beside those that left, there is %+v", p)
	default:
	}
}

func TestProxiesThatLeftAreToldOf(t *testing.T) {
	now := time.Now()
	var past atomic.Int64
	b := serve(t, stream.Options{Clock: func() time.Time { return now.Add(time.Duration(past.Load())) }})
	p := streamtest.Join(t, b.address, streamtest.Options{})
	_ = p.Stream.CloseSend()
	if m, err := p.Next(); err == nil {
		t.Fatalf("after the end came %v", m)
	}
	until(t, "it has gone", func() bool { list := b.Proxies(); return len(list) == 1 && !list[0].Connected })
	if got := b.Proxies()[0]; got.Reason != "the proxy closed the session" || got.Gone.IsZero() {
		t.Errorf("it is told of as %+v", got)
	}
	past.Store(int64(10 * time.Minute))
	if list := b.Proxies(); len(list) != 0 {
		t.Errorf("10 min later there are %+v", list)
	}
}

func TestLeaveAsksTheProxiesOfANode(t *testing.T) {
	b := serve(t, stream.Options{})
	p := streamtest.Join(t, b.address, streamtest.Options{})
	other := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("other")})
	if n := b.Leave("edge", "maintenance", time.Second, "10.0.0.1:8091"); n != 1 {
		t.Errorf("it concerns %d sessions, want 1", n)
	}
	m, err := p.Next()
	want := &controlpb.Leave{Reason: "maintenance", Servers: []string{"10.0.0.1:8091"}, AfterNs: int64(time.Second)}
	if err != nil || m.GetLeave().String() != want.String() {
		t.Fatalf("it was told %v, %v", m, err)
	}
	if m, err := p.Next(); err == nil { // it does not go by itself
		t.Fatalf("the session goes on with %v", m)
	}
	b.Publish(plan(home, 1, gateway("a", "1")))
	other.Follow(version(1))
}

func TestServeEnds(t *testing.T) {
	b := serve(t, stream.Options{})
	p := streamtest.Join(t, b.address, streamtest.Options{})
	deaf := streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello("deaf")})
	ended := make(chan error, 1)
	go func() { ended <- b.stop() }()
	m, err := p.Next()
	if err != nil || m.GetLeave() == nil {
		t.Fatalf("at the end came %v, %v, want Leave", m, err)
	}
	p.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	deaf.Close()
}

func TestPlainTextIsForLoopbackAlone(t *testing.T) {
	s, err := stream.New(stream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	err = s.Serve(context.Background(), ln)
	if err == nil || !strings.Contains(err.Error(), "without credentials") {
		t.Errorf("Serve = %v, want a refusal", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

// A gateway that has no message does not keep others from proxies, and whoever
// waits for it is told.
func TestGatewaysThatCannotBeSent(t *testing.T) {
	b := serve(t, stream.Options{})
	bad := gateway("bad", "1")
	bad.Metadata = map[string]any{"x": make(chan int)}
	b.Publish(with(plan(home, 1, gateway("good", "1"), bad), 1))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	if got := names(p.Receive().Table); got != "good=1 bad" {
		t.Errorf("the table is %q, want the bad one named as broken", got)
	}
	if d := b.Deployed(home, "bad"); d.Fault == "" || d.Known {
		t.Errorf("the deployment is %+v, want a fault", d)
	}
	p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: &controlpb.Ack{Version: &controlpb.Version{Epoch: 7, Revision: 1}}}})
	if c := b.converges(t, 1); c.State != stream.Refused || !strings.Contains(c.Laggards[0].Reason, "is not sent the gateway bad: metadata") {
		t.Errorf("the change is %+v, want that proxies do not get it", c)
	}
	b.Publish(with(plan(home, 2, gateway("good", "1"), gateway("bad", "better")), 2))
	p.Follow(version(2))
	for id := uint64(1); id <= 2; id++ {
		b.becomes(t, id, stream.Converged, 0)
	}
}

func TestAnOlderPlanDoesNotCount(t *testing.T) {
	b := serve(t, stream.Options{})
	b.Publish(plan(home, 9, gateway("a", "new")))
	p := streamtest.Join(t, b.address, streamtest.Options{})
	p.Ack(p.Receive())
	b.Publish(plan(home, 8, gateway("a", "old")))
	b.Publish(plan("a/b", 10))
	until(t, "it was looked at", func() bool { _, ok := b.Convergence(0); return !ok && b.Proxies()[0].Version == version(9) })
	b.Publish(plan(home, 11, gateway("a", "newer")))
	if got := p.Receive(); names(got.Table) != "a=newer" {
		t.Errorf("then came %q", names(got.Table))
	}
}
