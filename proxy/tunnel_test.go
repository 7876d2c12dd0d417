// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// mustOpen opens a WebSocket through a gateway.
func mustOpen(t *testing.T, url string) *webSocket {
	t.Helper()
	ws, _, err := openWebSocket(dial(t, url), "")
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

func (ws *webSocket) mustEcho(t *testing.T, text string) {
	t.Helper()
	if err := ws.echoes(text); err != nil {
		t.Fatalf("echo of %q: %v", text, err)
	}
}

// expectCut checks that the connection ends, and in no order.
func (ws *webSocket) expectCut(t *testing.T) {
	t.Helper()
	b, err := io.ReadAll(ws.r)
	var ne net.Error
	if len(b) > 0 || err == nil || errors.As(err, &ne) && ne.Timeout() {
		t.Errorf("got %.40q, %v; want the connection cut", b, err)
	}
}

// tunnels returns the counts of the only route that ever had a tunnel.
func (b *bed) tunnels() (tunnels metrics.TunnelTotals, totals metrics.Totals) {
	b.t.Helper()
	for _, g := range b.registry.Gateways() {
		for _, r := range g.Routes() {
			if t, ever := r.ReadTunnels(); ever {
				tunnels = t
				r.Read(&totals)
			}
		}
	}
	return tunnels, totals
}

// expectEnds waits until one tunnel has ended, in the way that is given, and
// none is open.
func (b *bed) expectEnds(end metrics.TunnelEnd) {
	b.t.Helper()
	want := metrics.TunnelTotals{}
	want.Ended[end] = 1
	eventually(b.t, "the tunnel ends by "+end.String(), func() bool {
		got, _ := b.tunnels()
		got.BytesIn, got.BytesOut = 0, 0
		return got == want
	})
}

// inFlight counts the exchanges and tunnels at all instances.
func (b *bed) inFlight() (n int64) {
	for _, g := range b.server.Status() {
		for _, r := range g.Routes {
			for _, k := range r.InFlight {
				n += k
			}
		}
	}
	return n
}

func TestTunnel(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(gateway("g", p, webSocketOrigin(t)))
	ws := mustOpen(t, local(p))
	ws.mustEcho(t, "hello") // it runs
	got, totals := bed.tunnels()
	if got.Open != 1 || bed.inFlight() != 1 {
		t.Errorf("%d tunnels are open and %d in flight at the instance, want 1 and 1", got.Open, bed.inFlight())
	}
	if totals.Requests[metrics.Class1xx] != 1 || totals.InFlight != 0 || totals.Duration.Sum <= 0 {
		t.Errorf("the exchange of the upgrade counts as %+v, want it ended in 1xx", totals)
	}
	ws.mustEcho(t, strings.Repeat("long ", 10000))
	want := metrics.TunnelTotals{Open: 1, BytesIn: 5 + 6 + 50000 + 8, BytesOut: 5 + 2 + 50000 + 4}
	eventually(t, "its bytes are counted while it lives", func() bool {
		got, _ := bed.tunnels()
		return got == want
	})
	if _, after := bed.tunnels(); after != totals {
		t.Errorf("the route counts %+v while the tunnel lives, want no more than %+v", after, totals)
	}
	if err := ws.send(closeFrame, ""); err != nil {
		t.Fatal(err)
	}
	if kind, _, err := ws.receive(); kind != closeFrame || err != nil {
		t.Errorf("received kind %d, %v; want the close frame back", kind, err)
	}
	_ = ws.Close()
	bed.expectEnds(metrics.TunnelClosed)
	eventually(t, "nothing is in flight", func() bool { return bed.inFlight() == 0 })
	eventually(t, "no connection is open", func() bool { return bed.server.Connections() == 0 })
}

// switching is an instance that answers each request head by a text, and hands
// its connection over.
func switching(t *testing.T, answer string) (address string, heads chan string, conns chan net.Conn) {
	t.Helper()
	ln := listen(t)
	heads, conns = make(chan string, 10), make(chan net.Conn, 10)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(time.Minute))
			// A head at a time: what is behind it is the test's.
			var head []byte
			for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
				if _, err := io.ReadFull(nc, one); err != nil {
					break
				}
			}
			_, _ = io.WriteString(nc, answer)
			heads <- string(head)
			conns <- nc
		}
	}()
	t.Cleanup(func() {
		for len(conns) > 0 {
			_ = (<-conns).Close()
		}
	})
	return ln.Addr().String(), heads, conns
}

const agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

func expectBytes(t *testing.T, nc io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(nc, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v; want %q", b[:n], err, want)
	}
}

func TestTunnelTakesWhatCameEarly(t *testing.T) {
	address, _, conns := switching(t, agreed+"from the instance")
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(gateway("g", p, address))
	nc := dial(t, local(p))
	_, _ = io.WriteString(nc, handshake("")+"from the client")
	far := <-conns
	defer far.Close()
	expectBytes(t, far, "from the client")
	expectBytes(t, nc, agreed+"from the instance")
	want := metrics.TunnelTotals{Open: 1, BytesIn: int64(len("from the client")), BytesOut: int64(len("from the instance"))}
	eventually(t, "both are counted", func() bool {
		got, _ := bed.tunnels()
		return got == want
	})
	// Each half ends by itself.
	_ = nc.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(far); len(b) > 0 || err != nil {
		t.Errorf("the instance got %q, %v; want the end of the client's half", b, err)
	}
	_, _ = io.WriteString(far, "one more")
	expectBytes(t, nc, "one more")
	_ = far.Close()
	if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
		t.Errorf("the client got %q, %v; want the end", b, err)
	}
	bed.expectEnds(metrics.TunnelClosed)
}

func TestTunnelBehindABody(t *testing.T) {
	for _, tt := range []struct {
		name, fields, first, rest string
		sees                      string
	}{
		{"that came with the head", "Content-Length: 5\r\n", "helloraw", "", "helloraw"},
		{"that comes later", "Content-Length: 5\r\n", "", "helloraw", "helloraw"},
		{"in chunks that came with the head", "Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\nraw", "", "2\r\nhi\r\n0\r\n\r\nraw"},
		{"in chunks that come later", "Transfer-Encoding: chunked\r\n", "2\r\n", "hi\r\n0\r\n\r\nraw", "2\r\nhi\r\n0\r\n\r\nraw"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The instance agrees before it has the body: the client has its
			// agreement only once the body is through.
			address, heads, conns := switching(t, agreed)
			p := freeport.One(t)
			bed := start(t, nil)
			bed.apply(gateway("g", p, address))
			nc := dial(t, local(p))
			_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: tcp, websocket\r\n"+tt.fields+"\r\n"+tt.first)
			if head := <-heads; !strings.Contains(head, "\r\nUpgrade: tcp, websocket\r\n") {
				t.Errorf("the instance sees %q, want the upgrade in it", head)
			}
			far := <-conns
			defer far.Close()
			_, _ = io.WriteString(nc, tt.rest)
			expectBytes(t, far, tt.sees)
			expectBytes(t, nc, agreed)
			_, _ = io.WriteString(far, "back")
			expectBytes(t, nc, "back")
		})
	}
	t.Run("that breaks off", func(t *testing.T) {
		address, heads, _ := switching(t, agreed)
		p := freeport.One(t)
		bed := start(t, nil)
		bed.apply(gateway("g", p, address))
		nc := dial(t, local(p))
		_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhe")
		<-heads
		_ = nc.(*net.TCPConn).CloseWrite()
		if b, _ := io.ReadAll(nc); bytes.Contains(b, []byte(" 101 ")) {
			t.Errorf("the client got %q, want no agreement", b)
		}
		eventually(t, "nothing is in flight", func() bool { return bed.inFlight() == 0 })
		if got, _ := bed.tunnels(); got != (metrics.TunnelTotals{}) {
			t.Errorf("tunnels: %+v, want none", got)
		}
	})
}

func TestTunnelEnds(t *testing.T) {
	reset := func(nc net.Conn) {
		_ = nc.(*net.TCPConn).SetLinger(0)
		_ = nc.Close()
	}
	for _, tt := range []struct {
		name, settings string
		end            func(client, instance net.Conn)
		want           metrics.TunnelEnd
	}{
		{"by a reset of the client", "", func(client, _ net.Conn) { reset(client) }, metrics.TunnelClientGone},
		{"by a reset of the instance", "", func(_, instance net.Conn) { reset(instance) }, metrics.TunnelInstanceGone},
		{"by standing still", "sluice: {timeouts: {tunnel: 3s}}", func(_, _ net.Conn) {}, metrics.TunnelIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, _, conns := switching(t, agreed)
			p := freeport.One(t)
			bed := start(t, nil)
			bed.apply(gateway("g", p, address) + tt.settings)
			nc := dial(t, local(p))
			_, _ = io.WriteString(nc, handshake(""))
			expectBytes(t, nc, agreed)
			far := <-conns
			tt.end(nc, far)
			bed.expectEnds(tt.want)
			for _, side := range []net.Conn{nc, far} {
				b, err := io.ReadAll(side)
				if len(b) > 0 || err == nil {
					t.Errorf("a side got %q, %v; want the connection cut", b, err)
				}
				_ = side.Close()
			}
		})
	}
}

