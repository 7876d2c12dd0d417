// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/http2"
)

// What costs a client less than us ends its connection, by a counter's name.
func TestAbuseEndsConnections(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(p *peer) error // once; it is done until the connection ends
		why  http2.Ending
	}{
		{"streams that are opened and reset", func(p *peer) error {
			p.headers(p.stream(), true, request("GET")...)
			return p.f.WriteRSTStream(p.id, xhttp2.ErrCodeCancel)
		}, http2.EndedResets},
		{"streams that we have to reset", func(p *peer) error {
			p.headers(p.stream(), true, request("GET")...)
			return p.f.WriteRawFrame(8, 0, p.id, make([]byte, 4))
		}, http2.EndedResets},
		{"requests that are none", func(p *peer) error {
			return p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: p.stream(), BlockFragment: p.block("A", "b"), EndHeaders: true})
		}, http2.EndedResets},
		{"PING", func(p *peer) error { return p.f.WritePing(false, [8]byte{}) }, http2.EndedPings},
		{"SETTINGS", func(p *peer) error { return p.f.WriteSettings() }, http2.EndedSettings},
		{"PRIORITY", func(p *peer) error { return p.f.WritePriority(1, xhttp2.PriorityParam{StreamDep: 3}) }, http2.EndedPriorities},
		{"empty content", func(p *peer) error {
			if p.id == 0 {
				p.headers(p.stream(), false, request("POST")...)
			}
			return p.f.WriteData(p.id, false, nil)
		}, http2.EndedEmpty},
		{"empty padding", func(p *peer) error {
			if p.id == 0 {
				p.headers(p.stream(), false, request("POST")...)
			}
			return p.f.WriteDataPadded(p.id, false, nil, make([]byte, 9))
		}, http2.EndedEmpty},
		{"windows that grow by 1", func(p *peer) error { return p.f.WriteWindowUpdate(0, 1) }, http2.EndedWindows},
		{"frames of unknown kinds", func(p *peer) error { return p.f.WriteRawFrame(99, 0, 0, nil) }, http2.EndedStrays},
		{"more streams than are allowed", func(p *peer) error {
			return p.f.WriteHeaders(xhttp2.HeadersFrameParam{
				StreamID: p.stream(), BlockFragment: p.block(request("GET", "hold", "1")...), EndStream: true, EndHeaders: true,
			})
		}, http2.EndedRefused},
		{"a header list without end", func(p *peer) error {
			if p.id == 0 {
				if err := p.f.WriteRawFrame(1, 0, p.stream(), p.block(request("GET")...)); err != nil {
					return err
				}
			}
			return p.f.WriteContinuation(p.id, false, nil)
		}, http2.EndedContinuations},
		{"a header list of great size", func(p *peer) error {
			if p.id == 0 {
				if err := p.f.WriteRawFrame(1, 0, p.stream(), p.block(request("GET")...)); err != nil {
					return err
				}
			}
			return p.f.WriteContinuation(p.id, false, p.block("a", strings.Repeat("b", 10<<10)))
		}, http2.EndedContinuations},
	} {
		t.Run(tt.name, func(t *testing.T) {
			counters := http2.NewCounters(metrics.New(metrics.Options{}))
			hold := make(chan struct{})
			var busy, most atomic.Int64
			bounds := http2.Abuse{Resets: 50, Refused: 50, Pings: 50, Settings: 50, Empty: 50, Priorities: 50, Windows: 50, Strays: 50}
			if tt.why == http2.EndedResets {
				bounds.Windows, bounds.Strays = 1<<20, 1<<20 // which these are, too, once their stream is over
			}
			s := serve(t, &http2.Options{Streams: 10, Counters: counters, Abuse: bounds}, func(w http.ResponseWriter, r *http.Request) {
				n := busy.Add(1)
				defer busy.Add(-1)
				for m := most.Load(); n > m; m = most.Load() {
					if most.CompareAndSwap(m, n) {
						break
					}
				}
				if r.Header.Get("Hold") != "" {
					<-hold
				}
				slow(w, r)
			})
			t.Cleanup(func() { close(hold) })
			p := client(t, s)
			done := make(chan struct{})
			go func() {
				defer close(done)
				// Far more than a second may hold; the connection ends long before.
				for range 1_000_000 {
					if tt.do(p) != nil {
						return
					}
				}
			}()
			if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "ENHANCE_YOUR_CALM") {
				t.Errorf("the connection ended with %v", err)
			}
			_ = p.nc.Close()
			<-done
			n := counters.Ended[tt.why].Value()
			if tt.why == http2.EndedResets { // those that come too fast are refused
				n += counters.Ended[http2.EndedRefused].Value()
			}
			if n != 1 {
				t.Errorf("%d connections ended by %q, want 1", n, tt.why)
			}
			if n := most.Load(); n > 20 {
				t.Errorf("%d requests were served at a time", n)
			}
		})
	}
}

// Peers of gRPC measure the round trip by a PING for each content that comes,
// and some clients widen windows as often.
func TestWhatContentBringsIsNoAbuse(t *testing.T) {
	const frames = 500
	next := make(chan struct{})
	s := serve(t, &http2.Options{Abuse: http2.Abuse{Pings: 10, Windows: 10}}, func(w http.ResponseWriter, _ *http.Request) {
		for range frames {
			_, _ = w.Write([]byte("a"))
			<-next
		}
	})
	t.Cleanup(func() { close(next) })
	p := client(t, s)
	p.headers(1, true, request("GET")...)
	for got := 0; got < frames; {
		f := p.next()
		d, ok := f.(*xhttp2.DataFrame)
		if f == nil || ok && d.StreamEnded() {
			t.Fatalf("it ended after %d frames", got)
		}
		if !ok {
			continue
		}
		got++
		p.ok(p.f.WritePing(false, [8]byte{}))
		p.ok(p.f.WriteWindowUpdate(0, 1))
		p.ok(p.f.WriteWindowUpdate(1, 1))
		next <- struct{}{}
	}
}
