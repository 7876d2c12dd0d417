// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// inner is a network of instances that speak TLS: an authority, whose
// certificate is in the file ca.crt of a directory.
type inner struct {
	*certs.CA

	dir  string
	pair tls.Certificate // for shop.internal
}

func newInner(t *testing.T) *inner {
	t.Helper()
	n := &inner{CA: certs.New(t), dir: t.TempDir()}
	n.WriteFile(n.dir, "ca.crt")
	n.pair = n.Issue(t, "shop.internal").TLS()
	return n
}

// config returns how instances speak TLS that have the right certificate.
func (n *inner) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{n.pair}, MinVersion: tls.VersionTLS12}
}

// dial returns what a route says to reach them.
func (n *inner) dial() *routing.DialTLS {
	return &routing.DialTLS{CA: "ca.crt", Name: "shop.internal", MinVersion: tls.VersionTLS12}
}

// options makes a proxy find the files.
func (n *inner) options(o *proxy.Options) { o.TLSDir = n.dir }

// origin starts an HTTP server that speaks TLS, and counts its connections.
func (n *inner) origin(t *testing.T, config *tls.Config, h http.HandlerFunc) (address string, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	s := httptest.NewUnstartedServer(h)
	s.TLS = config
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), conns
}

// through starts a proxy that leads to instances by TLS, in their order.
func (n *inner) through(t *testing.T, shape func(*routing.Route), addresses ...string) (b *bed, url string) {
	t.Helper()
	b = start(t, n.options)
	p := freeport.One(t)
	b.publish(p, n.shape(shape), addresses...)
	return b, local(p)
}

func (n *inner) shape(shape func(*routing.Route)) func(*routing.Route) {
	return func(r *routing.Route) {
		r.TLS = n.dial()
		if shape != nil {
			shape(r)
		}
	}
}

// behaving starts an instance as behaving does that speaks TLS; serve may take
// it for *tls.Conn.
func (n *inner) behaving(t *testing.T, config *tls.Config, serve func(nc net.Conn, r *http.Request) bool) *instance {
	t.Helper()
	return behavingAt(tls.NewListener(listen(t), config), serve)
}

func behavingAt(ln net.Listener, serve func(nc net.Conn, r *http.Request) bool) *instance {
	i := &instance{address: ln.Addr().String()}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go i.run(nc, serve)
		}
	}()
	return i
}

// cut ends a connection without the goodbye of TLS.
func cut(nc net.Conn) { _ = nc.(*tls.Conn).NetConn().Close() }

func TestBodiesOverTLSToInstances(t *testing.T) {
	n := newInner(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := n.config()
		config.MaxVersion = version
		address, conns := n.origin(t, config, echo)
		_, url := n.through(t, nil, address)
		c := client(t)
		for _, size := range []int{0, 1, 16 << 10, 16<<10 + 1, 100 << 10, 3 << 20} {
			payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d bytes, chunked %v", tls.VersionName(version), size, chunked), func(t *testing.T) {
					for range 3 { // over the same connection
						var body io.Reader = bytes.NewReader(payload)
						if chunked {
							body = struct{ io.Reader }{body}
						}
						r, err := c.Do(request(t, http.MethodPost, url, body))
						if err != nil {
							t.Fatal(err)
						}
						got, err := io.ReadAll(r.Body)
						_ = r.Body.Close()
						if err != nil || !bytes.Equal(got, payload) {
							t.Fatalf("got %d bytes, %v; want the %d that were sent", len(got), err, len(payload))
						}
					}
				})
			}
		}
		if got := conns.Load(); got > 3 {
			t.Errorf("%s: %d connections for one client: they are not kept", tls.VersionName(version), got)
		}
	}
}

func TestTrailersOverTLSToInstances(t *testing.T) {
	n := newInner(t)
	address, _ := n.origin(t, n.config(), func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
	})
	_, url := n.through(t, nil, address)
	r := request(t, http.MethodPost, url, struct{ io.Reader }{strings.NewReader("content")})
	r.Trailer = http.Header{"X-Sum": {"7"}}
	a, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if body, err := io.ReadAll(a.Body); string(body) != "body" || err != nil || a.Trailer.Get("X-Sum") != "7" {
		t.Errorf("got %q, %v, with trailers %v", body, err, a.Trailer)
	}
}

