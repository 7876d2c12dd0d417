// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-mesh/sluice/proxy/http2"
)

// slow answers once its request is complete.
func slow(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "done")
}

// What breaks a rule over a connection ends it, with the code that RFC 9113
// gives.
func TestFaultsOfConnections(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(p *peer)
		want xhttp2.ErrCode
	}{
		{"content of stream 0", func(p *peer) { p.ok(p.f.WriteData(0, true, nil)) }, xhttp2.ErrCodeProtocol},
		{"content of an idle stream", func(p *peer) { p.ok(p.f.WriteData(1, true, nil)) }, xhttp2.ErrCodeProtocol},
		{"the end of an idle stream", func(p *peer) { p.ok(p.f.WriteRSTStream(1, 8)) }, xhttp2.ErrCodeProtocol},
		{"a window of an idle stream", func(p *peer) { p.ok(p.f.WriteWindowUpdate(1, 9)) }, xhttp2.ErrCodeProtocol},
		{"a window widened by nothing", func(p *peer) { p.ok(p.f.WriteRawFrame(8, 0, 0, make([]byte, 4))) }, xhttp2.ErrCodeProtocol},
		{"a window that overflows", func(p *peer) { p.ok(p.f.WriteWindowUpdate(0, 1<<31-1)) }, xhttp2.ErrCodeFlowControl},
		{"a window setting that overflows", func(p *peer) {
			p.ok(p.f.WriteRawFrame(4, 0, 0, []byte{0, 4, 0x80, 0, 0, 0}))
		}, xhttp2.ErrCodeFlowControl},
		{"frames that may be too small", func(p *peer) {
			p.ok(p.f.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 100}))
		}, xhttp2.ErrCodeProtocol},
		{"settings cut short", func(p *peer) { p.ok(p.f.WriteRawFrame(4, 0, 0, []byte{1})) }, xhttp2.ErrCodeFrameSize},
		{"an acknowledgement with settings", func(p *peer) { p.ok(p.f.WriteRawFrame(4, 1, 0, make([]byte, 6))) }, xhttp2.ErrCodeFrameSize},
		{"settings of a stream", func(p *peer) { p.ok(p.f.WriteRawFrame(4, 0, 1, nil)) }, xhttp2.ErrCodeProtocol},
		{"a PING of a stream", func(p *peer) { p.ok(p.f.WriteRawFrame(6, 0, 1, make([]byte, 8))) }, xhttp2.ErrCodeProtocol},
		{"a PING of the wrong size", func(p *peer) { p.ok(p.f.WriteRawFrame(6, 0, 0, make([]byte, 7))) }, xhttp2.ErrCodeFrameSize},
		{"GOAWAY of a stream", func(p *peer) { p.ok(p.f.WriteRawFrame(7, 0, 1, make([]byte, 8))) }, xhttp2.ErrCodeProtocol},
		{"a push", func(p *peer) { p.ok(p.f.WriteRawFrame(5, 4, 1, make([]byte, 8))) }, xhttp2.ErrCodeProtocol},
		{"an even stream", func(p *peer) { p.headers(2, true, request("GET")...) }, xhttp2.ErrCodeProtocol},
		{"a stream behind a later one", func(p *peer) {
			p.headers(5, true, request("GET")...)
			p.headers(3, true, request("GET")...)
		}, xhttp2.ErrCodeProtocol},
		{"a header list of stream 0", func(p *peer) { p.headers(0, true, request("GET")...) }, xhttp2.ErrCodeProtocol},
		{"a header list of no field that is known", func(p *peer) {
			p.ok(p.f.WriteRawFrame(1, 5, 1, []byte{0xff, 0xff, 0x7f}))
		}, xhttp2.ErrCodeCompression},
		{"a continuation of nothing", func(p *peer) { p.ok(p.f.WriteContinuation(1, true, nil)) }, xhttp2.ErrCodeProtocol},
		{"a frame inside a header list", func(p *peer) {
			p.ok(p.f.WriteRawFrame(1, 0, 1, p.block(request("GET")...)))
			p.ok(p.f.WritePing(false, [8]byte{}))
		}, xhttp2.ErrCodeProtocol},
		{"more padding than there is", func(p *peer) {
			p.headers(1, false, request("POST")...)
			p.ok(p.f.WriteRawFrame(0, 8, 1, []byte{5, 1}))
		}, xhttp2.ErrCodeProtocol},
		{"a frame that is too large", func(p *peer) { p.ok(p.f.WriteRawFrame(0, 0, 1, make([]byte, 16<<10+1))) }, xhttp2.ErrCodeFrameSize},
		{"more content than the connection may hold", func(p *peer) {
			for id := uint32(1); id < 40; id += 2 {
				p.headers(id, false, request("POST")...)
				for range 16 {
					if p.f.WriteData(id, false, make([]byte, 16<<10-64)) != nil {
						return // it has ended
					}
				}
			}
		}, xhttp2.ErrCodeFlowControl},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hold := make(chan struct{})
			s := serve(t, nil, func(http.ResponseWriter, *http.Request) { <-hold })
			t.Cleanup(func() { close(hold) })
			p := client(t, s)
			tt.do(p)
			if got := p.goAway(); got != tt.want {
				t.Errorf("the connection ends with %v, want %v", got, tt.want)
			}
		})
	}
}

