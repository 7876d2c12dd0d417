// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/bench/load"
)

// server is one end of the tests: a listener whose connections are served as
// the test says.
type server struct {
	address string
	tls     *tls.Config  // for clients, nil: plaintext
	made    atomic.Int64 // connections
	ln      net.Listener
}

// peer is one connection of a server.
type peer struct {
	net.Conn
	n  int64 // how many connections there were before
	in *bufio.Reader
}

// listen serves each connection by a goroutine until the test ends.
func listen(tb testing.TB, secure bool, serve func(*peer)) *server {
	tb.Helper()
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{address: ln.Addr().String(), ln: ln}
	var config *tls.Config
	if secure {
		s.tls, config = secrets(tb)
	}
	var served sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	var ended bool
	served.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			if ended {
				_ = c.Close()
			}
			mu.Unlock()
			if secure {
				c = tls.Server(c, config)
			}
			p := &peer{Conn: c, n: s.made.Add(1) - 1, in: bufio.NewReader(c)}
			served.Go(func() {
				defer p.Close()
				serve(p)
			})
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		ended = true
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		served.Wait()
	})
	return s
}

// secrets returns how a client and a server speak TLS with each other.
func secrets(tb testing.TB) (client, server *tls.Config) {
	tb.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return client, &tls.Config{Certificates: s.TLS.Certificates}
}

// request reads one request whole and returns its target, with false at the end
// of the connection.
func (p *peer) request() (target string, ok bool) {
	r, err := http.ReadRequest(p.in)
	if err != nil {
		return "", false
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return "", false
	}
	return r.RequestURI, true
}

// say writes each piece by itself.
func (p *peer) say(pieces ...string) {
	for _, s := range pieces {
		if _, err := io.WriteString(p.Conn, s); err != nil {
			return
		}
	}
}

// hang answers nothing until the connection ends.
func (p *peer) hang() { _, _ = io.Copy(io.Discard, p.in) }

// reset ends the connection by RST.
func (p *peer) reset() {
	c := p.Conn
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// always returns a server's way to answer each request with the same pieces.
func always(pieces ...string) func(*peer) {
	return func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			p.say(pieces...)
		}
	}
}

// answerReads answers whatever it reads, as cheaply as it can.
func answerReads(p *peer) {
	buf, answer := make([]byte, 4096), []byte(ok)
	for {
		if _, err := p.Read(buf); err != nil {
			return
		}
		if _, err := p.Write(answer); err != nil {
			return
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// get is a request for a path.
func get(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}

// mixOf is a mix of one request.
func mixOf(wire []byte) []load.Request { return []load.Request{{Weight: 1, Wire: wire}} }
