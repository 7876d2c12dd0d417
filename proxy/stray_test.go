// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"io"
	"net/http"
	"sync"
	"testing"
)

// What comes over a kept connection for the second request may have been sent
// before it: at the origin, that is only a question of time.
func TestWhatIsNoAnswerOverAKeptConnection(t *testing.T) {
	const second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"
	for _, tt := range []struct {
		name, method, sent string
		status             int
		body               string
	}{
		{"an answer is relayed", "GET", second, 200, "second"},
		{"a 408 that ends the connection has GET sent again", "GET", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 200, "fresh"},
		{"a 408 that keeps it is an answer", "GET", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate", 408, "late"},
		{"what is not HTTP has GET sent again", "GET", "x" + second, 200, "fresh"},
		{"an answer before another has GET sent again", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen" + second, 200, "fresh"},
		{"an answer without content before another, too", "GET", "HTTP/1.1 304 Not Modified\r\n\r\n" + second, 200, "fresh"},
		{"a 408 to POST is relayed", "POST", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate", 408, "late"},
		{"what is not HTTP fails POST", "POST", "x" + second, 502, ""},
		{"nothing behind an answer 1xx is asked for again", "GET", "HTTP/1.1 103 Early Hints\r\n\r\nx" + second, 502, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := through(t, keptThenFresh(t, tt.sent), nil)
			c := client(t)
			if got := get(t, c, url); got.body != "first" {
				t.Fatalf("the first answer is %d %q, want first", got.status, got.body)
			}
			r, err := c.Do(request(t, tt.method, url, http.NoBody))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != tt.status || tt.body != "" && string(body) != tt.body {
				t.Errorf("%s = %d %q, %v; want %d %q", tt.method, r.StatusCode, body, err, tt.status, tt.body)
			}
		})
	}
}

// keptThenFresh starts an origin that answers the first request of its first
// connection with "first", sends what it is told to at the second one, and
// answers "fresh" over all other connections.
func keptThenFresh(t *testing.T, sent string) (address string) {
	t.Helper()
	const whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	ln := listen(t)
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = ln.Close() })
	serving.Go(func() {
		for n := 0; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			answers := []string{whole + "first", sent}
			if n > 0 {
				answers = []string{whole + "fresh"}
			}
			serving.Go(func() {
				defer nc.Close()
				br := bufio.NewReader(nc)
				for _, a := range answers {
					if _, err := http.ReadRequest(br); err != nil {
						return
					}
					_, _ = io.WriteString(nc, a)
				}
				_, _ = io.Copy(io.Discard, br)
			})
		}
	})
	return ln.Addr().String()
}
