// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is the other side of a connection, frame by frame.
type peer struct {
	t   testing.TB
	nc  net.Conn
	f   *xhttp2.Framer
	enc *hpack.Encoder
	b   bytes.Buffer
	id  uint32 // of the stream that was begun last by stream
}

// stream returns the number of the next stream.
func (p *peer) stream() uint32 {
	if p.id == 0 {
		p.id = 1
	} else {
		p.id += 2
	}
	return p.id
}

func newPeer(tb testing.TB, nc net.Conn) *peer {
	tb.Helper()
	_ = nc.SetDeadline(time.Now().Add(patience))
	p := &peer{t: tb, nc: nc, f: xhttp2.NewFramer(nc, nc)}
	p.enc = hpack.NewEncoder(&p.b)
	p.f.AllowIllegalWrites = true
	p.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	tb.Cleanup(func() { _ = nc.Close() })
	return p
}

// client connects to a server, and greets it.
func client(tb testing.TB, s *server, settings ...xhttp2.Setting) *peer {
	tb.Helper()
	nc, err := new(net.Dialer).DialContext(tb.Context(), "tcp", s.addr)
	if err != nil {
		tb.Fatal(err)
	}
	p := newPeer(tb, nc)
	p.raw(xhttp2.ClientPreface)
	p.ok(p.f.WriteSettings(settings...))
	return p
}

func (p *peer) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) raw(b string) {
	p.t.Helper()
	_, err := io.WriteString(p.nc, b)
	p.ok(err)
}

// block encodes a header list: names and values in turn.
func (p *peer) block(list ...string) []byte {
	p.b.Reset()
	for i := 0; i < len(list); i += 2 {
		p.ok(p.enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]}))
	}
	return bytes.Clone(p.b.Bytes())
}

// request is the list of a plain request, and more.
func request(method string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":path", "/", ":authority", "a"}, more...)
}

// headers sends a header list. That the connection has ended shows elsewhere.
func (p *peer) headers(id uint32, ended bool, list ...string) {
	p.t.Helper()
	_ = p.f.WriteHeaders(xhttp2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.block(list...), EndStream: ended, EndHeaders: true,
	})
}

// next returns the next frame that is none of settings, windows and pings that
// were answered, nil if the connection has ended.
func (p *peer) next() xhttp2.Frame {
	p.t.Helper()
	for {
		f, err := p.f.ReadFrame()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isReset(err):
			return nil
		default:
			p.t.Fatal(err)
		}
		switch f.(type) {
		case *xhttp2.SettingsFrame, *xhttp2.WindowUpdateFrame, *xhttp2.PingFrame:
			continue
		}
		return f
	}
}

func isReset(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	timeout, is := errors.AsType[net.Error](err)
	return ok && (!is || !timeout.Timeout())
}

// answer reads the answer to a stream, to its end.
func (p *peer) answer(id uint32) (status string, body []byte, trailers map[string]string) {
	p.t.Helper()
	trailers = make(map[string]string)
	for {
		switch f := p.next().(type) {
		case *xhttp2.MetaHeadersFrame:
			if f.StreamID != id {
				p.t.Fatalf("an answer to stream %d, want %d", f.StreamID, id)
			}
			if s := f.PseudoValue("status"); s != "" {
				status = s
			} else {
				for _, h := range f.Fields {
					trailers[h.Name] = h.Value
				}
			}
			if f.StreamEnded() {
				return status, body, trailers
			}
		case *xhttp2.DataFrame:
			body = append(body, f.Data()...)
			if f.StreamEnded() {
				return status, body, trailers
			}
		default:
			p.t.Fatalf("got %v, want an answer to stream %d", f, id)
		}
	}
}

// reset waits for the end of a stream, whatever comes before.
func (p *peer) reset(id uint32) xhttp2.ErrCode {
	p.t.Helper()
	for {
		f := p.next()
		switch f := f.(type) {
		case *xhttp2.RSTStreamFrame:
			if f.StreamID == id {
				return f.ErrCode
			}
		case *xhttp2.GoAwayFrame:
			p.t.Fatalf("GOAWAY %v %q, want stream %d reset", f.ErrCode, f.DebugData(), id)
		case nil:
			p.t.Fatalf("the connection has ended, want stream %d reset", id)
		}
	}
}

// goAway waits for the end of the connection, and returns why it is.
func (p *peer) goAway() xhttp2.ErrCode {
	p.t.Helper()
	var code *xhttp2.ErrCode
	for {
		f := p.next()
		if g, ok := f.(*xhttp2.GoAwayFrame); ok {
			code = &g.ErrCode
		}
		if f != nil {
			continue
		}
		if code == nil {
			p.t.Fatal("the connection has ended without GOAWAY")
		}
		return *code
	}
}
