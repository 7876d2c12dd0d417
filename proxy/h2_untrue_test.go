// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// untrue starts an instance that speaks HTTP/2 without TLS: it answers /after
// as it should, and anything else by frames that a test likes.
func untrue(t *testing.T, answer func(f *rogue, id uint32)) (address string) {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f := &rogue{t: t, nc: nc, out: bufio.NewWriter(nc), decoder: hpack.NewDecoder(4096, nil)}
			go f.serve(answer)
		}
	}()
	return ln.Addr().String()
}

// serve is the instance's side of a connection.
func (f *rogue) serve(answer func(f *rogue, id uint32)) {
	defer f.nc.Close()
	in := bufio.NewReader(f.nc)
	if _, err := in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	f.frame(settingsFrame, 0, 0, nil)
	for f.flush() {
		kind, flags, id, payload, err := readFrame(in)
		switch {
		case err != nil:
			return
		case kind == settingsFrame && flags&isAck == 0:
			f.frame(settingsFrame, isAck, 0, nil)
		case kind == pingFrame && flags&isAck == 0:
			f.frame(pingFrame, isAck, 0, payload)
		case kind == headersFrame && strings.HasSuffix(f.pathOf(payload), "/after"):
			f.frame(headersFrame, endHeaders, id, rawBlock(":status", "200"))
			f.data(id, "after", endStream)
		case kind == headersFrame:
			answer(f, id)
		}
	}
}

// pathOf returns the path in a header block.
func (f *rogue) pathOf(block []byte) (path string) {
	list, _ := f.decoder.DecodeFull(block) // a fault shows as no path
	for _, field := range list {
		if field.Name == ":path" {
			path = field.Value
		}
	}
	return path
}

