// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

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

func TestExchangeDoesNotAllocate(t *testing.T) {
	fields := "Host: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0\r\nCookie: a=1; b=2\r\n" +
		"X-Long: " + strings.Repeat("v", 1800) + "\r\n"
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128)
	post := strings.Repeat("p", 1024)
	for _, tt := range []struct {
		name, request string
		body          int
	}{
		{"GET", "GET /cart HTTP/1.1\r\n" + fields + "\r\n", 0},
		{"POST of 1 KB", "POST /cart HTTP/1.1\r\n" + fields + "Content-Length: 1024\r\n\r\n" + post, 1024},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := rawOrigin(t, tt.body, answer)
			p := freeport.One(t)
			bed := start(t, nil)
			bed.apply(fmt.Sprintf(`
name: g
port: %d
routes:
  a: {weight: 40%%, condition: header X-Tier has gold}
  b: {weight: 30%%, condition: User-Agent = Chrome}
  c: {weight: 30%%, condition: has cookie beta, condition_strength: 50%%}
---
{name: a, routes: {"[%s]": {}}}
---
{name: b, routes: {"[%s]": {}}}
---
{name: c, routes: {"[%s]": {}}}
`, p, a, a, a))
			nc := dial(t, fmt.Sprintf("http://127.0.0.1:%d", p))
			_ = nc.SetDeadline(time.Now().Add(time.Minute))
			request, buf := []byte(tt.request), make([]byte, len(answer))
			send := func(n int) {
				for range n {
					if _, err := nc.Write(request); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(nc, buf); err != nil {
						t.Fatal(err)
					}
				}
			}
			send(2000)
			const n = 100_000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			send(n)
			runtime.ReadMemStats(&after)
			// Sweeps, reaps and the garbage collector's pools allocate a
			// little now and then, however many requests there are.
			if got := after.Mallocs - before.Mallocs; got > n/10 {
				t.Errorf("%d allocations in %d exchanges, want none in an exchange", got, n)
			}
		})
	}
}
