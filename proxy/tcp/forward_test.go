// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/tcp"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/proxy/upstream/upstreamtest"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// patience bounds what a test waits for; only a fault ever waits so long.
const patience = time.Minute

// bed forwards connections of one TCP gateway, whose port is only a name
// here: connections are handed in.
type bed struct {
	t        *testing.T
	server   *tcp.Server
	sweeper  *socket.Sweeper
	listener tcp.Listener
	gateway  *live.Gateway
	registry *metrics.Registry
	handle   live.Handle
	ctx      context.Context //nolint:containedctx // the life of the bed
}

const port = 9001

// newBed forwards to routes, by what else the lines say of the gateway.
func newBed(t *testing.T, routes string, lines ...string) *bed {
	t.Helper()
	return newBedWith(t, upstream.Options{}, routes, lines...)
}

// newBedWith is newBed with a pool of other options.
func newBedWith(t *testing.T, o upstream.Options, routes string, lines ...string) *bed {
	t.Helper()
	docs, faults := routing.Read("test.yaml", fmt.Appendf(nil, "name: g\nport: %d/tcp\n%s\nroutes: %s\n", port, strings.Join(lines, "\n"), routes))
	table, more := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	snapshot, last := routing.Compile(nil, table, routing.CompileOptions{Seed: 1})
	for _, list := range [][]*routing.Fault{faults, more, last} {
		for _, f := range list {
			if f.Severity == routing.Refused {
				t.Fatalf("fault: %v", f)
			}
		}
	}
	b := &bed{
		t: t, sweeper: new(socket.Sweeper), registry: metrics.New(metrics.Options{Reasons: live.Reasons()}),
		listener: tcp.Listener{Port: port},
	}
	names := upstreamtest.ServeNames(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	o.Sweeper, o.Open, o.Resolver = b.sweeper, b.registry.ConnectionsOpen("upstream"), upstream.ResolverAt(names.Addr())
	binder := live.Binder{Registry: b.registry, Pool: upstream.New(o)}
	gen := binder.Bind(t.Context(), b.handle.Load(), snapshot)
	b.handle.Store(gen)
	b.gateway = gen.Gateway(snapshot.ByName("g"))
	b.server = tcp.New(tcp.Options{
		Handle: &b.handle, Sweeper: b.sweeper,
		Open: b.registry.ConnectionsOpen("tcp"), Books: b.registry.Books(), Panics: live.NewPanics(b.registry.Panics(), nil),
		Retried: b.registry.Retries("connected"), RetrySpent: b.registry.Retries("retry_budget_spent"),
	})
	ctx, cancel := context.WithCancel(context.Background())
	b.ctx = ctx
	t.Cleanup(func() {
		cancel()
		b.listener.Abort()
		b.server.Close()
	})
	return b
}

// connect returns a client whose connection is forwarded.
func (b *bed) connect() *net.TCPConn {
	b.t.Helper()
	ours, theirs := pair(b.t)
	b.server.Serve(b.ctx, &b.listener, ours, gate.Seat{})
	return theirs
}

// pair returns both ends of a connection.
func pair(t *testing.T) (accepted, dialled *net.TCPConn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	_ = a.SetDeadline(time.Now().Add(patience))
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), a.(*net.TCPConn)
}

