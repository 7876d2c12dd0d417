// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-mesh/sluice/proxy/http2"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// framesOf makes frames of bytes: each takes four for its kind, flags, stream
// and length, and so many for its payload. What is left over is sent as it is.
func framesOf(b []byte) (wire []byte) {
	for len(b) >= 4 {
		kind, flags, id, n := b[0]%12, b[1], b[2]%8, int(b[3])
		b = b[4:]
		n = min(n, len(b))
		wire = append(wire, 0, 0, byte(n), kind, flags, 0, 0, 0, id)
		wire = append(wire, b[:n]...)
		b = b[n:]
	}
	return append(wire, b...)
}

// frameOf is the reverse, for seeds.
func frameOf(kind, flags, id byte, payload ...byte) []byte {
	return append([]byte{kind, flags, id, byte(len(payload))}, payload...)
}

func blockOf(lines ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(lines); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: lines[i], Value: lines[i+1]}) // into memory
	}
	return b.Bytes()
}

// checkWire holds that what a peer of HTTP/2 said is made of whole frames, with
// header lists that can be read. Where the connection was cut off, the last
// frame may be, too.
func checkWire(t *testing.T, said []byte, cut bool) {
	t.Helper()
	d := hpack.NewDecoder(4096, nil)
	for b := said; len(b) > 0; {
		n := 0
		if len(b) >= 9 {
			n = int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		}
		if len(b) < 9+n {
			if !cut {
				t.Fatalf("a frame is cut short: %x in %x", b, said)
			}
			return
		}
		if kind, flags := b[3], b[4]; kind == 1 {
			if flags&4 == 0 {
				t.Fatalf("a short header list is in pieces: %x", said)
			}
			if _, err := d.DecodeFull(b[9 : 9+n]); err != nil {
				t.Fatalf("a header list cannot be read: %v in %x", err, said)
			}
		}
		if id := binary.BigEndian.Uint32(b[5:9]); id > 8 {
			t.Fatalf("a frame is of stream %d, which nobody opened: %x", id, said)
		}
		b = b[9+n:]
	}
}

// listenAll reads until the connection ends, by a reset, too: whoever is sent
// bytes behind its end may say so.
func listenAll(t *testing.T, nc net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(nc)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal("the connection does not end")
	}
	return b
}

// FuzzServe: whatever a client sends, its connection comes to an end, and what
// it is told are whole frames.
func FuzzServe(f *testing.F) {
	get := blockOf(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/")
	post := blockOf(":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/")
	sized := blockOf(":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/", "content-length", "3")
	trailers := blockOf("x", "y")
	for _, seed := range [][][]byte{
		{frameOf(1, 5, 1, get...)},
		{frameOf(1, 5, 1, get...), frameOf(1, 5, 3, get...), frameOf(3, 0, 1, 0, 0, 0, 8)},
		{frameOf(1, 4, 1, post...), frameOf(0, 0, 1, 'a', 'b'), frameOf(0, 1, 1, 'c')},
		{frameOf(1, 4, 1, sized...), frameOf(0, 0, 1, 'a', 'b'), frameOf(0, 1, 1, 'c', 'd')},
		{frameOf(1, 4, 1, post...), frameOf(0, 8, 1, 1, 'a', 0), frameOf(1, 5, 1, trailers...)},
		{frameOf(1, 1, 1, get[:3]...), frameOf(9, 4, 1, get[3:]...)},
		{frameOf(4, 0, 0, 0, 4, 0, 0, 0, 0), frameOf(1, 5, 1, get...), frameOf(8, 0, 1, 0, 0, 0, 1), frameOf(4, 0, 0, 0, 4, 0, 0, 0, 9)},
		{frameOf(6, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8), frameOf(7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), frameOf(8, 0, 0, 0, 0, 0, 0)},
		{frameOf(2, 0, 1, 0, 0, 0, 1, 0), frameOf(5, 0, 1), frameOf(10, 0, 1, 'x')},
	} {
		f.Add(bytes.Join(seed, nil))
	}
	s := serve(f, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(http.TrailerPrefix+"x", "y")
		_, _ = io.Copy(w, r.Body)
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		nc := connect(t, s.addr)
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		_, _ = nc.Write(append(append([]byte(preface), framesOf(frameOf(4, 0, 0))...), framesOf(b)...))
		_ = nc.CloseWrite()
		said := listenAll(t, nc)
		<-s.conns
		checkWire(t, said, <-s.ended != nil)
	})
}

// FuzzInstance: whatever an instance sends, the exchange with it comes to an
// end, and so does the connection; what the instance is told are whole frames.
func FuzzInstance(f *testing.F) {
	answer := blockOf(":status", "200")
	sized := blockOf(":status", "200", "content-length", "3")
	settings := frameOf(4, 0, 0)
	for _, seed := range [][][]byte{
		{settings, frameOf(1, 5, 1, answer...)},
		{settings, frameOf(1, 4, 1, answer...), frameOf(0, 1, 1, 'a', 'b', 'c')},
		{settings, frameOf(1, 4, 1, sized...), frameOf(0, 1, 1, 'a', 'b')},
		{settings, frameOf(1, 4, 1, answer...), frameOf(1, 5, 1, blockOf("x", "y")...)},
		{settings, frameOf(1, 4, 1, blockOf(":status", "103")...), frameOf(1, 5, 1, answer...)},
		{settings, frameOf(3, 0, 1, 0, 0, 0, 7)},
		{settings, frameOf(7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
		{settings, frameOf(5, 4, 1, 0, 0, 0, 2), frameOf(8, 0, 1, 0, 0, 0, 0), frameOf(4, 0, 0, 0, 3, 0, 0, 0, 0)},
	} {
		f.Add(bytes.Join(seed, nil))
	}
	ln, err := new(net.ListenConfig).Listen(f.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = ln.Close() })
	sweeper := sweep(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		mine := connect(t, ln.Addr().String())
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		sc, err := sweeper.Open(mine)
		if err != nil {
			t.Fatal(err)
		}
		c, err := http2.Dial(sc, sweeper, nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.Run(nil)
		}()
		l := lane(t, c)
		asked := make(chan error, 1)
		go func() {
			defer l.Close()
			_, _, err := ask(l, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
			asked <- err
		}()
		head := make([]byte, len(preface))
		if _, err := io.ReadFull(nc, head); err != nil || string(head) != preface {
			t.Fatalf("the connection begins with %q, %v", head, err)
		}
		_, _ = nc.Write(framesOf(b))
		_ = nc.(*net.TCPConn).CloseWrite()
		if err := <-asked; err == nil && len(b) == 0 {
			t.Error("nothing is taken for an answer")
		}
		said := listenAll(t, nc)
		<-done
		checkWire(t, said, true)
	})
}

func connect(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return nc.(*net.TCPConn)
}
