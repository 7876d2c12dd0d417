// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/metrics"
)

// In a storm of changes, proxies of three namespaces join, refuse, leave
// without a word and take each other's places. When it is over, whoever is
// there serves the newest table of what it asked for, and every change has
// converged.
func TestStorm(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	b := serve(t, stream.Options{Registry: registry, Patience: time.Millisecond, Heard: &listener{}})
	claims := []string{"a/x", "a/y", "a/z", "a/x a/y", "a/y a/x", "a/z a/x a/y"}
	over := make(chan struct{})
	var proxies sync.WaitGroup
	for i := range 16 {
		proxies.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // a test's own
			for round := 0; ; round++ {
				select {
				case <-over:
					return
				default:
				}
				// Some share a node, so that one takes over from the other.
				node := fmt.Sprintf("n%d", i/2*2+round%2*random.IntN(2))
				storming(t, b, node, strings.Fields(claims[i%len(claims)]), random, over)
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // a test's own
	id, revision := uint64(0), uint64(0)
	forms := map[string][]int{"a/x": make([]int, 6), "a/y": make([]int, 6), "a/z": make([]int, 6)}
	spaces := []string{"a/x", "a/y", "a/z"}
	change := func(ns string) {
		id++
		revision++
		list := forms[ns]
		list[random.IntN(len(list))] = random.IntN(4) // 0: there is none
		p := plan(ns, revision)
		for i, form := range list {
			if form > 0 {
				p.Table.Gateways = append(p.Table.Gateways, gateway(fmt.Sprintf("g%d", i), fmt.Sprint(ns, form)))
			}
		}
		b.Publish(with(p, id))
	}
	for range 200 {
		change(spaces[random.IntN(3)])
		until(t, "the change is planned", func() bool { _, known := b.Convergence(id); return known })
	}
	close(over)
	proxies.Wait()
	until(t, "all have gone", func() bool {
		return !slices.ContainsFunc(b.Proxies(), func(p stream.Proxy) bool { return p.Connected })
	})

	var last []*streamtest.Proxy
	for i, claim := range claims {
		last = append(last, streamtest.Join(t, b.address, streamtest.Options{Hello: streamtest.Hello(fmt.Sprintf("last%d", i), strings.Fields(claim)...)}))
	}
	for _, ns := range spaces {
		change(ns)
	}
	newest := map[string]uint64{"a/x": revision - 2, "a/y": revision - 1, "a/z": revision}
	for i, claim := range claims {
		want := uint64(0)
		for ns := range strings.FieldsSeq(claim) {
			want = max(want, newest[ns])
		}
		last[i].Follow(version(want))
	}
	for one := uint64(1); one <= id; one++ {
		if c := b.converges(t, one); c.State != stream.Converged {
			t.Errorf("change %d is %+v", one, c)
		}
	}
	for i, claim := range claims {
		got := last[i].Receiver
		seen := map[string]bool{}
		for ns := range strings.FieldsSeq(claim) {
			for g, form := range forms[ns] {
				name := fmt.Sprintf("g%d", g)
				if form == 0 || seen[name] {
					continue
				}
				seen[name] = true
				table, _ := wire.Encode(nil, plan(ns, 1, gateway(name, fmt.Sprint(ns, form))).Table)
				want, _ := table.Hash(name)
				if !slices.ContainsFunc(got.Held(), func(h *controlpb.Held) bool { return h.GetGateway() == name && wire.Hash(h.GetHash()) == want }) {
					t.Errorf("a proxy of %s does not have %s of %s", claim, name, ns)
				}
			}
		}
		if len(got.Held()) != len(seen) {
			t.Errorf("a proxy of %s has %d gateways, want %d", claim, len(got.Held()), len(seen))
		}
	}
	if n := counted(registry, metrics.ControlSessionsEnded.Name, "panic"); n > 0 {
		t.Errorf("%d sessions ended by a panic", n)
	}
}

// storming is one session of a proxy that behaves as chance has it.
func storming(t *testing.T, b *bed, node string, namespaces []string, random *rand.Rand, over <-chan struct{}) {
	t.Helper()
	p := streamtest.Dial(t, b.address, streamtest.Options{})
	defer p.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-over:
			p.Close()
		case <-ended:
		}
	}()
	p.Say(hello(streamtest.Hello(node, namespaces...)))
	for range random.IntN(20) {
		m, err := p.Stream.Recv()
		if err != nil || m.GetLeave() != nil {
			return
		}
		if m.GetUpdate() == nil {
			continue
		}
		r, err := p.Receiver.Receive(m.GetUpdate())
		if err != nil {
			t.Error(err)
			return
		}
		switch random.IntN(6) {
		case 0: // says nothing
		case 1, 2:
			if held := p.Receiver.Held(); len(held) > 0 {
				p.Nack(r, held[random.IntN(len(held))].GetGateway(), "chance")
			}
			p.Ack(&wire.Received{Table: r.Table})
		case 3:
			p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Nack{Nack: &controlpb.Nack{Version: wire.FromVersion(r.Table.Version)}}})
		default:
			p.Ack(r)
		}
	}
}

