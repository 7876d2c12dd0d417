// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// besieged is a gateway in front of an instance of HTTP/1 that answers /hello
// at once, and anything else when the test ends or the request is given up.
type besieged struct {
	*bed
	url   string
	began atomic.Int64 // requests that the instance waits with
	now   atomic.Int64 // of them at this moment
	other *rogue       // another client
}

func besiege(t *testing.T, settings string) *besieged {
	t.Helper()
	s := garrison(t, settings)
	s.other = speak(t, s.url)
	s.works("before")
	return s
}

// garrison is besiege without another client.
func garrison(t *testing.T, settings string) *besieged {
	t.Helper()
	s := new(besieged)
	address := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hello" {
			_, _ = w.Write([]byte("hello"))
			return
		}
		s.began.Add(1)
		s.now.Add(1)
		defer s.now.Add(-1)
		if _, err := io.Copy(io.Discard, r.Body); err == nil { // only behind it is the end noticed
			<-r.Context().Done()
		}
	})
	port := freeport.One(t)
	s.url = local(port)
	s.bed = start(t, nil)
	s.apply(fmt.Sprintf("name: g\nport: %d\nsluice: {%s}\nroutes: {\"[%s]\": {}}\n", port, settings, address))
	return s
}

// works holds that another client is served.
func (s *besieged) works(when string) {
	s.t.Helper()
	id := s.other.send(true, heading("GET", "/hello")...)
	s.other.flush()
	if got := s.other.outcome(id); got != "200" {
		s.t.Errorf("%s, another client is answered %s, want 200", when, got)
	}
}

func (s *besieged) ended(reason string) float64 {
	return s.counted(metrics.HTTP2ConnectionsEnded.Name, metrics.Label{Name: "reason", Value: reason})
}

// A client that does again and again what costs it less than us is told so and
// cut off; others notice nothing of it.
func TestFloodsEndTheirConnection(t *testing.T) {
	repeat := func(n int, do func(f *rogue)) func(*rogue) {
		return func(f *rogue) {
			for range n {
				do(f)
			}
		}
	}
	for _, tt := range []struct {
		name, reason string
		before       func(f *rogue)
		batch        func(f *rogue)
	}{
		{
			"streams that are reset as soon as they begin", "resets", nil,
			repeat(500, func(f *rogue) { f.reset(f.send(true, heading("GET", "/wait")...)) }),
		},
		{
			"streams that we are made to reset by an update of nothing", "resets", nil,
			repeat(500, func(f *rogue) { f.number(windowFrame, f.send(true, heading("GET", "/wait")...), 0) }),
		},
		{
			"streams that we are made to reset by a window too large", "resets", nil,
			repeat(500, func(f *rogue) { f.number(windowFrame, f.send(true, heading("GET", "/wait")...), 1<<31-1) }),
		},
		{
			"streams that we are made to reset by content behind their end", "resets", nil,
			repeat(500, func(f *rogue) { f.data(f.send(true, heading("GET", "/wait")...), "x", endStream) }),
		},
		{
			"streams that we are made to reset by more content than they said", "resets", nil,
			repeat(500, func(f *rogue) {
				f.data(f.send(false, heading("POST", "/wait", "content-length: 1")...), "xy", 0)
			}),
		},
		{
			"streams that are malformed", "resets", nil,
			repeat(500, func(f *rogue) { f.send(true, heading("GET", "/wait", "connection: close")...) }),
		},
		{
			"streams beyond those that may be open", "refused_streams",
			func(f *rogue) {
				for range 100 {
					f.send(true, heading("GET", "/wait")...)
				}
			},
			repeat(6000, func(f *rogue) { f.send(true, heading("GET", "/wait")...) }),
		},
		{
			"PING", "pings", nil,
			repeat(300, func(f *rogue) { f.frame(pingFrame, 0, 0, make([]byte, 8)) }),
		},
		{
			"SETTINGS", "settings", nil,
			repeat(100, func(f *rogue) { f.frame(settingsFrame, 0, 0, nil) }),
		},
		{
			"content without content", "empty_frames",
			func(f *rogue) { f.send(false, heading("POST", "/wait")...) },
			repeat(1000, func(f *rogue) { f.data(1, "", 0) }),
		},
		{
			"content that is padding", "empty_frames",
			func(f *rogue) { f.send(false, heading("POST", "/wait")...) },
			repeat(1000, func(f *rogue) { f.data(1, "\x02\x00\x00", padded) }),
		},
		{
			"PRIORITY", "priorities", nil,
			repeat(5000, func(f *rogue) { f.frame(priorityFrame, 0, 1, []byte{0, 0, 0, 3, 1}) }),
		},
		{
			"WINDOW_UPDATE of one byte", "window_updates", nil,
			repeat(6000, func(f *rogue) { f.number(windowFrame, 0, 1) }),
		},
		{
			"frames of unknown types", "stray_frames", nil,
			repeat(6000, func(f *rogue) { f.frame(0xbe, 0xff, 7, []byte("x")) }),
		},
		{
			"content of streams that are over", "stray_frames",
			func(f *rogue) { f.reset(f.send(false, heading("POST", "/wait")...)) },
			repeat(6000, func(f *rogue) { f.data(1, "x", 0) }),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := besiege(t, "")
			began := time.Now()
			f := speak(t, s.url)
			if tt.before != nil {
				tt.before(f)
			}
			if got := f.flood(func() { tt.batch(f) }); got != "GOAWAY ENHANCE_YOUR_CALM" {
				t.Errorf("the connection ends with %s, want GOAWAY ENHANCE_YOUR_CALM", got)
			}
			seconds := int64(time.Since(began)/time.Second) + 2 // that were touched
			s.works("afterwards")
			eventually(t, "the end is counted", func() bool { return s.ended(tt.reason) == 1 })
			eventually(t, "nothing is in flight", func() bool { return s.inFlight() == 0 })
			if n := s.began.Load(); n > seconds*(200+100) {
				t.Errorf("the instance had %d requests in less than %d seconds, want at most 300 a second", n, seconds)
			}
		})
	}
}

