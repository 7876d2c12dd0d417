// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// both is a text of a gateway that speaks TLS to clients, as a.example, and to
// its instance, as shop.internal.
func both(port int, address, more string) string {
	return fmt.Sprintf(`
name: g
port: %d
sluice: {tls: {%s}}
routes:
  "[%s]": {weight: 100%%, sluice: {tls: {ca: inner.crt, name: shop.internal%s}}}
`, port, pair("a"), address, more)
}

func TestBodiesFromTLSToTLS(t *testing.T) {
	s, n := seal(t, nil), newInner(t)
	n.WriteFile(s.dir, "inner.crt")
	address, conns := n.origin(t, n.config(), echo)
	p := freeport.One(t)
	s.apply(both(p, address, ""))
	c := s.client(t, p)
	for _, size := range []int{0, 1, 16 << 10, 16<<10 + 1, 3 << 20} {
		payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, chunked := range []bool{false, true} {
			for range 2 { // over the same connections
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
					t.Fatalf("%d bytes, chunked %v: got %d bytes, %v", size, chunked, len(got), err)
				}
			}
		}
	}
	if conns.Load() > 3 {
		t.Errorf("%d connections for one client: they are not kept", conns.Load())
	}
}

func TestTunnelsFromTLSToTLS(t *testing.T) {
	s, n := seal(t, nil), newInner(t)
	n.WriteFile(s.dir, "inner.crt")
	ln := tls.NewListener(listen(t), n.config())
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		br := bufio.NewReader(nc)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
		_, _ = io.Copy(nc, br)
		_, _ = io.WriteString(nc, "bye")
	}()
	p := freeport.One(t)
	s.apply(both(p, ln.Addr().String(), ""))
	c := s.connect(t, p, s.config("a.example"))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	br := bufio.NewReader(c)
	r, err := http.ReadResponse(br, nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answered %v, %v", r, err)
	}
	defer r.Body.Close()
	payload := bytes.Repeat([]byte("0123456789abcdef"), 20<<10)
	go func() {
		_, _ = c.Write(payload)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(br)
	if want := "hello" + string(payload) + "bye"; err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v; want %d: each half ends by itself", len(got), err, len(want))
	}
}

// What is cut at the instance ends without a goodbye at the client, too.
func TestTruncationFromTLSToTLS(t *testing.T) {
	s, n := seal(t, nil), newInner(t)
	n.WriteFile(s.dir, "inner.crt")
	for _, complete := range []bool{true, false} {
		end := cut
		if complete {
			end = closed
		}
		o := n.behaving(t, n.config(), saying("HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 100<<10), end))
		p := freeport.One(t)
		s.apply(both(p, o.address, ""))
		r, err := s.client(t, p).Do(request(t, http.MethodGet, "https://a.example/", http.NoBody))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.ReadAll(r.Body); (err == nil) != complete {
			t.Errorf("complete %v: the client reads to %v", complete, err)
		}
		_ = r.Body.Close()
	}
}

// The files of a route may change under it: connections that are kept serve
// on, new ones follow.
func TestFilesOfARouteThatChange(t *testing.T) {
	s, n := seal(t, nil), newInner(t)
	n.WriteFile(s.dir, "inner.crt")
	n.Issue(t, "first").WriteFiles(s.dir, "me")
	var config atomic.Pointer[tls.Config]
	config.Store(n.config())
	outer := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := config.Load().Clone()
		c.ClientAuth = tls.RequireAnyClientCert
		return c, nil
	}}
	address, _ := n.origin(t, outer, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	})
	p := freeport.One(t)
	s.apply(both(p, address, ", certificate: me.crt, key: me.key"))
	c := s.client(t, p)
	ask := func(path string) string {
		t.Helper()
		a := get(t, c, "https://a.example"+path)
		return fmt.Sprint(a.status, " ", a.body)
	}
	if got := ask("/"); got != "200 first" {
		t.Fatalf("answered %s", got)
	}
	next := certs.New(t)
	config.Store(&tls.Config{Certificates: []tls.Certificate{next.Issue(t, "shop.internal").TLS()}})
	next.WriteFile(s.dir, "inner.crt")
	next.Issue(t, "second").WriteFiles(s.dir, "me")
	if got := ask("/close"); got != "200 first" {
		t.Errorf("over the kept connection: %s", got)
	}
	eventually(t, "the new files are used", func() bool { return ask("/close") == "200 second" })
	if problem := s.server.Status()[0].Routes[0].Problem; problem != "" {
		t.Errorf("the status still says %q", problem)
	}
}
