// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

const secretOfTests = "sixteen-letters!"

// faulty is a server on a port whose explainer panics, and what it counts.
type faulty struct {
	registry *metrics.Registry
	server   *Server
	listener Listener
	gateway  *live.Gateway
	address  string
}

func newFaulty(t *testing.T, origin string) *faulty {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	f := &faulty{registry: metrics.New(metrics.Options{Reasons: live.Reasons()}), address: ln.Addr().String(), listener: Listener{Port: port}}
	docs, _ := routing.Read("test.yaml", fmt.Appendf(nil, "name: g\nport: %d\nroutes: {\"[%s]\": {}}\n", port, origin))
	table, _ := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	snapshot, faults := routing.Compile(nil, table, routing.CompileOptions{Seed: 1})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	sweeper := new(socket.Sweeper)
	pool := upstream.New(upstream.Options{Sweeper: sweeper, Open: f.registry.ConnectionsOpen("upstream")})
	var handle live.Handle
	binder := live.Binder{Registry: f.registry, Pool: pool}
	gen := binder.Bind(t.Context(), handle.Load(), snapshot)
	handle.Store(gen)
	f.gateway = gen.Gateway(snapshot.ByName("g"))
	secret, err := NewSecret("X-Explain", secretOfTests)
	if err != nil {
		t.Fatal(err)
	}
	f.server = New(Options{
		Handle: &handle, Sweeper: sweeper, Counters: NewCounters(f.registry), Panics: live.NewPanics(f.registry.Panics(), nil),
		Explain:   secret,
		Explainer: func(*live.Generation, routing.ExplainRequest) (*routing.Explanation, error) { panic("boom") },
	})
	ctx, cancel := context.WithCancel(context.Background())
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.server.Serve(ctx, &f.listener, nc.(*net.TCPConn), gate.Seat{})
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-accepting
		cancel()
		f.listener.Abort()
		f.server.Close()
		f.balanced(t)
	})
	return f
}

// ask sends bytes and returns all that comes back, up to the end.
func (f *faulty) ask(t *testing.T, text string) (string, error) {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(nc)
	return string(b), err
}

// balanced holds that the connections know of as many exchanges as their
// gateway.
func (f *faulty) balanced(t *testing.T) {
	t.Helper()
	var now metrics.Totals
	f.gateway.Series.Read(&now)
	ended := int64(0)
	for _, n := range now.Requests {
		ended += int64(n)
	}
	if over := f.registry.Books().Total(); over != ended || f.registry.Unaccounted() != 0 {
		t.Errorf("connections carried %d exchanges, the gateway counted %d; %d are unaccounted", over, ended, f.registry.Unaccounted())
	}
}

// panics returns how many were counted.
func (f *faulty) panics() int64 { return f.registry.Panics().Value() }

func (f *faulty) inFlight() uint64 {
	var t metrics.Totals
	f.gateway.Series.Read(&t)
	return t.InFlight
}

// greeting is an origin that answers each connection once.
func greeting(t *testing.T, answer string) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				if _, err := nc.Read(make([]byte, 4<<10)); err == nil {
					_, _ = io.WriteString(nc, answer)
				}
				_, _ = io.Copy(io.Discard, nc)
			}()
		}
	}()
	return ln.Addr().String()
}

func TestAPanicInAnExchangeIsAnswered(t *testing.T) {
	explained := "Host: a.example\r\nX-Explain: " + secretOfTests + "\r\n"
	for _, tt := range []struct {
		name, request string
		bodiless      bool
	}{
		{"a request", "GET / HTTP/1.1\r\n" + explained + "\r\n", false},
		{"one of HTTP/1.0", "GET / HTTP/1.0\r\n" + explained + "\r\n", false},
		{"HEAD", "HEAD / HTTP/1.1\r\n" + explained + "\r\n", true},
		{"one whose content is there", "POST / HTTP/1.1\r\n" + explained + "Content-Length: 2\r\n\r\nhi", false},
		{"one whose content still comes", "POST / HTTP/1.1\r\n" + explained + "Content-Length: 100000\r\n\r\nhi" + strings.Repeat("x", 99_998), false},
		{"another behind it", "GET / HTTP/1.1\r\n" + explained + "\r\nGET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFaulty(t, greeting(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"))
			got, err := f.ask(t, tt.request)
			head, content, _ := strings.Cut(got, "\r\n\r\n")
			if err != nil || !strings.HasPrefix(head, "HTTP/1.1 500 ") || !strings.Contains(head, "Sluice-Reason: internal_error\r\n") || !strings.Contains(head, "Connection: close") {
				t.Errorf("got %q, %v; want a 500 that ends the connection", got, err)
			}
			if want := "internal_error: a fault in the proxy\n"; tt.bodiless && content != "" || !tt.bodiless && content != want {
				t.Errorf("content %q, want %q unless it is HEAD", content, want)
			}
			if n := f.panics(); n != 1 {
				t.Errorf("%d panics are counted, want 1", n)
			}
			if n := f.inFlight(); n != 0 {
				t.Errorf("%d exchanges are under way, want none", n)
			}
			if got, err := f.ask(t, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"); err != nil || !strings.HasSuffix(got, "ok") {
				t.Errorf("the next request gets %q, %v; want ok", got, err)
			}
		})
	}
}

