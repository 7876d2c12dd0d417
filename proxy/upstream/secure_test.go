// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/certs"
)

// trusting returns what makes configurations of TLS: authority vouches for
// instances, and pair, which may be nil, is shown to them.
func trusting(authority *x509.CertPool, pair *tls.Certificate) func(upstream.Way) (*tls.Config, error) {
	var mu sync.Mutex
	made := make(map[upstream.Way]*tls.Config)
	return func(w upstream.Way) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		if made[w] == nil {
			made[w] = &tls.Config{
				RootCAs: authority, ServerName: w.TLS.Name, MinVersion: max(w.TLS.MinVersion, tls.VersionTLS12),
				InsecureSkipVerify: w.TLS.SkipVerify, //nolint:gosec // as asked for
			}
			if pair != nil {
				made[w].Certificates = []tls.Certificate{*pair}
			}
		}
		return made[w], nil
	}
}

// secured starts a server that speaks TLS: it reads a byte of each connection
// and sends one back, until there is no more. heard is told of each handshake.
func secured(t *testing.T, config *tls.Config) (at netip.AddrPort, heard chan tls.ConnectionState) {
	t.Helper()
	heard = make(chan tls.ConnectionState, 100)
	at = serving(t, func(nc net.Conn) {
		c := tls.Server(nc, config)
		defer c.Close()
		for b := make([]byte, 1); ; {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			select {
			case heard <- c.ConnectionState():
			default:
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	return at, heard
}

// serving starts a server.
func serving(t *testing.T, serve func(nc net.Conn)) netip.AddrPort {
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
				serve(nc)
			})
		}
	})
	t.Cleanup(all.Wait)
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// securely returns the instance at an address that is spoken to by TLS.
func securely(p *upstream.Pool, at netip.AddrPort, way upstream.Way) *upstream.Target {
	way.Secure = true
	t := by(p, p.Target(at.Addr().String(), int(at.Port())), way)
	p.Retain([]*upstream.Target{t})
	return t
}

func shop() upstream.Way {
	return upstream.Way{HTTP: true, TLS: routing.DialTLS{Name: "shop.internal", CA: "tls/internal.crt"}}
}

// What is wrong is logged by route when it begins, when it changes, and when it
// is over; not each time.
func TestFailedHandshakesAreLoggedOnce(t *testing.T) {
	ca := certs.New(t)
	var config atomic.Pointer[tls.Config]
	at, _ := secured(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return config.Load(), nil }})
	log := &lines{}
	p, _ := newPool(func(o *upstream.Options) {
		o.TLS, o.Log = trusting(ca.Pool(), nil), slog.New(slog.NewTextHandler(log, nil))
	})
	target := securely(p, at, shop())
	choosing := target.Choosing()
	choosing.Route = "shop/canary"
	target = p.Balanced(target, choosing)
	request := func() {
		var w upstream.Walk
		defer w.End()
		target.Begin(&w, routingtest.NewRequest("GET", "shop.example", "/"), 0)
		c, err := w.Next().Dial(t.Context(), patience)
		if err == nil {
			err = trip(c)
			c.Close()
		}
		if err != nil {
			w.Unreached(0, 0, err)
			return
		}
		w.Answered(0, time.Millisecond, 200)
	}
	for _, step := range []struct {
		pair           certs.Pair
		warned, solved int // lines so far
	}{
		{ca.Issue(t, "shop.internal"), 0, 0},
		{ca.Issue(t, "a.internal"), 1, 0},
		{ca.With(certs.Expired()).Issue(t, "shop.internal"), 2, 0},
		{ca.Issue(t, "shop.internal"), 2, 1},
		{ca.Issue(t, "a.internal"), 3, 1},
	} {
		config.Store(&tls.Config{Certificates: []tls.Certificate{step.pair.TLS()}, SessionTicketsDisabled: true})
		for range 3 {
			request()
		}
		if n := log.count("route=shop/canary"); n != step.warned {
			t.Errorf("%d lines tell of the route, want %d", n, step.warned)
		}
		if n := log.count("by TLS again"); n != step.solved {
			t.Errorf("%d lines tell that it is over, want %d", n, step.solved)
		}
	}
	if log.count("not for shop.internal") != 2 || log.count("expired at") != 1 {
		t.Error("the log does not say what is wrong")
	}
}

