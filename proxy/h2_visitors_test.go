// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// fromVisitors runs a test whose client writes frames, through a gateway to
// instances of either protocol. The proxy drains for as long as it takes.
func fromVisitors(t *testing.T, test func(t *testing.T, c *crossing)) {
	t.Helper()
	for _, to := range plainProtocols {
		t.Run("to "+to.name, func(t *testing.T) {
			t.Parallel()
			s := newStage()
			s.drain = time.Hour
			test(t, crossTo(t, protocol{name: "h2c", h2: true}, to, s, s.serve(t, to)))
		})
	}
}

func TestWhatClientsOfHTTP2Do(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(f *dialogue) // on stream 1
		want string            // what becomes of stream 1, or may
	}{
		{"a request without content", func(f *dialogue) { f.ask(1, true, "GET", "/hello") }, "200 'hello' end"},
		{"content in pieces", func(f *dialogue) {
			f.ask(1, false, "POST", "/echo")
			f.data(1, false, "one ")
			f.data(1, false, "")
			f.data(1, true, "two")
		}, "200 'one two' end"},
		{"content of the length that was said", func(f *dialogue) {
			f.ask(1, false, "POST", "/echo", "content-length: 7")
			f.data(1, false, "one ")
			f.data(1, true, "two")
		}, "200 'one two' end"},
		{"the end of the content by itself", func(f *dialogue) {
			f.ask(1, false, "POST", "/echo", "content-length: 3")
			f.data(1, false, "one")
			f.data(1, true, "")
		}, "200 'one' end"},
		{"less content than was said", func(f *dialogue) {
			f.ask(1, false, "POST", "/echo/pieces", "content-length: 7")
			f.data(1, true, "one")
		}, "reset PROTOCOL_ERROR"},
		{"more content than was said", func(f *dialogue) {
			f.ask(1, false, "POST", "/read", "content-length: 2")
			f.data(1, true, "one")
		}, "reset PROTOCOL_ERROR"},
		{"trailers behind content", func(f *dialogue) {
			f.ask(1, false, "POST", "/trailers", "trailer: x-sum")
			f.data(1, false, "one")
			f.head(1, true, "x-sum: 42")
		}, "200 'one' x-count=3 <nil> x-sum=42 end|200 'one' x-sum=42 x-count=3 <nil> end"},
		{"trailers without content", func(f *dialogue) {
			f.ask(1, false, "POST", "/trailers", "trailer: x-sum")
			f.head(1, true, "x-sum: 42")
		}, "200 x-count=0 <nil> x-sum=42 end|200 x-sum=42 x-count=0 <nil> end"},
		{"padding, continuations, priorities and frames that nobody knows", func(f *dialogue) {
			f.put(priorityFrame, 0, 1, []byte{0, 0, 0, 99, 7})
			f.put(unknownFrame, 0, 1, []byte("what?"))
			f.scattered(1, ":method: POST", ":scheme: http", ":path: /echo", ":authority: a", "x-a: "+strings.Repeat("b", 100))
			f.put(dataFrame, padded|endStream, 1, []byte("\x03fine\x00\x00\x00"))
		}, "200 'fine' end"},
		{"a method that asks for a tunnel", func(f *dialogue) {
			f.head(1, true, ":method: CONNECT", ":authority: shop.example:443")
		}, "405 "},
		{"a field in capitals", func(f *dialogue) { f.ask(1, true, "GET", "/hello", "A: b") }, "reset PROTOCOL_ERROR"},
		{"a field of the connection", func(f *dialogue) { f.ask(1, true, "GET", "/hello", "connection: close") }, "reset PROTOCOL_ERROR"},
		{"a line break in a value", func(f *dialogue) { f.ask(1, true, "GET", "/hello", "a: b\r\nc: d") }, "reset PROTOCOL_ERROR"},
		{"a space in the path", func(f *dialogue) { f.ask(1, true, "GET", "/hello HTTP/1.1", "a: b") }, "reset PROTOCOL_ERROR"},
		{"two hosts that differ", func(f *dialogue) { f.ask(1, true, "GET", "/hello", "host: other.example") }, "reset PROTOCOL_ERROR"},
		{"an answer that breaks off", func(f *dialogue) { f.ask(1, true, "GET", "/abort/streamed") }, "200 'the beginning' reset INTERNAL_ERROR"},
		{"an answer that breaks off before what it said", func(f *dialogue) { f.ask(1, true, "GET", "/abort/sized") }, "200 'the beginning' reset INTERNAL_ERROR"},
		{"an answer before the end of the request", func(f *dialogue) { f.ask(1, false, "POST", "/early") }, "401 'no\n' end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fromVisitors(t, func(t *testing.T, c *crossing) {
				t.Helper()
				f := comeBy(t, c.url)
				tt.do(f)
				told := f.tells(t, 1)
				if got := told[1]; !slices.ContainsFunc(strings.Split(tt.want, "|"), func(want string) bool {
					return got == want || strings.HasSuffix(want, " ") && strings.HasPrefix(got, want)
				}) {
					t.Errorf("told %q, want %q; of the connection %q", got, tt.want, told[0])
				}
				f.ask(3, true, "GET", "/hello")
				if told := f.tells(t, 3); told[3] != "200 'hello' end" {
					t.Errorf("another stream is told %q, and of the connection %q", told[3], told[0])
				}
				c.quiet()
			})
		})
	}
}

func TestStreamsAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(f *dialogue)
		left bool // other streams go on
	}{
		{"one by one", func(f *dialogue) {
			for i := range uint32(5) {
				f.reset(1+2*i, cancel)
			}
		}, true},
		{"all by the end of the connection", func(f *dialogue) { _ = f.Close() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fromVisitors(t, func(t *testing.T, c *crossing) {
				t.Helper()
				f := comeBy(t, c.url)
				for i := range uint32(5) {
					f.ask(1+2*i, true, "GET", "/wait")
				}
				for range 5 {
					heard(t, "the instance waits", c.stage.began)
				}
				tt.do(f)
				for range 5 {
					if err := heard(t, "the instance learns of it", c.stage.ended); err == nil {
						t.Error("the instance takes it for complete")
					}
				}
				if tt.left {
					f.ask(11, true, "GET", "/hello")
					if told := f.tells(t, 11); told[11] != "200 'hello' end" {
						t.Errorf("another stream is told %q", told[11])
					}
				}
				c.quiet()
			})
		})
	}
}

// TestSlowStreamsHoldUpNoOthers holds that a stream whose client takes nothing
// leaves the connection to the others.
func TestSlowStreamsHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	fromVisitors(t, func(t *testing.T, c *crossing) {
		t.Helper()
		f := comeBy(t, c.url, setting{initialWindow, 10})
		f.ask(1, true, "GET", "/drip")
		heard(t, "the slow one has begun", c.stage.began)
		for i := range uint32(20) {
			f.ask(3+2*i, true, "GET", "/hello")
			if told := f.tells(t, 3+2*i); told[3+2*i] != "200 'hello' end" {
				t.Fatalf("stream %d is told %v", 3+2*i, told)
			}
		}
		f.reset(1, cancel)
		if err := heard(t, "the instance learns of it", c.stage.ended); err == nil {
			t.Error("the instance takes it for complete")
		}
		c.quiet()
	})
}

// TestWindowsOpenStepByStep holds that content passes as the client makes room
// for it.
func TestWindowsOpenStepByStep(t *testing.T) {
	t.Parallel()
	fromVisitors(t, func(t *testing.T, c *crossing) {
		t.Helper()
		f := comeBy(t, c.url, setting{initialWindow, 100})
		f.ask(1, true, "GET", "/sized")
		for size := 0; ; {
			got, err := f.next()
			if err != nil {
				t.Fatal(err)
			}
			if got.kind != dataFrame {
				continue
			}
			n := len(got.payload)
			size += n
			switch {
			case n > 100:
				t.Fatalf("%d bytes at once in a window of 100", n)
			case n > 0:
				f.open(1, n)
			}
			if got.ended() {
				if size != sizedAnswer {
					t.Errorf("got %d bytes, want %d", size, sizedAnswer)
				}
				return
			}
		}
	})
}

// TestConnectionsAreToldToGo holds that a proxy which ends tells its clients,
// and lets streams finish.
func TestConnectionsAreToldToGo(t *testing.T) {
	t.Parallel()
	fromVisitors(t, func(t *testing.T, c *crossing) {
		t.Helper()
		f := comeBy(t, c.url)
		f.ask(1, true, "GET", "/hello")
		if told := f.tells(t, 1); told[1] != "200 'hello' end" {
			t.Fatalf("told %v", told)
		}
		f.ask(3, true, "GET", "/steps")
		ended := c.ending()
		for range 3 {
			c.stage.next <- struct{}{}
		}
		told := f.tells(t, 3)
		if told[3] != "200 'step0step1step2' end" {
			t.Errorf("the stream under way is told %q", told[3])
		}
		rest := f.tells(t, 99)
		if all := fmt.Sprint(told[0], " ", rest[0]); !strings.Contains(all, "goaway 3 NO_ERROR") && !strings.Contains(all, "goaway 2147483647 NO_ERROR") || !strings.HasSuffix(all, "closed") {
			t.Errorf("of the connection it is told %q", all)
		}
		if err := heard(t, "the proxy ends", ended); err != nil {
			t.Error(err)
		}
	})
}
