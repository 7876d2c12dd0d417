// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
)

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

// refused returns how many connections were refused for a reason.
func refused(m *metrics.Registry, r live.Reason) int64 {
	return m.ConnectionsRefused(r.String()).Value()
}

func TestConnectionsAreBounded(t *testing.T) {
	m := metrics.New(metrics.Options{})
	g := gate.New(gate.Options{Connections: 2, Metrics: m})
	client := address("192.0.2.1")
	first, reason := g.Admit(client)
	if reason != live.None {
		t.Fatalf("the first of two is refused: %v", reason)
	}
	if _, reason := g.Admit(client); reason != live.None {
		t.Fatalf("the second of two is refused: %v", reason)
	}
	for range 3 {
		if _, reason := g.Admit(client); reason != live.ConnectionLimit {
			t.Errorf("the third of two: %v, want connection_limit", reason)
		}
	}
	first.Leave()
	if _, reason := g.Admit(client); reason != live.None {
		t.Errorf("after one has left, the next is refused: %v", reason)
	}
	if n := refused(m, live.ConnectionLimit); n != 3 {
		t.Errorf("%d refusals counted, want 3", n)
	}
	if n := g.Open(); n != 2 {
		t.Errorf("%d are in, want 2", n)
	}
}

func TestConnectionsOfAnAddressAreBounded(t *testing.T) {
	exempt := netip.MustParsePrefix("198.51.100.0/24")
	for _, tt := range []struct {
		name, first, second string
		want                live.Reason
	}{
		{"the same address", "192.0.2.1", "192.0.2.1", live.AddressLimit},
		{"another address", "192.0.2.1", "192.0.2.2", live.None},
		{"the same address, written as one of IPv6", "192.0.2.1", "::ffff:192.0.2.1", live.AddressLimit},
		{"another address of one IPv6 network", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", live.AddressLimit},
		{"another IPv6 network", "2001:db8:1:2::1", "2001:db8:1:3::1", live.None},
		{"the same link-local address on another interface", "fe80::1%eth0", "fe80::1%eth1", live.AddressLimit},
		{"an address of many clients", "198.51.100.7", "198.51.100.7", live.None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gate.New(gate.Options{PerAddress: 1, Exempt: exempt.Contains})
			seat, reason := g.Admit(address(tt.first))
			if reason != live.None {
				t.Fatalf("the first is refused: %v", reason)
			}
			if _, reason = g.Admit(address(tt.second)); reason != tt.want {
				t.Errorf("Admit(%s) beside %s = %v, want %v", tt.second, tt.first, reason, tt.want)
			}
			if tt.want == live.None {
				return
			}
			if n := g.Open(); n != 1 {
				t.Errorf("%d are in after a refusal, want 1", n)
			}
			seat.Leave()
			if _, reason = g.Admit(address(tt.second)); reason != live.None {
				t.Errorf("after the first has left: %v", reason)
			}
		})
	}
}

func TestNoBoundOfAnAddressIsTheDefault(t *testing.T) {
	g := gate.New(gate.Options{Connections: 1000})
	for range 1000 {
		if _, reason := g.Admit(address("192.0.2.1")); reason != live.None {
			t.Fatalf("refused: %v", reason)
		}
	}
}

func TestBoundFollowsFromDescriptors(t *testing.T) {
	for _, tt := range []struct{ descriptors, want int }{
		{0, 1}, {100, 1}, {1024, 624}, {20_000, 14_856}, {1 << 20, 786_288},
	} {
		if got := gate.FromDescriptors(tt.descriptors); got != tt.want {
			t.Errorf("FromDescriptors(%d) = %d, want %d", tt.descriptors, got, tt.want)
		}
	}
	if n := gate.New(gate.Options{}).Limit(); n < 1 {
		t.Errorf("the default bound is %d", n)
	}
}

func TestZeroGateBoundsNothing(t *testing.T) {
	var g gate.Gate
	seat, reason := g.Admit(address("192.0.2.1"))
	if reason != live.None || g.Level() != gate.Calm {
		t.Errorf("Admit = %v, level %v", reason, g.Level())
	}
	seat.Leave()
	new(gate.Seat).Leave()
	if g.Open() != 0 {
		t.Errorf("%d are in, want 0", g.Open())
	}
}

