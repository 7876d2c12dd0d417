// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

// plain and sealed are how instances are spoken to by HTTP/2.
var (
	plain  = upstream.Way{HTTP: true, Protocol: routing.ProtocolH2C}
	sealed = upstream.Way{HTTP: true, Protocol: routing.ProtocolH2, TLS: routing.DialTLS{Name: "shop.internal", CA: "tls/internal.crt"}}
)

// h2server is a server of Go's own that speaks HTTP/2.
type h2server struct {
	*httptest.Server
	conns atomic.Int64 // that were opened
	open  atomic.Int64 // that are
}

// speaksHTTP2 starts a server that allows so many streams, without TLS unless
// there is a configuration.
func speaksHTTP2(t *testing.T, streams int, config *tls.Config, h http.HandlerFunc) *h2server {
	t.Helper()
	s := &h2server{Server: httptest.NewUnstartedServer(h)}
	s.Config.Protocols = new(http.Protocols)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
			s.open.Add(1)
		case http.StateClosed:
			s.open.Add(-1)
		default:
		}
	}
	if config == nil {
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	} else {
		s.Config.Protocols.SetHTTP2(true)
		s.TLS, s.EnableHTTP2 = config, true
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *h2server) addr() netip.AddrPort { return s.Listener.Addr().(*net.TCPAddr).AddrPort() }

func hello(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.Proto+" "+r.Method+" "+r.URL.Path)
}

