// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// protocol is how one side of a gateway is spoken to.
type protocol struct {
	name    string // and what a route says of its instances
	h2, tls bool
}

var protocols = []protocol{{name: "http1"}, {name: "h2c", h2: true}, {name: "h2", h2: true, tls: true}}

func (s protocol) protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!s.h2)
	p.SetHTTP2(s.h2 && s.tls)
	p.SetUnencryptedHTTP2(s.h2 && !s.tls)
	return p
}

// major is the first number of the version of HTTP.
func (s protocol) major() int {
	if s.h2 {
		return 2
	}
	return 1
}

// crossing is a proxy between a client and instances, each of which has a
// protocol.
type crossing struct {
	*bed
	from, to protocol
	url      string // of the gateway
	client   *http.Client
	stage    *stage
}

// cross starts a proxy between two protocols, and an instance with a stage.
func cross(t *testing.T, from, to protocol) *crossing {
	t.Helper()
	s := newStage()
	return crossTo(t, from, to, s, s.serve(t, to))
}

// crossTo starts a proxy between two protocols that leads to addresses.
func crossTo(t *testing.T, from, to protocol, s *stage, addresses ...string) *crossing {
	t.Helper()
	dir, port := t.TempDir(), freeport.One(t)
	if s.ca == nil {
		s.ca = certs.New(t)
	}
	s.ca.WriteFile(dir, "ca.crt")
	s.ca.Issue(t, "127.0.0.1", "shop.internal").WriteFiles(dir, "shop")
	c := &crossing{from: from, to: to, stage: s, url: local(port)}
	c.bed = start(t, func(o *proxy.Options) { o.TLSDir, o.Drain = dir, s.drain })
	var config *tls.Config
	settings := "{balance: first}"
	if from.tls {
		settings = "{balance: first, tls: {" + pair("shop") + "}}"
		config = &tls.Config{RootCAs: s.ca.Pool(), MinVersion: tls.VersionTLS12}
		c.url = strings.Replace(c.url, "http:", "https:", 1)
	}
	c.applyTo(fmt.Sprintf("name: g\nport: %d\nsluice: %s\nroutes: {r: {selector: label(a)(b), sluice: {%s}}}\n", port, settings, to.route()), addresses)
	tr := &http.Transport{Protocols: from.protocols(), TLSClientConfig: config, MaxIdleConnsPerHost: 16, ExpectContinueTimeout: time.Minute}
	t.Cleanup(tr.CloseIdleConnections)
	c.client = &http.Client{Transport: tr, Timeout: time.Minute}
	return c
}

// route returns what a route says of instances that are spoken to so.
func (s protocol) route() string {
	switch {
	case !s.h2:
		return ""
	case s.tls:
		return "protocol: " + s.name + ", tls: {ca: ca.crt, name: shop.internal}"
	default:
		return "protocol: " + s.name
	}
}

// stage is what happens at an instance. Each path of it behaves in one way.
type stage struct {
	drain time.Duration // of the proxy; -1: none
	ca    *certs.CA
	conns atomic.Int64  // that were opened
	began chan string   // the path of each handler that waits, when it does
	ended chan error    // how it ended
	next  chan struct{} // has one that waits go on
	seen  chan *http.Request
}

func newStage() *stage {
	return &stage{drain: -1, began: make(chan string, 100), ended: make(chan error, 100), next: make(chan struct{}, 100), seen: make(chan *http.Request, 100)}
}

// serve starts an instance that speaks a protocol, and nothing else.
func (s *stage) serve(t *testing.T, to protocol) (address string) {
	t.Helper()
	ln := listen(t)
	server := &http.Server{
		Handler: s.mux(), Protocols: to.protocols(), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.conns.Add(1)
			}
		},
	}
	if to.tls {
		s.ca = certs.New(t)
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.ca.Issue(t, "shop.internal").TLS()}, MinVersion: tls.VersionTLS12}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if to.tls {
			_ = server.ServeTLS(ln, "", "")
		} else {
			_ = server.Serve(ln)
		}
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return ln.Addr().String()
}

// reply is an answer whose body ends with the test.
type reply struct{ *http.Response }

// try sends a request and returns its answer.
func (c *crossing) try(t *testing.T, r *http.Request) (reply, error) {
	t.Helper()
	resp, err := c.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.ProtoMajor != c.from.major() {
		return reply{}, errors.New("the gateway speaks " + resp.Proto)
	}
	return reply{resp}, nil
}

// do sends a request that must be answered.
func (c *crossing) do(t *testing.T, r *http.Request) reply {
	t.Helper()
	resp, err := c.try(t, r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// ask sends a request and returns its answer with the whole body.
func (c *crossing) ask(t *testing.T, r *http.Request) (reply, string) {
	t.Helper()
	resp := c.do(t, r)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body after %d bytes: %v", len(body), err)
	}
	return resp, string(body)
}

// works checks that another request passes.
func (c *crossing) works(t *testing.T) {
	t.Helper()
	if resp, body := c.ask(t, request(t, http.MethodGet, c.url+"/hello", http.NoBody)); resp.StatusCode != http.StatusOK || body != "hello" {
		t.Errorf("another request is answered %d %q (%s)", resp.StatusCode, body, resp.Header.Get("Sluice-Reason"))
	}
}

// quiet waits until nothing is in flight, at no instance and at no gateway.
func (c *crossing) quiet() {
	c.t.Helper()
	eventually(c.t, "nothing is in flight", func() bool { return c.inFlight() == 0 })
}

// heard waits for what a channel of the stage tells.
func heard[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case got := <-from:
		return got
	case <-ctx.Done():
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

// everywhere runs a test between any two protocols.
func everywhere(t *testing.T, test func(t *testing.T, c *crossing)) {
	t.Helper()
	for _, from := range protocols {
		for _, to := range protocols {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				t.Parallel()
				test(t, cross(t, from, to))
			})
		}
	}
}