// What breaks a rule over a stream ends it alone.
func TestFaultsOfStreams(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(p *peer)
		want xhttp2.ErrCode
	}{
		{"content that is too long", func(p *peer) {
			p.headers(1, false, request("POST", "content-length", "1")...)
			p.ok(p.f.WriteData(1, true, []byte("ab")))
		}, xhttp2.ErrCodeProtocol},
		{"content that is too short", func(p *peer) {
			p.headers(1, false, request("POST", "content-length", "3")...)
			p.ok(p.f.WriteData(1, true, []byte("ab")))
		}, xhttp2.ErrCodeProtocol},
		{"no content where some is announced", func(p *peer) {
			p.headers(1, true, request("POST", "content-length", "3")...)
		}, xhttp2.ErrCodeProtocol},
		{"a capital letter in a name", func(p *peer) { p.headers(1, true, request("GET", "X-A", "b")...) }, xhttp2.ErrCodeProtocol},
		{"a field of a connection", func(p *peer) { p.headers(1, true, request("GET", "connection", "close")...) }, xhttp2.ErrCodeProtocol},
		{"a pseudo-field behind others", func(p *peer) { p.headers(1, true, "a", "b", ":method", "GET") }, xhttp2.ErrCodeProtocol},
		{"trailers that do not end it", func(p *peer) {
			p.headers(1, false, request("POST")...)
			p.headers(1, false, "a", "b")
		}, xhttp2.ErrCodeProtocol},
		{"a window widened by nothing", func(p *peer) {
			p.headers(1, false, request("POST")...)
			p.ok(p.f.WriteRawFrame(8, 0, 1, make([]byte, 4)))
		}, xhttp2.ErrCodeProtocol},
		{"a window that overflows", func(p *peer) {
			p.headers(1, false, request("POST")...)
			p.ok(p.f.WriteWindowUpdate(1, 1<<31-1))
		}, xhttp2.ErrCodeFlowControl},
		{"content behind the end", func(p *peer) {
			p.headers(1, true, request("POST", "hold", "1")...)
			p.ok(p.f.WriteData(1, true, []byte("a")))
		}, xhttp2.ErrCodeStreamClosed},
		{"more than its window holds", func(p *peer) {
			p.headers(1, false, request("POST", "hold", "1")...)
			for range 17 {
				p.ok(p.f.WriteData(1, false, make([]byte, 16<<10)))
			}
		}, xhttp2.ErrCodeFlowControl},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hold := make(chan struct{})
			s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Hold") != "" {
					<-hold
				}
				slow(w, r)
			})
			t.Cleanup(func() { close(hold) })
			p := client(t, s)
			tt.do(p)
			if got := p.reset(1); got != tt.want {
				t.Errorf("the stream ends with %v, want %v", got, tt.want)
			}
			p.headers(3, true, request("GET")...)
			if status, body, _ := p.answer(3); status != "200" || string(body) != "done" {
				t.Errorf("the next stream is answered %s %q", status, body)
			}
		})
	}
}

func TestFramesThatMeanNothingArePassedOver(t *testing.T) {
	p := client(t, serve(t, nil, slow))
	p.ok(p.f.WriteRawFrame(0xb, 0xff, 7, []byte("what")))
	p.ok(p.f.WriteSettings(xhttp2.Setting{ID: 0x99, Val: 1}))
	p.ok(p.f.WritePriority(1, xhttp2.PriorityParam{StreamDep: 3}))
	p.headers(1, true, request("GET")...)
	if status, _, _ := p.answer(1); status != "200" {
		t.Errorf("answered %s", status)
	}
	p.ok(p.f.WriteRSTStream(1, xhttp2.ErrCodeCancel)) // late
	p.ok(p.f.WriteWindowUpdate(1, 100))
	p.headers(3, true, request("GET")...)
	if status, _, _ := p.answer(3); status != "200" {
		t.Errorf("answered %s", status)
	}
}