// What an instance says by HTTP/2 reaches a client of HTTP/1 as one answer, or
// as a failure: never as two, and never as a whole one that was cut short.
func TestNoInstanceAnswersTwice(t *testing.T) {
	const evil = "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	head := func(ended bool, fields ...string) func(*rogue, uint32) {
		return func(f *rogue, id uint32) {
			flags := byte(endHeaders)
			if ended {
				flags |= endStream
			}
			f.frame(headersFrame, flags, id, rawBlock(fields...))
		}
	}
	then := func(first func(*rogue, uint32), more ...func(*rogue, uint32)) func(*rogue, uint32) {
		return func(f *rogue, id uint32) {
			first(f, id)
			for _, m := range more {
				m(f, id)
			}
		}
	}
	content := func(text string, flags byte) func(*rogue, uint32) {
		return func(f *rogue, id uint32) { f.data(id, text, flags) }
	}
	for _, tt := range []struct {
		name   string
		answer func(*rogue, uint32)
		want   string // status and content, or that it was cut off
	}{
		{"a value with an answer in it", head(true, ":status", "200", "x", "y"+evil), "502"},
		{"a value with a line feed", head(true, ":status", "200", "x", "y\nz: w"), "502"},
		{"a value with a NUL", head(true, ":status", "200", "x", "\x00"), "502"},
		{"a name with an answer in it", head(true, ":status", "200", "x"+evil, "y"), "502"},
		{"a name in capital letters", head(true, ":status", "200", "X", "y"), "502"},
		{"a status with an answer in it", head(true, ":status", "200 OK"+evil), "502"},
		{"a status that is no number", head(true, ":status", "abc"), "502"},
		{"a status twice", head(true, ":status", "200", ":status", "204"), "502"},
		{"no status", head(true, "x", "y"), "502"},
		{"a path", head(true, ":status", "200", ":path", "/"), "502"},
		{"a switch of protocols", head(false, ":status", "101"), "502"},
		{"an interim answer that is the last", head(true, ":status", "103"), "502"},
		{"interim answers without end", func(f *rogue, id uint32) {
			for range 1000 {
				head(false, ":status", "103")(f, id)
			}
		}, "502"},
		{"a transfer-encoding", head(false, ":status", "200", "transfer-encoding", "chunked"), "502"},
		{"a connection field", head(true, ":status", "200", "connection", "close"), "502"},
		{"a length without content", head(true, ":status", "200", "content-length", "5"), "502"},
		{"two lengths", head(false, ":status", "200", "content-length", "5", "content-length", "5"), "502"},
		{"a length that is none", head(false, ":status", "200", "content-length", "5x"), "502"},
		{"content before the head", content("evil", 0), "502"},
		{"a list over its limit", head(true, ":status", "200", "x", strings.Repeat("y", 100<<10)), "502"},
		{"a list without end", func(f *rogue, id uint32) {
			f.frame(headersFrame, 0, id, rawBlock(":status", "200"))
			for range 100 {
				f.frame(continuationFrame, 0, id, nil)
			}
		}, "502"},
		{"a block that cannot be decoded", func(f *rogue, id uint32) {
			f.frame(headersFrame, endHeaders|endStream, id, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}, "502"},
		{"a push", func(f *rogue, id uint32) {
			f.frame(0x5, endHeaders, id, append([]byte{0, 0, 0, 2}, rawBlock(":method", "GET")...))
		}, "502"},
		{"a frame of no stream that is open", func(f *rogue, id uint32) { f.data(id+100, "evil", 0) }, "502"},
		{"content that looks like an end", then(head(false, ":status", "200"), content("0\r\n\r\n"+evil, endStream)), "200 0\r\n\r\n" + evil},
		{"content shorter than its length", then(head(false, ":status", "200", "content-length", "9"), content("good", endStream)), "cut off"},
		{"content longer than its length", then(head(false, ":status", "200", "content-length", "4"), content("good"+evil, endStream)), "cut off"},
		{"trailers with an answer in them", then(head(false, ":status", "200"), content("good", 0), head(true, "x", "y"+evil)), "cut off"},
		{"trailers that frame", then(head(false, ":status", "200"), content("good", 0), head(true, "content-length", "4")), "cut off"},
		{"trailers that do not end", then(head(false, ":status", "200"), content("good", 0), head(false, "x", "y")), "cut off"},
		{"an end that is none", then(head(false, ":status", "200"), content("good", 0), func(f *rogue, id uint32) { f.reset(id) }), "cut off"},
		{"an end of no fault, too early", then(head(false, ":status", "200"), content("good", 0), func(f *rogue, id uint32) { f.number(resetFrame, id, 0) }), "cut off"},
		{"content where none may be", then(head(false, ":status", "204"), content(evil, endStream)), "204"},
		{"content behind its end", then(head(false, ":status", "200", "content-length", "4"), content("good", endStream), content(evil, endStream)), "200 good"},
		{"what is fine", then(head(false, ":status", "200"), content("good", 0), head(true, "x", "y")), "200 good"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := freeport.One(t)
			b := start(t, nil)
			b.apply(fmt.Sprintf("name: g\nport: %d\nroutes: {\"[%s]\": {sluice: {protocol: h2c}}}\n", port, untrue(t, tt.answer)))
			got := hears(t, port, "/")
			if got != tt.want && (tt.want != "cut off" || got != "502") { // it may be known before anything is said
				t.Errorf("the client is told %q, want %q", got, tt.want)
			}
			if got := hears(t, port, "/after"); got != "200 after" {
				t.Errorf("the next client is told %q, want %q", got, "200 after")
			}
		})
	}
}

// hears asks over a connection of its own and says what came: status and
// content, all of it, or that it was cut off.
func hears(t *testing.T, port int, path string) string {
	t.Helper()
	nc := dial(t, local(port))
	defer nc.Close()
	_, _ = io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n") // the answer shows it
	in := bufio.NewReader(nc)
	resp, err := http.ReadResponse(in, nil)
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(in, nil)
	}
	if err != nil {
		return "cut off"
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "cut off"
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("behind the answer stands %q", rest)
	}
	if resp.StatusCode == http.StatusBadGateway {
		return "502"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, body))
}
