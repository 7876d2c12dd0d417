// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// sealed is a proxy whose gateways may speak TLS, with files in a directory of
// its own.
type sealed struct {
	*bed
	ca         *certs.CA
	dir        string
	tls, plain int // the ports of virtual hosts
}

// seal starts a proxy. There are certificates a, b and shop, each for
// NAME.example, and the authority is clients.crt.
func seal(t *testing.T, shape func(*proxy.Options)) *sealed {
	t.Helper()
	s := &sealed{ca: certs.New(t), dir: t.TempDir(), plain: freeport.One(t), tls: freeport.One(t)}
	for _, name := range []string{"a", "b", "shop"} {
		s.ca.Issue(t, name+".example").WriteFiles(s.dir, name)
	}
	s.ca.WriteFile(s.dir, "clients.crt")
	s.bed = start(t, func(o *proxy.Options) {
		o.TLSDir, o.VirtualHostsPort, o.VirtualHostsTLSPort = s.dir, s.plain, s.tls
		if shape != nil {
			shape(o)
		}
	})
	return s
}

// pair names the files of a certificate, as settings have them.
func pair(name string) string {
	return fmt.Sprintf("certificates: {certificate: %s.crt, key: %[1]s.key}", name)
}

// config is that of a client who wants to reach a name. What he has of his own
// is shown if it is asked for.
func (s *sealed) config(name string, own ...certs.Pair) *tls.Config {
	c := &tls.Config{RootCAs: s.ca.Pool(), ServerName: name, MinVersion: tls.VersionTLS12}
	for _, p := range own {
		c.Certificates = append(c.Certificates, p.TLS())
	}
	return c
}

// connect opens a connection that speaks TLS. It ends with the test.
func (s *sealed) connect(t *testing.T, port int, config *tls.Config) *tls.Conn {
	t.Helper()
	c := tls.Client(dial(t, local(port)), config)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends a request head over a connection and returns the answer.
func ask(t *testing.T, nc net.Conn, head string) (status int, fields http.Header, body string) {
	t.Helper()
	if _, err := io.WriteString(nc, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// client returns an HTTP client for URLs of any host, all of which are ours.
func (s *sealed) client(t *testing.T, port int) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: s.config(""), MaxIdleConnsPerHost: 16}
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport: tr, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func TestGatewaysSpeakTLS(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(fmt.Sprintf(`
name: a
port: %d
sticky: route
sluice: {tls: {%s}}
routes: {"[%s]": {}}
`, p, pair("a"), origin(t, mirror)))
	for _, tt := range []struct {
		name   string
		shape  func(*tls.Config)
		failed bool
	}{
		{"TLS 1.3", func(*tls.Config) {}, false},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, false},
		{"nothing older", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, true},
		{"with a protocol that is spoken", func(c *tls.Config) { c.NextProtos = []string{"spdy/3", "http/1.1"} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := s.config("a.example")
			tt.shape(config)
			nc := tls.Client(dial(t, local(p)), config)
			if err := nc.HandshakeContext(t.Context()); err != nil {
				if !tt.failed {
					t.Fatal(err)
				}
				return
			}
			if tt.failed {
				t.Fatal("the handshake is made")
			}
			if got := nc.ConnectionState().NegotiatedProtocol; len(config.NextProtos) > 0 && got != "http/1.1" {
				t.Errorf("the protocol is %q, want http/1.1", got)
			}
			for range 3 {
				status, fields, body := ask(t, nc, "GET / HTTP/1.1\nHost: a.example\nX-Forwarded-Proto: http")
				if status != http.StatusOK || !strings.Contains(body, "X-Forwarded-Proto: https\r\n") ||
					!strings.Contains(body, fmt.Sprintf("X-Forwarded-Port: %d\r\n", p)) {
					t.Errorf("%d %q, want 200, and the instance told of https", status, body)
				}
				if got := fields.Get("Set-Cookie"); !strings.HasSuffix(got, "; Secure") {
					t.Errorf("Set-Cookie: %s, want it for secure connections only", got)
				}
			}
		})
	}
}

func TestBodiesOverTLS(t *testing.T) {
	s := seal(t, nil)
	s.apply(fmt.Sprintf(`
name: a
virtual_hosts: [a.example]
sluice: {tls: {%s}}
routes: {"[%s]": {}}
`, pair("a"), origin(t, echo)))
	c := s.client(t, s.tls)
	for _, size := range []int{0, 1, 16<<10 + 1, 100 << 10, 3 << 20} {
		payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, chunked %v", size, chunked), func(t *testing.T) {
				for range 3 { // over the same connection
					var body io.Reader = bytes.NewReader(payload)
					if chunked {
						body = struct{ io.Reader }{body}
					}
					r, err := c.Do(request(t, http.MethodPost, "https://a.example/", body))
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
}

func TestTrailersOverTLS(t *testing.T) {
	s := seal(t, nil)
	s.apply(fmt.Sprintf(`
name: a
virtual_hosts: [a.example]
sluice: {tls: {%s}}
routes: {"[%s]": {}}
`, pair("a"), origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sent"))
	})))
	r := request(t, http.MethodPost, "https://a.example/", struct{ io.Reader }{strings.NewReader("up")})
	r.Trailer = http.Header{"X-Sent": {"42"}}
	resp, err := s.client(t, s.tls).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("got %q, trailers %v (%v); want the body and the trailer that was sent", body, resp.Trailer, err)
	}
}

