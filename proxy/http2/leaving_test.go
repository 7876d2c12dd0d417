// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// control returns the next frame of any kind.
func (p *peer) control() xhttp2.Frame {
	p.t.Helper()
	f, err := p.f.ReadFrame()
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// leaves waits for the GOAWAY that announces the end, and the PING behind it.
func (p *peer) leaves() (ping [8]byte) {
	p.t.Helper()
	announced := false
	for {
		switch f := p.control().(type) {
		case *xhttp2.GoAwayFrame:
			if f.LastStreamID != 1<<31-1 || f.ErrCode != xhttp2.ErrCodeNo {
				p.t.Fatalf("GOAWAY says %d %v at first", f.LastStreamID, f.ErrCode)
			}
			announced = true
		case *xhttp2.PingFrame:
			if f.IsAck() {
				continue
			}
			if !announced {
				p.t.Fatal("a PING before GOAWAY")
			}
			return f.Data
		}
	}
}

// A connection that drains serves what its client began before it knew.
func TestDrainServesWhatIsUnderWay(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		<-hold
		slow(w, r)
	})
	p := client(t, s)
	p.headers(1, true, request("GET")...)
	c := <-s.conns
	until(t, "a stream is open", func() bool { return c.Streams() == 1 })
	c.Drain()
	c.Drain()
	ping := p.leaves()
	p.headers(3, true, request("GET")...)
	p.ok(p.f.WritePing(true, ping))
	g, ok := p.next().(*xhttp2.GoAwayFrame)
	if !ok || g.LastStreamID != 3 || g.ErrCode != xhttp2.ErrCodeNo {
		t.Fatalf("got %v, want GOAWAY of stream 3", g)
	}
	p.headers(5, true, request("GET")...) // too late: it is not served
	close(hold)
	ended := map[uint32]bool{}
	for f := p.next(); f != nil; f = p.next() {
		if d, ok := f.(*xhttp2.DataFrame); ok && d.StreamEnded() {
			ended[d.StreamID] = true
		}
	}
	if !ended[1] || !ended[3] || len(ended) != 2 {
		t.Errorf("streams %v were served, want 1 and 3", ended)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("the connection ended with %v", err)
	}
}

// A client that does not answer the PING is not waited for.
func TestDrainEndsWithoutAnAnswer(t *testing.T) {
	s := serve(t, nil, slow)
	p := client(t, s)
	p.headers(1, true, request("GET")...)
	_, _, _ = p.answer(1)
	(<-s.conns).Drain()
	if got := p.goAway(); got != xhttp2.ErrCodeNo {
		t.Errorf("ended with %v", got)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("the connection ended with %v", err)
	}
}

func TestConnectionsEndByTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    http2.Options
	}{
		{"when they are too old", http2.Options{MaxAge: time.Millisecond}},
		{"when they have no stream", http2.Options{Idle: time.Millisecond}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, &tt.o, slow)
			p := client(t, s)
			p.leaves()
			if got := p.goAway(); got != xhttp2.ErrCodeNo {
				t.Errorf("ended with %v", got)
			}
			if err := <-s.ended; err != nil {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}

func TestClientsHaveToGreet(t *testing.T) {
	for _, tt := range []struct {
		name   string
		within time.Duration
		greet  func(p *peer)
		want   string
	}{
		{"those that send nothing", time.Millisecond, func(*peer) {}, socket.ErrExpired.Error()},
		{"those that send half a preface", time.Millisecond, func(p *peer) { _, _ = io.WriteString(p.nc, xhttp2.ClientPreface[:10]) }, socket.ErrExpired.Error()},
		{"those that acknowledge nothing", 3 * time.Second, func(p *peer) {
			p.raw(xhttp2.ClientPreface)
			p.ok(p.f.WriteSettings())
		}, "http2: SETTINGS_TIMEOUT: no acknowledgement of settings"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, &http2.Options{Greeting: tt.within}, slow)
			nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			tt.greet(newPeer(t, nc))
			if err := <-s.ended; err == nil || err.Error() != tt.want {
				t.Errorf("the connection ended with %v, want %s", err, tt.want)
			}
		})
	}
}

func TestStreamsOfOldConnectionsAreCutInTheEnd(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, &http2.Options{MaxAge: time.Millisecond, MaxAgeGrace: time.Millisecond}, func(http.ResponseWriter, *http.Request) { <-hold })
	t.Cleanup(func() { close(hold) })
	p := client(t, s)
	p.headers(1, true, request("GET")...)
	p.goAway()
	if err := <-s.ended; err != nil {
		t.Errorf("the connection ended with %v", err)
	}
}

func TestSilentPeersAreAskedAndGivenUp(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, &http2.Options{Ping: time.Millisecond, PingWait: 3 * time.Second}, func(http.ResponseWriter, *http.Request) { <-hold })
	t.Cleanup(func() { close(hold) })
	p := client(t, s)
	p.headers(1, true, request("GET")...)
	for range 3 { // one that answers stays
		for {
			if f, ok := p.control().(*xhttp2.PingFrame); ok && !f.IsAck() {
				p.ok(p.f.WritePing(true, f.Data))
				break
			}
		}
	}
	p.goAway()
	if e, ok := errors.AsType[*http2.ConnError](<-s.ended); !ok || e.Code != http2.NoError {
		t.Errorf("the connection ended with %v", e)
	}
}

