// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
)

func TestRequestShowsTheTarget(t *testing.T) {
	for _, tt := range []struct{ name, line, target, path, query, host string }{
		{"origin form", "GET /a?b=c", "/a?b=c", "/a", "b=c", "h"},
		{"origin form without query", "GET /a", "/a", "/a", "", "h"},
		{"absolute form", "GET http://x:81/a?b", "http://x:81/a?b", "/a", "b", "x:81"},
		{"absolute form without path", "GET HTTP://x", "HTTP://x", "/", "", "x"},
		{"absolute form with a query alone", "GET http://x?q", "http://x?q", "", "q", "x"},
		{"asterisk form", "OPTIONS *", "*", "*", "", "h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h head
			if _, reason := h.scanRequest([]byte(tt.line + " HTTP/1.1\r\nHost: h\r\n\r\n")); reason != live.None {
				t.Fatalf("scanRequest(%q) = %v", tt.line, reason)
			}
			r := &request{head: &h}
			if got := [4]string{r.Target(), r.Path(), r.Query(), r.Host()}; got != [4]string{tt.target, tt.path, tt.query, tt.host} {
				t.Errorf("%q shows target, path, query and host %q, want %q", tt.line, got, []string{tt.target, tt.path, tt.query, tt.host})
			}
		})
	}
}

func TestRandomIsDrawnOnceARequest(t *testing.T) {
	seen := map[uint32]bool{}
	for range 64 {
		r := &request{conn: new(conditions.Conn)}
		first := r.Random()
		for range 3 {
			if got := r.Random(); got != first {
				t.Fatalf("Random() = %d after %d of the same request", got, first)
			}
		}
		seen[first] = true
	}
	if len(seen) < 60 { // fewer than 5 equal pairs in 64 of 2^32, for certain
		t.Errorf("64 requests drew %d numbers", len(seen))
	}
}