// What an end without a goodbye cuts short is not to be taken for complete.
func TestTruncationOverTLSToInstances(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for _, tt := range []struct {
		name, answer string
		end          func(net.Conn)
		status       int
		complete     bool
	}{
		{"close-delimited content ends with a goodbye", "HTTP/1.1 200 OK\r\n\r\nbody", closed, 200, true},
		{"close-delimited content ends without", "HTTP/1.1 200 OK\r\n\r\nbody", cut, 200, false},
		{"much close-delimited content ends with a goodbye", "HTTP/1.1 200 OK\r\n\r\n" + long, closed, 200, true},
		{"much close-delimited content ends without", "HTTP/1.1 200 OK\r\n\r\n" + long, cut, 200, false},
		{"content of a length is complete, whatever the end", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", cut, 200, true},
		{"content of a length ends early with a goodbye", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody", closed, 200, false},
		{"content of a length ends early", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody", cut, 200, false},
		{"much content of a length ends early", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + long, cut, 200, false},
		{"chunks end early with a goodbye", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", closed, 200, false},
		{"chunks end early", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", cut, 200, false},
		{"a head ends early", "HTTP/1.1 200 OK\r\nContent-", cut, 502, true},
		{"nothing, and an end without a goodbye", "", cut, 502, true},
		{"nothing, and a goodbye", "", closed, 502, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newInner(t)
			_, url := n.through(t, nil, n.behaving(t, n.config(), saying(tt.answer, tt.end)).address)
			r, err := client(t).Do(request(t, http.MethodGet, url, http.NoBody))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			_, err = io.ReadAll(r.Body)
			if r.StatusCode != tt.status || (err == nil) != tt.complete {
				t.Errorf("got %d, %v; want %d, complete %v", r.StatusCode, err, tt.status, tt.complete)
			}
		})
	}
}

func TestFailuresOfTLSToInstances(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server func(t *testing.T, n *inner) *tls.Config // nil: no TLS at all
		shape  func(*routing.Route)
		reason string
		status int
		why    string // in the status of the route
	}{
		{"a certificate for others", func(t *testing.T, n *inner) *tls.Config {
			t.Helper()
			return &tls.Config{Certificates: []tls.Certificate{n.Issue(t, "a.internal").TLS()}}
		}, nil, "tls_failed", 502, "its certificate is for a.internal, not for shop.internal"},
		{"an unknown authority", func(t *testing.T, _ *inner) *tls.Config {
			t.Helper()
			return &tls.Config{Certificates: []tls.Certificate{certs.New(t).Issue(t, "shop.internal").TLS()}}
		}, nil, "tls_failed", 502, "nobody in ca.crt vouches for its certificate"},
		{"a certificate of the proxy is asked for, in TLS 1.2", func(_ *testing.T, n *inner) *tls.Config {
			c := n.config()
			c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
			return c
		}, nil, "tls_failed", 502, "and no certificate"},
		{"a certificate of the proxy is asked for, in TLS 1.3", func(_ *testing.T, n *inner) *tls.Config {
			c := n.config()
			c.ClientAuth = tls.RequireAnyClientCert
			return c
		}, nil, "tls_failed", 502, "it asks for a certificate of the proxy"},
		{"no TLS", nil, nil, "tls_failed", 502, "it does not speak TLS on this port"},
		{"a file that is not there", func(_ *testing.T, n *inner) *tls.Config { return n.config() }, func(r *routing.Route) {
			r.TLS.CA = "gone.crt"
		}, "tls_failed", 502, "gone.crt"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(tt.name+", "+method, func(t *testing.T) {
				n := newInner(t)
				var address string
				if tt.server == nil {
					address = origin(t, named("plain"))
				} else {
					address, _ = n.origin(t, tt.server(t, n), named("served"))
				}
				b, url := n.through(t, tt.shape, address)
				var body io.Reader = http.NoBody
				if method == http.MethodPost {
					body = strings.NewReader("content")
				}
				r, err := client(t).Do(request(t, method, url, body))
				if err != nil {
					t.Fatal(err)
				}
				_ = r.Body.Close()
				if got := r.Header.Get("Sluice-Reason"); r.StatusCode != tt.status || got != tt.reason {
					t.Errorf("answered %d %s, want %d %s", r.StatusCode, got, tt.status, tt.reason)
				}
				st := b.server.Status()[0].Routes[0]
				if !strings.Contains(st.Problem, tt.why) || st.TLS == nil {
					t.Errorf("the status says %q, %+v; want %q", st.Problem, st.TLS, tt.why)
				}
			})
		}
	}
}

// An instance that cannot be spoken to by TLS has read nothing of the request:
// others may serve it, whatever it is.
func TestAnotherInstanceServesWhereTLSFails(t *testing.T) {
	n := newInner(t)
	demanding := n.config()
	demanding.ClientAuth = tls.RequireAnyClientCert
	for name, bad := range map[string]*tls.Config{
		"a certificate for others":                       {Certificates: []tls.Certificate{n.Issue(t, "a.internal").TLS()}},
		"a certificate that is asked for behind the end": demanding,
	} {
		t.Run(name, func(t *testing.T) {
			first, _ := n.origin(t, bad, named("first"))
			second, _ := n.origin(t, n.config(), named("second"))
			b, url := n.through(t, func(r *routing.Route) { r.Ejection = routing.PartOf(routing.Ejection{Off: true}) }, first, second)
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				for range 3 {
					r, err := client(t).Do(request(t, method, url, strings.NewReader("content")))
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(r.Body)
					_ = r.Body.Close()
					if string(body) != "second" {
						t.Errorf("%s: %d %q, want the second instance", method, r.StatusCode, body)
					}
				}
			}
			if got := b.retries().Begun; got != 6 {
				t.Errorf("%d retries are counted, want 6", got)
			}
		})
	}
}

func TestAnInstanceIsEjectedWhereTLSFails(t *testing.T) {
	n := newInner(t)
	first, conns := n.origin(t, &tls.Config{Certificates: []tls.Certificate{n.Issue(t, "a.internal").TLS()}}, named("first"))
	second, _ := n.origin(t, n.config(), named("second"))
	b, url := n.through(t, nil, first, second)
	for range 3 {
		if a := get(t, client(t), url); a.body != "second" {
			t.Errorf("answered %d %q", a.status, a.body)
		}
	}
	eventually(t, "it is ejected", func() bool { return strings.HasPrefix(b.states(0), "ejected") })
	before := conns.Load()
	get(t, client(t), url)
	if conns.Load() != before {
		t.Error("it is still asked")
	}
}

// An instance that accepts connections and says nothing has the time of
// connecting.
func TestASilentInstanceOfTLS(t *testing.T) {
	n := newInner(t)
	ln := listen(t)
	_, url := n.through(t, func(r *routing.Route) { r.Timeouts = routing.PartOf(routing.Timeouts{Connect: 200 * time.Millisecond}) }, ln.Addr().String())
	a := get(t, client(t), url)
	if got := a.header.Get("Sluice-Reason"); a.status != http.StatusGatewayTimeout || got != "connect_timeout" {
		t.Errorf("answered %d %s, want 504 connect_timeout", a.status, got)
	}
}

func TestKeptConnectionsOfTLSThatEnded(t *testing.T) {
	for _, end := range []struct {
		name string
		by   func(net.Conn)
	}{{"with a goodbye", closed}, {"without one", cut}} {
		t.Run(end.name, func(t *testing.T) {
			n := newInner(t)
			ended := make(chan struct{}, 1)
			o := n.behaving(t, n.config(), func(nc net.Conn, r *http.Request) bool {
				telling(http.StatusOK, "served")(nc, r)
				end.by(nc)
				ended <- struct{}{}
				return false
			})
			_, url := n.through(t, nil, o.address)
			c := client(t)
			for range 5 {
				if a := get(t, c, url); a.body != "served" {
					t.Errorf("answered %d %q", a.status, a.body)
				}
				<-ended
			}
		})
	}
}

// gathering has what is written to its connections go out in one piece once
// they are read from.
type gathering struct{ net.Listener }

func (l gathering) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return &gathered{Conn: nc}, err
}

type gathered struct {
	net.Conn

	held []byte
}

func (g *gathered) Write(b []byte) (int, error) {
	g.held = append(g.held, b...)
	return len(b), nil
}

func (g *gathered) Read(b []byte) (int, error) {
	if len(g.held) > 0 {
		if _, err := g.Conn.Write(g.held); err != nil {
			return 0, err
		}
		g.held = nil
	}
	return g.Conn.Read(b)
}

// What an instance sends behind its answer, in a record of its own, is not the
// answer to the next request.
func TestStrayAnswersOverTLS(t *testing.T) {
	const whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	n := newInner(t)
	var served atomic.Int64
	o := behavingAt(tls.NewListener(gathering{listen(t)}, n.config()), func(nc net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(nc, whole+fmt.Sprintf("%5d", served.Add(1)))
		_, _ = io.WriteString(nc, whole+"stray")
		return true
	})
	_, url := n.through(t, nil, o.address)
	k := keep(t, url)
	for i := range 20 {
		k.send(t, "/")
		if a, _ := k.receive(t); a.body != fmt.Sprintf("%5d", i+1) {
			t.Fatalf("answer %d is %q", i, a.body)
		}
	}
}

func TestTunnelsOverTLSToInstances(t *testing.T) {
	n := newInner(t)
	ln := tls.NewListener(listen(t), n.config())
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			nc, err := ln.Accept()
			if err != nil {
				return err
			}
			defer nc.Close()
			br := bufio.NewReader(nc)
			if _, err := http.ReadRequest(br); err != nil {
				return err
			}
			if _, err := io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello"); err != nil {
				return err
			}
			if _, err := io.Copy(nc, br); err != nil {
				return err
			}
			_, err = io.WriteString(nc, "bye")
			return err
		}()
	}()
	_, url := n.through(t, nil, ln.Addr().String())
	k := keep(t, url)
	_, _ = io.WriteString(k, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r, err := http.ReadResponse(k.r, nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answered %v, %v", r, err)
	}
	defer r.Body.Close()
	payload := bytes.Repeat([]byte("0123456789abcdef"), 20<<10)
	go func() {
		_, _ = k.Write(payload)
		_ = k.Conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(k.r)
	if want := "hello" + string(payload) + "bye"; err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v; want %d: each half ends by itself", len(got), err, len(want))
	}
	if err := <-done; err != nil {
		t.Errorf("the instance ends with %v", err)
	}
}

