// SPDX-License-Identifier: Apache-2.0

package http2

import "testing"

func TestTextDoesNotAllocate(t *testing.T) {
	request := post("content-type: application/grpc", "te: trailers", "cookie: a=1", "cookie: b=2", "user-agent: x")
	answer := fields(":status: 200", "content-type: application/grpc", "date: x")
	ending := fields("grpc-status: 0", "grpc-message: x")
	data := make([]byte, 100)
	var r requestText
	var a answerText
	var tr trailerText
	var m message
	var text, block []byte
	send := func() {
		for rest := text; len(rest) > 0; {
			p, n, _, err := m.next(rest, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			switch p {
			case partHead:
				block = m.appendHead(block[:0], true)
			case partTrailers:
				block = m.appendTrailers(block[:0])
			default:
			}
			rest = rest[n:]
		}
	}
	n := testing.AllocsPerRun(100, func() {
		r.reset(32 << 10)
		for _, f := range request {
			r.add(f)
		}
		var c content
		text, c, _ = r.end(text[:0], false)
		text, _ = c.appendData(text, data)
		text, _ = c.appendEnd(text, nil)
		m.beginRequest()
		send()
		a.reset(64<<10, false)
		for _, f := range answer {
			a.add(f)
		}
		text, c, _ = a.end(text[:0], false)
		text, _ = c.appendData(text, data)
		tr.reset()
		for _, f := range ending {
			tr.add(f)
		}
		text, _ = c.appendEnd(text, &tr)
		m.beginAnswer(false)
		send()
	})
	if n != 0 {
		t.Errorf("an exchange allocates %v times", n)
	}
}

func BenchmarkText(b *testing.B) {
	b.Run("request", func(b *testing.B) {
		list := get("user-agent: h2load nghttp2/1.52.0", "accept: */*")
		var r requestText
		var text []byte
		b.ReportAllocs()
		for b.Loop() {
			r.reset(32 << 10)
			for _, f := range list {
				r.add(f)
			}
			text, _, _ = r.end(text[:0], true)
		}
	})
	b.Run("answer", func(b *testing.B) {
		text := []byte("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\nContent-Type: application/octet-stream\r\nContent-Length: 128\r\nLast-Modified: Sat, 21 Nov 2026 09:00:00 GMT\r\nETag: \"abc\"\r\nAccept-Ranges: bytes\r\n\r\n")
		text = append(text, make([]byte, 128)...)
		var m message
		var block []byte
		b.ReportAllocs()
		for b.Loop() {
			m.beginAnswer(false)
			_, n, _, _ := m.next(text, 1<<20)
			block = m.appendHead(block[:0], false)
			_, _, _, _ = m.next(text[n:], 1<<20)
		}
	})
}