// script is an instance that does as it is told.
func script(t *testing.T, do func(p *peer)) *http2.Conn {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := ln.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		b := make([]byte, len(xhttp2.ClientPreface))
		if _, err := io.ReadFull(nc, b); err != nil || string(b) != xhttp2.ClientPreface {
			t.Errorf("the connection begins with %q, %v", b, err)
			return
		}
		p := newPeer(t, nc)
		if err := p.f.WriteSettings(); err != nil {
			t.Error(err)
		}
		do(p)
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return dial(t, ln.Addr().String())
}

const plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// isUnsent reports whether an error says that nothing was done.
func isUnsent(err error) bool {
	e, ok := errors.AsType[*socket.WriteError](err)
	return ok && e.Unsent
}

func TestRefusedStreamsWereNotActedOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(p *peer)
		want bool
	}{
		{"a stream that is refused", func(p *peer) { _ = p.f.WriteRSTStream(1, xhttp2.ErrCodeRefusedStream) }, true},
		{"a stream above the last one", func(p *peer) { _ = p.f.WriteGoAway(0, xhttp2.ErrCodeNo, nil) }, true},
		{"a stream that is cancelled", func(p *peer) { _ = p.f.WriteRSTStream(1, xhttp2.ErrCodeCancel) }, false},
		{"a connection that ends", func(p *peer) { _ = p.nc.Close() }, false},
		{"a head, and then a refusal", func(p *peer) {
			_ = p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":status", "200"), EndHeaders: true})
			_ = p.f.WriteRSTStream(1, xhttp2.ErrCodeRefusedStream)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := script(t, func(p *peer) {
				p.next() // the request
				tt.do(p)
			})
			l := lane(t, c)
			defer l.Close()
			_, _, err := ask(l, plain)
			if err == nil || isUnsent(err) != tt.want {
				t.Errorf("ended with %v, want unsent %v", err, tt.want)
			}
			if l.Alive() {
				t.Error("it may carry another exchange")
			}
		})
	}
}

// Streams that an instance began to serve before it leaves are answered.
func TestInstancesThatLeaveFinish(t *testing.T) {
	c := script(t, func(p *peer) {
		p.next()
		_ = p.f.WriteGoAway(1, xhttp2.ErrCodeNo, nil)
		_ = p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":status", "200"), EndHeaders: true})
		_ = p.f.WriteData(1, true, []byte("bye"))
	})
	l := lane(t, c)
	defer l.Close()
	if _, body, err := ask(l, plain); err != nil || body != "bye" {
		t.Errorf("answered %q, %v", body, err)
	}
	<-c.Done()
	if _, ok := c.Lane(); ok || l.Alive() || c.Open() {
		t.Error("further exchanges may follow")
	}
	if _, err := l.Write([]byte(plain)); !isUnsent(err) {
		t.Errorf("a further exchange fails with %v, want unsent", err)
	}
}

func TestCompleteAnswersOutliveTheEndOfTheirStreams(t *testing.T) {
	c := script(t, func(p *peer) {
		p.next()
		_ = p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":status", "400"), EndHeaders: true})
		_ = p.f.WriteData(1, true, []byte("no"))
		_ = p.f.WriteRSTStream(1, xhttp2.ErrCodeNo)
	})
	l := lane(t, c)
	defer l.Close()
	a, body, err := ask(l, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	if err != nil || a.status != http.StatusBadRequest || body != "no" {
		t.Errorf("answered %v %q, %v", a, body, err)
	}
	if l.Alive() {
		t.Error("it may carry another exchange, while its request is not complete")
	}
}

func TestInstancesThatBreakTheProtocolAreLeft(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(p *peer)
	}{
		{"content before the head", func(p *peer) { _ = p.f.WriteData(1, true, []byte("a")) }},
		{"no status", func(p *peer) {
			_ = p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block("a", "b"), EndHeaders: true})
		}},
		{"a stream of its own", func(p *peer) {
			_ = p.f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 2, BlockFragment: p.block(":status", "200"), EndHeaders: true})
		}},
		{"a push", func(p *peer) { _ = p.f.WriteRawFrame(5, 4, 1, make([]byte, 8)) }},
		{"HTTP/1", func(p *peer) { _, _ = io.WriteString(p.nc, "HTTP/1.1 400 Bad Request\r\n\r\n") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := script(t, func(p *peer) {
				p.next()
				tt.do(p)
			})
			l := lane(t, c)
			defer l.Close()
			if a, _, err := ask(l, plain); err == nil || isUnsent(err) {
				t.Errorf("answered %v, %v", a, err)
			}
		})
	}
}

// What an instance does not read is not kept without end, and a deadline ends
// the wait.
func TestRequestsWaitForWindows(t *testing.T) {
	release := make(chan struct{})
	c := script(t, func(*peer) { <-release })
	t.Cleanup(func() { close(release) })
	l := lane(t, c)
	defer l.Close()
	head := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
	n, err := l.WriteWithin([]byte(head+string(make([]byte, 1000000))), 500*time.Millisecond)
	if !errors.Is(err, socket.ErrExpired) || n != len(head)+65535 {
		t.Errorf("wrote %d bytes, %v, want a head and a window", n, err)
	}
}
