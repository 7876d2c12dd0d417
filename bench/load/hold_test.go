// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

func TestHold(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plaintext", true: "TLS"}[secure], func(t *testing.T) {
			t.Parallel()
			const n, ends = 100, 3
			end := make(chan struct{})
			var asked, gone sync.WaitGroup
			asked.Add(n)
			gone.Add(n)
			s := listen(t, secure, func(p *peer) {
				defer gone.Done()
				if _, more := p.request(); !more {
					return
				}
				p.say(ok)
				asked.Done()
				if p.n < ends {
					<-end
					return
				}
				p.hang()
			})
			h, err := load.Hold(t.Context(), load.Plan{Address: s.address, TLS: s.tls, Mix: mixOf(get("/"))}, n)
			if err != nil {
				t.Fatal(err)
			}
			asked.Wait()
			if s.made.Load() != n {
				t.Errorf("%d connections, want %d", s.made.Load(), n)
			}
			if lost := h.Lost(); lost != 0 {
				t.Errorf("Lost() = %d at first, want 0", lost)
			}
			close(end)
			for h.Lost() < ends { // until their ends have arrived
				if t.Context().Err() != nil {
					t.Fatal("the ends of connections go unnoticed")
				}
			}
			if lost := h.Lost(); lost != ends {
				t.Errorf("Lost() = %d, want %d", lost, ends)
			}
			h.Close()
			gone.Wait() // each connection ends
			h.Close()
		})
	}
}

func TestHoldFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		serve      func(*peer)
	}{
		{"an answer that ends the connection", "ends the connection", always("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")},
		{"no answer in time", "timeout", func(p *peer) { p.request(); p.hang() }},
		{"an answer that is none", "protocol", always("hello\r\n")},
		{"an end in place of an answer", "EOF", func(p *peer) { p.request() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, false, tt.serve)
			_, err := load.Hold(t.Context(), load.Plan{Address: s.address, Mix: mixOf(get("/")), Timeout: 3 * time.Second}, 3)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "of 3") {
				t.Errorf("Hold error = %v, want one about %q", err, tt.want)
			}
		})
	}
	t.Run("the context ends it", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		s := listen(t, false, func(p *peer) {
			p.request()
			cancel()
			p.hang()
		})
		if _, err := load.Hold(ctx, load.Plan{Address: s.address, Mix: mixOf(get("/")), Timeout: time.Minute}, 1); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Hold error = %v, want an early end", err)
		}
	})
}