func TestPaddingPriorityAndContinuations(t *testing.T) {
	p := client(t, serve(t, nil, echo))
	b := p.block(request("POST")...)
	p.ok(p.f.WriteHeaders(xhttp2.HeadersFrameParam{
		StreamID: 1, BlockFragment: b[:3], PadLength: 9, Priority: xhttp2.PriorityParam{StreamDep: 7, Weight: 3},
	}))
	p.ok(p.f.WriteContinuation(1, false, b[3:5]))
	p.ok(p.f.WriteContinuation(1, true, b[5:]))
	p.ok(p.f.WriteDataPadded(1, false, []byte("he"), make([]byte, 200)))
	p.ok(p.f.WriteDataPadded(1, true, []byte("llo"), nil))
	if status, body, _ := p.answer(1); status != "200" || string(body) != "POST a / hello" {
		t.Errorf("answered %s %q", status, body)
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	p := client(t, serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if string(b) != "" {
			_, _ = w.Write(b)
		}
		w.Header().Set(http.TrailerPrefix+"sum", r.Trailer.Get("Sum"))
	}))
	for i, content := range []string{"hello", ""} {
		id := uint32(2*i + 1)
		p.headers(id, false, request("POST", "te", "trailers", "trailer", "sum")...)
		if content != "" {
			p.ok(p.f.WriteData(id, false, []byte(content)))
		}
		p.headers(id, true, "sum", "7")
		if status, body, trailers := p.answer(id); status != "200" || string(body) != content || trailers["sum"] != "7" {
			t.Errorf("answered %s %q %v, want content %q", status, body, trailers, content)
		}
	}
}

// A stream beyond those that are allowed can be begun again elsewhere; the ones
// that are open go on.
func TestStreamsAreBounded(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, &http2.Options{Streams: 2}, func(w http.ResponseWriter, r *http.Request) {
		<-hold
		slow(w, r)
	})
	p := client(t, s)
	for id := uint32(1); id <= 5; id += 2 {
		p.headers(id, true, request("GET")...)
	}
	if got := p.reset(5); got != xhttp2.ErrCodeRefusedStream {
		t.Errorf("one too many ends with %v", got)
	}
	close(hold)
	for answered := 0; answered < 2; {
		switch f := p.next().(type) {
		case *xhttp2.MetaHeadersFrame:
			if f.PseudoValue("status") != "200" {
				t.Fatalf("got %v, want an answer", f)
			}
		case *xhttp2.DataFrame:
			if f.StreamEnded() {
				answered++
			}
		default:
			t.Fatalf("got %v, want answers", f)
		}
	}
}

func TestClientsWindowsAreKept(t *testing.T) {
	const size = 300
	p := client(t, serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, size))
	}), xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 10})
	p.headers(1, true, request("GET")...)
	if _, ok := p.next().(*xhttp2.MetaHeadersFrame); !ok {
		t.Fatal("no head")
	}
	got, allowed := 0, 10
	for {
		f, ok := p.next().(*xhttp2.DataFrame)
		if !ok {
			t.Fatal("no content")
		}
		got += len(f.Data())
		if got > allowed {
			t.Fatalf("%d bytes came, of which %d were allowed", got, allowed)
		}
		if f.StreamEnded() {
			break
		}
		if got == allowed {
			p.ok(p.f.WriteWindowUpdate(1, 50))
			allowed += 50
		}
	}
	if got != size {
		t.Errorf("%d bytes came, want %d", got, size)
	}
}

// An answer that is complete before its request ends the stream: the rest of
// the request is not wanted.
func TestEarlyAnswersEndTheirStreams(t *testing.T) {
	p := client(t, serve(t, nil, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "no") }))
	p.headers(1, false, request("POST")...)
	if status, body, _ := p.answer(1); status != "200" || string(body) != "no" {
		t.Errorf("answered %s %q", status, body)
	}
	if got := p.reset(1); got != xhttp2.ErrCodeNo {
		t.Errorf("the stream ends with %v", got)
	}
	p.ok(p.f.WriteData(1, false, []byte("late")))
	p.headers(1, true, "late", "trailer")
	p.headers(3, true, request("GET")...)
	if status, _, _ := p.answer(3); status != "200" {
		t.Errorf("the next stream is answered %s", status)
	}
}

func TestAbortedAnswersAreReset(t *testing.T) {
	p := client(t, serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}))
	p.headers(1, true, request("GET")...)
	if got := p.reset(1); got != xhttp2.ErrCodeInternal {
		t.Errorf("the stream ends with %v", got)
	}
}

func TestWhoSpeaksAnotherProtocolIsToldSo(t *testing.T) {
	s := serve(t, nil, slow)
	p := client(t, s)
	p.headers(1, true, request("GET")...)
	_, _, _ = p.answer(1)
	nc := connect(t, s.addr)
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(nc); bytes.Contains(b, []byte("HTTP/1.1 200")) {
		t.Fatalf("answered %q", b)
	}
	<-s.conns
	<-s.conns
	if err := <-s.ended; err == nil {
		t.Error("a connection without a preface has ended orderly")
	}
}
