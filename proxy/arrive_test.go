// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// counted returns the value of a series of the whole process.
func (b *bed) counted(name string, labels ...metrics.Label) float64 {
	for _, v := range b.registry.Values() {
		if v.Family.Name != name || len(v.Labels) != len(labels) {
			continue
		}
		same := true
		for i, l := range labels {
			same = same && v.Labels[i] == l
		}
		if same {
			return v.Value
		}
	}
	return 0
}

// refusals counts the connections that were refused for a reason.
func (b *bed) refusals(reason string) float64 {
	return b.counted("sluice_connections_refused_total", metrics.Label{Name: "reason", Value: reason})
}

// speaks returns the text of a gateway by TLS, with more settings or none.
func speaks(name string, port int, address, more string) string {
	return fmt.Sprintf("---\nname: %s\nport: %d\nsluice: {tls: {%s}%s}\nroutes: {\"[%s]\": {}}\n", name, port, pair("a"), more, address)
}

// endOf reads to the end of a connection and reports what came before, and
// whether there was an end.
func endOf(nc net.Conn) (got string, ended bool) {
	b, err := io.ReadAll(nc)
	return string(b), !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestPlainTextOnATLSPort(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(speaks("a", p, origin(t, named("a")), ""))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx", "PRI ",
	} {
		got := raw(t, local(p), request)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "\r\nSluice-Reason: plain_on_tls\r\n") || !strings.Contains(got, "https://") {
			t.Errorf("%.10q is answered %q, want a 400 that says what to do", request, got)
		}
	}
	if n := s.counted("sluice_requests_refused_total", metrics.Label{Name: "reason", Value: "plain_on_tls"}); n != 4 {
		t.Errorf("%v counted, want 4", n)
	}
	nc := dial(t, local(p))
	_, _ = io.WriteString(nc, "\x00nonsense")
	if got, ended := endOf(nc); !ended || strings.HasPrefix(got, "HTTP/") {
		t.Errorf("nonsense is answered %q", got)
	}
}

func TestTLSOnAPlainPort(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(gateway("a", p, origin(t, named("a"))))
	nc := dial(t, local(p))
	if err := tls.Client(nc, s.config("a.example")).HandshakeContext(t.Context()); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("handshake: %v, want the connection to end", err)
	}
	if got := raw(t, local(p), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"); !strings.HasPrefix(got, "HTTP/1.1 400 ") ||
		!strings.Contains(got, "\r\nSluice-Reason: tls_on_plain\r\n") {
		t.Errorf("it is answered %q", got)
	}
	eventually(t, "it is counted", func() bool { return s.refusals("tls_on_plain") == 2 })
	if n := s.counted("sluice_requests_refused_total", metrics.Label{Name: "reason", Value: "bad_request"}); n != 0 {
		t.Errorf("%v requests are counted, want none", n)
	}
}

func TestSilentClientsAreClosed(t *testing.T) {
	s := seal(t, nil)
	p, q := freeport.One(t), freeport.One(t)
	a := origin(t, named("a"))
	const soon = "timeouts: {head: 100ms}"
	s.apply(speaks("a", p, a, ", "+soon) + fmt.Sprintf("---\n{name: b, port: %d, sluice: {proxy_protocol: 127.0.0.1, %s}, routes: {\"[%s]\": {}}}\n", q, soon, a))
	for _, tt := range []struct {
		name, sent string
		port       int
	}{
		{"before the hello", "", p},
		{"in the middle of the hello", "\x16\x03\x01\x02\x00\x01", p},
		{"before the header", "", q},
		{"in the middle of the header", "PROXY TCP4 ", q},
		{"behind the header", "PROXY UNKNOWN\r\n", q},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc := dial(t, local(tt.port))
			_, _ = io.WriteString(nc, tt.sent)
			if got, ended := endOf(nc); !ended || strings.HasPrefix(got, "HTTP/") {
				t.Errorf("it is answered %q, and ended: %v", got, ended)
			}
		})
	}
	eventually(t, "nobody is left", func() bool { return s.server.Connections() == 0 })
}