// However fast streams are given up, no more of them are served at a time than
// twice those that may be open.
func TestStreamsThatAreGivenUpAreBounded(t *testing.T) {
	s := besiege(t, "http2: {max_concurrent_streams: 5}")
	f := speak(t, s.url)
	got := f.flood(func() {
		if n := s.inFlight(); n > 2*5 {
			t.Errorf("%d exchanges are in flight, want at most 10", n)
		}
		for range 50 {
			f.reset(f.send(true, heading("GET", "/wait")...))
		}
	})
	if got != "GOAWAY ENHANCE_YOUR_CALM" {
		t.Errorf("the connection ends with %s", got)
	}
	s.works("afterwards")
	eventually(t, "the instance is let go", func() bool { return s.now.Load() == 0 && s.inFlight() == 0 })
}

func TestStreamsBeyondTheBoundAreRefused(t *testing.T) {
	s := besiege(t, "http2: {max_concurrent_streams: 3}")
	f := speak(t, s.url)
	var ids []uint32
	for range 5 {
		ids = append(ids, f.send(true, heading("GET", "/wait")...))
	}
	f.flush()
	for _, id := range ids[3:] {
		if got := f.outcome(id); got != "REFUSED_STREAM" {
			t.Errorf("stream %d ends with %s, want REFUSED_STREAM", id, got)
		}
	}
	eventually(t, "three are served", func() bool { return s.began.Load() == 3 })
	f.reset(ids[0])
	f.flush()
	eventually(t, "one is given up", func() bool { return s.now.Load() == 2 })
	id := f.send(true, heading("GET", "/hello")...)
	f.flush()
	if got := f.outcome(id); got != "200" {
		t.Errorf("the next stream ends with %s, want 200", got)
	}
	if n := s.counted(metrics.HTTP2StreamsRefused.Name, metrics.Label{Name: "reason", Value: "too_many"}); n != 2 {
		t.Errorf("%v streams are counted as refused, want 2", n)
	}
}

// A header list that goes on for ever is cut off, in however small pieces it
// comes (CVE-2024-27316).
func TestHeaderListsWithoutAnEndAreCutOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		piece []byte
	}{
		{"in pieces of nothing", nil},
		{"in small pieces", []byte{0x82}},
		{"in large pieces", append([]byte{0x00, 0x01, 'x', 0x7f, 0x81, 0x7e}, make([]byte, 16<<10-6)...)[:16<<10-400]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := besiege(t, "")
			f := speak(t, s.url)
			f.frame(headersFrame, endStream, 1, f.encode(heading("GET", "/wait")...))
			for range 60 {
				f.frame(continuationFrame, 0, 1, tt.piece)
			}
			f.flush()
			if got := f.leaves(); got != "GOAWAY ENHANCE_YOUR_CALM" {
				t.Errorf("the connection ends with %s, want GOAWAY ENHANCE_YOUR_CALM", got)
			}
			s.works("afterwards")
			eventually(t, "the end is counted", func() bool { return s.ended("continuations") == 1 })
			if n := s.began.Load(); n != 0 {
				t.Errorf("the instance had %d requests, want none", n)
			}
		})
	}
}

// A short block that stands for a list of hundreds of megabytes is a list that
// is too long, like any other: it costs no memory, and the client is told.
func TestHeaderListsOverTheirLimitAreAnswered(t *testing.T) {
	s := besiege(t, "")
	f := speak(t, s.url)
	for _, tt := range []struct {
		name  string
		lines []string
		more  []byte // of the block, behind that
		want  string
	}{
		{"one long field", heading("GET", "/wait", "x: "+strings.Repeat("y", 50<<10)), nil, "431"},
		{"many fields", heading("GET", "/wait", strings.Split(strings.Repeat("x: y,", 1500)+"x: y", ",")...), nil, "431"},
		{
			"a field of the table many times",
			heading("GET", "/wait", "x-bomb: "+strings.Repeat("y", 3<<10)),
			[]byte(strings.Repeat("\xbe", 10<<10)), "431",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := f.sendBlock(true, append(f.encode(tt.lines...), tt.more...))
			f.flush()
			if got := f.outcome(id); got != tt.want {
				t.Errorf("the stream ends with %s, want %s", got, tt.want)
			}
			next := f.send(true, heading("GET", "/hello")...)
			f.flush()
			if got := f.outcome(next); got != "200" {
				t.Errorf("the stream behind it ends with %s, want 200", got)
			}
		})
	}
	if n := s.began.Load(); n != 0 {
		t.Errorf("the instance had %d requests, want none", n)
	}
}