// swept returns a pool that runs until the test ends, and how many
// connections it has.
func swept(t *testing.T, shape func(*upstream.Options)) (*upstream.Pool, *metrics.Gauge) {
	t.Helper()
	var sweeper *socket.Sweeper
	p, open := newPool(func(o *upstream.Options) {
		sweeper = o.Sweeper
		if shape != nil {
			shape(o)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { p.Run(ctx) })
	all.Go(func() { sweeper.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		all.Wait()
		if n := open.Value(); n != 0 {
			t.Errorf("%d connections are open when the pool has ended", n)
		}
	})
	return p, open
}

// multiplexed returns an instance that is spoken to by HTTP/2.
func multiplexed(p *upstream.Pool, at netip.AddrPort, way upstream.Way) (*upstream.Target, *upstream.Instance) {
	way.Secure = way.TLS.Name != ""
	t := by(p, p.Target(at.Addr().String(), int(at.Port())), way)
	p.Retain([]*upstream.Target{t})
	return t, t.Instances()[0]
}

// begin takes a conversation with the instance.
func begin(t *testing.T, i *upstream.Instance) *upstream.Conn {
	t.Helper()
	c, err := i.Dial(t.Context(), patience)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks for a path over a conversation.
func get(c *upstream.Conn, path string) (string, error) {
	if _, err := c.WriteWithin(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: shop.internal\r\n\r\n", path), patience); err != nil {
		return "", err
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return string(b), err
}

// wantHello asks for a path and fails the test unless the answer is that of
// hello.
func wantHello(t *testing.T, c *upstream.Conn, path string) {
	t.Helper()
	if got, err := get(c, path); err != nil || got != "HTTP/2.0 GET "+path {
		t.Errorf("GET %s: %q, %v", path, got, err)
	}
}

func TestRequestsShareAConnection(t *testing.T) {
	ca := certs.New(t)
	for _, tt := range []struct {
		name   string
		way    upstream.Way
		config *tls.Config
	}{
		{"in plain text", plain, nil},
		{"by TLS", sealed, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "shop.internal").TLS()}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := speaksHTTP2(t, 250, tt.config, hello)
			p, open := swept(t, func(o *upstream.Options) { o.TLS = trusting(ca.Pool(), nil) })
			_, i := multiplexed(p, s.addr(), tt.way)
			var all sync.WaitGroup
			for n := range 40 {
				all.Go(func() {
					for m := range 25 {
						now := socket.Now()
						c := i.Get(uint32(n), now, true)
						if c == nil {
							c = begin(t, i)
						}
						wantHello(t, c, fmt.Sprintf("/%d/%d", n, m))
						i.Put(uint32(n), c, socket.Now(), time.Minute)
					}
				})
			}
			all.Wait()
			if n := s.conns.Load(); n != 1 || open.Value() != 1 || i.Links() != 1 {
				t.Errorf("1000 requests took %d connections, of which %d are open, want one", n, open.Value())
			}
		})
	}
}

// What an instance allows holds for each connection: further requests have
// further ones.
func TestConnectionsAreMadeWhereThereIsNoRoom(t *testing.T) {
	s := speaksHTTP2(t, 3, nil, hello)
	p, open := swept(t, nil)
	_, i := multiplexed(p, s.addr(), plain)
	var all sync.WaitGroup
	conns := make([]*upstream.Conn, 10)
	for k := range conns {
		all.Go(func() {
			conns[k] = begin(t, i)
			wantHello(t, conns[k], "/")
		})
	}
	all.Wait()
	if open.Value() != 4 {
		t.Errorf("%d connections are open for 10 requests, 3 each, want 4", open.Value())
	}
	for _, c := range conns {
		c.Close()
	}
	wantHello(t, begin(t, i), "/again")
	if s.conns.Load() != 4 {
		t.Errorf("%d connections were made, want the 4 that there were", s.conns.Load())
	}
}

func TestLinksAreBounded(t *testing.T) {
	s := speaksHTTP2(t, 1, nil, hello)
	p, _ := swept(t, func(o *upstream.Options) { o.MaxOpen = 2 })
	_, i := multiplexed(p, s.addr(), plain)
	a := begin(t, i)
	begin(t, i)
	if _, err := i.Dial(t.Context(), patience); !errors.Is(err, upstream.ErrFull) {
		t.Fatalf("Dial() error = %v beyond the bound, want ErrFull", err)
	}
	a.Close()
	wantHello(t, begin(t, i), "/")
}

// gated starts a server that lets connections wait until the gate is opened,
// and then speaks HTTP/2.
func gated(t *testing.T) (at netip.AddrPort, accepted chan net.Conn, open func()) {
	t.Helper()
	s := speaksHTTP2(t, 100, nil, hello)
	gate := make(chan struct{})
	accepted = make(chan net.Conn, 100)
	at = serving(t, func(nc net.Conn) {
		accepted <- nc
		<-gate
		to, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.Listener.Addr().String())
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			_, _ = io.Copy(to, nc)
			_ = to.Close()
		}()
		_, _ = io.Copy(nc, to)
	})
	return at, accepted, sync.OnceFunc(func() { close(gate) })
}

func TestWhoComesWhileAConnectionIsMadeWaitsForIt(t *testing.T) {
	at, accepted, open := gated(t)
	defer open()
	p, _ := swept(t, nil)
	_, i := multiplexed(p, at, plain)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { wantHello(t, begin(t, i), "/") })
	}
	eventually(t, "all but one wait", func() bool { return i.Waiting() == 49 })
	open()
	all.Wait()
	if n := len(accepted); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

// Who makes a connection may give up: the others do not.
func TestAnotherOneMakesTheConnection(t *testing.T) {
	at, accepted, open := gated(t)
	defer open()
	p, _ := swept(t, nil)
	_, i := multiplexed(p, at, plain)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error)
	go func() {
		_, err := i.Dial(ctx, patience)
		first <- err
	}()
	<-accepted
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { wantHello(t, begin(t, i), "/") })
	}
	eventually(t, "the others wait", func() bool { return i.Waiting() == 5 })
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
	<-accepted
	open()
	all.Wait()
}