// origin is an instance whose connections are served by a function.
func origin(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(patience))
			all.Go(func() {
				defer nc.Close()
				serve(nc.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

// held returns an instance whose connections the test plays itself.
func held(t *testing.T) (addr string, conns chan *net.TCPConn) {
	t.Helper()
	conns = make(chan *net.TCPConn, 100)
	over := make(chan struct{})
	addr = origin(t, func(nc *net.TCPConn) {
		conns <- nc
		<-over
	})
	t.Cleanup(func() { close(over) }) // runs before origin's
	return addr, conns
}

func echo(nc *net.TCPConn) {
	_, _ = io.Copy(struct{ io.Writer }{nc}, struct{ io.Reader }{nc})
	_ = nc.CloseWrite()
}

// refusing returns an address that nobody listens on.
func refusing(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freeport.One(t)))
}

func only(addr string) string { return fmt.Sprintf(`{"[%s]": {}}`, addr) }

// totals waits until no exchange is in flight, and returns the counts.
func (b *bed) totals() metrics.Totals {
	b.t.Helper()
	var t metrics.Totals
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		if b.listener.Open() == 0 { // before it is read what they counted
			b.gateway.Series.Read(&t)
			if t.InFlight == 0 {
				return t
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%d exchanges and %d connections do not end", t.InFlight, b.listener.Open())
		}
	}
}

// check compares what was counted: nothing may be left open.
func (b *bed) check(reason live.Reason, n int) {
	b.t.Helper()
	t := b.totals()
	for i, name := range live.Reasons() {
		want := uint64(0)
		if live.Reason(i) == reason && reason != live.None {
			want = uint64(n)
		}
		if t.Reasons[i] != want {
			b.t.Errorf("%d failures of reason %s, want %d", t.Reasons[i], name, want)
		}
	}
	if got := t.Requests[metrics.ClassNone]; got != uint64(n) {
		b.t.Errorf("%d connections counted, want %d", got, n)
	}
	for _, kind := range []string{"tcp", "upstream"} {
		if open := b.registry.ConnectionsOpen(kind).Value(); open != 0 {
			b.t.Errorf("%d connections of kind %s are open, want 0", open, kind)
		}
	}
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v; want %q", b, err, want)
	}
}

func expectEnd(t *testing.T, r io.Reader, want error) {
	t.Helper()
	n, err := r.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		t.Fatalf("got %d bytes, %v; want %v", n, err, want)
	}
}

func TestHalvesEndByThemselves(t *testing.T) {
	t.Run("the client's first", func(t *testing.T) {
		addr, conns := held(t)
		b := newBed(t, only(addr))
		c := b.connect()
		write(t, c, "question")
		_ = c.CloseWrite()
		i := <-conns
		expect(t, i, "question")
		expectEnd(t, i, io.EOF)
		write(t, i, "answer")
		expect(t, c, "answer")
		write(t, i, "more")
		expect(t, c, "more")
		_ = i.CloseWrite()
		expectEnd(t, c, io.EOF)
		b.check(live.None, 1)
	})
	t.Run("the instance's first", func(t *testing.T) {
		addr, conns := held(t)
		b := newBed(t, only(addr))
		c := b.connect()
		i := <-conns
		write(t, i, "greeting")
		_ = i.CloseWrite()
		expect(t, c, "greeting")
		expectEnd(t, c, io.EOF)
		write(t, c, "late")
		expect(t, i, "late")
		_ = c.CloseWrite()
		expectEnd(t, i, io.EOF)
		b.check(live.None, 1)
	})
}

func TestLargeTransfers(t *testing.T) {
	const size = 24 << 20
	b := newBed(t, only(origin(t, echo)))
	c := b.connect()
	sum := sha256.New()
	var sent sync.WaitGroup
	sent.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		buf := make([]byte, 100_000)
		for left := size; left > 0; {
			n := min(1+r.IntN(len(buf)), left) // pieces of all sizes
			for i := range buf[:n] {
				buf[i] = byte(r.Uint32())
			}
			sum.Write(buf[:n])
			if _, err := c.Write(buf[:n]); err != nil {
				t.Errorf("Write() = %v", err)
				return
			}
			left -= n
		}
		_ = c.CloseWrite()
	})
	back := sha256.New()
	n, err := io.Copy(back, c)
	sent.Wait()
	if err != nil || n != size || !bytes.Equal(back.Sum(nil), sum.Sum(nil)) {
		t.Errorf("%d bytes came back, %v; want the %d that were sent", n, err, size)
	}
	b.check(live.None, 1)
	if got := b.totals(); got.BytesIn != size || got.BytesOut != size {
		t.Errorf("%d bytes in and %d out counted, want %d", got.BytesIn, got.BytesOut, size)
	}
}