func TestWebSocketsOverTLS(t *testing.T) {
	s := seal(t, nil)
	s.apply(fmt.Sprintf(`
name: a
virtual_hosts: [a.example]
sluice: {tls: {%s}}
routes: {"[%s]": {}}
`, pair("a"), webSocketOrigin(t)))
	nc := s.connect(t, s.tls, s.config("a.example"))
	if _, err := io.WriteString(nc, strings.ReplaceAll(handshake(""), "Host: a\r\n", "Host: a.example\r\n")); err != nil {
		t.Fatal(err)
	}
	ws := &webSocket{Conn: nc, r: bufio.NewReaderSize(nc, 512), masked: true}
	resp, err := http.ReadResponse(ws.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("no agreement: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	for _, size := range []int{1, 125, 60_000} {
		text := strings.Repeat("x", size)
		if err := ws.echoes(text); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEndsAreSaidOverTLS holds that a client can tell the end of an answer
// from a connection that was cut.
func TestEndsAreSaidOverTLS(t *testing.T) {
	s := seal(t, nil)
	text := fmt.Sprintf(`
name: a
virtual_hosts: [a.example]
sluice: {tls: {%s}}
routes: {"[%s]": {}}
`, pair("a"), origin(t, named("a")))
	s.apply(text)
	const get = "GET / HTTP/1.1\nHost: a.example"
	ends := func(t *testing.T, nc net.Conn) {
		t.Helper()
		if n, err := nc.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read() = %d, %v; want the end to be said", n, err)
		}
	}
	t.Run("after the last answer", func(t *testing.T) {
		nc := s.connect(t, s.tls, s.config("a.example"))
		ask(t, nc, get+"\nConnection: close")
		ends(t, nc)
	})
	t.Run("when the gateway goes", func(t *testing.T) {
		nc := s.connect(t, s.tls, s.config("a.example"))
		ask(t, nc, get)
		s.apply(`{name: other, port: ` + strconv.Itoa(freeport.One(t)) + `, routes: {}}`)
		ends(t, nc)
		s.apply(text)
	})
	t.Run("when the proxy ends", func(t *testing.T) {
		nc := s.connect(t, s.tls, s.config("a.example"))
		ask(t, nc, get)
		if err := s.end(); err != nil {
			t.Fatal(err)
		}
		ends(t, nc)
	})
}

// TestCertificateOfTheStar holds that the host that stands for all others does
// so in handshakes, too, wherever it stands in the table.
func TestCertificateOfTheStar(t *testing.T) {
	s := seal(t, nil)
	gateway := func(name, certificate, host string) string {
		return fmt.Sprintf("name: %s\nvirtual_hosts: [%q]\nsluice: {port: none, tls: {%s}}\nroutes: {\"[%s]\": {}}\n", name, host, pair(certificate), origin(t, named(name)))
	}
	s.apply(gateway("a", "a", "a.example") + "---\n" + gateway("rest", "b", "*"))
	for _, tt := range []struct{ name, certificate, body string }{
		{"a.example", "a.example", "a"},
		{"unknown.example", "b.example", "rest"},
		{"", "b.example", "rest"},
	} {
		config := s.config(tt.name)
		config.InsecureSkipVerify = true // which one it is, is what is looked at
		nc := s.connect(t, s.tls, config)
		if got := nc.ConnectionState().PeerCertificates[0].DNSNames[0]; got != tt.certificate {
			t.Errorf("%q is shown the certificate for %s, want %s", tt.name, got, tt.certificate)
		}
		if status, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: "+cmp.Or(tt.name, "none.example")); status != http.StatusOK || body != tt.body {
			t.Errorf("%q is answered %d %q, want 200 %q", tt.name, status, body, tt.body)
		}
	}
}

// TestCertificateByName holds that names choose as they do for requests.
func TestCertificateByName(t *testing.T) {
	s := seal(t, nil)
	s.ca.Issue(t, "*.wide.example", "wide.example").WriteFiles(s.dir, "wide")
	s.ca.Issue(t, "deep.wide.example").WriteFiles(s.dir, "deep")
	gateway := func(name, certificate, hosts string) string {
		return fmt.Sprintf("name: %s\nvirtual_hosts: [%s]\nsluice: {tls: {%s}}\nroutes: {\"[%s]\": {}}\n", name, hosts, pair(certificate), origin(t, named(name)))
	}
	s.apply(strings.Join([]string{
		gateway("first", "a", "a.example/path"),
		gateway("whole", "b", "b.example"),
		gateway("wide", "wide", "'*.wide.example'"),
		gateway("deep", "deep", "deep.wide.example"),
	}, "---\n"))
	for _, tt := range []struct{ name, certificate, host, body string }{
		{"a.example", "a.example", "a.example", ""},
		{"b.example", "b.example", "b.example", "whole"},
		{"x.wide.example", "*.wide.example", "x.wide.example", "wide"},
		{"deep.wide.example", "deep.wide.example", "deep.wide.example", "deep"},
		{"unknown.example", "a.example", "unknown.example", ""}, // the first gateway's, and then nothing is found
		{"", "a.example", "b.example", "whole"},
		{"b.example", "b.example", "x.wide.example", "wide"}, // another host, and no other demands
	} {
		t.Run(tt.name+" for "+tt.host, func(t *testing.T) {
			config := s.config(tt.name)
			config.InsecureSkipVerify = true // which one it is, is what is looked at
			nc := s.connect(t, s.tls, config)
			if got := nc.ConnectionState().PeerCertificates[0].DNSNames[0]; got != tt.certificate {
				t.Errorf("the certificate is for %s, want %s", got, tt.certificate)
			}
			status, fields, body := ask(t, nc, "GET / HTTP/1.1\nHost: "+tt.host)
			if tt.body == "" {
				if status != http.StatusServiceUnavailable || fields.Get("Sluice-Reason") != "no_gateway" {
					t.Errorf("%d %s, want 503 no_gateway", status, body)
				}
				return
			}
			if status != http.StatusOK || body != tt.body {
				t.Errorf("%d %q, want 200 %q", status, body, tt.body)
			}
		})
	}
}

func TestPlainRequestsForHostsWithTLS(t *testing.T) {
	for _, tt := range []struct {
		name, plain, request string
		status               int
		location             string
	}{
		{"are sent to TLS", "redirect", "GET /a?b=c HTTP/1.1\nHost: A.example:%d", 308, "https://A.example:%d/a?b=c"},
		{"are sent to where it usually is if they name no port", "redirect", "POST /a HTTP/1.1\nContent-Length: 0\nHost: a.example", 308, "https://a.example/a"},
		{"in absolute form", "redirect", "GET http://a.example?q HTTP/1.1\nHost: b", 308, "https://a.example/?q"},
		{"with bytes beyond ASCII", "redirect", "GET /\u00e4 HTTP/1.1\nHost: a.example", 308, "https://a.example/%%C3%%A4"},
		{"are served", "serve", "GET / HTTP/1.1\nHost: a.example", 200, ""},
		{"are refused", "refuse", "GET / HTTP/1.1\nHost: a.example", 503, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := seal(t, nil)
			// Another host in plain text keeps the port open.
			s.apply(fmt.Sprintf("{name: a, virtual_hosts: [a.example], sluice: {tls: {%s, plain: %s, hsts: 1d}}, routes: {\"[%s]\": {}}}\n---\n{name: b, virtual_hosts: [b.example], routes: {}}\n",
				pair("a"), tt.plain, origin(t, named("a"))))
			head := tt.request
			if strings.Contains(head, "%d") {
				head = fmt.Sprintf(head, s.plain)
			}
			status, fields, body := exchange(t, s.plain, head)
			want := strings.ReplaceAll(tt.location, "%%", "%")
			want = strings.ReplaceAll(want, "%d", strconv.Itoa(s.tls))
			if status != tt.status || fields.Get("Location") != want {
				t.Errorf("%d to %q, want %d to %q; %s", status, fields.Get("Location"), tt.status, want, body)
			}
			if got := fields.Get("Strict-Transport-Security"); got != "" {
				t.Errorf("Strict-Transport-Security: %s in plain text (RFC 6797 section 7.2)", got)
			}
		})
	}
}

