// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// streamer asks for the same in one stream after the other, and allocates
// nothing itself.
type streamer struct {
	t     *testing.T
	nc    net.Conn
	in    *bufio.Reader
	id    uint32
	out   []byte
	frame [9]byte
}

// ask opens streams at once and reads frames until all are answered. The block
// is a header list.
func (s *streamer) ask(block []byte, streams int) {
	s.out = s.out[:0]
	for range streams {
		s.out = append(s.out, 0, 0, byte(len(block)), byte(http2.FrameHeaders), byte(http2.FlagHeadersEndStream|http2.FlagHeadersEndHeaders))
		s.out = binary.BigEndian.AppendUint32(s.out, s.id)
		s.out = append(s.out, block...)
		s.id += 2
	}
	if _, err := s.nc.Write(s.out); err != nil {
		s.t.Fatal(err)
	}
	for streams > 0 {
		if _, err := io.ReadFull(s.in, s.frame[:]); err != nil {
			s.t.Fatal(err)
		}
		length := int(s.frame[0])<<16 | int(s.frame[1])<<8 | int(s.frame[2])
		if _, err := s.in.Discard(length); err != nil {
			s.t.Fatal(err)
		}
		switch kind := http2.FrameType(s.frame[3]); {
		case kind == http2.FrameData && s.frame[4]&byte(http2.FlagDataEndStream) != 0:
			streams--
		case kind == http2.FrameRSTStream || kind == http2.FrameGoAway:
			s.t.Fatalf("got %v", kind)
		}
	}
}

// TestStreamsDoNotAllocate holds it for exchanges whose client speaks HTTP/2,
// one after the other and several at once: no more is made than lanes for as
// many as there are at once.
func TestStreamsDoNotAllocate(t *testing.T) {
	const n = 20_000
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128)
	for _, atOnce := range []int{1, 8} {
		t.Run(fmt.Sprintf("%d at once", atOnce), func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, nil)
			bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {weight: 60%%}, "[%s]": {weight: 40%%}}}`, p, rawOrigin(t, 0, answer), rawOrigin(t, 0, answer)))
			f := framesOn(t, dial(t, local(p)))
			_ = f.nc.SetDeadline(time.Now().Add(5 * time.Minute))
			f.get(1, "shop.example")
			f.answered(1)
			if err := f.WriteWindowUpdate(0, 1<<30); err != nil {
				t.Fatal(err)
			}
			s := &streamer{t: t, nc: f.nc, in: bufio.NewReaderSize(f.nc, 64<<10), id: 3}
			// GET, /, http, and the host that was named by the first stream.
			block := []byte{0x82, 0x84, 0x86, 0xbe}
			for range 4_000 / atOnce {
				s.ask(block, atOnce)
			}
			runtime.GC() // so that what was before is not collected meanwhile
			for range 4_000 / atOnce {
				s.ask(block, atOnce)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range n / atOnce {
				s.ask(block, atOnce)
			}
			runtime.ReadMemStats(&after)
			if got := after.Mallocs - before.Mallocs; got > few {
				t.Errorf("%d allocations, %d bytes, in %d exchanges, want none in an exchange", got, after.TotalAlloc-before.TotalAlloc, n)
			}
		})
	}
}
