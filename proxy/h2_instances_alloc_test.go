// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// rawStreams is an instance that answers each stream once its request is
// complete, with the same 128 bytes, without allocating.
func rawStreams(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go answerStreams(nc)
		}
	}()
	return ln.Addr().String()
}

func answerStreams(nc net.Conn) {
	defer nc.Close()
	in := bufio.NewReaderSize(nc, 64<<10)
	if _, err := in.Discard(len(http2.ClientPreface)); err != nil {
		return
	}
	out := []byte{
		0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0,
		0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0, 0x40, 0, 0, 0, // for all that will come
	}
	if _, err := nc.Write(out); err != nil {
		return
	}
	// 200, and the length: its text the first time, then its place in the table.
	block := []byte{0x88, 0x5c, 3, '1', '2', '8'}
	content := make([]byte, 128)
	frame := make([]byte, 9)
	for {
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		if _, err := in.Discard(int(frame[0])<<16 | int(frame[1])<<8 | int(frame[2])); err != nil {
			return
		}
		out = out[:0]
		switch kind := http2.FrameType(frame[3]); {
		case kind == http2.FrameSettings && frame[4] == 0:
			out = append(out, 0, 0, 0, byte(http2.FrameSettings), byte(http2.FlagSettingsAck), 0, 0, 0, 0)
		case (kind == http2.FrameHeaders || kind == http2.FrameData) && frame[4]&byte(http2.FlagDataEndStream) != 0:
			id := binary.BigEndian.Uint32(frame[5:])
			out = append(out, 0, 0, byte(len(block)), byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders))
			out = append(binary.BigEndian.AppendUint32(out, id), block...)
			out = append(out, 0, 0, byte(len(content)), byte(http2.FrameData), byte(http2.FlagDataEndStream))
			out = append(binary.BigEndian.AppendUint32(out, id), content...)
			block = append(block[:1], 0xbe)
		default:
			continue
		}
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

// TestExchangeByHTTP2DoesNotAllocate holds it for instances that speak HTTP/2.
func TestExchangeByHTTP2DoesNotAllocate(t *testing.T) {
	const n = 20_000
	const host = "Host: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0\r\n"
	answer := len("HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n") + 128
	for _, tt := range []struct{ name, request string }{
		{"GET", "GET /cart HTTP/1.1\r\n" + host + "\r\n"},
		{"POST of 1 KB", "POST /cart HTTP/1.1\r\n" + host + "Content-Length: 1024\r\n\r\n" + strings.Repeat("p", 1024)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := freeport.One(t)
			bed := start(t, nil)
			bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {weight: 60%%, sluice: {protocol: h2c}}, "[%s]": {weight: 40%%, sluice: {protocol: grpc}}}}`,
				p, rawStreams(t), rawStreams(t)))
			if got, _ := allocating(t, p, n, tt.request, answer); got > few {
				t.Errorf("%d allocations in %d exchanges, want none in an exchange", got, n)
			}
		})
	}
}