// TestTrustedProxiesAreNotRedirected holds that a proxy in front that ended TLS
// is not sent in circles.
func TestTrustedProxiesAreNotRedirected(t *testing.T) {
	for trusted, want := range map[string]int{"127.0.0.0/8": http.StatusOK, "192.0.2.1": http.StatusPermanentRedirect} {
		s := seal(t, believing(t, trusted))
		s.apply(fmt.Sprintf(`{name: a, virtual_hosts: [a.example], sluice: {tls: {%s}}, routes: {"[%s]": {}}}`, pair("a"), origin(t, named("a"))))
		status, _, _ := exchange(t, s.plain, "GET / HTTP/1.1\nHost: a.example\nX-Forwarded-Proto: https")
		if status != want {
			t.Errorf("status %d for a proxy where %s is trusted, want %d", status, trusted, want)
		}
	}
}

func TestHSTS(t *testing.T) {
	s := seal(t, nil)
	says := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("strict-transport-security", "max-age=1")
		}
	})
	p := freeport.One(t)
	s.apply(fmt.Sprintf(`
name: a
port: %d
sluice: {tls: {%s, hsts: {max_age: 1d, subdomains: true}}}
routes:
  "[%s]": {}
  "[127.0.0.1:%d]": {weight: 0%%, condition: path == /dead}
  away: {weight: 0%%, condition: path == /away, sluice: {redirect: {to: https://b.example/}}}
`, p, pair("a"), says, freeport.One(t)))
	nc := s.connect(t, p, s.config("a.example"))
	for _, tt := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, "max-age=86400; includeSubDomains"},
		{"/own", 200, "max-age=1"},
		{"/dead", 502, "max-age=86400; includeSubDomains"},
		{"/away", 302, "max-age=86400; includeSubDomains"},
	} {
		status, fields, body := ask(t, nc, "GET "+tt.path+" HTTP/1.1\nHost: a.example")
		if got := fields.Values("Strict-Transport-Security"); status != tt.status || len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: %d with %q, want %d with %q; %s", tt.path, status, got, tt.status, tt.want, body)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	s := seal(t, nil)
	uri, err := url.Parse("spiffe://example/worker")
	if err != nil {
		t.Fatal(err)
	}
	known := s.ca.With(certs.Client(), certs.URIs(uri)).Issue(t, "worker.example")
	stranger := certs.New(t).With(certs.Client()).Issue(t, "worker.example")
	s.apply(fmt.Sprintf(`
name: a
virtual_hosts: [a.example]
sluice: {tls: {%s, client_auth: optional, client_ca: clients.crt}}
routes:
  "[%s]": {weight: 100%%}
  "[%s]": {weight: 0%%, condition: client san == worker.example}
---
name: b
virtual_hosts: [b.example]
sluice: {tls: {%s, client_auth: required, client_ca: clients.crt}}
routes: {"[%[2]s]": {}}
---
name: shop
virtual_hosts: [shop.example]
sluice: {tls: {%[5]s}}
routes: {"[%[2]s]": {}}
`, pair("a"), origin(t, mirror), origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "worker ")
		mirror(w, r)
	}), pair("b"), pair("shop")))
	const forged = "\nX-Forwarded-Client-Cert: Hash=0;Subject=\"CN=admin\"\nX_Forwarded_Client_Cert: Hash=0\nX-Forwarded_Client-Cert: Hash=0"
	certificates := func(body string) (lines []string) {
		for line := range strings.Lines(body) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), ": "); strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-forwarded-client-cert") {
				lines = append(lines, value)
			}
		}
		return lines
	}
	t.Run("are told to instances and conditions", func(t *testing.T) {
		nc := s.connect(t, s.tls, s.config("a.example", known))
		_, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: a.example"+forged)
		got := certificates(body)
		if !strings.HasPrefix(body, "worker ") || len(got) != 1 || !strings.HasPrefix(got[0], "Hash=") ||
			!strings.HasSuffix(got[0], `;Subject="CN=worker.example";URI="spiffe://example/worker";DNS=worker.example`) {
			t.Errorf("the instance got %q, want what the certificate says", body)
		}
	})
	t.Run("cannot be made up", func(t *testing.T) {
		nc := s.connect(t, s.tls, s.config("a.example"))
		_, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: a.example"+forged)
		if got := certificates(body); len(got) != 0 || strings.HasPrefix(body, "worker ") {
			t.Errorf("the instance got %q", got)
		}
		_, _, body = exchange(t, s.ownPort(t, "a"), "GET / HTTP/1.1\nHost: a.example"+forged)
		if got := certificates(body); len(got) != 0 {
			t.Errorf("the instance got %q", got)
		}
	})
	t.Run("of strangers are refused", func(t *testing.T) {
		for _, name := range []string{"a.example", "b.example"} {
			config := s.config(name)
			own := stranger.TLS()
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
			s.refusedTLS(t, s.tls, config)
		}
	})
	t.Run("are required", func(t *testing.T) {
		s.refusedTLS(t, s.tls, s.config("b.example"))
		nc := s.connect(t, s.tls, s.config("b.example", known))
		if status, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: b.example"); status != http.StatusOK || len(certificates(body)) != 1 {
			t.Errorf("%d %q", status, body)
		}
	})
	t.Run("are asked for when the connection begins", func(t *testing.T) {
		for _, tt := range []struct{ name, host string }{{"a.example", "b.example"}, {"shop.example", "b.example"}, {"b.example", "shop.example"}} {
			nc := s.connect(t, s.tls, s.config(tt.name, known))
			status, fields, body := ask(t, nc, "GET / HTTP/1.1\nHost: "+tt.host)
			if status != http.StatusMisdirectedRequest || fields.Get("Sluice-Reason") != "misdirected_request" {
				t.Errorf("%s over a connection to %s: %d %q, want 421", tt.host, tt.name, status, body)
			}
		}
	})
}