// An instance that refuses a certificate closes the connection, so that the
// request may not even go out.
func TestLateRefusalsAreFoundBehindAFailedWrite(t *testing.T) {
	ca := certs.New(t)
	at := serving(t, func(nc net.Conn) {
		c := tls.Server(nc, &tls.Config{
			Certificates: []tls.Certificate{ca.Issue(t, "shop.internal").TLS()}, ClientAuth: tls.RequireAnyClientCert,
		})
		_ = c.HandshakeContext(t.Context())
		_ = nc.(*net.TCPConn).SetLinger(0)
	})
	p, _ := newPool(func(o *upstream.Options) { o.TLS = trusting(ca.Pool(), nil) })
	c := dial(t, securely(p, at, shop()).Instances()[0])
	var err error
	eventually(t, "the instance closes", func() bool {
		_, err = c.Write([]byte("x"))
		return err != nil
	})
	err = c.Late(&socket.WriteError{Err: err, Unsent: true})
	if _, ok := errors.AsType[*upstream.TLSError](err); !ok {
		t.Errorf("Late() = %v, want why the connection was closed", err)
	}
}

// trip sends a byte and waits for it.
func trip(c *upstream.Conn) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 100))
	return c.Late(err)
}

func TestHandshakesThatFailSayWhy(t *testing.T) {
	ca, other := certs.New(t), certs.New(t)
	good := ca.Issue(t, "shop.internal").TLS()
	client := other.With(certs.Client()).Issue(t, "proxy").TLS()
	with := func(c tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}
	}
	changed := func(c *tls.Config, change func(*tls.Config)) *tls.Config { change(c); return c }
	demanding := func(version uint16) *tls.Config {
		return changed(with(good), func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, ca.Pool(), version
		})
	}
	for _, tt := range []struct {
		name   string
		server *tls.Config // nil: answers is what it does instead
		does   func(net.Conn)
		way    func(*upstream.Way)
		shows  *tls.Certificate
		want   string // of the text; empty if it succeeds
	}{
		{name: "the right certificate", server: with(good)},
		{
			name: "a certificate for others", server: with(ca.Issue(t, "a.example", "b.example", "192.0.2.1").TLS()),
			want: "its certificate is for a.example, b.example, 192.0.2.1, not for shop.internal: set name",
		},
		{
			name: "a certificate for many others", server: with(ca.Issue(t, "a.example", "b.example", "c.example", "d.example", "e.example", "f.example").TLS()),
			want: "d.example, e.example and 1 more, not for shop.internal",
		},
		{
			name: "a certificate for nobody", server: with(ca.With(certs.Emails("me@example.org")).Issue(t).TLS()),
			want: "its certificate is for nobody by name (no subject), not for shop.internal",
		},
		{
			name: "one that is taken as it is", server: with(other.Issue(t, "a.example").TLS()),
			way: func(w *upstream.Way) { w.TLS.SkipVerify = true },
		},
		{
			name: "an authority that is not in the file", server: with(other.Issue(t, "shop.internal").TLS()),
			want: "nobody in tls/internal.crt vouches for its certificate, which CN=Test authority issued: set ca to the file of who does",
		},
		{
			name: "an authority that the system does not know", server: with(other.Issue(t, "shop.internal").TLS()),
			way:  func(w *upstream.Way) { w.TLS.CA = "" },
			want: "nobody in the list of the system vouches for its certificate",
		},
		{name: "an expired certificate", server: with(ca.With(certs.Expired()).Issue(t, "shop.internal").TLS()), want: "its certificate expired at 20"},
		{
			name: "one that does not hold yet", server: with(ca.With(certs.Valid(time.Now().Add(time.Hour), time.Now().Add(2*time.Hour))).Issue(t, "shop.internal").TLS()),
			want: "its certificate does not hold before 20",
		},
		{name: "a certificate of a client", server: with(ca.With(certs.Client()).Issue(t, "shop.internal").TLS()), want: "its certificate is not one for servers"},
		{
			name: "TLS 1.2 where 1.3 is asked for", server: changed(with(good), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }),
			way:  func(w *upstream.Way) { w.TLS.MinVersion = tls.VersionTLS13 },
			want: "it speaks no version of TLS that may be used: TLS 1.3 and later ones may",
		},
		{name: "TLS 1.2", server: changed(with(good), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		{
			name: "other protocols than HTTP/1.1", server: changed(with(good), func(c *tls.Config) { c.NextProtos = []string{"smtp"} }),
			want: "it does not speak HTTP/1.1 by TLS",
		},
		{
			name: "any protocol, of those that carry something else", server: changed(with(good), func(c *tls.Config) { c.NextProtos = []string{"smtp"} }),
			way: func(w *upstream.Way) { w.HTTP = false },
		},
		{
			name: "no such name", server: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }},
			want: "it serves no shop.internal: set name to what it serves",
		},
		{name: "a certificate is asked for, in TLS 1.2", server: demanding(tls.VersionTLS12), want: "it found nothing in common with what the proxy offers: TLS 1.2 and 1.3 with the usual ciphers, and no certificate"},
		{name: "a certificate is asked for, in TLS 1.3", server: demanding(tls.VersionTLS13), want: "it asks for a certificate of the proxy: set certificate and key"},
		{
			name: "another certificate is asked for, in TLS 1.2", server: demanding(tls.VersionTLS12), shows: &client,
			way:  func(w *upstream.Way) { w.TLS.KeyPair.Certificate = "tls/me.crt" },
			want: "it does not know who issued tls/me.crt: show it a certificate of somebody that it trusts",
		},
		{
			name: "no TLS", does: func(nc net.Conn) {
				_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
				_, _ = io.Copy(io.Discard, nc)
			},
			want: "it does not speak TLS on this port: lead the route to its port for TLS, or leave tls out",
		},
		{
			name: "an end in the middle", does: func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1000)) },
			want: "it ended the connection in the middle of the handshake",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, open := newPool(func(o *upstream.Options) { o.TLS = trusting(ca.Pool(), tt.shows) })
			way := shop()
			if tt.way != nil {
				tt.way(&way)
			}
			var at netip.AddrPort
			if tt.server != nil {
				at, _ = secured(t, tt.server)
			} else {
				at = serving(t, tt.does)
			}
			target := securely(p, at, way)
			i := target.Instances()[0]
			c, err := i.Dial(t.Context(), patience)
			if err == nil {
				err = trip(c)
				c.Close()
			}
			if open.Value() != 0 {
				t.Errorf("%d connections are open in the end", open.Value())
			}
			if tt.want == "" {
				if err != nil || target.Problem() != nil {
					t.Errorf("failed: %v; Problem() = %v", err, target.Problem())
				}
				return
			}
			e, ok := errors.AsType[*upstream.TLSError](err)
			if !ok || !strings.Contains(e.Why(), tt.want) || !strings.HasPrefix(e.Error(), "TLS with "+at.String()+": ") {
				t.Errorf("error %T %v, want one that says %q", err, err, tt.want)
			}
			if target.Problem() == nil {
				t.Error("the target does not tell of it")
			}
		})
	}
}