// A tunnel that breaks at the instance does not end in order at the client.
func TestATunnelOverTLSThatIsCut(t *testing.T) {
	n := newInner(t)
	o := n.behaving(t, n.config(), saying("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello", cut))
	_, url := n.through(t, nil, o.address)
	k := keep(t, url)
	_, _ = io.WriteString(k, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if _, err := io.ReadAll(k.r); err == nil {
		t.Error("the end without a goodbye is passed on as one in order")
	}
}

func TestChecksSpeakTLS(t *testing.T) {
	for _, kind := range []routing.HealthKind{routing.HealthTCP, routing.HealthHTTP} {
		for _, tt := range []struct {
			name   string
			config func(t *testing.T, n *inner) *tls.Config
			want   string
			why    string
		}{
			{"the right certificate", func(_ *testing.T, n *inner) *tls.Config { return n.config() }, "healthy", ""},
			{"an expired one", func(t *testing.T, n *inner) *tls.Config {
				t.Helper()
				return &tls.Config{Certificates: []tls.Certificate{n.With(certs.Expired()).Issue(t, "shop.internal").TLS()}}
			}, "unhealthy", "its certificate expired at "},
		} {
			t.Run(kind.String()+", "+tt.name, func(t *testing.T) {
				n := newInner(t)
				address, _ := n.origin(t, tt.config(t, n), func(w http.ResponseWriter, r *http.Request) {
					if r.Host != "shop.internal" {
						w.WriteHeader(http.StatusMisdirectedRequest)
					}
				})
				b := start(t, n.options)
				r := route("r", routing.FullWeight, address)
				n.shape(func(r *routing.Route) {
					h := routing.DefaultHealth(kind)
					h.Every = 20 * time.Millisecond
					r.Health = routing.PartOf(h)
				})(r)
				b.lead(freeport.One(t), nil, r)
				eventually(t, "it is "+tt.want, func() bool { return b.states(0) == tt.want })
				if why := b.server.Status()[0].Routes[0].Health[0].Why; !strings.HasPrefix(why, tt.why) {
					t.Errorf("why: %q, want %q", why, tt.why)
				}
			})
		}
	}
}

// New connections follow the table, those under way stay what they are.
func TestATableThatChangesTLS(t *testing.T) {
	n := newInner(t)
	release := make(chan struct{})
	address, conns := n.origin(t, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair := n.pair
		if h.ServerName != "shop.internal" {
			pair = n.Issue(t, h.ServerName).TLS()
		}
		return &pair, nil
	}}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-release
		}
		_, _ = io.WriteString(w, r.TLS.ServerName)
	})
	b := start(t, n.options)
	p := freeport.One(t)
	b.publish(p, n.shape(nil), address)
	url := local(p)
	c := client(t)
	if a := get(t, c, url); a.body != "shop.internal" {
		t.Fatalf("answered %d %q", a.status, a.body)
	}
	slow := keep(t, url)
	slow.send(t, "/slow")
	if _, err := slow.r.Peek(1); err != nil { // it is under way
		t.Fatal(err)
	}
	b.publish(p, n.shape(func(r *routing.Route) { r.TLS.Name = "cart.internal" }), address)
	if a := get(t, c, url); a.body != "cart.internal" {
		t.Errorf("after the change: %d %q, want a new connection by the new name", a.status, a.body)
	}
	close(release)
	if a, _ := slow.receive(t); a.body != "shop.internal" {
		t.Errorf("the exchange under way got %d %q, want it to finish as it began", a.status, a.body)
	}
	b.publish(p, nil, address)
	if a := get(t, c, url); a.status != http.StatusBadRequest { // of the server, which wants TLS
		t.Errorf("without TLS: %d %q", a.status, a.body)
	}
	if conns.Load() < 3 {
		t.Errorf("%d connections were made, want one of each kind at least", conns.Load())
	}
}