// A client that never opens its window holds its own streams up, for as long
// as a body may stand still.
func TestClientsThatOpenNoWindowAreGivenUp(t *testing.T) {
	s := besiege(t, "timeouts: {idle: 300ms}")
	f := speak(t, s.url, window(0)...)
	var ids []uint32
	for range 20 {
		ids = append(ids, f.send(true, heading("GET", "/hello")...))
	}
	f.flush()
	for _, id := range ids {
		if got := f.outcome(id); got != "INTERNAL_ERROR" && got != "CANCEL" {
			t.Errorf("stream %d ends with %s, want it reset", id, got)
		}
	}
	s.works("meanwhile")
	eventually(t, "the client is to blame", func() bool { return s.failures(live.ClientTooSlow) == 20 })
	// The connection itself is fine.
	f.frame(settingsFrame, 0, 0, window(1<<16))
	id := f.send(true, heading("GET", "/hello")...)
	f.flush()
	if got := f.outcome(id); got != "200" {
		t.Errorf("with a window, a stream ends with %s, want 200", got)
	}
}

// A request that is begun and never ended is given up like one of HTTP/1.
func TestStreamsThatStayHalfOpenAreGivenUp(t *testing.T) {
	s := besiege(t, "timeouts: {idle: 300ms}")
	f := speak(t, s.url)
	var ids []uint32
	for i := range 20 {
		id := f.send(false, heading("POST", "/wait")...)
		if i%2 == 0 {
			f.data(id, "x", 0)
		}
		ids = append(ids, id)
	}
	f.flush()
	for _, id := range ids {
		if got := f.outcome(id); got == "200" || strings.HasPrefix(got, "GOAWAY") {
			t.Errorf("stream %d ends with %s, want a failure of its own", id, got)
		}
	}
	id := f.send(true, heading("GET", "/hello")...)
	f.flush()
	if got := f.outcome(id); got != "200" {
		t.Errorf("a stream behind them ends with %s, want 200", got)
	}
	eventually(t, "nothing is in flight", func() bool { return s.inFlight() == 0 })
}

// Content beyond a window is a fault of its stream or its connection, and
// content within it does not fill more memory than the window says.
func TestContentBeyondAWindowIsRefused(t *testing.T) {
	s := besiege(t, "")
	f := speak(t, s.url)
	id := f.send(false, heading("POST", "/wait")...)
	piece := strings.Repeat("x", 16<<10)
	for range 200 { // 3.2 MB; nobody reads them
		f.data(id, piece, 0)
	}
	f.flush()
	got := f.outcome(id)
	if got != "FLOW_CONTROL_ERROR" && got != "GOAWAY FLOW_CONTROL_ERROR" {
		t.Errorf("the stream ends with %s, want FLOW_CONTROL_ERROR", got)
	}
	s.works("afterwards")
	eventually(t, "nothing is in flight", func() bool { return s.inFlight() == 0 })
}

// A connection that holds nothing but the beginning of something is as idle as
// one that holds nothing.
func TestConnectionsThatComeToNothingEnd(t *testing.T) {
	s := garrison(t, "timeouts: {keep_alive: 300ms}")
	conns := map[string]*rogue{}
	for _, tt := range []struct {
		name string
		say  func(f *rogue)
	}{
		{"one that says nothing", func(*rogue) {}},
		{"one with a frame cut short", func(f *rogue) { _, _ = f.out.Write([]byte{0, 0, 100, headersFrame, 0, 0, 0, 0, 1, 0x82}) }},
		{"one with the head of a frame cut short", func(f *rogue) { _, _ = f.out.Write([]byte{0, 0}) }},
		{"one with a header list cut short", func(f *rogue) { f.frame(headersFrame, endStream, 1, f.encode(heading("GET", "/wait")...)) }},
		{"one with a PING", func(f *rogue) { f.frame(pingFrame, 0, 0, make([]byte, 8)) }},
		{"one with streams that are over", func(f *rogue) { f.send(true, heading("GET", "/hello")...) }},
	} {
		f := speak(t, s.url)
		tt.say(f)
		f.flush()
		conns[tt.name] = f
	}
	for name, f := range conns {
		if got := f.leaves(); got != "GOAWAY NO_ERROR" {
			t.Errorf("%s ends with %s, want GOAWAY NO_ERROR", name, got)
		}
	}
	if n := s.began.Load(); n != 0 {
		t.Errorf("the instance had %d requests, want none", n)
	}
}
