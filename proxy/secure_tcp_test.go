// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// echoing starts an instance that sends back what it gets, by TLS, and says bye
// at the end. If it is rude it cuts the connection instead.
func (n *inner) echoing(t *testing.T, config *tls.Config, rude bool) (address string) {
	t.Helper()
	ln := tls.NewListener(listen(t), config)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				if rude {
					_, _ = io.ReadFull(nc, make([]byte, 1))
					_, _ = io.WriteString(nc, "so far")
					cut(nc)
					return
				}
				if _, err := io.Copy(nc, nc); err == nil {
					_, _ = io.WriteString(nc, "bye")
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// halves is a connection of which either half ends by itself.
type halves interface {
	net.Conn
	CloseWrite() error
}

func TestConnectionsGoOnByTLS(t *testing.T) {
	s, n := seal(t, nil), newInner(t)
	n.WriteFile(s.dir, "inner.crt")
	address := n.echoing(t, n.config(), false)
	plain, ended := freeport.One(t), freeport.One(t)
	route := fmt.Sprintf(`routes: {"[%s]": {weight: 100%%, sluice: {tls: {ca: inner.crt, name: shop.internal}}}}`, address)
	s.apply(fmt.Sprintf("name: plain\nport: %d/tcp\n%s\n---\nname: ended\nport: %d/tcp\nsluice: {tls: {%s}}\n%[2]s\n", plain, route, ended, pair("a")))
	for name, connect := range map[string]func(t *testing.T) halves{
		"from plain text": func(t *testing.T) halves { t.Helper(); return dial(t, local(plain)).(halves) },
		"from TLS":        func(t *testing.T) halves { t.Helper(); return s.connect(t, ended, s.config("a.example")) },
	} {
		for _, size := range []int{0, 1, 16 << 10, 1 << 20} {
			t.Run(name+", "+strconv.Itoa(size), func(t *testing.T) {
				c := connect(t)
				payload := bytes.Repeat([]byte("x"), size)
				go func() {
					_, _ = c.Write(payload)
					_ = c.CloseWrite()
				}()
				got, err := io.ReadAll(c)
				if err != nil || string(got) != string(payload)+"bye" {
					t.Errorf("got %d bytes, %v; want %d and a farewell", len(got), err, size)
				}
			})
		}
	}
}

// An end without the goodbye of TLS may have been made by anybody on the way:
// the client is not to take it for one in order.
func TestConnectionsThatAreCutBehindTLS(t *testing.T) {
	s, n := seal(t, nil), newInner(t)
	n.WriteFile(s.dir, "inner.crt")
	p := freeport.One(t)
	s.apply(fmt.Sprintf("name: g\nport: %d/tcp\nroutes: {\"[%s]\": {weight: 100%%, sluice: {tls: {ca: inner.crt, name: shop.internal}}}}\n",
		p, n.echoing(t, n.config(), true)))
	c := dial(t, local(p))
	_, _ = c.Write([]byte("x"))
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client reads to %v, want a reset", err)
	}
}

func TestConnectionsWhereTLSFails(t *testing.T) {
	s, n := seal(t, nil), newInner(t)
	n.WriteFile(s.dir, "inner.crt")
	demanding := n.config()
	demanding.ClientAuth = tls.RequireAnyClientCert
	for i, tt := range []struct {
		name   string
		config *tls.Config
		reason string
		why    string
	}{
		{
			"a certificate that nobody vouches for", &tls.Config{Certificates: []tls.Certificate{certs.New(t).Issue(t, "shop.internal").TLS()}},
			"certificate", "nobody in inner.crt vouches for its certificate",
		},
		{"a certificate that is asked for behind the handshake", demanding, "refused", "it asks for a certificate of the proxy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := freeport.One(t)
			s.apply(fmt.Sprintf("name: g%d\nport: %d/tcp\nroutes: {\"[%s]\": {weight: 100%%, sluice: {tls: {ca: inner.crt, name: shop.internal}}}}\n",
				i, p, n.echoing(t, tt.config, false)))
			before := s.failures(live.TLSFailed)
			for range 2 {
				expectReset(t, p)
			}
			eventually(t, "the reason is counted", func() bool {
				return s.counted("sluice_tls_handshakes_total", metrics.Label{Name: "kind", Value: "upstream"},
					metrics.Label{Name: "reason", Value: tt.reason}, metrics.Label{Name: "result", Value: "failed"}) == 2 &&
					s.failures(live.TLSFailed) == before+2
			})
			if problem := s.server.Status()[0].Routes[0].Problem; !strings.Contains(problem, tt.why) {
				t.Errorf("the status says %q, want %q", problem, tt.why)
			}
		})
	}
}

// expectReset connects to a port and expects to be reset, which may happen
// before the connection is made.
func expectReset(t *testing.T, port int) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client gets %v, want a reset", err)
	}
}

// Without a name, that of the target is what the certificate must be for.
func TestInstancesAreAskedForByTheNameOfTheTarget(t *testing.T) {
	s := seal(t, nil)
	for name, want := range map[string]string{"localhost": "200 localhost", "other.example": "502 "} {
		n := newInner(t)
		n.WriteFile(s.dir, name+".crt")
		address, _ := n.origin(t, &tls.Config{Certificates: []tls.Certificate{n.Issue(t, name).TLS()}}, named(name))
		_, port, _ := net.SplitHostPort(address)
		p := freeport.One(t)
		s.apply(fmt.Sprintf("name: g\nport: %d\nroutes: {\"[localhost:%s]\": {weight: 100%%, sluice: {tls: {ca: %s.crt}}}}\n", p, port, name))
		a := get(t, client(t), local(p))
		if got := fmt.Sprint(a.status, " ", a.body); !strings.HasPrefix(got, want) {
			t.Errorf("a certificate for %s: %s, want %s", name, got, want)
		}
	}
}