func TestTunnelHasTheDrainTime(t *testing.T) {
	const drain = 100 * time.Millisecond
	for _, tt := range []struct {
		name string
		end  func(*bed) <-chan error
	}{
		{"of a process that ends", (*bed).ending},
		{"of a gateway that is gone", func(b *bed) <-chan error {
			b.apply("")
			done := make(chan error)
			close(done)
			return done
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, func(o *proxy.Options) { o.Drain = drain })
			bed.apply(gateway("g", p, webSocketOrigin(t)))
			ws := mustOpen(t, local(p))
			began := time.Now()
			done := tt.end(bed)
			ws.expectCut(t)
			if lived := time.Since(began); lived < drain {
				t.Errorf("cut after %v, want the drain time before it", lived)
			}
			ended(t, done)
			eventually(t, "no connection is open", func() bool { return bed.server.Connections() == 0 })
		})
	}
	t.Run("and none begins after it", func(t *testing.T) {
		address, heads, conns := switching(t, "")
		p, q := freeport.One(t), freeport.One(t)
		bed := start(t, func(o *proxy.Options) { o.Drain = time.Millisecond })
		bed.apply(gateway("g", p, address) + gateway("h", q, origin(t, named("h"))))
		idle := keep(t, local(q))
		idle.send(t, "/")
		idle.receive(t)
		nc := dial(t, local(p))
		_, _ = io.WriteString(nc, handshake(""))
		<-heads
		far := <-conns
		defer far.Close()
		done := bed.ending()
		idle.expectEnd(t) // the drain time is over
		_, _ = io.WriteString(far, agreed)
		bed.expectEnds(metrics.TunnelCut)
		ended(t, done)
	})
}

func TestTunnelOutlivesItsInstance(t *testing.T) {
	p := freeport.One(t)
	old, next := webSocketOrigin(t), origin(t, named("next"))
	bed := start(t, nil)
	bed.apply(gateway("g", p, old))
	ws := mustOpen(t, local(p))
	bed.apply(gateway("g", p, next))
	if got := get(t, client(t), local(p)); got.body != "next" {
		t.Errorf("requests get %q, want the next instance", got.body)
	}
	ws.mustEcho(t, "still here")
}