func TestAPanicOnAStreamEndsThatStreamAlone(t *testing.T) {
	f := newFaulty(t, greeting(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"))
	f.listener.SetHTTP2(&routing.HTTP2{})
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr, Timeout: time.Minute}
	for i, explained := range []bool{false, true, false, true, false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.address, strings.NewReader("hi"))
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusOK
		if explained {
			r.Header.Set("X-Explain", secretOfTests)
			want = http.StatusInternalServerError
		}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || resp.ProtoMajor != 2 {
			t.Errorf("stream %d: %s %s, want %d", i, resp.Proto, resp.Status, want)
		}
	}
	if n, conns := f.panics(), f.listener.Open(); n != 2 || conns != 1 {
		t.Errorf("%d panics, %d connections; want 2, and one", n, conns)
	}
}

func TestAPanicEndsWhatItHappenedIn(t *testing.T) {
	for _, tt := range []struct {
		name          string
		decided, owed bool
		aborted       bool
		want          string // how what the client reads begins; empty if it is nothing
		reset         bool
	}{
		{"before a request was decided", false, true, false, "HTTP/1.1 500 ", false},
		{"before any byte of the answer", true, true, false, "HTTP/1.1 500 ", false},
		{"inside the answer", true, false, false, "", true},
		{"behind the answer", false, false, false, "", false},
		{"after the connection was ended by us", true, true, true, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFaulty(t, greeting(t, ""))
			c, peer := f.connection(t)
			w := c.w
			w.to = copy(w.in, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
			if n, _ := w.head.scanRequest(w.in[:w.to]); n != w.to {
				t.Fatal("the request is not read")
			}
			w.view = request{head: &w.head, conn: &c.facts}
			if gen := c.server.options.Handle.Load(); tt.decided {
				w.exchange.Decide(gen, f.listener.gateway(gen), &w.view, socket.Now(), 0)
				c.hops = w.exchange.Decision.Depth
			}
			c.owed = tt.owed
			c.aborted.Store(tt.aborted)
			go func() {
				defer c.finish()
				panic("boom")
			}()
			got, err := io.ReadAll(peer)
			if !strings.HasPrefix(string(got), tt.want) || tt.want == "" && len(got) > 0 || (err != nil) != tt.reset {
				t.Errorf("the client reads %q, %v; want %q, a reset: %v", got, err, tt.want, tt.reset)
			}
			if n := f.panics(); n != 1 {
				t.Errorf("%d panics are counted, want 1", n)
			}
			if n := f.inFlight(); n != 0 {
				t.Errorf("%d exchanges are under way, want none", n)
			}
		})
	}
}

func TestAPanicInAPumpFailsItsExchange(t *testing.T) {
	f := newFaulty(t, greeting(t, ""))
	c, _ := f.connection(t)
	c.w = nil // what the pump needs first
	u, err := f.gateway.Routes[0].Target.Instances()[0].Dial(t.Context(), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	p := &pump{conn: c, upstream: u, done: make(chan struct{})}
	p.run()
	<-p.done
	if r := p.stop(); r != live.InternalError || !u.Expired() || f.panics() != 1 {
		t.Errorf("stop() = %v, expired: %v, %d panics; want internal_error, true, 1", r, u.Expired(), f.panics())
	}
}

// connection returns a connection that is not served, with a work, and its
// client.
func (f *faulty) connection(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	_ = peer.SetDeadline(time.Now().Add(time.Minute))
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	sc, err := f.server.options.Sweeper.Open(nc.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(t.Context(), f.server, &f.listener, sc)
	t.Cleanup(func() { c.Close() })
	c.take()
	return c, peer
}