// ownPort has a gateway be served on its own port in plain text instead, and
// returns that.
func (s *sealed) ownPort(t *testing.T, _ string) int {
	t.Helper()
	p := freeport.One(t)
	other := start(t, nil)
	other.apply(fmt.Sprintf(`{name: a, port: %d, routes: {"[%s]": {}}}`, p, origin(t, mirror)))
	return p
}

// refusedTLS holds that no connection can be made. With TLS 1.3 a client
// learns that from the first read, and of a reset maybe while dialing.
func (s *sealed) refusedTLS(t *testing.T, port int, config *tls.Config) {
	t.Helper()
	raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	nc := tls.Client(raw, config)
	err = nc.HandshakeContext(t.Context())
	if err == nil {
		_, err = nc.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection for %s: %v, want it refused", config.ServerName, err)
	}
}

func TestForwardedCertificatesOfTrustedProxies(t *testing.T) {
	s := seal(t, believing(t, "127.0.0.0/8"))
	p := freeport.One(t)
	s.apply(fmt.Sprintf(`{name: a, port: %d, sluice: {tls: {%s, client_auth: optional, client_ca: clients.crt}}, routes: {"[%s]": {}}}`,
		p, pair("a"), origin(t, mirror)))
	const said = "GET / HTTP/1.1\nHost: a.example\nX-Forwarded-Client-Cert: Hash=1\nX-Forwarded-Client-Cert: Hash=2"
	_, _, body := ask(t, s.connect(t, p, s.config("a.example")), said)
	if want := "X-Forwarded-Client-Cert: Hash=1, Hash=2\r\n"; !strings.Contains(body, want) {
		t.Errorf("the instance got %q, want %q", body, want)
	}
	own := s.ca.With(certs.Client()).Issue(t, "front.example")
	_, _, body = ask(t, s.connect(t, p, s.config("a.example", own)), said)
	if !strings.Contains(body, "X-Forwarded-Client-Cert: Hash=1, Hash=2, Hash=") || !strings.Contains(body, "CN=front.example") {
		t.Errorf("the instance got %q, want the proxy's own behind them", body)
	}
}

