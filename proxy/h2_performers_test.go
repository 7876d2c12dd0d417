// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// plainProtocols are those without TLS.
var plainProtocols = []protocol{{name: "http1"}, {name: "h2c", h2: true}}

// toPerformers runs a test with clients of either protocol, through a gateway to
// performers that are tried in their order.
func toPerformers(t *testing.T, test func(t *testing.T, c *crossing), all ...*performer) {
	t.Helper()
	for _, from := range plainProtocols {
		t.Run("from "+from.name, func(t *testing.T) {
			t.Parallel()
			var addresses []string
			for _, p := range all {
				addresses = append(addresses, p.address)
			}
			test(t, crossTo(t, from, protocol{name: "h2c", h2: true}, newStage(), addresses...))
		})
	}
}

// fate sends a request and tells what became of it, such as "200 fine" or
// "200 fi, broken".
func (c *crossing) fate(t *testing.T, r *http.Request) string {
	t.Helper()
	resp, err := c.try(t, r)
	if err != nil {
		return "no answer: " + err.Error()
	}
	body, err := io.ReadAll(resp.Body)
	text := fmt.Sprint(resp.StatusCode, " ", string(body))
	if reason := resp.Header.Get("Sluice-Reason"); reason != "" {
		text = fmt.Sprint(resp.StatusCode, " ", reason)
	}
	if err != nil {
		text += ", broken"
	}
	return text
}