func TestBytesAreCountedByDirection(t *testing.T) {
	addr, conns := held(t)
	b := newBed(t, only(addr))
	c := b.connect()
	i := <-conns
	write(t, c, "12345")
	expect(t, i, "12345")
	write(t, i, strings.Repeat("x", 30_000))
	expect(t, c, strings.Repeat("x", 30_000))
	_ = c.Close()
	_ = i.Close()
	got := b.totals()
	if got.BytesIn != 5 || got.BytesOut != 30_000 {
		t.Errorf("%d bytes in and %d out, want 5 and 30000", got.BytesIn, got.BytesOut)
	}
	var route metrics.Totals
	b.gateway.Routes[0].Series.Read(&route)
	if route.BytesIn != 5 || route.BytesOut != 30_000 {
		t.Errorf("the route counted %d bytes in and %d out", route.BytesIn, route.BytesOut)
	}
}

func TestStandingStillForTooLong(t *testing.T) {
	addr, conns := held(t)
	b := newBed(t, fmt.Sprintf(`{"[%s]": {sluice: {timeouts: {tunnel: 10ms}}}}`, addr))
	ctx, cancel := context.WithCancel(t.Context())
	var sweeping sync.WaitGroup
	c := b.connect()
	i := <-conns
	sweeping.Go(func() { b.sweeper.Run(ctx) })
	defer sweeping.Wait()
	defer cancel()
	// Neither side may take what it has got for complete.
	expectEnd(t, c, syscall.ECONNRESET)
	expectEnd(t, i, syscall.ECONNRESET)
	b.check(live.None, 1)
}

func TestUnreachableInstances(t *testing.T) {
	t.Run("no instance: the client is reset", func(t *testing.T) {
		b := newBed(t, only(refusing(t)))
		expectEnd(t, b.connect(), syscall.ECONNRESET)
		b.check(live.ConnectRefused, 1)
	})
	t.Run("no route", func(t *testing.T) {
		b := newBed(t, fmt.Sprintf(`{"[%s]": {weight: 0%%}}`, refusing(t)))
		expectEnd(t, b.connect(), syscall.ECONNRESET)
		b.check(live.NoRoute, 1)
	})
	t.Run("a route that leads nowhere", func(t *testing.T) {
		b := newBed(t, "{other: {}}")
		expectEnd(t, b.connect(), syscall.ECONNRESET)
		b.check(live.NoReadyInstance, 1)
	})
}

// The name leads to three addresses, of which one listens.
func TestAnInstanceThatRefusesIsPassedOver(t *testing.T) {
	addr := origin(t, echo)
	_, p, _ := net.SplitHostPort(addr)
	for _, tt := range []struct {
		name           string
		attempts       int
		served, failed int
	}{
		{"all are tried", 3, 30, 0},
		{"as many as are allowed", 2, 20, 10},
		{"one alone", 1, 10, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routes := fmt.Sprintf(`{"[shop.test.:%s]": {balance: roundrobin, sluice: {retries: {attempts: %d}}}}`, p, tt.attempts-1)
			b := newBed(t, routes)
			served := 0
			for range 30 {
				c := b.connect()
				_, _ = io.WriteString(c, "ping") // it may be reset already
				_ = c.CloseWrite()
				if got, err := io.ReadAll(c); err == nil && string(got) == "ping" {
					served++
				}
			}
			if served != tt.served {
				t.Errorf("%d of 30 connections were served, want %d", served, tt.served)
			}
			if got := b.totals().Reasons[live.ConnectRefused]; got != uint64(tt.failed) {
				t.Errorf("%d failures by connect_refused, want %d", got, tt.failed)
			}
		})
	}
}

// What stays open counts where it is, and not where it was refused before.
func TestConnectionsThatStayAreCounted(t *testing.T) {
	addr := origin(t, echo)
	_, p, _ := net.SplitHostPort(addr)
	b := newBed(t, only(net.JoinHostPort("shop.test.", p)))
	for range 9 {
		c := b.connect()
		_, _ = io.WriteString(c, "p")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range b.gateway.Routes[0].Target.Instances() {
		want := int64(0)
		if i.String() == addr {
			want = 9
		}
		if got := i.InFlight(); got != want {
			t.Errorf("%d connections are open to %v, want %d: two of three refuse", got, i, want)
		}
	}
}

func TestBrokenConnections(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks func(client, instance *net.TCPConn) (other *net.TCPConn)
		reason live.Reason
	}{
		{"the client resets", func(c, i *net.TCPConn) *net.TCPConn { _ = c.SetLinger(0); _ = c.Close(); return i }, live.RequestAborted},
		{"the instance resets", func(c, i *net.TCPConn) *net.TCPConn { _ = i.SetLinger(0); _ = i.Close(); return c }, live.UpstreamReset},
		{"the client resets after the instance's half has ended", func(c, i *net.TCPConn) *net.TCPConn {
			_ = i.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			_ = c.SetLinger(0)
			_ = c.Close()
			return i
		}, live.RequestAborted},
	} {
		t.Run(tt.name+": so the other side is reset", func(t *testing.T) {
			addr, conns := held(t)
			b := newBed(t, only(addr))
			c := b.connect()
			i := <-conns
			write(t, c, "ping")
			expect(t, i, "ping")
			expectEnd(t, tt.breaks(c, i), syscall.ECONNRESET)
			b.check(tt.reason, 1)
		})
	}
}