func TestTheTimeOfConnectingIncludesTheGreeting(t *testing.T) {
	o := listen(t) // which says nothing
	p, open := swept(t, nil)
	target, i := multiplexed(p, o.addr, plain)
	_, err := i.Dial(t.Context(), 50*time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || target.Problem() != nil {
		t.Errorf("Dial() error = %v, Problem() = %v; want that it took too long", err, target.Problem())
	}
	eventually(t, "it is closed", func() bool { return open.Value() == 0 })
}

func TestWhoDoesNotSpeakHTTP2IsToldWhatToDo(t *testing.T) {
	ca := certs.New(t)
	pair := []tls.Certificate{ca.Issue(t, "shop.internal").TLS()}
	says := func(text string) func(net.Conn) {
		return func(nc net.Conn) {
			_, _ = nc.Read(make([]byte, 1000))
			_, _ = io.WriteString(nc, text)
			_, _ = io.Copy(io.Discard, nc)
		}
	}
	for _, tt := range []struct {
		name string
		way  upstream.Way
		does func(net.Conn)
		want string
	}{
		{"it answers by HTTP/1", plain, says("HTTP/1.1 400 Bad Request\r\n\r\n"), "it answers by HTTP/1: lead the route to its port for HTTP/2, or set protocol to http1"},
		{"it speaks something else", plain, says("220 mail.internal ESMTP\r\n"), "what it sends is not HTTP/2: "},
		{"it wants TLS", plain, says("\x15\x03\x01\x00\x02\x02\x46............"), "set tls if that is what it speaks"},
		{"its first frame is wrong", plain, says("\x00\x00\x01\x04\x00\x00\x00\x00\x00x"), "it breaks the protocol: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &lines{}
			p, open := swept(t, func(o *upstream.Options) {
				o.TLS, o.Log = trusting(ca.Pool(), nil), slog.New(slog.NewTextHandler(log, nil))
			})
			at := serving(t, tt.does)
			target, i := multiplexed(p, at, tt.way)
			for range 3 {
				var w upstream.Walk
				target.Begin(&w, nil, socket.Now())
				w.Next()
				_, err := i.Dial(t.Context(), patience)
				w.Unreached(socket.Now(), 0, err)
				w.End()
				e, ok := errors.AsType[*upstream.ProtocolError](err)
				if !ok || !strings.Contains(e.Why(), tt.want) || !strings.HasPrefix(e.Error(), "HTTP/2 with "+at.String()+": ") {
					t.Errorf("error %T %v, want one that says %q", err, err, tt.want)
				}
			}
			if e, ok := errors.AsType[*upstream.ProtocolError](target.Problem()); !ok || e.Instance != at.String() {
				t.Errorf("the target tells of %v", target.Problem())
			}
			if n := log.count("cannot be spoken to by HTTP/2"); n != 1 {
				t.Errorf("logged %d times, want once", n)
			}
			eventually(t, "all are closed", func() bool { return open.Value() == 0 })
		})
	}
	for _, tt := range []struct {
		name   string
		offers []string
	}{
		{"it knows nothing of ALPN", nil},
		{"it agrees to HTTP/1 alone", []string{"http/1.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, open := swept(t, func(o *upstream.Options) { o.TLS = trusting(ca.Pool(), nil) })
			at, _ := secured(t, &tls.Config{Certificates: pair, NextProtos: tt.offers})
			target, i := multiplexed(p, at, sealed)
			_, err := i.Dial(t.Context(), patience)
			e, ok := errors.AsType[*upstream.TLSError](err)
			if !ok || !strings.Contains(e.Why(), "it does not agree to speak HTTP/2 by TLS (h2 in ALPN)") || target.Problem() == nil {
				t.Errorf("error %T %v, Problem() = %v", err, err, target.Problem())
			}
			eventually(t, "all are closed", func() bool { return open.Value() == 0 })
		})
	}
}