// TestResetsAtEveryStage holds that nobody is harmed by a client that goes, and
// that nothing of him is left.
func TestResetsAtEveryStage(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	waits := block(t)
	s.apply(speaks("a", p, waits.address, ", proxy_protocol: 127.0.0.1"))
	const header = "PROXY TCP4 203.0.113.9 198.51.100.1 5000 443\r\n"
	hello := func(nc net.Conn, stop int) {
		c := tls.Client(&interrupted{Conn: nc, left: stop}, s.config("a.example"))
		_ = c.HandshakeContext(t.Context()) // it is not to end well
	}
	shaken := func(nc net.Conn) *tls.Conn {
		c := tls.Client(nc, s.config("a.example"))
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Error(err)
		}
		return c
	}
	for _, tt := range []struct {
		name string
		do   func(nc net.Conn)
	}{
		{"before anything", func(net.Conn) {}},
		{"in the middle of the header", func(nc net.Conn) { _, _ = io.WriteString(nc, header[:20]) }},
		{"before the hello", func(nc net.Conn) { _, _ = io.WriteString(nc, header) }},
		{"in the middle of the hello", func(nc net.Conn) {
			_, _ = io.WriteString(nc, header)
			hello(nc, 100)
		}},
		{"in the handshake", func(nc net.Conn) {
			_, _ = io.WriteString(nc, header)
			hello(nc, 1<<10) // the hello has more, the rest less than another one
		}},
		{"behind the handshake", func(nc net.Conn) {
			_, _ = io.WriteString(nc, header)
			shaken(nc)
		}},
		{"in a head", func(nc net.Conn) {
			_, _ = io.WriteString(nc, header)
			_, _ = io.WriteString(shaken(nc), "GET / HTTP/1.1\r\nHo")
		}},
		{"in a body", func(nc net.Conn) {
			_, _ = io.WriteString(nc, header)
			_, _ = io.WriteString(shaken(nc), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nxx")
		}},
		{"while the instance is asked", func(nc net.Conn) {
			_, _ = io.WriteString(nc, header)
			_, _ = io.WriteString(shaken(nc), "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
			<-waits.arrived
		}},
		{"in an answer", func(nc net.Conn) {
			_, _ = io.WriteString(nc, header)
			c := shaken(nc)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc := dial(t, local(p))
			tt.do(nc)
			reset(nc)
			eventually(t, "the connection has ended", func() bool { return s.server.Connections() == 0 })
			again := dial(t, local(p))
			_, _ = io.WriteString(again, header)
			if status, _, body := ask(t, shaken(again), "GET / HTTP/1.1\nHost: a\nConnection: close"); status != http.StatusOK || body != longBody {
				t.Errorf("the next client gets %d and %d bytes", status, len(body))
			}
			eventually(t, "that one has, too", func() bool { return s.server.Connections() == 0 })
		})
	}
}

// interrupted is a connection on which only so much is written.
type interrupted struct {
	net.Conn
	left int
}

var errInterrupted = errors.New("interrupted")

func (c *interrupted) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.left -= n
	m, err := c.Conn.Write(b[:n])
	if err == nil && n < len(b) {
		err = errInterrupted
	}
	return m, err
}