// The kernel's buffers are full when the receiver goes: the fault shows when
// writing, or splicing, to it.
func TestReceiverGoesAway(t *testing.T) {
	for _, tt := range []struct {
		name   string
		sides  func(client, instance *net.TCPConn) (sender, receiver *net.TCPConn)
		reason live.Reason
	}{
		{"the client", func(c, i *net.TCPConn) (*net.TCPConn, *net.TCPConn) { return i, c }, live.RequestAborted},
		{"the instance", func(c, i *net.TCPConn) (*net.TCPConn, *net.TCPConn) { return c, i }, live.UpstreamReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, conns := held(t)
			b := newBed(t, only(addr))
			sender, receiver := tt.sides(b.connect(), <-conns)
			sent := make(chan error, 1)
			go func() {
				_, err := io.Copy(struct{ io.Writer }{sender}, endless{})
				sent <- err
			}()
			if _, err := io.CopyN(io.Discard, receiver, 1<<20); err != nil {
				t.Fatal(err)
			}
			_ = receiver.SetLinger(0)
			_ = receiver.Close()
			if err := <-sent; err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the sender saw %v, want its connection to break", err)
			}
			b.check(tt.reason, 1)
		})
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestAbort(t *testing.T) {
	addr, conns := held(t)
	b := newBed(t, only(addr))
	c := b.connect()
	i := <-conns
	write(t, c, "ping")
	expect(t, i, "ping")
	if n := b.listener.Open(); n != 1 {
		t.Errorf("Open() = %d, want 1", n)
	}
	if n := b.registry.ConnectionsOpen("tcp").Value(); n != 1 {
		t.Errorf("%d connections counted, want 1", n)
	}
	b.listener.Abort()
	b.server.Close()
	expectEnd(t, c, syscall.ECONNRESET)
	expectEnd(t, i, syscall.ECONNRESET)
	b.check(live.None, 1)
	expectEnd(t, b.connect(), syscall.ECONNRESET) // and nothing follows
}

func TestAnnounce(t *testing.T) {
	addr, conns := held(t)
	b := newBed(t, only(addr))
	c := b.connect()
	i := <-conns
	b.listener.Announce()
	expectEnd(t, b.connect(), syscall.ECONNRESET)
	// The one that is there goes on.
	write(t, c, "ping")
	expect(t, i, "ping")
	_ = c.Close()
	_ = i.Close()
	b.check(live.None, 1)
}

func TestAPortOfNoGateway(t *testing.T) {
	b := newBed(t, only(refusing(t)))
	b.listener.Port = port + 1
	expectEnd(t, b.connect(), syscall.ECONNRESET)
	b.check(live.None, 0)
}

func TestWeightsAreExactByConnection(t *testing.T) {
	named := func(name string) string {
		return origin(t, func(nc *net.TCPConn) {
			_, _ = io.WriteString(nc, name)
			_ = nc.CloseWrite()
			_, _ = io.Copy(io.Discard, nc)
		})
	}
	b := newBed(t, fmt.Sprintf(`{"[%s]": {weight: 90%%}, "[%s]": {weight: 10%%}}`, named("a"), named("b")))
	counts := map[string]int{}
	for range 200 {
		c := b.connect()
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		counts[string(got)]++
		_ = c.Close()
	}
	if counts["a"] != 180 || counts["b"] != 20 {
		t.Errorf("counts = %v, want 180 of a and 20 of b", counts)
	}
	b.check(live.None, 200)
}