func TestWhatInstancesOfHTTP2Do(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		settings []setting
		first    func(*dialogue, frame) bool // what the first instance does; the second is fine
		post     string                      // what becomes of a POST
		get      string                      // and of a GET
	}{
		{
			"a refused stream goes elsewhere, whatever the method", nil,
			answers(false, func(f *dialogue, stream uint32) bool { f.reset(stream, refusedStream); return true }),
			"200 fine", "200 fine",
		},
		{
			"what a GOAWAY leaves out goes elsewhere, whatever the method", nil,
			answers(false, func(f *dialogue, _ uint32) bool {
				f.goAway(0, noError)
				return false
			}),
			"200 fine", "200 fine",
		},
		{
			"what a GOAWAY includes is answered", nil,
			answers(true, func(f *dialogue, stream uint32) bool {
				f.goAway(stream, noError)
				f.head(stream, false, ":status: 203")
				f.data(stream, true, "bye")
				return true
			}),
			"203 bye", "203 bye",
		},
		{
			"a reset stream may have been acted on", nil,
			answers(true, func(f *dialogue, stream uint32) bool { f.reset(stream, internalError); return true }),
			"502 upstream_reset", "200 fine",
		},
		{
			"a broken connection may have been acted on", nil,
			answers(true, func(*dialogue, uint32) bool { return false }),
			"502 upstream_reset", "200 fine",
		},
		{
			"an answer that is reset is broken off", nil,
			answers(true, func(f *dialogue, stream uint32) bool {
				f.head(stream, false, ":status: 200")
				f.data(stream, false, "fi")
				f.reset(stream, cancel)
				return true
			}),
			"200 fi, broken", "200 fi, broken",
		},
		{
			"an answer whose connection ends is broken off", nil,
			answers(true, func(f *dialogue, stream uint32) bool {
				f.head(stream, false, ":status: 200", "content-length: 10")
				f.data(stream, false, "fi")
				return false
			}),
			"200 fi, broken", "200 fi, broken",
		},
		{
			"an answer that is shorter than it says is broken off", nil,
			answers(true, func(f *dialogue, stream uint32) bool {
				f.head(stream, false, ":status: 200", "content-length: 10")
				f.data(stream, true, "fi")
				return true
			}),
			"200 fi, broken", "200 fi, broken",
		},
		{
			"an answer before the end of the request, with the rest declined", nil,
			answers(false, func(f *dialogue, stream uint32) bool {
				f.head(stream, false, ":status: 401")
				f.data(stream, true, "no")
				f.reset(stream, noError)
				return true
			}),
			"401 no", "401 no",
		},
		{
			"an answer to a request that has no room, which is declined",
			[]setting{{initialWindow, 1}},
			answers(false, func(f *dialogue, stream uint32) bool {
				f.head(stream, false, ":status: 401")
				f.data(stream, true, "no")
				f.reset(stream, noError)
				return true
			}),
			"401 no", "401 no",
		},
		{
			"a refusal of a request that has no room",
			[]setting{{initialWindow, 1}},
			answers(false, func(f *dialogue, stream uint32) bool { f.reset(stream, refusedStream); return true }),
			"200 fine", "200 fine",
		},
		{
			"a reset of a request that has no room",
			[]setting{{initialWindow, 1}},
			answers(false, func(f *dialogue, stream uint32) bool { f.reset(stream, internalError); return true }),
			"502 upstream_reset", "200 fine",
		},
		{
			"padding, continuations, interim answers and frames that nobody knows", nil,
			answers(true, func(f *dialogue, stream uint32) bool {
				f.head(stream, false, ":status: 103", "link: x")
				f.put(priorityFrame, 0, stream, []byte{0, 0, 0, 99, 7})
				f.put(unknownFrame, 0, stream, []byte("what?"))
				f.scattered(stream, ":status: 200", "x-a: "+strings.Repeat("b", 100))
				f.put(dataFrame, padded|endStream, stream, []byte("\x03fine\x00\x00\x00"))
				return true
			}),
			"200 fine", "200 fine",
		},
		{
			"content without a head is none", nil,
			answers(true, func(f *dialogue, stream uint32) bool { f.data(stream, true, "what?"); return true }),
			"502 upstream_reset", "200 fine",
		},
		{
			"a head without a status is none", nil,
			answers(true, func(f *dialogue, stream uint32) bool { f.head(stream, true, "a: b"); return true }),
			"502 upstream_reset", "200 fine",
		},
		{
			"a head with a name in capitals is none", nil,
			answers(true, func(f *dialogue, stream uint32) bool { f.head(stream, true, ":status: 200", "A: b"); return true }),
			"502 upstream_reset", "200 fine",
		},
		{
			"a window that is small",
			[]setting{{initialWindow, 3}},
			func(f *dialogue, got frame) bool {
				if got.kind == dataFrame && len(got.payload) > 0 {
					f.open(got.stream, len(got.payload))
				}
				return answers(true, fine)(f, got)
			},
			"200 fine", "200 fine",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			one, two := perform(t, tt.settings, tt.first), perform(t, nil, answers(true, fine))
			toPerformers(t, func(t *testing.T, c *crossing) {
				t.Helper()
				for range 2 {
					if got := c.fate(t, request(t, http.MethodPost, c.url, strings.NewReader("content"))); got != tt.post {
						t.Errorf("POST: %s, want %s", got, tt.post)
					}
					if got := c.fate(t, request(t, http.MethodGet, c.url, http.NoBody)); got != tt.get {
						t.Errorf("GET: %s, want %s", got, tt.get)
					}
				}
				c.quiet()
			}, one, two)
		})
	}
}

// TestFewStreams holds that an instance which allows one stream at a time gets
// no more on a connection, and that all are answered.
func TestFewStreams(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards open and most
	open, most := map[*dialogue]int{}, 0
	p := perform(t, []setting{{settingStreams, 1}}, func(f *dialogue, got frame) bool {
		mu.Lock()
		defer mu.Unlock()
		if got.pseudo("method") != "" {
			open[f]++
			most = max(most, open[f])
		}
		return answers(true, func(f *dialogue, stream uint32) bool {
			open[f]--
			return fine(f, stream)
		})(f, got)
	})
	toPerformers(t, func(t *testing.T, c *crossing) {
		t.Helper()
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				for range 5 {
					if got := c.fate(t, request(t, http.MethodPost, c.url, strings.NewReader("content"))); got != "200 fine" {
						t.Error(got)
					}
				}
			})
		}
		group.Wait()
		mu.Lock()
		defer mu.Unlock()
		if most != 1 {
			t.Errorf("%d streams at once on a connection that allows one", most)
		}
	}, p)
}