// In TLS 1.3 an instance refuses a certificate when the handshake is over: what
// it says then is heard before a request is sent.
func TestCertificatesAreRefusedBeforeARequest(t *testing.T) {
	ca := certs.New(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := speaksHTTP2(t, 100, &tls.Config{
				Certificates: []tls.Certificate{ca.Issue(t, "shop.internal").TLS()}, MaxVersion: version,
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
			}, hello)
			pair := ca.Issue(t, "sluice").TLS()
			var trusted atomic.Bool
			with, without := trusting(ca.Pool(), &pair), trusting(ca.Pool(), nil)
			p, open := swept(t, func(o *upstream.Options) {
				o.TLS = func(w upstream.Way) (*tls.Config, error) {
					if trusted.Load() {
						return with(w)
					}
					return without(w)
				}
			})
			target, i := multiplexed(p, s.addr(), sealed)
			_, err := i.Dial(t.Context(), patience)
			e, ok := errors.AsType[*upstream.TLSError](err)
			if !ok || !strings.Contains(e.Why(), "certificate") || target.Problem() == nil {
				t.Errorf("error %T %v, Problem() = %v", err, err, target.Problem())
			}
			eventually(t, "it is closed", func() bool { return open.Value() == 0 })
			trusted.Store(true)
			c := begin(t, i)
			wantHello(t, c, "/")
			c.Spoken()
			if target.Problem() != nil {
				t.Errorf("Problem() = %v when it was spoken to", target.Problem())
			}
		})
	}
}

// An instance that is being restarted may take connections and end them.
func TestWhoEndsTheConnectionHasDeclined(t *testing.T) {
	p, open := swept(t, nil)
	at := serving(t, func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1)) })
	target, i := multiplexed(p, at, plain)
	if _, err := i.Dial(t.Context(), patience); !errors.Is(err, upstream.ErrDeclined) || target.Problem() != nil {
		t.Errorf("Dial() error = %v, Problem() = %v, want ErrDeclined", err, target.Problem())
	}
	eventually(t, "it is closed", func() bool { return open.Value() == 0 })
}

// An instance that is mended is of use again, and nothing is wrong with it.
func TestWhoSpeaksHTTP2AgainIsForgiven(t *testing.T) {
	s := speaksHTTP2(t, 100, nil, hello)
	var mended atomic.Bool
	at := serving(t, func(nc net.Conn) {
		if !mended.Load() {
			_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, nc)
			return
		}
		to, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.Listener.Addr().String())
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			_, _ = io.Copy(to, nc)
			_ = to.Close()
		}()
		_, _ = io.Copy(nc, to)
	})
	p, _ := swept(t, nil)
	target, i := multiplexed(p, at, plain)
	if _, err := i.Dial(t.Context(), patience); err == nil || target.Problem() == nil {
		t.Fatalf("Dial() error = %v, Problem() = %v", err, target.Problem())
	}
	mended.Store(true)
	wantHello(t, begin(t, i), "/")
	if err := target.Problem(); err != nil {
		t.Errorf("the target tells of %v", err)
	}
}

func TestLinksWithoutUseAreClosed(t *testing.T) {
	s := speaksHTTP2(t, 100, nil, hello)
	p, open := swept(t, nil)
	_, i := multiplexed(p, s.addr(), plain)
	rests, busy := begin(t, i), begin(t, i)
	wantHello(t, rests, "/")
	i.Put(0, rests, socket.Now(), time.Minute)
	i.AgeLinks(time.Hour)
	p.Reap()
	p.Reap()
	if i.Links() != 1 {
		t.Fatal("a link was closed that is of use")
	}
	busy.Close()
	i.Get(0, socket.Now(), true).Close()
	i.AgeLinks(time.Hour)
	eventually(t, "it is closed", func() bool {
		p.Reap()
		return open.Value() == 0 && i.Links() == 0 && s.open.Load() == 0
	})
	wantHello(t, begin(t, i), "/")
}