// reason returns why a gateway is not deployed, empty if it is.
func (b *bed) reason(name string) string {
	for _, g := range b.server.Status() {
		if g.Name == name && !g.Deployed {
			return g.Reason
		}
	}
	return ""
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, s *sealed)
		wants []string // in the reason
	}{
		{"a key of another certificate", func(t *testing.T, s *sealed) {
			t.Helper()
			s.copy(t, "b.key", "shop.key")
		}, []string{"shop.crt", "shop.key"}},
		{"no key", func(t *testing.T, s *sealed) {
			t.Helper()
			if err := os.Remove(filepath.Join(s.dir, "shop.key")); err != nil {
				t.Fatal(err)
			}
		}, []string{"shop.key"}},
		{"half a certificate", func(t *testing.T, s *sealed) {
			t.Helper()
			if err := os.Truncate(filepath.Join(s.dir, "shop.crt"), 200); err != nil {
				t.Fatal(err)
			}
		}, []string{"shop.crt"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := seal(t, nil)
			good := s.ca.Issue(t, "shop.example")
			tt.spoil(t, s)
			p := freeport.One(t)
			s.apply(fmt.Sprintf(`
{name: a, port: %d, virtual_hosts: [a.example], sluice: {tls: {%s}}, routes: {"[%s]": {}}}
---
{name: shop, port: %d, virtual_hosts: [shop.example], sluice: {tls: {%s}}, routes: {"[%s]": {}}}
`, freeport.One(t), pair("a"), origin(t, named("a")), p, pair("shop"), origin(t, named("shop"))))
			why := s.reason("shop")
			for _, want := range tt.wants {
				if !strings.Contains(why, want) {
					t.Errorf("not deployed: %q, want %s in it", why, want)
				}
			}
			if all := s.server.Unserved(); len(all) != 1 || all["shop"] == nil || all["shop"].Error() != why {
				t.Errorf("Unserved() = %v, want shop for %q", all, why)
			}
			if strings.Contains(why, "PRIVATE KEY") {
				t.Errorf("%q shows a key", why)
			}
			if !refused(t, p) {
				t.Error("its port is open")
			}
			s.refusedTLS(t, s.tls, s.config("shop.example"))
			if _, _, body := ask(t, s.connect(t, s.tls, s.config("a.example")), "GET / HTTP/1.1\nHost: a.example"); body != "a" || s.reason("a") != "" {
				t.Errorf("the other gateway says %q, and is not deployed: %q", body, s.reason("a"))
			}
			good.WriteFiles(s.dir, "shop")
			eventually(t, "the gateway is deployed once its files are good", func() bool { return s.reason("shop") == "" })
			for _, port := range []int{p, s.tls} {
				if _, _, body := ask(t, s.connect(t, port, s.config("shop.example")), "GET / HTTP/1.1\nHost: shop.example"); body != "shop" {
					t.Errorf("it says %q", body)
				}
			}
		})
	}
}

