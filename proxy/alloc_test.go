// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// rawOrigin answers every request head, and the body of n bytes behind it,
// with the same bytes, without allocating.
func rawOrigin(t *testing.T, body int, answer string) string {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go answerAll(nc, body, []byte(answer))
		}
	}()
	return ln.Addr().String()
}

func answerAll(nc net.Conn, body int, answer []byte) {
	defer nc.Close()
	buf := make([]byte, 64<<10)
	n := 0
	for {
		m, err := nc.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
		i := bytes.Index(buf[:n], []byte("\r\n\r\n"))
		if i < 0 || n < i+4+body {
			continue
		}
		n = copy(buf, buf[i+4+body:n])
		if _, err := nc.Write(answer); err != nil {
			return
		}
	}
}

// few is how many allocations are taken for none in an exchange, in 20,000
// exchanges or more: a series that is busy gets a cell for each shard, idle
// connections are looked through, timers fire, pools give back what they hold;
// the more of it, the longer a busy machine takes.
const few = 1000

// allocating counts the allocations of the whole process while n exchanges
// are made over one connection, after as many others as it takes to fill pools
// and to grow buffers. It counts the answers, too, by their last byte.
func allocating(t *testing.T, port, n int, request string, answer int) (allocations uint64, by [256]int) {
	t.Helper()
	return allocatingOn(t, dial(t, local(port)), n, request, answer)
}

// allocatingOn does so on a connection, whose own side must not allocate.
func allocatingOn(t *testing.T, nc net.Conn, n int, request string, answer int) (allocations uint64, by [256]int) {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Minute))
	sent, got, ok := []byte(request), make([]byte, answer), []byte("HTTP/1.1 200 ")
	send := func(n int) {
		for range n {
			if _, err := nc.Write(sent); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(nc, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(got, ok) {
				t.Fatalf("got %q", got)
			}
			by[got[answer-1]]++
		}
	}
	send(2_000)
	runtime.GC() // so that what was before is not collected meanwhile
	send(2_000)
	clear(by[:])
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	send(n)
	runtime.ReadMemStats(&after)
	allocations = after.Mallocs - before.Mallocs
	t.Logf("%d allocations, %d bytes, in %d exchanges", allocations, after.TotalAlloc-before.TotalAlloc, n)
	return allocations, by
}

// TestExchangeDoesNotAllocate holds it for a gateway with three conditions and
// weights, and two instances a route.
func TestExchangeDoesNotAllocate(t *testing.T) {
	const n = 100_000
	const host = "Host: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0\r\n"
	fields := host + "X-Long: " + strings.Repeat("v", 2<<10-len(host)-len("X-Long: \r\n")) + "\r\n"
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 127)
	get, post := "GET /cart HTTP/1.1\r\n", "POST /cart HTTP/1.1\r\nContent-Length: 1024\r\n"
	for _, tt := range []struct {
		name, line, cookie string
		body               int
		shares             [3]int // percent, of the routes
		total              time.Duration
	}{
		{"GET that no condition takes", get, "a=1; b=2", 0, [3]int{40, 30, 30}, 0},
		{"GET that the last condition takes half of", get, "a=1; beta=2", 0, [3]int{20, 15, 65}, 0},
		{"POST of 1 KB that no condition takes", post, "a=1; b=2", 1024, [3]int{40, 30, 30}, 0},
		{"POST of 1 KB that the last condition takes half of", post, "a=1; beta=2", 1024, [3]int{20, 15, 65}, 0},
		{"POST of 1 KB that must be over at some time", post, "a=1; b=2", 1024, [3]int{40, 30, 30}, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := freeport.One(t)
			gateway := routingtest.Gateway("g", p,
				routingtest.Conditional("a", routing.FullWeight*4/10, "header X-Tier has gold", routing.FullWeight),
				routingtest.Conditional("b", routing.FullWeight*3/10, "User-Agent = Chrome", routing.FullWeight),
				routingtest.Conditional("c", routing.FullWeight*3/10, "has cookie beta", routing.FullWeight/2))
			gateway.Timeouts = routing.PartOf(routing.Timeouts{Total: tt.total})
			for i, r := range gateway.Routes {
				instance := func(k int) string { return rawOrigin(t, tt.body, fmt.Sprintf("%s%d", answer, 2*i+k)) }
				r.Instances = instancesAt(instance(0), instance(1))
			}
			snapshot, faults := routing.Compile(nil, routingtest.Table(1, gateway), routing.CompileOptions{})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			bed := start(t, nil)
			bed.server.Publish(snapshot)
			request := tt.line + fields + "Cookie: " + tt.cookie + "\r\n\r\n" + strings.Repeat("p", tt.body)
			got, by := allocating(t, p, n, request, len(answer)+1)
			if got > few {
				t.Errorf("%d allocations in %d exchanges, want none in an exchange", got, n)
			}
			for i, share := range tt.shares {
				for k := range 2 {
					want, got := n*share/200, by['0'+2*i+k]
					if got < want-20 || got > want+20 {
						t.Errorf("instance %d of route %d answered %d requests, want %d", k, i, got, want)
					}
				}
			}
		})
	}
}