func TestTunnelsCountForLeastConnections(t *testing.T) {
	p := freeport.One(t)
	a, b := webSocketOrigin(t), webSocketOrigin(t)
	bed := start(t, nil)
	route := routingtest.Route("r", routing.FullWeight)
	route.Balance = "leastconn"
	route.Instances = instancesAt(a, b)
	snapshot, faults := routing.Compile(nil, routingtest.Table(1, routingtest.Gateway("g", p, route)), routing.CompileOptions{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	bed.server.Publish(snapshot)
	for range 10 {
		mustOpen(t, local(p))
	}
	for _, r := range bed.server.Status()[0].Routes {
		if r.InFlight[a] != 5 || r.InFlight[b] != 5 {
			t.Errorf("in flight: %v, want 5 at each instance", r.InFlight)
		}
	}
}

func TestTunnelTakesRoomAtItsInstance(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(gateway("g", p, webSocketOrigin(t)) + "sluice: {limits: {requests: 1, instance_requests: 1, queue: 0}}")
	ws := mustOpen(t, local(p))
	ws.mustEcho(t, "first")
	c := client(t)
	if got := get(t, c, local(p)); got.status != http.StatusServiceUnavailable || got.header.Get("Sluice-Reason") != "overloaded" {
		t.Errorf("beside a tunnel: status %d, reason %q; want 503 overloaded", got.status, got.header.Get("Sluice-Reason"))
	}
	_ = ws.Close()
	eventually(t, "nothing is in flight", func() bool { return bed.inFlight() == 0 })
	if got := get(t, c, local(p)); got.body != "ok" {
		t.Errorf("after the tunnel: status %d, body %q; want ok", got.status, got.body)
	}
}

func TestTunnelIsToldOfItsWay(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, asking(t))
	address := webSocketOrigin(t)
	bed.apply(fmt.Sprintf("name: g\nport: %d\nsticky: route\nroutes: {\"[%s]\": {sluice: {headers: {response: {set: {X-Way: here}}}}}}\n", p, address))
	_, got, err := openWebSocket(dial(t, local(p)), "X-Explain: "+secret+"\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Set-Cookie": "HttpOnly", "Sluice-Explain": address, "X-Way": "here"} {
		if value := got.Get(name); !strings.Contains(value, want) {
			t.Errorf("%s = %q in the answer 101, want %q in it", name, value, want)
		}
	}
}

// Nothing that changes in the table touches a tunnel that is open: neither
// weights, nor routes and gateways that come and go beside its own.
func TestTunnelsLiveThroughChanges(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	a, b := webSocketOrigin(t), webSocketOrigin(t)
	bed := start(t, nil)
	table := func(i int) string {
		text := fmt.Sprintf("name: g\nport: %d\nroutes:\n  \"[%s]\": {weight: %d%%}\n  \"[%s]\": {weight: %d%%}\n", p, a, i%101, b, 100-i%101)
		if i%3 == 0 {
			text += gateway("other", q, a)
		}
		return text
	}
	bed.apply(table(50))
	idle := measure()
	sockets := openAll(t, tunnelsAtOnce, p)
	open := measure()
	goroutines, bytes := float64(open.goroutines-idle.goroutines)/tunnelsAtOnce, (open.bytes-idle.bytes)/tunnelsAtOnce
	t.Logf("%.2f goroutines and %d bytes a tunnel, both ends included", goroutines, bytes)
	if goroutines > 3.1 {
		t.Errorf("%.2f goroutines a tunnel, want 2, and that of the instance", goroutines)
	}
	if bytes > mostBytesOfATunnel {
		t.Errorf("%d bytes a tunnel, want at most %d", bytes, mostBytesOfATunnel)
	}
	for i := range tunnelsAtOnce {
		bed.apply(table(i))
		sockets[i].mustEcho(t, fmt.Sprint("during change ", i))
	}
	for i, ws := range sockets {
		ws.mustEcho(t, fmt.Sprint("after all changes, ", i))
	}
	var ended uint64
	var counted int64
	for _, g := range bed.registry.Gateways() {
		for _, r := range g.Routes() {
			got, _ := r.ReadTunnels()
			counted += got.Open
			for _, n := range got.Ended {
				ended += n
			}
		}
	}
	if counted != tunnelsAtOnce || ended != 0 {
		t.Errorf("%d tunnels are open and %d have ended, want %d and 0", counted, ended, tunnelsAtOnce)
	}
}

// openAll opens WebSockets through the gateway at a port.
func openAll(t *testing.T, n, port int) []*webSocket {
	t.Helper()
	sockets := make([]*webSocket, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					errs[i] = err
					return
				}
				_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
				if sockets[i], _, errs[i] = openWebSocket(nc, ""); errs[i] != nil {
					return
				}
				errs[i] = sockets[i].echoes("first")
			}
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, ws := range sockets {
			if ws != nil {
				_ = ws.Close()
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return sockets
}

// use is what the process takes.
type use struct {
	goroutines int
	bytes      uint64 // heap and stacks
}

func measure() use {
	runtime.GC()
	runtime.GC() // pools give back what they hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return use{runtime.NumGoroutine(), m.HeapAlloc + m.StackInuse}
}

func TestRefusedUpgradesAreOrdinaryAnswers(t *testing.T) {
	got := make(chan http.Header, 1)
	url := relay(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
		w.Header().Set("Connection", "upgrade")
		w.Header().Set("Upgrade", "h2c, websocket")
		w.WriteHeader(http.StatusUpgradeRequired)
	})
	k := keep(t, url)
	for range 2 { // over the same connection
		_, _ = io.WriteString(k, handshake(""))
		a, last := k.receive(t)
		if h := <-got; h.Get("Upgrade") != "websocket" {
			t.Errorf("the instance sees Upgrade %q, want it asked for", h.Get("Upgrade"))
		}
		if a.status != http.StatusUpgradeRequired || a.header.Get("Upgrade") != "websocket" || last {
			t.Errorf("status %d, Upgrade %q, last %v; want 426, what may be had through us, and the connection kept", a.status, a.header.Get("Upgrade"), last)
		}
	}
}