func TestBalancersNameClients(t *testing.T) {
	s := seal(t, func(o *proxy.Options) {
		o.VirtualHostsProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.ConnectionsPerAddress = 1
	})
	p := freeport.One(t)
	tells := origin(t, mirror)
	s.apply(fmt.Sprintf(`
name: own
port: %d
sluice: {proxy_protocol: [127.0.0.1, 10.0.0.0/8]}
routes:
  "[%s]": {}
  "[%s]": {weight: 0%%, condition: ip in 203.0.113.0/24}
---
{name: a, virtual_hosts: [a.example], sluice: {tls: {%s}}, routes: {"[%[2]s]": {}}}
---
{name: b, virtual_hosts: [b.example], routes: {"[%[2]s]": {}}}
`, p, tells, origin(t, named("condition")), pair("a")))
	const v1 = "PROXY TCP4 198.51.100.9 192.0.2.1 5000 8443\r\n"
	plain := func(t *testing.T, port int, header, host string) (net.Conn, string) {
		t.Helper()
		nc := dial(t, local(port))
		_, _ = io.WriteString(nc, header)
		_, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: "+host)
		return nc, body
	}
	t.Run("to conditions", func(t *testing.T) {
		nc, body := plain(t, p, "PROXY TCP4 203.0.113.9 192.0.2.1 5000 80\r\n", "a")
		_ = nc.Close()
		if body != "condition" {
			t.Errorf("the answer is %q", body)
		}
	})
	t.Run("to instances", func(t *testing.T) {
		for _, port := range []struct {
			number int
			host   string
		}{{p, "x"}, {s.plain, "b.example"}} {
			nc, body := plain(t, port.number, v1, port.host)
			_ = nc.Close()
			for _, want := range []string{"X-Forwarded-For: 198.51.100.9\r\n", "X-Forwarded-Port: 8443\r\n", "X-Forwarded-Proto: http\r\n"} {
				if !strings.Contains(body, want) {
					t.Errorf("the instance got %q, want %q", body, want)
				}
			}
			eventually(t, "the connection has ended", func() bool { return s.server.Connections() == 0 })
		}
	})
	t.Run("in front of TLS", func(t *testing.T) {
		nc := dial(t, local(s.tls))
		_, _ = io.WriteString(nc, v1)
		c := tls.Client(nc, s.config("a.example"))
		_, _, body := ask(t, c, "GET / HTTP/1.1\nHost: a.example\nConnection: close")
		if !strings.Contains(body, "X-Forwarded-For: 198.51.100.9\r\n") || !strings.Contains(body, "X-Forwarded-Proto: https\r\n") {
			t.Errorf("the instance got %q", body)
		}
		_ = c.Close()
		eventually(t, "the connection has ended", func() bool { return s.server.Connections() == 0 })
	})
	t.Run("who are counted one by one", func(t *testing.T) {
		plain(t, p, v1, "x")
		nc, body := plain(t, p, strings.ReplaceAll(v1, ".9 ", ".8 "), "x") // another client
		if !strings.Contains(body, "198.51.100.8") {
			t.Errorf("another client is answered %q", body)
		}
		_ = nc.Close()
		again := dial(t, local(p))
		_, _ = io.WriteString(again, v1)
		if got, ended := endOf(again); got != "" || !ended {
			t.Errorf("one more of the same is answered %q", got)
		}
		eventually(t, "it is counted", func() bool { return s.refusals("address_limit") == 1 })
	})
	t.Run("or nobody is let in", func(t *testing.T) {
		before := s.refusals("proxy_header")
		for i, sent := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 1\r\n", "\x16\x03\x01"} {
			for k, port := range []int{p, s.plain, s.tls} {
				nc := dial(t, local(port))
				_, _ = io.WriteString(nc, sent)
				if got, ended := endOf(nc); got != "" || !ended {
					t.Errorf("%.10q is answered %q", sent, got)
				}
				eventually(t, "it is counted", func() bool { return s.refusals("proxy_header") == before+float64(3*i+k+1) })
			}
		}
	})
}

func TestOthersSendNoHeader(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf(`{name: a, port: %d, sluice: {proxy_protocol: 192.0.2.1}, routes: {"[%s]": {}}}`, p, origin(t, named("a"))))
	if got := get(t, client(t), local(p)); got.body != "a" {
		t.Errorf("got %d %q", got.status, got.body)
	}
	if got := raw(t, local(p), "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("a header that nobody asked for is answered %q", got)
	}
}

// TestTrustBehindABalancer holds that who is trusted by address is the one that
// a PROXY header names, not the balancer.
func TestTrustBehindABalancer(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, believing(t, "198.51.100.0/24"))
	bed.apply(fmt.Sprintf(`{name: a, port: %d, sluice: {proxy_protocol: 127.0.0.1}, routes: {"[%s]": {}}}`, p, origin(t, mirror)))
	for from, want := range map[string]string{
		"198.51.100.9": "X-Forwarded-For: 203.0.113.5, 198.51.100.9\r\n",
		"192.0.2.9":    "X-Forwarded-For: 192.0.2.9\r\n",
	} {
		nc := dial(t, local(p))
		fmt.Fprintf(nc, "PROXY TCP4 %s 192.0.2.1 5000 80\r\n", from)
		if _, _, body := ask(t, nc, "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 203.0.113.5"); !strings.Contains(body, want) {
			t.Errorf("from %s the instance got %q, want %q", from, body, want)
		}
	}
}

// TestTLSComesAndGoes holds that the port stays open and connections stay what
// they are.
func TestTLSComesAndGoes(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	a := origin(t, named("a"))
	plain, spoken := gateway("a", p, a), speaks("a", p, a, "")
	const head = "GET / HTTP/1.1\nHost: a.example"
	s.apply(plain)
	first := dial(t, local(p))
	ask(t, first, head)
	s.apply(spoken)
	second := s.connect(t, p, s.config("a.example"))
	ask(t, second, head)
	s.apply(strings.ReplaceAll(spoken, "{tls: {", "{tls: {min_version: '1.3', "))
	third := s.connect(t, p, s.config("a.example"))
	ask(t, third, head)
	old := s.config("a.example")
	old.MaxVersion = tls.VersionTLS12
	s.refusedTLS(t, p, old)
	s.apply(plain)
	for i, nc := range []net.Conn{first, second, third, dial(t, local(p))} {
		if status, _, body := ask(t, nc, head); status != http.StatusOK || body != "a" {
			t.Errorf("connection %d is answered %d %q", i+1, status, body)
		}
	}
}

