// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
)

func TestConnectionsCountWhileTheyLive(t *testing.T) {
	addr, conns := held(t)
	b := newBed(t, only(addr))
	c := b.connect()
	i := <-conns
	write(t, c, "12345")
	expect(t, i, "12345")
	write(t, i, "123")
	expect(t, c, "123")
	var now metrics.TunnelTotals
	for deadline := time.Now().Add(patience); ; runtime.Gosched() { // it counts what it has written
		now, _ = b.gateway.Routes[0].Series.ReadTunnels()
		if now.BytesIn == 5 && now.BytesOut == 3 || time.Now().After(deadline) {
			break
		}
	}
	if now.Open != 1 || now.BytesIn != 5 || now.BytesOut != 3 {
		t.Errorf("counted while it is open: %+v, want 1 with 5 bytes in and 3 out", now)
	}
	_ = c.Close()
	_ = i.Close()
	b.check(live.None, 1)
	b.ended(metrics.TunnelClosed)
	var route metrics.Totals
	b.gateway.Routes[0].Series.Read(&route)
	if route.Upstream.Sum <= 0 {
		t.Errorf("it took %v to connect", route.Upstream.Sum)
	}
}

// ended checks how the only connection ended.
func (b *bed) ended(want metrics.TunnelEnd) {
	b.t.Helper()
	b.totals()
	now, _ := b.gateway.Routes[0].Series.ReadTunnels()
	for end, n := range now.Ended {
		if got := metrics.TunnelEnd(end); (n == 1) != (got == want) {
			b.t.Errorf("%d ended by %v, want one by %v", n, got, want)
		}
	}
	if now.Open != 0 {
		b.t.Errorf("%d are open", now.Open)
	}
}

func TestHowConnectionsEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		does func(b *bed, c, i *net.TCPConn)
		want metrics.TunnelEnd
	}{
		{"both halves end", func(_ *bed, c, i *net.TCPConn) { _ = c.CloseWrite(); _ = i.CloseWrite() }, metrics.TunnelClosed},
		{"the client resets", func(_ *bed, c, _ *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, metrics.TunnelClientGone},
		{"the instance resets", func(_ *bed, _, i *net.TCPConn) { _ = i.SetLinger(0); _ = i.Close() }, metrics.TunnelInstanceGone},
		{"it stands still", func(b *bed, _, _ *net.TCPConn) { b.sweep() }, metrics.TunnelIdle},
		{"it is cut", func(b *bed, _, _ *net.TCPConn) { b.listener.Abort() }, metrics.TunnelCut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, conns := held(t)
			b := newBed(t, fmt.Sprintf(`{"[%s]": {sluice: {timeouts: {tunnel: 10ms}}}}`, addr))
			c := b.connect()
			i := <-conns
			write(t, c, "ping")
			expect(t, i, "ping")
			tt.does(b, c, i)
			b.ended(tt.want)
		})
	}
}

// A connection that lives for hours must not keep the table that was in force
// when it began.
func TestConnectionsHoldNoTable(t *testing.T) {
	b := newBed(t, only(origin(t, echo)))
	c := b.connect()
	write(t, c, "ping")
	expect(t, c, "ping")
	held := weak.Make(b.handle.Load())
	b.handle.Store(&live.Generation{Snapshot: b.handle.Load().Snapshot})
	b.gateway = nil
	for deadline := time.Now().Add(patience); held.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the generation lives on")
		}
	}
	write(t, c, "pong")
	expect(t, c, "pong")
	_ = c.CloseWrite()
	expectEnd(t, c, io.EOF)
}

func TestAbortWhileAnInstanceIsSought(t *testing.T) {
	b := newBed(t, byName(t, "sni == a.example", "sni == b.example"))
	c := b.connect() // it says nothing
	b.listener.Abort()
	b.server.Close()
	expectEnd(t, c, syscall.ECONNRESET)
}
