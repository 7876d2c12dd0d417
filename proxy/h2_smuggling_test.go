// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder is an instance of HTTP/1 that notes each request it reads, with the
// content, by the strictest reading there is: of net/http.
type recorder struct {
	*instance

	mu   sync.Mutex // guards seen
	seen []string
}

func record(t *testing.T) *recorder {
	t.Helper()
	r := new(recorder)
	r.instance = behaving(t, func(nc net.Conn, q *http.Request) bool {
		body, err := io.ReadAll(q.Body)
		note := fmt.Sprintf("%s %s of %s with %q", q.Method, q.RequestURI, q.Host, body)
		if len(q.Trailer) > 0 {
			note += fmt.Sprintf(" and %v", q.Trailer)
		}
		if err != nil {
			note = fmt.Sprintf("%s %s of %s cut short", q.Method, q.RequestURI, q.Host)
		}
		r.mu.Lock()
		r.seen = append(r.seen, note)
		r.mu.Unlock()
		if err != nil {
			return false
		}
		_, err = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return err == nil
	})
	return r
}

// all returns what was seen.
func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// rawBlock is a header block of fields as they are, whatever an encoder would say.
func rawBlock(fields ...string) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		b = append(b, 0)
		for _, s := range fields[i : i+2] {
			n := len(s)
			if n < 127 {
				b = append(b, byte(n))
			} else {
				b = append(b, 127)
				for n -= 127; n > 127; n >>= 7 {
					b = append(b, byte(n)|128)
				}
				b = append(b, byte(n))
			}
			b = append(b, s...)
		}
	}
	return b
}

// of is a request with pseudo-fields of the given values, and more.
func of(method, authority, path string, more ...string) []byte {
	return rawBlock(append([]string{":method", method, ":scheme", "http", ":authority", authority, ":path", path}, more...)...)
}