func TestAHandshakeHasTheTimeOfConnecting(t *testing.T) {
	for name, ends := range map[string]func(context.CancelFunc){
		"within a time":      func(context.CancelFunc) {},
		"while it is wanted": func(end context.CancelFunc) { end() },
	} {
		t.Run(name, func(t *testing.T) {
			p, open := newPool(func(o *upstream.Options) { o.TLS = trusting(nil, nil) })
			began := make(chan struct{})
			at := serving(t, func(nc net.Conn) {
				_, _ = nc.Read(make([]byte, 1000))
				close(began)
				_, _ = io.Copy(io.Discard, nc)
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-began
				ends(cancel)
			}()
			_, err := securely(p, at, shop()).Instances()[0].Dial(ctx, 300*time.Millisecond)
			if _, ok := errors.AsType[*upstream.TLSError](err); ok || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
				t.Errorf("Dial() error = %v, want that it took too long", err)
			}
			if open.Value() != 0 {
				t.Errorf("%d connections are open", open.Value())
			}
		})
	}
}

func TestSettingsThatCannotBeUsedBlameNobody(t *testing.T) {
	for name, config := range map[string]func(upstream.Way) (*tls.Config, error){
		"no certificates at all": nil,
		"a file that is gone":    func(upstream.Way) (*tls.Config, error) { return nil, os.ErrNotExist },
	} {
		t.Run(name, func(t *testing.T) {
			at, _ := secured(t, &tls.Config{})
			p, _ := newPool(func(o *upstream.Options) { o.TLS = config })
			target := securely(p, at, shop())
			_, err := target.Instances()[0].Dial(t.Context(), patience)
			if !errors.Is(err, upstream.ErrSettings) || target.Problem() == nil {
				t.Errorf("Dial() error = %v, Problem() = %v; want what is wrong with the settings", err, target.Problem())
			}
		})
	}
}