func TestLinksOfRetiredInstancesEndWithTheirLastExchange(t *testing.T) {
	s := speaksHTTP2(t, 100, nil, hello)
	p, open := swept(t, nil)
	_, i := multiplexed(p, s.addr(), plain)
	rests, a, b := begin(t, i), begin(t, i), begin(t, i)
	wantHello(t, rests, "/")
	wantHello(t, a, "/")
	i.Put(0, rests, socket.Now(), time.Minute)
	p.Retain(nil)
	if i.Get(0, socket.Now(), true) != nil {
		t.Error("a retired instance has connections to give")
	}
	i.Put(0, a, socket.Now(), time.Minute)
	wantHello(t, b, "/late") // what is under way finishes, though it had not begun
	late := begin(t, i)      // who knew of the instance before may still come
	b.Close()
	wantHello(t, late, "/later")
	if open.Value() == 0 {
		t.Error("the connection was closed under an exchange")
	}
	late.Close()
	eventually(t, "all are closed", func() bool { return open.Value() == 0 && s.open.Load() == 0 })
}

func TestLinksAreCutWhenTheDrainTimeIsOver(t *testing.T) {
	waits := make(chan struct{}, 1)
	s := speaksHTTP2(t, 100, nil, func(_ http.ResponseWriter, r *http.Request) {
		waits <- struct{}{}
		<-r.Context().Done()
	})
	p, open := swept(t, func(o *upstream.Options) { o.Drain = time.Millisecond })
	_, i := multiplexed(p, s.addr(), plain)
	c := begin(t, i)
	failed := make(chan error, 1)
	go func() {
		_, err := get(c, "/")
		failed <- err
	}()
	<-waits
	p.Retain(nil)
	select {
	case err := <-failed:
		if !errors.Is(err, socket.ErrExpired) {
			t.Errorf("what was under way failed by %v, want ErrExpired", err)
		}
	case <-time.After(patience):
		t.Fatal("what was under way goes on")
	}
	c.Close()
	eventually(t, "all are closed", func() bool { return open.Value() == 0 && s.open.Load() == 0 })
}

// An instance that leaves says so: nothing new is sent to its old connections.
func TestConnectionsThatLeaveAreNotUsed(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	s := speaksHTTP2(t, 100, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			close(began)
			<-end
		}
		hello(w, r)
	})
	p, _ := swept(t, nil)
	_, i := multiplexed(p, s.addr(), plain)
	rests, busy := begin(t, i), begin(t, i)
	wantHello(t, rests, "/")
	i.Put(0, rests, socket.Now(), time.Minute)
	var all sync.WaitGroup
	all.Go(func() { wantHello(t, busy, "/wait") })
	<-began
	all.Go(func() { _ = s.Config.Shutdown(context.Background()) })
	eventually(t, "what rests is not alive", func() bool { return !rests.Alive() })
	if i.Get(0, socket.Now(), true) != nil {
		t.Error("a conversation is lent that ends")
	}
	close(end)
	all.Wait()
	busy.Close()
	eventually(t, "the link has ended", func() bool { return i.Links() == 0 })
}

// Nothing is left of links when the pool has ended, whatever was under way.
func TestNoLinkOutlivesThePool(t *testing.T) {
	s := speaksHTTP2(t, 100, nil, hello)
	o := listen(t) // which says nothing
	before := runtime.NumGoroutine()
	p, open := newPool(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	at := s.addr()
	target := by(p, p.Target(at.Addr().String(), int(at.Port())), plain)
	silent := by(p, p.Target(o.addr.Addr().String(), int(o.addr.Port())), plain)
	p.Retain([]*upstream.Target{target, silent})
	i := target.Instances()[0]
	wantHello(t, begin(t, i), "/")
	c := begin(t, i)
	wantHello(t, c, "/")
	i.Put(0, c, socket.Now(), time.Minute)
	failed := make(chan error, 1)
	dialling, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	go func() {
		_, err := silent.Instances()[0].Dial(dialling, patience)
		failed <- err
	}()
	o.next(t)
	cancel()
	<-done
	if _, err := i.Dial(t.Context(), patience); err == nil {
		t.Error("a connection was made when the pool had ended")
	}
	giveUp()
	if err := <-failed; err == nil {
		t.Error("a connection was made to who says nothing")
	}
	eventually(t, "no goroutine is left", func() bool { return open.Value() == 0 && s.open.Load() == 0 && runtime.NumGoroutine() <= before })
}