// TestExplainHeaderCostsNothingIfAbsent holds that exchanges do not allocate
// where requests could ask for explanations and do not, or may not.
func TestExplainHeaderCostsNothingIfAbsent(t *testing.T) {
	const n = 20_000
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct{ name, field string }{
		{"absent", ""},
		{"with a wrong secret", "X-Explain: 0123456789abcdeF\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, asking(t))
			bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {}}}`, p, rawOrigin(t, 0, answer)))
			if got, _ := allocating(t, p, n, "GET / HTTP/1.1\r\nHost: a\r\n"+tt.field+"\r\n", len(answer)); got > few {
				t.Errorf("%d allocations in %d exchanges, want none in an exchange", got, n)
			}
		})
	}
}

// TestTLSDoesNotAllocate holds it for clients that come by TLS, with a
// certificate or without: crypto/tls allocates 24 bytes whenever it reads from
// the network, which it does once on either side, and now and then once more
// where nothing has come yet; nobody else does.
func TestTLSDoesNotAllocate(t *testing.T) {
	const n = 20_000
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128)
	const hsts = len("Strict-Transport-Security: max-age=86400\r\n")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, client certificate: %v", tls.VersionName(version), known), func(t *testing.T) {
				s := seal(t, nil)
				s.apply(fmt.Sprintf(`{name: a, virtual_hosts: [a.example], sluice: {tls: {%s, hsts: 1d, client_auth: optional, client_ca: clients.crt}}, routes: {"[%s]": {}}}`,
					pair("a"), rawOrigin(t, 0, answer)))
				config := s.config("a.example")
				if known {
					config = s.config("a.example", s.ca.With(certs.Client()).Issue(t, "me.example"))
				}
				config.MaxVersion = version
				nc := s.connect(t, s.tls, config)
				if got, _ := allocatingOn(t, nc, n, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", len(answer)+hsts); got > 2*n+n/4 {
					t.Errorf("%d allocations in %d exchanges, want two in an exchange", got, n)
				}
			})
		}
	}
}

// TestTrustDoesNotAllocate holds it for a gateway behind a trusted proxy.
func TestTrustDoesNotAllocate(t *testing.T) {
	const n = 20_000
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, mode := range []string{"x-forwarded", "rfc7239", "both"} {
		t.Run(mode, func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, believing(t, "127.0.0.0/8"))
			bed.apply(fmt.Sprintf(`{name: g, port: %d, sluice: {forwarded: %s}, routes: {"[%s]": {}}}`, p, mode, rawOrigin(t, 0, answer)))
			request := "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2001:db8::9, 127.0.0.9\r\nX-Forwarded-Proto: https\r\n" +
				"X-Request-Id: 1\r\nForwarded: for=203.0.113.9, for=127.0.0.9;proto=http\r\n\r\n"
			if got, _ := allocating(t, p, n, request, len(answer)); got > few {
				t.Errorf("%d allocations in %d exchanges, want none in an exchange", got, n)
			}
		})
	}
}