// TestCertificatesThatAreAskedForLater holds that no connection goes on that
// was not asked for what the gateway asks for now.
func TestCertificatesThatAreAskedForLater(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	a := origin(t, named("a"))
	const head = "GET / HTTP/1.1\nHost: a.example"
	s.apply(gateway("a", p, a))
	plain := dial(t, local(p))
	ask(t, plain, head)
	s.apply(speaks("a", p, a, ""))
	spoken := s.connect(t, p, s.config("a.example"))
	ask(t, spoken, head)
	s.apply(strings.ReplaceAll(speaks("a", p, a, ""), "{tls: {", "{tls: {client_auth: required, client_ca: clients.crt, "))
	for _, nc := range []net.Conn{plain, spoken} {
		if status, _, body := ask(t, nc, head); status != http.StatusMisdirectedRequest {
			t.Errorf("%d %q, want 421", status, body)
		}
	}
	own := s.ca.With(certs.Client()).Issue(t, "me.example")
	if status, _, _ := ask(t, s.connect(t, p, s.config("a.example", own)), head); status != http.StatusOK {
		t.Errorf("%d with a certificate, want 200", status)
	}
}

// TestBoundsComeBeforeHandshakes holds that who is one too many costs none.
func TestBoundsComeBeforeHandshakes(t *testing.T) {
	s := seal(t, func(o *proxy.Options) { o.Connections = 1 })
	p := freeport.One(t)
	s.apply(speaks("a", p, origin(t, named("a")), ""))
	within := s.connect(t, p, s.config("a.example"))
	beyond, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", p))
	if err == nil { // it may come while dialing
		defer beyond.Close()
		_ = beyond.SetDeadline(time.Now().Add(time.Minute))
		_, err = beyond.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many: %v, want a reset", err)
	}
	if s.refusals("connection_limit") == 0 {
		t.Error("it is not counted")
	}
	if _, _, body := ask(t, within, "GET / HTTP/1.1\nHost: a"); body != "a" {
		t.Errorf("the one within the bound is answered %q", body)
	}
}

// TestSharedPortOfAnother holds that virtual hosts are said not to be served
// where their port belongs to a gateway that speaks otherwise.
func TestSharedPortOfAnother(t *testing.T) {
	s := seal(t, nil)
	a := origin(t, named("a"))
	hosts := func(name string) string {
		return fmt.Sprintf("---\n{name: %s, port: %d, virtual_hosts: [%[1]s.example], sluice: {tls: {%[3]s}}, routes: {\"[%s]\": {}}}\n", name, freeport.One(t), pair(name), a)
	}
	s.apply(gateway("own", s.tls, a) + hosts("a"))
	if why := s.reason("a"); !strings.Contains(why, "gateway own") {
		t.Errorf("not deployed: %q, want whose port it is", why)
	}
	if got := get(t, client(t), local(s.tls)); got.body != "a" {
		t.Errorf("the owner answers %q", got.body)
	}
	s.apply(speaks("own", s.tls, a, "") + hosts("b"))
	if why := s.reason("b"); why != "" {
		t.Errorf("not deployed: %q, though the owner speaks TLS too", why)
	}
	for name, want := range map[string]string{"b.example": "b.example", "x": "a.example"} {
		config := s.config(name)
		config.InsecureSkipVerify = true // which one it is, is what is looked at
		if got := s.connect(t, s.tls, config).ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("%s is shown the certificate for %s, want %s", name, got, want)
		}
	}
}

// TestSlowClientsOverTLS holds that who takes no answer is cut.
func TestSlowClientsOverTLS(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(speaks("a", p, origin(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 10 {
			if _, err := io.WriteString(w, longBody); err != nil {
				return
			}
		}
	}), ", timeouts: {idle: 200ms}"))
	nc := s.connect(t, p, s.config("a.example"))
	if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is cut", func() bool { return s.server.Connections() == 0 })
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, nc); err == nil {
		t.Error("what the client got looks complete")
	}
}
