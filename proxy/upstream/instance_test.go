// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// patience bounds what a test waits for; only a fault ever waits so long.
const patience = time.Minute

// eventually waits until a claim holds that only the kernel or another
// goroutine can make true.
func eventually(t *testing.T, what string, claim func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !claim(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// origin is a server that accepts connections and leaves them alone.
type origin struct {
	addr  netip.AddrPort
	conns chan *net.TCPConn
}

func listen(t *testing.T) *origin {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{addr: ln.Addr().(*net.TCPAddr).AddrPort(), conns: make(chan *net.TCPConn, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			o.conns <- nc.(*net.TCPConn)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		for len(o.conns) > 0 {
			_ = (<-o.conns).Close()
		}
	})
	return o
}

// next returns the connection that was accepted next.
func (o *origin) next(t *testing.T) *net.TCPConn {
	t.Helper()
	select {
	case nc := <-o.conns:
		t.Cleanup(func() { _ = nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(patience))
		return nc
	case <-time.After(patience):
		t.Fatal("no connection came")
		return nil
	}
}

func (o *origin) target(p *upstream.Pool) *upstream.Target {
	return p.Target(o.addr.Addr().String(), int(o.addr.Port()))
}

// newPool returns a pool and the gauge of its connections.
func newPool(shape func(*upstream.Options)) (*upstream.Pool, *metrics.Gauge) {
	open := metrics.New(metrics.Options{}).ConnectionsOpen("upstream")
	o := upstream.Options{Sweeper: new(socket.Sweeper), Open: open}
	if shape != nil {
		shape(&o)
	}
	return upstream.New(o), open
}

func TestConnectionsToAnInstanceAreBounded(t *testing.T) {
	p, open := newPool(func(o *upstream.Options) { o.MaxOpen = 2 })
	o := listen(t)
	i := o.target(p).Instances()[0]
	a := dial(t, i)
	dial(t, i)
	if _, err := i.Dial(t.Context(), patience); !errors.Is(err, upstream.ErrFull) {
		t.Fatalf("Dial() error = %v beyond the bound, want ErrFull", err)
	}
	a.Close()
	a.Close() // counts once
	dial(t, i)
	if _, err := i.Dial(t.Context(), patience); !errors.Is(err, upstream.ErrFull) {
		t.Errorf("Dial() error = %v beyond the bound, want ErrFull", err)
	}
	if n := open.Value(); n != 2 {
		t.Errorf("%d connections are open, want 2", n)
	}
	refused := p.Target("127.0.0.1", freeport.One(t)).Instances()[0]
	for range 3 { // dials that fail do not count
		if _, err := refused.Dial(t.Context(), patience); err == nil || errors.Is(err, upstream.ErrFull) {
			t.Errorf("Dial() error = %v where nothing listens", err)
		}
	}
}

func dial(t *testing.T, i *upstream.Instance) *upstream.Conn {
	t.Helper()
	c, err := i.Dial(t.Context(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestIdleConnections(t *testing.T) {
	for _, shards := range []int{1, 4} {
		t.Run(fmt.Sprintf("the one used last comes first, %d shards", shards), func(t *testing.T) {
			p, _ := newPool(func(o *upstream.Options) { o.Shards = shards })
			i := listen(t).target(p).Instances()[0]
			if i.Get(0, socket.Now(), false) != nil {
				t.Error("a connection came out of nothing")
			}
			a, b := dial(t, i), dial(t, i)
			if a.Reused || b.Reused {
				t.Error("a fresh connection counts as reused")
			}
			i.Put(1, a, socket.Now(), time.Minute)
			i.Put(1, b, socket.Now(), time.Minute)
			if n := p.Idle(); n != 2 {
				t.Errorf("Idle() = %d, want 2", n)
			}
			if c := i.Get(1, socket.Now(), true); c != b || !c.Reused {
				t.Errorf("Get() = %p, want %p, marked as reused", c, b)
			}
			if c := i.Get(2, socket.Now(), true); c != a {
				t.Errorf("Get() of another shard = %p, want %p", c, a)
			}
			if i.Get(1, socket.Now(), false) != nil {
				t.Error("one connection came out twice")
			}
		})
	}
}

func TestLooks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		age     time.Duration
		busy    int // exchanges under way at the instance
		look    bool
		ruin    func(c *upstream.Conn, peer *net.TCPConn)
		handled bool // handed out
	}{
		{"a fresh one of a busy instance is not looked at", -time.Hour, 3, false, ended, true},
		{"a fresh one of a quiet instance is", -time.Hour, 2, false, ended, false},
		{"a fresh one is if asked for", -time.Hour, 3, true, ended, false},
		{"one that was idle for 1 ms is", time.Millisecond, 3, false, ended, false},
		{"bytes that nobody asked for are found", time.Second, 3, false, spoken, false},
		{"one that waits is handed out", time.Hour, 0, true, nil, true},
		{"one that expired is never", -time.Hour, 3, false, func(c *upstream.Conn, _ *net.TCPConn) { c.Expire() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, open := newPool(nil)
			o := listen(t)
			target := o.target(p)
			i := target.Instances()[0]
			for range tt.busy {
				var w upstream.Walk
				target.Begin(&w, nil, socket.Now()) // round robin asks nothing
				w.Next()
				defer w.End()
			}
			c := dial(t, i)
			peer := o.next(t)
			i.Put(0, c, socket.Now(), 2*time.Hour)
			c.Aged(tt.age)
			if tt.ruin != nil {
				tt.ruin(c, peer)
				eventually(t, "it is seen", func() bool { return !c.Alive() })
			}
			got := i.Get(0, socket.Now(), tt.look)
			if (got != nil) != tt.handled {
				t.Fatalf("Get() = %v, want handed out: %v", got, tt.handled)
			}
			if tt.handled {
				got.Close()
			}
			if n := open.Value(); n != 0 {
				t.Errorf("%d connections are open, want 0", n)
			}
		})
	}
	t.Run("behind a dead one stands another", func(t *testing.T) {
		p, _ := newPool(nil)
		o := listen(t)
		i := o.target(p).Instances()[0]
		a := dial(t, i)
		o.next(t)
		b := dial(t, i)
		i.Put(0, a, socket.Now(), time.Minute)
		i.Put(0, b, socket.Now(), time.Minute)
		ended(b, o.next(t))
		eventually(t, "it is seen", func() bool { return !b.Alive() })
		if c := i.Get(0, socket.Now(), true); c != a {
			t.Errorf("Get() = %p, want %p", c, a)
		}
	})
}

func ended(_ *upstream.Conn, peer *net.TCPConn) { _ = peer.Close() }
func spoken(_ *upstream.Conn, peer *net.TCPConn) {
	_, _ = io.WriteString(peer, "HTTP/1.1 408 \r\n\r\n")
}

func TestPutOfAnExpiredConnection(t *testing.T) {
	p, open := newPool(nil)
	i := listen(t).target(p).Instances()[0]
	c := dial(t, i)
	c.Expire()
	i.Put(0, c, socket.Now(), time.Minute)
	if p.Idle() != 0 || open.Value() != 0 {
		t.Errorf("%d idle and %d open, want it closed", p.Idle(), open.Value())
	}
}

func TestGetLeavesOutWhatMayNoLongerWait(t *testing.T) {
	p, open := newPool(nil)
	i := listen(t).target(p).Instances()[0]
	for _, look := range []bool{false, true} {
		c := dial(t, i)
		now := socket.Now()
		i.Put(0, c, now, time.Millisecond)
		if got := i.Get(0, now+int64(time.Millisecond), look); got != nil {
			t.Errorf("look %v: a connection came out after its time", look)
		}
		i.Put(0, dial(t, i), now, time.Millisecond)
		if got := i.Get(0, now+int64(time.Millisecond)-1, look); got == nil {
			t.Errorf("look %v: no connection came out within its time", look)
		} else {
			got.Close()
		}
	}
	if open.Value() != 0 {
		t.Errorf("%d connections are open, want none", open.Value())
	}
}

func TestReap(t *testing.T) {
	p, open := newPool(func(o *upstream.Options) { o.Shards = 2 })
	o := listen(t)
	i := o.target(p).Instances()[0]
	const n = 300 // several batches
	var old, dead []*upstream.Conn
	for k := range n {
		c := dial(t, i)
		peer := o.next(t)
		i.Put(uint32(k/(n/2)), c, socket.Now(), time.Hour)
		switch k % 3 {
		case 0:
			c.Aged(2 * time.Hour)
			old = append(old, c)
		case 1:
			_ = peer.Close()
			dead = append(dead, c)
		}
	}
	for _, c := range dead {
		eventually(t, "the end is seen", func() bool { return !c.Alive() })
	}
	p.Reap()
	if p.Idle() != n/3 || open.Value() != n/3 {
		t.Errorf("%d idle and %d open, want %d", p.Idle(), open.Value(), n/3)
	}
	for c := i.Get(0, socket.Now(), false); c != nil; c = i.Get(0, socket.Now(), false) {
		if slices.Contains(old, c) || slices.Contains(dead, c) {
			t.Error("a connection came out that should have been closed")
		}
		c.Close()
	}
}

func TestRetire(t *testing.T) {
	p, open := newPool(nil)
	o := listen(t)
	target := o.target(p)
	i := target.Instances()[0]
	idle, busy := dial(t, i), dial(t, i)
	peers := []*net.TCPConn{o.next(t), o.next(t)}
	i.Put(0, idle, socket.Now(), time.Minute)
	p.Retain([]*upstream.Target{target})
	if p.Idle() != 1 {
		t.Fatal("an instance that is needed was retired")
	}
	p.Retain(nil)
	if p.Idle() != 0 || open.Value() != 1 {
		t.Errorf("%d connections are open, want the busy one alone", open.Value())
	}
	// The busy one finishes, and whoever holds the target can still connect.
	if _, err := busy.Write([]byte("x")); err != nil {
		t.Errorf("Write() on a busy connection = %v", err)
	}
	late := dial(t, target.Instances()[0])
	i.Put(0, late, socket.Now(), time.Minute)
	i.Put(0, busy, socket.Now(), time.Minute)
	if open.Value() != 0 || i.Get(0, socket.Now(), false) != nil {
		t.Errorf("%d connections are open, want all closed on return", open.Value())
	}
	for _, peer := range peers {
		if _, err := io.Copy(io.Discard, peer); err != nil {
			t.Errorf("the instance saw %v, want an orderly end", err)
		}
	}
}

func TestDial(t *testing.T) {
	refused := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(freeport.One(t)))
	o := listen(t)
	ended, end := context.WithCancel(t.Context())
	end()
	for _, tt := range []struct {
		name    string
		ctx     context.Context
		timeout time.Duration
		addr    netip.AddrPort
		want    error
	}{
		{"it connects", t.Context(), patience, o.addr, nil},
		{"nobody listens", t.Context(), patience, refused, syscall.ECONNREFUSED},
		{"the time is over", t.Context(), 1, o.addr, context.DeadlineExceeded},
		{"the caller gives up", ended, patience, o.addr, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, open := newPool(nil)
			i := p.Target(tt.addr.Addr().String(), int(tt.addr.Port())).Instances()[0]
			c, err := i.Dial(tt.ctx, tt.timeout)
			if !errors.Is(err, tt.want) {
				// Canceled is told by the text alone: net has an error of its own.
				if !errors.Is(tt.want, context.Canceled) || err == nil {
					t.Fatalf("Dial() = %v, want %v", err, tt.want)
				}
			}
			want := int64(0)
			if err == nil {
				want = 1
			}
			if open.Value() != want {
				t.Errorf("%d connections counted, want %d", open.Value(), want)
			}
			if err == nil && (!c.Close() || c.Close() || c.Abort() || open.Value() != 0) {
				t.Error("a connection that is closed three times is not counted down once")
			}
		})
	}
}

func TestAbortResets(t *testing.T) {
	p, open := newPool(nil)
	o := listen(t)
	c := dial(t, o.target(p).Instances()[0])
	c.Abort()
	if _, err := o.next(t).Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the instance saw %v, want a reset", err)
	}
	if open.Value() != 0 {
		t.Errorf("%d connections are open, want 0", open.Value())
	}
}

// runPool runs a pool until the test ends.
func runPool(t *testing.T, p *upstream.Pool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		p.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