func TestSessionsAreResumed(t *testing.T) {
	ca := certs.New(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			r := metrics.New(metrics.Options{})
			config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "shop.internal").TLS()}, MaxVersion: version}
			at, heard := secured(t, config)
			elsewhere, _ := secured(t, config.Clone())
			var base *tls.Config
			changed := func() { base = &tls.Config{RootCAs: ca.Pool(), ServerName: "shop.internal"} }
			changed()
			p, _ := newPool(func(o *upstream.Options) {
				o.TLS, o.Handshakes = func(upstream.Way) (*tls.Config, error) { return base, nil }, upstream.NewHandshakes(r)
			})
			i := securely(p, at, shop()).Instances()[0]
			once := func(i *upstream.Instance) {
				t.Helper()
				c, err := i.Dial(t.Context(), patience)
				if err == nil {
					err = trip(c)
					c.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for n := range 4 {
				once(i)
				if s := <-heard; s.DidResume != (n > 0) || s.ServerName != "shop.internal" || s.NegotiatedProtocol != "" && s.NegotiatedProtocol != "http/1.1" {
					t.Errorf("connection %d: resumed is %v, for %q by %q", n, s.DidResume, s.ServerName, s.NegotiatedProtocol)
				}
			}
			// The tickets of one instance are not shown to another.
			other := securely(p, elsewhere, shop()).Instances()[0]
			once(other)
			changed()
			once(i)
			if s := <-heard; s.DidResume {
				t.Error("a session is resumed that began by former files")
			}
			for result, want := range map[string]float64{"ok": 3, "resumed": 3, "failed": 0} {
				if got := handshakes(r, result); got != want {
					t.Errorf("%v handshakes are counted as %s, want %v", got, result, want)
				}
			}
		})
	}
}

// handshakes reads how many handshakes with instances had a result.
func handshakes(r *metrics.Registry, result string) (n float64) {
	for _, v := range r.Values() {
		if v.Family.Name == "sluice_tls_handshakes_total" && slices.Contains(v.Labels, metrics.Label{Name: "result", Value: result}) {
			n += v.Value
		}
	}
	return n
}

// What TLS says beside the answers does not keep a connection from serving
// again; what is no part of an answer does.
func TestKeptConnectionsOfTLS(t *testing.T) {
	ca := certs.New(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "shop.internal").TLS()}}
	for _, tt := range []struct {
		name   string
		behind func(c *tls.Conn) // what the instance does behind its answer
		// It serves again, and does so while its instance is busy, when only
		// what was taken off the network is looked at.
		idle, busy bool
	}{
		{"nothing", func(*tls.Conn) {}, true, true},
		{"a goodbye", func(c *tls.Conn) { _ = c.CloseWrite() }, false, false},
		{"an end without one", func(c *tls.Conn) { _ = c.NetConn().Close() }, false, true},
		{"an answer to nothing", func(c *tls.Conn) { _, _ = c.Write([]byte("y")) }, false, false},
	} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, busy %v", tt.name, busy), func(t *testing.T) {
				p, _ := newPool(func(o *upstream.Options) { o.TLS = trusting(ca.Pool(), nil) })
				behind := make(chan struct{})
				at := serving(t, func(nc net.Conn) {
					// The answer and what is behind it go out in one piece, so that
					// they are there together.
					held := &holding{Conn: nc}
					c := tls.Server(held, config)
					if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
						return
					}
					held.hold()
					_, _ = c.Write([]byte("x"))
					tt.behind(c)
					held.release()
					close(behind)
					_, _ = io.Copy(io.Discard, nc)
				})
				target := securely(p, at, shop())
				i := target.Instances()[0]
				c := dial(t, i)
				if err := trip(c); err != nil {
					t.Fatal(err)
				}
				<-behind
				if !busy && !tt.idle {
					eventually(t, "what is behind the answer is seen", func() bool { return !c.Alive() })
				}
				now := socket.Now()
				i.Put(0, c, now, time.Minute)
				if busy { // then connections are looked at less
					for range 5 {
						var w upstream.Walk
						target.Begin(&w, nil, 0)
						w.Next()
						defer w.End()
					}
				}
				want := tt.idle
				if busy {
					want = tt.busy
				}
				if got := i.Get(0, now, false); (got != nil) != want {
					t.Errorf("Get() = %v, want one: %v", got, want)
				}
			})
		}
	}
}

// holding keeps what is written until it is released.
type holding struct {
	net.Conn

	held []byte
	on   bool
}

func (h *holding) hold() { h.on = true }

func (h *holding) release() {
	h.on = false
	_ = h.SetWriteDeadline(time.Now().Add(patience)) // a goodbye ends the time for writing
	_, _ = h.Conn.Write(h.held)
}

func (h *holding) Write(b []byte) (int, error) {
	if h.on {
		h.held = append(h.held, b...)
		return len(b), nil
	}
	return h.Conn.Write(b)
}

func (h *holding) Close() error {
	if h.on {
		h.release()
	}
	return h.Conn.Close()
}