// What a client puts into a stream reaches an instance of HTTP/1 as that one
// request, or not at all: never as two, nor as another.
func TestNoStreamBecomesTwoRequests(t *testing.T) {
	const (
		evil  = "\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"
		reset = "PROTOCOL_ERROR"
	)
	for _, tt := range []struct {
		name     string
		block    []byte
		data     []string
		trailers []byte
		want     string // how the stream ends
		seen     string // what the instance gets
	}{
		{name: "a value with a request in it", block: of("GET", "shop", "/a", "x", "y"+evil), want: reset},
		{name: "a value with a line break", block: of("GET", "shop", "/a", "x", "y\r\ntransfer-encoding: chunked"), want: reset},
		{name: "a value with a line feed", block: of("GET", "shop", "/a", "x", "y\nhost: evil"), want: reset},
		{name: "a value with a carriage return", block: of("GET", "shop", "/a", "x", "y\rz"), want: reset},
		{name: "a value with a NUL", block: of("GET", "shop", "/a", "x", "y\x00z"), want: reset},
		{name: "a value with a bell", block: of("GET", "shop", "/a", "x", "y\az"), want: "400"},
		{name: "a name with a request in it", block: of("GET", "shop", "/a", "x: y"+evil+"z", "w"), want: reset},
		{name: "a name with a colon", block: of("GET", "shop", "/a", "transfer-encoding: chunked\r\nx", "y"), want: reset},
		{name: "a name with a blank", block: of("GET", "shop", "/a", "content-length ", "5"), want: reset},
		{name: "a name in capital letters", block: of("GET", "shop", "/a", "Transfer-Encoding", "chunked"), want: reset},
		{name: "an empty name", block: of("GET", "shop", "/a", "", "x"), want: reset},
		{name: "a path with a request in it", block: of("GET", "shop", "/a HTTP/1.1"+evil), want: reset},
		{name: "a path with a version", block: of("GET", "shop", "/a HTTP/1.1"), want: reset},
		{name: "a path with a tab", block: of("GET", "shop", "/a\tb"), want: reset},
		{name: "a path in the absolute form", block: of("GET", "shop", "http://evil/"), want: reset},
		{name: "a path without a slash", block: of("GET", "shop", "evil"), want: reset},
		{name: "a path with a fragment", block: of("GET", "shop", "/a#evil"), want: "400"},
		{name: "a method with a request in it", block: of("GET /evil HTTP/1.1"+evil, "shop", "/a"), want: reset},
		{name: "a method with a path", block: of("GET /evil", "shop", "/a"), want: reset},
		{name: "an authority with a request in it", block: of("GET", "shop"+evil, "/a"), want: reset},
		{name: "an authority with a blank", block: of("GET", "shop evil", "/a"), want: reset},
		{name: "an authority with a user", block: of("GET", "evil@shop", "/a"), want: "400"},
		{name: "an authority with a path", block: of("GET", "shop/evil", "/a"), want: "400"},
		{name: "an empty authority", block: of("GET", "", "/a"), want: "400"},
		{name: "a host unlike the authority", block: of("GET", "shop", "/a", "host", "evil"), want: reset},
		{name: "two hosts", block: of("GET", "shop", "/a", "host", "shop", "host", "evil"), want: reset},
		{name: "a host with a line break", block: rawBlock(":method", "GET", ":scheme", "http", ":path", "/a", "host", "shop\r\nx: y"), want: reset},
		{name: "no host", block: rawBlock(":method", "GET", ":scheme", "http", ":path", "/a"), want: "400"},
		{name: "a scheme with a request in it", block: rawBlock(":method", "GET", ":scheme", "http://evil/"+evil, ":authority", "shop", ":path", "/a"), want: reset},
		{name: "a path twice", block: of("GET", "shop", "/a", ":path", "/evil"), want: reset},
		{name: "a path behind fields", block: rawBlock(":method", "GET", ":scheme", "http", "x", "y", ":path", "/a"), want: reset},
		{name: "a transfer-encoding", block: of("POST", "shop", "/a", "transfer-encoding", "chunked"), data: []string{"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"}, want: reset},
		{name: "a connection field", block: of("GET", "shop", "/a", "connection", "x-forwarded-for"), want: reset},
		{name: "an upgrade", block: of("GET", "shop", "/a", "upgrade", "h2c"), want: reset},
		{name: "no length and content that looks like an end", block: of("POST", "shop", "/a"), data: []string{"\r\n0\r\n\r\n", "GET /evil HTTP/1.1\r\n\r\n"}, want: "200", seen: `POST /a of shop with "\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"`},
		{name: "a length and content that looks like a request", block: of("POST", "shop", "/a", "content-length", "9"), data: []string{"GET /evil"}, want: "200", seen: `POST /a of shop with "GET /evil"`},
		{name: "a length of nothing, and content", block: of("POST", "shop", "/a", "content-length", "0"), data: []string{"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"}, want: reset},
		{name: "a length shorter than the content", block: of("POST", "shop", "/a", "content-length", "1"), data: []string{"xGET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"}, want: reset},
		{name: "a length longer than the content", block: of("POST", "shop", "/a", "content-length", "100"), data: []string{"x"}, want: reset},
		{name: "a length without content", block: of("POST", "shop", "/a", "content-length", "34"), want: reset},
		{name: "two lengths", block: of("POST", "shop", "/a", "content-length", "1", "content-length", "2"), data: []string{"xy"}, want: reset},
		{name: "two lengths in one", block: of("POST", "shop", "/a", "content-length", "1, 1"), data: []string{"x"}, want: reset},
		{name: "a length with a sign", block: of("POST", "shop", "/a", "content-length", "+1"), data: []string{"x"}, want: reset},
		{name: "a length in hexadecimal", block: of("POST", "shop", "/a", "content-length", "0x1"), data: []string{"x"}, want: reset},
		{name: "trailers with a request in them", block: of("POST", "shop", "/a"), data: []string{"x"}, trailers: rawBlock("x", "y"+evil), want: reset},
		{name: "trailers that frame", block: of("POST", "shop", "/a"), data: []string{"x"}, trailers: rawBlock("content-length", "5"), want: "400"},
		{name: "trailers that say where to", block: of("POST", "shop", "/a"), data: []string{"x"}, trailers: rawBlock("host", "evil"), want: "400"},
		{name: "trailers that are ours to say", block: of("POST", "shop", "/a"), data: []string{"x"}, trailers: rawBlock("x", "y", "x-forwarded-for", "evil", "z", "w"), want: "200", seen: `POST /a of shop with "x" and map[X:[y] Z:[w]]`},
		{name: "trailers that are ours to say, alone", block: of("POST", "shop", "/a"), data: []string{"x"}, trailers: rawBlock("x-forwarded-for", "evil"), want: "200", seen: `POST /a of shop with "x"`},
		{name: "trailers with a path", block: of("POST", "shop", "/a"), data: []string{"x"}, trailers: rawBlock(":path", "/evil"), want: reset},
		{name: "trailers of a stated length", block: of("POST", "shop", "/a", "content-length", "1"), data: []string{"x"}, trailers: rawBlock("x", "y"), want: "200", seen: `POST /a of shop with "x"`},
		{name: "what is fine", block: of("GET", "shop", "/a?b=c", "x", "y"), want: "200", seen: `GET /a?b=c of shop with ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := record(t)
			f := speak(t, through(t, r.address, nil))
			id := f.sendBlock(tt.data == nil && tt.trailers == nil, tt.block)
			for i, d := range tt.data {
				flags := byte(0)
				if i == len(tt.data)-1 && tt.trailers == nil {
					flags = endStream
				}
				f.data(id, d, flags)
			}
			if tt.trailers != nil {
				f.frame(headersFrame, endHeaders|endStream, id, tt.trailers)
			}
			f.flush()
			if got := f.outcome(id); got != tt.want {
				t.Errorf("the stream ends with %s, want %s", got, tt.want)
			}
			// What is left over would stand before the next request.
			after := f.sendBlock(true, of("GET", "shop", "/after"))
			f.flush()
			if got := f.outcome(after); got != "200" {
				t.Errorf("the stream behind it ends with %s, want 200", got)
			}
			var want []string
			if tt.seen != "" {
				want = append(want, tt.seen)
			}
			want = append(want, `GET /after of shop with ""`)
			got := slices.DeleteFunc(r.all(), func(s string) bool {
				// A fault behind the head may show when the request is under way.
				return strings.HasSuffix(s, "/a of shop cut short")
			})
			if !slices.Equal(got, want) {
				t.Errorf("the instance was asked %q, want %q", got, want)
			}
		})
	}
}

// Compression that cannot be followed any further ends the connection: nothing
// behind it could be read.
func TestABlockThatCannotBeDecodedEndsTheConnection(t *testing.T) {
	r := record(t)
	f := speak(t, through(t, r.address, nil))
	f.sendBlock(true, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.sendBlock(true, of("GET", "shop", "/after"))
	f.flush()
	if got := f.leaves(); got != "GOAWAY COMPRESSION_ERROR" {
		t.Errorf("the connection ends with %s, want GOAWAY COMPRESSION_ERROR", got)
	}
	if got := r.all(); len(got) > 0 {
		t.Errorf("the instance was asked %q, want nothing", got)
	}
}

// Fields go through a table that both sides share: what one stream says must
// not show in another, also when streams are refused.
func TestRefusedStreamsKeepTheTableRight(t *testing.T) {
	r := record(t)
	f := speak(t, through(t, r.address, nil))
	// The malformed one leaves its path in the table.
	f.coder.SetMaxDynamicTableSize(4096)
	bad := f.send(true, ":method: GET", ":scheme: http", ":authority: shop", ":path: /kept", "connection: close")
	good := f.send(true, ":method: GET", ":scheme: http", ":authority: shop", ":path: /kept")
	f.flush()
	if got := f.outcome(bad); got != "PROTOCOL_ERROR" {
		t.Errorf("the malformed stream ends with %s, want PROTOCOL_ERROR", got)
	}
	if got := f.outcome(good); got != "200" {
		t.Errorf("the stream behind it ends with %s, want 200", got)
	}
	if got, want := r.all(), []string{`GET /kept of shop with ""`}; !slices.Equal(got, want) {
		t.Errorf("the instance was asked %q, want %q", got, want)
	}
	if n := len(f.encode(":path: /kept")); n != 1 {
		t.Fatalf("the path took %d bytes: the table was not used", n)
	}
}
