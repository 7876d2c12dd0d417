// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"net/textproto"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/live"
)

func TestScanRequest(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		want       string // what was read, or the reason of refusal
	}{
		{"origin form", "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?b x 1.1 len=-1"},
		{"a length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n", "POST / x 1.1 len=12"},
		{"a length with zeros in front", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 007\r\n\r\n", "POST / x 1.1 len=7"},
		{"chunked in any letter case", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n", "POST / x 1.1 chunked"},
		{"a body with GET", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", "GET / x 1.1 len=1"},
		{"a body with DELETE", "DELETE / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", "DELETE / x 1.1 len=1"},
		{"a method of one's own", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "BREW / x 1.1 len=-1"},
		{"a method in lower case", "get / HTTP/1.1\r\nHost: x\r\n\r\n", "get / x 1.1 len=-1"},
		{"PATCH without a body", "PATCH / HTTP/1.1\r\nHost: x\r\n\r\n", "PATCH / x 1.1 len=-1"},
		{"bytes above 127 in a value", "GET / HTTP/1.1\r\nHost: x\r\nX: caf\xc3\xa9\r\n\r\n", "GET / x 1.1 len=-1"},
		{"bytes above 127 in the target", "GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /caf\xc3\xa9 x 1.1 len=-1"},
		{"an empty value", "GET / HTTP/1.1\r\nHost: x\r\nX:\r\n\r\n", "GET / x 1.1 len=-1"},
		{"odd token characters in a name", "GET / HTTP/1.1\r\nHost: x\r\n!#$%&'*+-.^_`|~: 1\r\n\r\n", "GET / x 1.1 len=-1"},
		{"an IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / [::1]:80 1.1 len=-1"},
		{"a version 1.5 is 1.1", "GET / HTTP/1.5\r\nHost: x\r\n\r\n", "GET / x 1.1 len=-1"},
		{"version 1.0", "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "GET / x 1.0 len=-1"},
		{"absolute form", "GET HTTP://y:8/p HTTP/1.1\r\nHost: x\r\n\r\n", "GET /p y:8 1.1 len=-1"},
		{"close among others", "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n\r\n", "GET / x 1.1 len=-1 close"},
		{"Expect", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", "POST / x 1.1 len=1 expect"},
		{"many cookies", "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n", "GET / x 1.1 len=-1"},
		{"a head of 30 KB", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("v", 30<<10) + "\r\n\r\n", "GET / x 1.1 len=-1"},
		{"an empty port", "GET / HTTP/1.1\r\nHost: x:\r\n\r\n", "GET / x: 1.1 len=-1"},
		{"an empty port behind brackets", "GET / HTTP/1.1\r\nHost: [::1]:\r\n\r\n", "GET / [::1]: 1.1 len=-1"},
		{"an empty port and a body", "POST / HTTP/1.1\r\nHost: x:\r\nContent-Length: 1\r\n\r\n", "POST / x: 1.1 len=1"},
		{"absolute form in HTTP/1.0 without Host", "GET http://y/p HTTP/1.0\r\nX: 1\r\n\r\n", "GET /p y 1.0 len=-1"},
		{"absolute form in HTTP/1.0 without any field", "GET http://y/p HTTP/1.0\r\n\r\n", "GET /p y 1.0 len=-1"},
		{"absolute form in HTTP/1.1 without Host", "GET http://y/p HTTP/1.1\r\nX: 1\r\n\r\n", "bad_request"},
		{"origin form in HTTP/1.0 without Host", "GET /p HTTP/1.0\r\nX: 1\r\n\r\n", "bad_request"},
		{"an empty host before a port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "bad_request"},
		{"an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "bad_request"},
		{"a host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", "bad_request"},
		{"a host with a list", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n", "bad_request"},
		{"port 0", "GET / HTTP/1.1\r\nHost: x:0\r\n\r\n", "bad_request"},
		{"an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "bad_request"},
		{"two blanks in the request line", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request"},
		{"a blank behind the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "bad_request"},
		{"a carriage return in a value", "GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", "bad_request"},
		{"an empty name", "GET / HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n", "bad_request"},
		{"a blank line that is folded", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", "bad_request"},
		{"a method that is no token", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request"},
		{"a length of 19 digits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n", "bad_request"},
		{"a blank length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "bad_request"},
		{"two codings", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "coding_not_supported"},
		{"identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", "coding_not_supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h head
			n, reason := h.scanRequest([]byte(tt.head))
			got := reason.String()
			if reason == live.None {
				got = describe(&h)
				if n != len(tt.head) {
					t.Errorf("length = %d, want %d", n, len(tt.head))
				}
				if !newParser().agrees(&h) {
					t.Error("fasthttp does not agree")
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			everyPrefix(t, tt.head, reason)
		})
	}
}

// everyPrefix checks that a head which arrives byte by byte ends as it does
// when it arrives whole: no prefix of a good one is refused, and a refusal
// does not change its reason.
func everyPrefix(t *testing.T, s string, want live.Reason) {
	t.Helper()
	var h head
	step := max(1, len(s)/500)
	for i := 1; i < len(s); i += step {
		n, reason := h.scanRequest([]byte(s[:i]))
		if reason != live.None && reason != want || n != 0 {
			t.Fatalf("of %q: length %d, reason %v; want 0 and %v at the end", s[:i], n, reason, want)
		}
	}
}

func describe(h *head) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s 1.%d", h.bytes(h.method), h.originForm(), h.effectiveHost(), h.minor)
	if h.chunked {
		b.WriteString(" chunked")
	} else {
		fmt.Fprintf(&b, " len=%d", h.length)
	}
	if h.close {
		b.WriteString(" close")
	}
	if h.expect {
		b.WriteString(" expect")
	}
	return b.String()
}

func TestScanResponse(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		ok         bool
	}{
		{"plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true},
		{"without a reason phrase", "HTTP/1.1 200 \r\n\r\n", true},
		{"without the blank before it", "HTTP/1.1 200\r\n\r\n", true},
		{"version 1.0", "HTTP/1.0 200 OK\r\n\r\n", true},
		{"two content types are the origin's business", "HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n", true},
		{"an unknown status", "HTTP/1.1 799 Odd\r\n\r\n", true},
		{"a bare line feed", "HTTP/1.1 200 OK\nX: y\n\n", false},
		{"length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", false},
		{"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", false},
		{"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"a blank inside a name", "HTTP/1.1 200 OK\r\nX A: b\r\n\r\n", false},
		{"two digits", "HTTP/1.1 20 OK\r\n\r\n", false},
		{"four digits", "HTTP/1.1 2000 OK\r\n\r\n", false},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n", false},
		{"version 2", "HTTP/2.0 200 OK\r\n\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h head
			n, reason := h.scanResponse([]byte(tt.head))
			if ok := reason == live.None && n == len(tt.head); ok != tt.ok {
				t.Errorf("length %d, reason %v; want accepted: %v", n, reason, tt.ok)
			}
		})
	}
}

func FuzzScanRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b=c HTTP/1.0\r\nHost: a:80\r\nContent-Length: 3\r\nConnection: x, close\r\nX: y\r\n\r\nabc",
		"POST http://h/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX_Forwarded_For: b\r\nConnection: x-a\r\nX-A: 1\r\n\r\n",
		"\r\nOPTIONS * HTTP/1.1\r\nhost: [::1]\r\nCookie: a=b; c=d\r\nUser-Agent: x\r\nExpect: 100-continue\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	p := newParser()
	f.Fuzz(func(t *testing.T, b []byte) {
		var h head
		n, reason := h.scanRequest(b)
		if reason != live.None || n == 0 {
			return
		}
		everyPrefix(t, string(b[:n]), live.None)
		if p.agrees(&h) {
			sameFields(t, p, &h)
		} else if h.plain() {
			t.Errorf("fasthttp refuses a plain head: %q", h.raw)
		}
		forwardable(t, &h)
	})
}

// sameFields checks that fasthttp sees the names and values that we see.
func sameFields(t *testing.T, p *parser, h *head) {
	t.Helper()
	want := map[string]int{}
	for i := range h.fields {
		f := &h.fields[i]
		name := textproto.CanonicalMIMEHeaderKey(string(h.bytes(f.name)))
		if name == "Cookie" || name == "Connection" || f.kind == kindContentLength || f.kind == kindTransferEncoding {
			continue // kept apart by fasthttp, in a form of its own
		}
		want[name+": "+string(h.bytes(f.value))]++
	}
	for k, v := range p.header.All() {
		name := textproto.CanonicalMIMEHeaderKey(string(k))
		key := name + ": " + string(v)
		if name == "Host" && h.authority.to > 0 {
			key = name + ": " + string(h.bytes(h.host))
		}
		if name == "Cookie" || name == "Connection" || name == "Content-Length" || name == "Transfer-Encoding" {
			continue
		}
		want[key]--
	}
	for k, n := range want {
		if n > 0 && !strings.HasSuffix(k, ": ") { // fasthttp leaves out some empty ones
			t.Errorf("fasthttp does not see %q in %q", k, h.raw)
		}
		if n < 0 {
			t.Errorf("fasthttp sees %q, which is not in %q", k, h.raw)
		}
	}
}

// forwardable checks that what we send on is read back as the same request,
// without what must not pass.
func forwardable(t *testing.T, h *head) {
	t.Helper()
	out := appendRequest(nil, h, []byte("X-Forwarded-For: 192.0.2.1\r\n"), new(edits), 0)
	var again head
	n, reason := again.scanRequest(out)
	if reason == live.HeadTooLarge {
		return // our own fields do not count against the client's limit
	}
	if reason != live.None || n != len(out) {
		t.Fatalf("%q is forwarded as %q, which is refused: %v", h.raw, out, reason)
	}
	if !bytes.Equal(again.bytes(again.method), h.bytes(h.method)) || !bytes.HasSuffix(again.originForm(), h.originForm()) {
		t.Errorf("%q is forwarded as %q", h.raw, out)
	}
	if again.chunked != h.chunked || again.length != h.length || again.minor != 1 {
		t.Errorf("framing of %q differs in %q", h.raw, out)
	}
	if !bytes.Equal(again.effectiveHost(), h.effectiveHost()) {
		t.Errorf("host %q becomes %q", h.effectiveHost(), again.effectiveHost())
	}
	own := 0
	for i := range again.fields {
		switch f := &again.fields[i]; f.kind {
		case kindHop, kindUpgrade, kindConnection:
			t.Errorf("%q passes on a field that ends here", out)
		case kindOwn:
			own++
		default:
		}
	}
	if own != 3 { // ours: For, Host, Request-Id
		t.Errorf("%d fields of our own in %q, want 3", own, out)
	}
}

func TestChunks(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       string // the payload, or "refused", or "unfinished"
	}{
		{"one chunk", "3\r\nabc\r\n0\r\n\r\n", "abc"},
		{"several", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"},
		{"zeros in front", "0003\r\nabc\r\n000\r\n\r\n", "abc"},
		{"letters of both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
		{"extensions", "3;a=b;c=\"d\"\r\nabc\r\n0;x\r\n\r\n", "abc"},
		{"trailers", "0\r\nX-A: b\r\nGrpc-Status: 0\r\n\r\n", ""},
		{"cut in the data", "3\r\nab", "unfinished"},
		{"cut before the last chunk", "3\r\nabc\r\n", "unfinished"},
		{"cut before the last line", "0\r\n", "unfinished"},
		{"no size", "\r\nabc", "refused"},
		{"a blank before the size", " 3\r\nabc\r\n0\r\n\r\n", "refused"},
		{"a blank behind the size", "3 \r\nabc\r\n0\r\n\r\n", "refused"},
		{"a sign", "-3\r\nabc\r\n0\r\n\r\n", "refused"},
		{"16 digits", "1000000000000000\r\n", "refused"},
		{"data too long", "3\r\nabcd\r\n0\r\n\r\n", "refused"},
		{"a bare line feed behind the data", "3\r\nabc\n0\r\n\r\n", "refused"},
		{"a NUL in an extension", "3;\x00\r\nabc\r\n0\r\n\r\n", "refused"},
		{"a long extension", "3;" + strings.Repeat("a", 5000) + "\r\nabc\r\n0\r\n\r\n", "refused"},
		{"a trailer that is ours", "0\r\nX-Forwarded-For: 1\r\n\r\n", "refused"},
		{"a trailer with underscores", "0\r\nX_Forwarded_For: 1\r\n\r\n", "refused"},
		{"a trailer that is folded", "0\r\nX: 1\r\n 2\r\n\r\n", "refused"},
		{"long trailers", "0\r\n" + strings.Repeat("X: 123456789012345678901234567890\r\n", 600) + "\r\n", "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, 3, len(tt.body)} {
				if got := feed([]byte(tt.body), piece); got != tt.want {
					t.Errorf("in pieces of %d: %.40q, want %q", piece, got, tt.want)
				}
			}
		})
	}
}

// feed gives a body to chunks in pieces and returns the payload, "refused" or
// "unfinished".
func feed(b []byte, piece int) string {
	var c chunks
	var payload, held []byte
	for len(b) > 0 && !c.done() {
		n := min(piece, len(b))
		held = append(held, b[:n]...)
		b = b[n:]
		for !c.done() {
			n, data, err := c.step(held)
			if err != nil {
				return "refused"
			}
			if n == 0 {
				break
			}
			if data {
				payload = append(payload, held[:n]...)
			}
			held = held[n:]
		}
	}
	if !c.done() {
		return "unfinished"
	}
	return string(payload)
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), 2)
	f.Add([]byte("3;x=y\r\nabc\r\n0\r\nX-T: v\r\n\r\nnext"), 5)
	f.Add([]byte("ff\r\n"), 1)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		whole := feed(b, max(1, len(b)))
		if got := feed(b, 1+(piece&0x7fff)%max(1, len(b))); got != whole {
			t.Errorf("in pieces %.60q, whole %.60q", got, whole)
		}
		if whole == "refused" || whole == "unfinished" {
			return
		}
		// What we let through, others read alike.
		got, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(b)))
		if err != nil || string(got) != whole {
			t.Errorf("net/http reads %.60q, %v; we read %.60q", got, err, whole)
		}
	})
}

func TestScanDoesNotAllocate(t *testing.T) {
	b := []byte("GET /a HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\nConnection: keep-alive, x-a\r\nX-A: b\r\n\r\n")
	h := head{fields: make([]field, 0, 8)}
	p := newParser()
	out := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		if _, reason := h.scanRequest(b); reason != live.None || !p.agrees(&h) {
			t.Fatal("refused")
		}
		out = appendRequest(out[:0], &h, nil, new(edits), 0)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkHead(b *testing.B) {
	raw := []byte("GET /cart/items?id=12345 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n" +
		"Cookie: session=0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\nReferer: http://shop.example/cart\r\n\r\n")
	h := head{fields: make([]field, 0, 32)}
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.scanRequest(raw)
		}
	})
	b.Run("fasthttp", func(b *testing.B) {
		p := newParser()
		h.scanRequest(raw)
		b.ReportAllocs()
		for b.Loop() {
			p.agrees(&h)
		}
	})
	b.Run("forward", func(b *testing.B) {
		h.scanRequest(raw)
		out := make([]byte, 0, 2048)
		b.ReportAllocs()
		for b.Loop() {
			out = appendRequest(out[:0], &h, nil, new(edits), 0)
		}
	})
}