// A connection that comes by a balancer counts as one of its client once that
// is known.
func TestConnectionsCountByTheClientThatIsNamed(t *testing.T) {
	g := gate.New(gate.Options{Connections: 10, PerAddress: 1})
	var seats [3]gate.Seat
	for i := range seats {
		var reason live.Reason
		if seats[i], reason = g.Admit(netip.Addr{}); reason != live.None {
			t.Fatalf("connection %d of nobody known: %v", i, reason)
		}
	}
	one, other := address("192.0.2.1"), address("192.0.2.2")
	for i, tt := range []struct {
		from netip.Addr
		want live.Reason
	}{{one, live.None}, {one, live.AddressLimit}, {other, live.None}} {
		if got := seats[i].Name(tt.from); got != tt.want {
			t.Errorf("connection %d is of %v: %v, want %v", i, tt.from, got, tt.want)
		}
	}
	if _, reason := g.Admit(one); reason != live.AddressLimit {
		t.Errorf("one more that comes by itself: %v, want %v", reason, live.AddressLimit)
	}
	for i := range seats {
		seats[i].Leave()
	}
	seat, reason := g.Admit(one)
	if reason != live.None || g.Open() != 1 {
		t.Errorf("after all have left: %v, %d open", reason, g.Open())
	}
	if reason := seat.Name(other); reason != live.None {
		t.Errorf("it may not be named once more: %v", reason)
	}
	seat.Leave()
}

// watched runs a gate whose memory the test sets, in a bubble.
func watched(t *testing.T, o gate.Options) (g *gate.Gate, use func(percent uint64) gate.Level) {
	t.Helper()
	var used atomic.Uint64
	o.Memory = func() (uint64, uint64) { return used.Load() << 20, 100 << 20 }
	g = gate.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return g, func(percent uint64) gate.Level {
		used.Store(percent)
		time.Sleep(time.Second)
		synctest.Wait()
		return g.Level()
	}
}

func TestMemoryHasTwoMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var relieved atomic.Int64
		m := metrics.New(metrics.Options{})
		g, use := watched(t, gate.Options{Connections: 10, Metrics: m, Relieve: func() { relieved.Add(1) }})
		for _, tt := range []struct {
			percent uint64
			level   gate.Level
			admits  live.Reason
		}{
			{10, gate.Calm, live.None},
			{79, gate.Calm, live.None},
			{80, gate.Tight, live.None},
			{76, gate.Tight, live.None}, // left well below the mark
			{89, gate.Tight, live.None},
			{90, gate.Short, live.Overloaded},
			{86, gate.Short, live.Overloaded},
			{84, gate.Tight, live.None},
			{130, gate.Short, live.Overloaded},
			{74, gate.Calm, live.None},
		} {
			before := relieved.Load()
			if got := use(tt.percent); got != tt.level {
				t.Errorf("at %d %%: level %v, want %v", tt.percent, got, tt.level)
			}
			if called := relieved.Load() > before; called != (tt.level != gate.Calm) {
				t.Errorf("at %d %%: relieved: %v", tt.percent, called)
			}
			seat, reason := g.Admit(address("192.0.2.1"))
			seat.Leave()
			if reason != tt.admits {
				t.Errorf("at %d %%: Admit = %v, want %v", tt.percent, reason, tt.admits)
			}
		}
		if n := refused(m, live.Overloaded); n != 3 {
			t.Errorf("%d refusals counted, want 3", n)
		}
	})
}

func TestNoMemoryLimitMeansCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(gate.Options{Memory: func() (uint64, uint64) { return 1 << 60, 0 }})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		g.Run(ctx)
		if l := g.Level(); l != gate.Calm {
			t.Errorf("level %v, want calm", l)
		}
	})
}

func TestLogTellsOfRefusalsOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer // read when Run has ended
		g := gate.New(gate.Options{Connections: 1, Log: slog.New(slog.NewTextHandler(&log, nil)), Memory: func() (uint64, uint64) { return 0, 0 }})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		go func() {
			for range 10_000 { // a flood of five seconds
				_, _ = g.Admit(address("192.0.2.1"))
				time.Sleep(500 * time.Microsecond)
			}
		}()
		g.Run(ctx)
		text := log.String()
		if n := strings.Count(text, "connections refused"); n < 4 || n > 6 {
			t.Errorf("%d log entries of a flood of five seconds, want about 5:\n%s", n, text)
		}
		if !strings.Contains(text, "reason=connection_limit") {
			t.Errorf("the log does not name the reason:\n%s", text)
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	g := gate.New(gate.Options{Requests: 2})
	if !g.Wary() {
		t.Error("requests are not looked at though they are bounded")
	}
	for i, want := range []bool{true, true, false, false} {
		if got := g.Begin(); got != want {
			t.Errorf("request %d may begin: %v, want %v", i, got, want)
		}
	}
	g.End()
	if !g.Begin() || g.Begin() {
		t.Error("after one has ended, not one may begin")
	}
	free := gate.New(gate.Options{})
	if free.Wary() || !free.Begin() {
		t.Error("without a bound, requests are looked at")
	}
	free.End()
}