// The header comes before TLS, which comes before HTTP.
func TestAHeaderBeforeTLS(t *testing.T) {
	n := newInner(t)
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go serveBehindHeader(nc, n.config())
		}
	}()
	_, url := n.through(t, func(r *routing.Route) { r.ProxyProtocol = routing.ProxyV2 }, ln.Addr().String())
	for range 2 {
		k := keep(t, url)
		for range 2 {
			k.send(t, "/")
			if a, _ := k.receive(t); a.body != k.LocalAddr().String() {
				t.Errorf("answered %d %q, want %v", a.status, a.body, k.LocalAddr())
			}
		}
	}
}

// serveBehindHeader reads a PROXY header, speaks TLS behind it, and answers
// each request with the client that the header named.
func serveBehindHeader(nc net.Conn, config *tls.Config) {
	defer nc.Close()
	h, err := readHeader(nc)
	if err != nil {
		return
	}
	c := tls.Server(nc, config)
	defer c.Close()
	for br := bufio.NewReader(c); ; {
		r, err := http.ReadRequest(br)
		if err != nil || !telling(http.StatusOK, h.Source.String())(c, r) {
			return
		}
	}
}

func TestStatusTellsOfTLS(t *testing.T) {
	n := newInner(t)
	n.Issue(t, "me").WriteFiles(n.dir, "me")
	address, _ := n.origin(t, n.config(), named("served"))
	b, url := n.through(t, func(r *routing.Route) {
		r.TLS.KeyPair = routing.KeyPair{Certificate: "me.crt", Key: "me.key"}
		r.TLS.MinVersion = tls.VersionTLS13
		r.ProxyProtocol = routing.ProxyNone
	}, address)
	if a := get(t, client(t), url); a.body != "served" {
		t.Fatalf("answered %d %q", a.status, a.body)
	}
	st := b.server.Status()[0].Routes[0]
	want := proxy.RouteTLS{Name: "shop.internal", Verify: true, CA: "ca.crt", Certificate: "me.crt", MinVersion: "1.3"}
	if st.TLS == nil || *st.TLS != want || st.Problem != "" || st.ProxyProtocol != "" {
		t.Errorf("the status is %+v with TLS %+v, want %+v", st, st.TLS, want)
	}
}

