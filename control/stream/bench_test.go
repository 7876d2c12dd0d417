// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// large is a gateway with 5 routes of 4 instances; turn tells forms apart.
func large(name string, turn int) *routing.Gateway {
	g := &routing.Gateway{Name: name, Port: routing.Port{Number: 8080, Text: "8080/http"}, VirtualHosts: []string{name + ".example"}}
	for r := range 5 {
		route := &routing.Route{Path: fmt.Sprintf("%s/%d", name, r), Weight: 2000}
		for i := range 4 {
			route.Instances = append(route.Instances, &routing.Instance{
				Name: fmt.Sprintf("%s-%d-%d", name, r, i), Address: netip.AddrFrom4([4]byte{10, byte(turn >> 8), byte(turn), byte(i)}),
				Port: 8000 + r, Labels: []routing.Label{{Name: "app", Value: name}}, Ready: true,
			})
		}
		g.Routes = append(g.Routes, route)
	}
	return g
}

// BenchmarkOneChange1000Sessions changes one gateway of many, and waits until
// 1,000 sessions have acknowledged it; both ends are in this process. What the
// proxies do is to read the update and to acknowledge it.
func BenchmarkOneChange1000Sessions(b *testing.B) {
	for _, size := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("of %d gateways", size), func(b *testing.B) { oneChange(b, 1000, size) })
	}
}

func oneChange(b *testing.B, sessions, size int) {
	b.Helper()
	s := serve(b, stream.Options{})
	table := make([]*routing.Gateway, size)
	for i := range table {
		table[i] = large(fmt.Sprintf("gateway-%d", i), 0)
	}
	s.Publish(plan(home, 1, table...))
	var mu sync.Mutex
	var took []time.Duration
	var began time.Time
	var round, joined sync.WaitGroup
	joined.Add(sessions)
	round.Add(sessions)
	hello := held(b, table)
	for i := range sessions {
		h := proto.Clone(hello).(*controlpb.Hello)
		h.Node = fmt.Sprintf("n%d", i)
		go func() {
			p := streamtest.Join(b, s.address, streamtest.Options{Hello: h})
			for first := true; ; first = false {
				m, err := p.Next()
				if err != nil {
					return
				}
				u := m.GetUpdate()
				if u == nil || u.GetMore() {
					continue
				}
				ack := &controlpb.Ack{Version: u.GetVersion()}
				for _, named := range u.GetChanged() {
					ack.Served = append(ack.Served, &controlpb.Held{Gateway: named.GetName(), Hash: named.GetHash()})
				}
				p.Say(&controlpb.FromProxy{Message: &controlpb.FromProxy_Ack{Ack: ack}})
				if first {
					joined.Done()
					continue
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				round.Done()
			}
		}()
	}
	joined.Wait()
	until(b, "all serve the first table", func() bool {
		return !slices.ContainsFunc(s.Proxies(), func(p stream.Proxy) bool { return !p.Behind.IsZero() })
	})
	var whole time.Duration
	turn := 0
	for b.Loop() {
		turn++
		table = slices.Clone(table)
		table[turn%size] = large(fmt.Sprintf("gateway-%d", turn%size), turn)
		mu.Lock()
		began = time.Now()
		mu.Unlock()
		s.Publish(with(plan(home, uint64(turn+1), table...), uint64(turn)))
		round.Wait()
		if c, err := s.Wait(b.Context(), uint64(turn)); err != nil || c.State != stream.Converged {
			b.Fatalf("change %d: %+v, %v", turn, c, err)
		}
		whole = max(whole, time.Since(began))
		round.Add(sessions)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(whole.Microseconds())/1000, "slowest-change-ms")
}

// held is the Hello of a proxy that has all gateways.
func held(tb testing.TB, gateways []*routing.Gateway) *controlpb.Hello {
	tb.Helper()
	t, _ := wire.Encode(nil, &routing.Table{Version: version(1), Gateways: gateways})
	hello := streamtest.Hello("n")
	for _, g := range gateways {
		h, _ := t.Hash(g.Name)
		hello.Held = append(hello.Held, &controlpb.Held{Gateway: g.Name, Hash: h[:]})
	}
	return hello
}

// BenchmarkOneChange is what a change of one gateway costs until one session
// has acknowledged it, by how many gateways there are.
func BenchmarkOneChange(b *testing.B) {
	for _, size := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("of %d gateways", size), func(b *testing.B) {
			b.ReportAllocs()
			oneChange(b, 1, size)
		})
	}
}
