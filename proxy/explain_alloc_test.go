// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// TestExplainHeaderCostsNothingIfAbsent holds that exchanges do not allocate
// where requests could ask for explanations and do not, or may not.
func TestExplainHeaderCostsNothingIfAbsent(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct{ name, field string }{
		{"absent", ""},
		{"with a wrong secret", "X-Explain: 0123456789abcdeF\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, asking(t))
			bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {}}}`, p, rawOrigin(t, 0, answer)))
			nc := dial(t, fmt.Sprintf("http://127.0.0.1:%d", p))
			_ = nc.SetDeadline(time.Now().Add(time.Minute))
			request, buf := []byte("GET / HTTP/1.1\r\nHost: a\r\n"+tt.field+"\r\n"), make([]byte, len(answer))
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
			send(2_000)
			const n = 20_000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			send(n)
			runtime.ReadMemStats(&after)
			if got := after.Mallocs - before.Mallocs; got > n/10 {
				t.Errorf("%d allocations in %d exchanges, want none in an exchange", got, n)
			}
		})
	}
}