func TestHandshakesWithInstancesAreCounted(t *testing.T) {
	n := newInner(t)
	address, _ := n.origin(t, n.config(), func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	wrong, _ := n.origin(t, &tls.Config{Certificates: []tls.Certificate{n.Issue(t, "a.internal").TLS()}}, named("wrong"))
	b, url := n.through(t, nil, address)
	for range 3 {
		get(t, client(t), url)
	}
	p := freeport.One(t)
	b.publish(p, n.shape(nil), wrong)
	get(t, client(t), local(p))
	for labels, want := range map[string]float64{
		"upstream ok none": 1, "upstream resumed none": 2, "upstream failed certificate": 1, "upstream failed gone": 0,
	} {
		kind, rest, _ := strings.Cut(labels, " ")
		result, reason, _ := strings.Cut(rest, " ")
		found := false
		for _, v := range b.registry.Values() {
			if v.Family.Name != "sluice_tls_handshakes_total" || !slices.Contains(v.Labels, metrics.Label{Name: "kind", Value: kind}) ||
				!slices.Contains(v.Labels, metrics.Label{Name: "result", Value: result}) || !slices.Contains(v.Labels, metrics.Label{Name: "reason", Value: reason}) {
				continue
			}
			found = true
			if v.Value != want {
				t.Errorf("%s: %v, want %v", labels, v.Value, want)
			}
		}
		if !found {
			t.Errorf("%s is not counted", labels)
		}
	}
}