// More connections without a session than there may be are closed at once, and
// those that end make room.
func TestConnectionsAreBounded(t *testing.T) {
	b := serve(t, stream.Options{MaxProxies: 1})
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	dial := func() (answered bool) {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
			return false
		}
		n, _ := conn.Read(make([]byte, 9)) // its settings
		return n == 9
	}
	for i := range 64 {
		if !dial() {
			t.Fatalf("connection %d is not served", i+1)
		}
	}
	if dial() {
		t.Error("one connection too many is served")
	}
	_ = open[0].Close()
	until(t, "there is room again", dial)
}

// A token that is revoked ends the sessions that began by it.
func TestRevokedTokensEndSessions(t *testing.T) {
	p := newPKI(t)
	b := serve(t, stream.Options{Credentials: p.server, Tokens: p.tokens, Keepalive: time.Second})
	b.RecheckEvery(time.Millisecond)
	secret, id := p.token(t, "", "a/x")
	c := streamtest.Join(t, b.address, streamtest.Options{TLS: p.client(t, auth.RoleProxy, "", "a/x"), Token: secret, Hello: streamtest.Hello("t", "a/x")})
	if _, err := p.tokens.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	refuses(t, c, codes.Unauthenticated, "was revoked")
}

func TestHooksAndStates(t *testing.T) {
	registry := metrics.New(metrics.Options{})
	joined, left := make(chan stream.Proxy, 10), make(chan stream.Proxy, 10)
	b := serve(t, stream.Options{Registry: registry, Node: "c1", Hooks: stream.Hooks{
		Joined: func(p stream.Proxy) { joined <- p }, Left: func(p stream.Proxy) { left <- p },
	}})
	h := streamtest.Hello("edge")
	h.Zone, h.Build, h.Labels = "z1", "1.2.3", []*controlpb.Label{{Name: "tier", Value: "front"}}
	p := streamtest.Join(t, b.address, streamtest.Options{Hello: h})
	got := <-joined
	if got.Node != "edge" || got.Zone != "z1" || got.Build != "1.2.3" || got.Labels["tier"] != "front" || !got.Connected || got.Identity != "claim" || got.Since.IsZero() || got.Address == "" {
		t.Errorf("joined was told %+v", got)
	}
	states := func(current, behind, refusing int) {
		t.Helper()
		until(t, fmt.Sprintf("%d are current, %d behind, %d refuse", current, behind, refusing), func() bool {
			return counted(registry, metrics.ControlProxies.Name, "current") == current &&
				counted(registry, metrics.ControlProxies.Name, "behind") == behind &&
				counted(registry, metrics.ControlProxies.Name, "refusing") == refusing
		})
	}
	states(0, 1, 0)
	b.Publish(plan(home, 1, gateway("a", "1")))
	r := p.Receive()
	states(0, 1, 0)
	p.Ack(r)
	states(1, 0, 0)
	p.Nack(r, "a", "no")
	states(0, 0, 1)
	if sent, bytes := registry.ControlUpdates().Value(), registry.ControlUpdateBytes().Value(); sent != 1 || bytes < 20 {
		t.Errorf("%d updates of %d bytes are counted", sent, bytes)
	}
	p.Close()
	if gone := <-left; gone.Connected || gone.Gone.IsZero() || gone.Reason == "" {
		t.Errorf("left was told %+v", gone)
	}
	states(0, 0, 0)
}