func (s *sealed) copy(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, from))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, to), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExpiredCertificateIsServed(t *testing.T) {
	s := seal(t, nil)
	s.ca.With(certs.Expired()).Issue(t, "a.example").WriteFiles(s.dir, "a")
	p := freeport.One(t)
	s.apply(fmt.Sprintf(`{name: a, port: %d, sluice: {tls: {%s}}, routes: {"[%s]": {}}}`, p, pair("a"), origin(t, named("a"))))
	config := s.config("a.example")
	config.InsecureSkipVerify = true // which is what it takes
	nc := s.connect(t, p, config)
	if until := nc.ConnectionState().PeerCertificates[0].NotAfter; time.Now().Before(until) {
		t.Errorf("the certificate is good until %v", until)
	}
	if _, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: a.example"); body != "a" || s.reason("a") != "" {
		t.Errorf("got %q; not deployed: %q", body, s.reason("a"))
	}
}

// echoing is a TCP server that sends back what it gets, to the end.
func echoing(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(nc, nc)
				_ = nc.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// TestTCPGatewaysEndTLS holds that what is forwarded are the plain bytes, and
// that a port keeps its socket when what is spoken on it changes.
func TestTCPGatewaysEndTLS(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	to := echoing(t)
	says := func(nc net.Conn) {
		t.Helper()
		if _, err := io.WriteString(nc, "ping"); err != nil {
			t.Fatal(err)
		}
		expectBytes(t, nc, "ping")
	}
	text := func(settings string) string {
		return fmt.Sprintf("{name: db, port: %d/tcp, sluice: {%s}, routes: {\"[%s]\": {}}}", p, settings, to)
	}
	s.apply(text("tls: {" + pair("a") + "}"))
	spoken := s.connect(t, p, s.config("a.example"))
	says(spoken)
	s.apply(text("tls: {" + pair("a") + "}, proxy_protocol: 127.0.0.1"))
	nc := dial(t, local(p))
	if _, err := io.WriteString(nc, "PROXY TCP4 203.0.113.9 192.0.2.1 5000 443\r\n"); err != nil {
		t.Fatal(err)
	}
	behind := tls.Client(nc, s.config("a.example"))
	says(behind)
	s.apply(text(""))
	plain := dial(t, local(p))
	says(plain)
	s.apply(fmt.Sprintf(`{name: db, port: %d, sluice: {tls: {%s}}, routes: {"[%s]": {}}}`, p, pair("a"), origin(t, named("http"))))
	if _, _, body := ask(t, s.connect(t, p, s.config("a.example")), "GET / HTTP/1.1\nHost: a"); body != "http" {
		t.Errorf("over HTTP it answers %q", body)
	}
	for _, nc := range []net.Conn{spoken, behind, plain} {
		says(nc)
	}
	if err := spoken.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(spoken); err != nil || len(b) != 0 {
		t.Errorf("behind the end of one half come %q, %v", b, err)
	}
}

// TestStatusOfTLS holds that everything is told of certificates and nothing of
// keys.
func TestStatusOfTLS(t *testing.T) {
	s := seal(t, nil)
	s.apply(fmt.Sprintf(`{name: a, port: %d, sluice: {tls: {%s, min_version: "1.3", client_auth: required, client_ca: clients.crt}}, routes: {}}`,
		freeport.One(t), pair("a")))
	got := s.server.Status()[0]
	if got.TLS == nil || got.TLS.MinVersion != "1.3" || got.TLS.ClientAuth != "required" || got.TLS.Problem != "" || len(got.TLS.Files) != 2 {
		t.Fatalf("status = %+v", got.TLS)
	}
	if f := got.TLS.Files[0]; f.File != "a.crt" || f.Key != "a.key" || !slices.Equal(f.Names, []string{"a.example"}) || f.Expired ||
		len(f.Fingerprint) != 64 || time.Until(f.NotAfter) < time.Hour {
		t.Errorf("certificate = %+v", f)
	}
	if f := got.TLS.Files[1]; f.File != "clients.crt" || f.Key != "" {
		t.Errorf("authorities = %+v", f)
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "a.key"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s.server.Status())
	if err != nil {
		t.Fatal(err)
	}
	if key := strings.Split(string(b), "\n")[1]; bytes.Contains(text, []byte(key)) || bytes.Contains(text, []byte("PRIVATE")) {
		t.Errorf("the status shows a key: %s", text)
	}
}

// TestCertificateIsKeptWhileTheNewOneIsBad holds that a gateway with another
// file that cannot be used goes on with what it had, unless more is asked of
// clients than it can tell.
func TestCertificateIsKeptWhileTheNewOneIsBad(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	to := origin(t, named("a"))
	text := func(settings string) string {
		return fmt.Sprintf(`{name: a, port: %d, sluice: {tls: {%s}}, routes: {"[%s]": {}}}`, p, settings, to)
	}
	s.apply(text(pair("a")))
	s.apply(text(pair("missing")))
	if _, _, body := ask(t, s.connect(t, p, s.config("a.example")), "GET / HTTP/1.1\nHost: a"); body != "a" {
		t.Errorf("it answers %q", body)
	}
	if st := s.server.Status()[0]; !st.Deployed || !strings.Contains(st.TLS.Problem, "missing.crt") {
		t.Errorf("deployed: %v, problem %q; want it deployed, and the missing file named", st.Deployed, st.TLS.Problem)
	}
	s.apply(text(pair("missing") + ", client_auth: required, client_ca: clients.crt"))
	s.refusedTLS(t, p, s.config("a.example"))
	if why := s.reason("a"); !strings.Contains(why, "missing.crt") {
		t.Errorf("not deployed: %q, want the missing file named", why)
	}
	eventually(t, "those who come are counted", func() bool { return s.refusals("tls_unavailable") > 0 })
	s.apply(text(pair("a") + ", client_auth: required, client_ca: clients.crt"))
	own := s.ca.With(certs.Client()).Issue(t, "me.example")
	if _, _, body := ask(t, s.connect(t, p, s.config("a.example", own)), "GET / HTTP/1.1\nHost: a"); body != "a" || s.reason("a") != "" {
		t.Errorf("mended, it answers %q; not deployed: %q", body, s.reason("a"))
	}
}

// TestReloadsCutNothing holds that new certificates are shown to those who
// come, and that requests under way do not notice.
func TestReloadsCutNothing(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(fmt.Sprintf(`{name: a, port: %d, sluice: {tls: {%s}}, routes: {"[%s]": {}}}`, p, pair("a"), origin(t, named("a"))))
	kept := s.connect(t, p, s.config("a.example"))
	ask(t, kept, "GET / HTTP/1.1\nHost: a")
	before := kept.ConnectionState().PeerCertificates[0].SerialNumber
	s.ca.Issue(t, "a.example").WriteFiles(s.dir, "a")
	eventually(t, "the new one is shown", func() bool {
		_, _, body := ask(t, kept, "GET / HTTP/1.1\nHost: a")
		nc := s.connect(t, p, s.config("a.example"))
		defer nc.Close()
		return body == "a" && nc.ConnectionState().PeerCertificates[0].SerialNumber.Cmp(before) != 0
	})
}
