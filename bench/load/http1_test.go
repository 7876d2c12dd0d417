// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// feed gives an http1 codec that asked with the given method an answer in two
// pieces and then the end of the connection. It returns the answer, how many
// bytes it took up to it, and whether it is one; of what is not, the error
// tells whether it is broken or incomplete.
func feed(method string, first, second []byte) (a answer, n int, err error) {
	h := &http1{asks: asksOf([]Request{{Wire: []byte(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")}})}
	h.reset()
	h.ask(0, 0)
	for _, b := range [][]byte{first, second} {
		k, a, done, err := h.take(b)
		if n += k; done || err != nil {
			return a, n, err
		}
	}
	if a, done := h.end(); done {
		return a, n, nil
	}
	return answer{}, n, io.ErrUnexpectedEOF
}

// reference reads an answer as net/http does.
func reference(method string, b []byte) (a answer, n int, trailers bool, err error) {
	counted := &countingReader{r: bytes.NewReader(b)}
	in := bufio.NewReader(counted)
	for {
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return answer{}, 0, false, err
		}
		if r.StatusCode/100 == 1 {
			_ = r.Body.Close()
			continue
		}
		_, err = io.Copy(io.Discard, r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil {
			return answer{}, 0, false, err
		}
		return answer{status: r.StatusCode, last: r.Close}, counted.n - in.Buffered(), len(r.Header["Trailer"])+len(r.Trailer) > 0, nil
	}
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// answers that are whole, and what they are.
var wholeAnswers = []struct {
	text string
	answer
}{
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", answer{status: 200}},
	{"HTTP/1.1 200\r\ncontent-length:0\r\nCONNECTION: foo, Close\r\n\r\n", answer{status: 200, last: true}},
	{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", answer{status: 200}},
	{"HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx", answer{status: 404, last: true}},
	{"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", answer{status: 200}},
	{"HTTP/1.1 503 Busy\r\n\r\nuntil the end", answer{status: 503, last: true}},
	{"HTTP/1.1 204 No Content\r\n\r\n", answer{status: 204}},
	{"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", answer{status: 304}},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", answer{status: 201}},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00c;a=\"b\"\r\n hello world\r\n0\r\nX-Sum: 1\r\n\r\n", answer{status: 200}},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", answer{status: 200}},
	{"HTTP/1.1 200 OK\r\nServer:\t x \r\nContent-Length: 0\r\n\r\n", answer{status: 200}},
}

// answers that no strict client accepts.
var brokenAnswers = map[string]string{
	"another protocol":                    "SSH-2.0-OpenSSH_9.2\r\n",
	"another version":                     "HTTP/2.0 200 OK\r\n\r\n",
	"a status of two digits":              "HTTP/1.1 20 OK\r\n\r\n",
	"a status of four digits":             "HTTP/1.1 2000 OK\r\n\r\n",
	"a status that is no number":          "HTTP/1.1 2x0 OK\r\n\r\n",
	"a version that is no number":         "HTTP/1.x 200 OK\r\n\r\n",
	"a tab after the version":             "HTTP/1.1\t200 OK\r\n\r\n",
	"a control character in the reason":   "HTTP/1.1 200 O\x00K\r\n\r\n",
	"a bare LF after the status":          "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
	"a bare LF after a field":             "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
	"a bare LF at the end of the head":    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
	"a bare CR in a field":                "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
	"a folded field":                      "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
	"a blank before the colon":            "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
	"a field without a name":              "HTTP/1.1 200 OK\r\n: 0\r\n\r\n",
	"a field without a colon":             "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n",
	"a length with a sign":                "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
	"an empty length":                     "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
	"a length that overflows":             "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
	"a list of lengths":                   "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
	"two lengths":                         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	"a length and chunks":                 "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	"another transfer coding":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
	"chunks twice":                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	"chunks in HTTP/1.0":                  "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	"a chunk whose size is no number":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
	"a chunk without a size":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
	"a chunk whose size overflows":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
	"a chunk that is longer than it says": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
	"a bare LF after a chunk's size":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n",
	"a trailer without a colon":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n",
	"another protocol, unasked":           "HTTP/1.1 101 Switching\r\n\r\n",
	"more than was asked for":             "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
	"a head without end":                  "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxHead/6),
	"a line without end":                  "HTTP/1.1 200 " + strings.Repeat("O", maxHead),
	"a chunk's extension without end":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", maxChunkLine),
}

func TestWholeAnswers(t *testing.T) {
	for _, tt := range wholeAnswers {
		for cut := range len(tt.text) + 1 {
			first, second := []byte(tt.text[:cut]), []byte(tt.text[cut:])
			if a, n, err := feed("GET", first, second); err != nil || a != tt.answer || n != len(tt.text) {
				t.Fatalf("%q cut at %d: %+v of %d bytes, %v; want %+v of all %d", tt.text, cut, a, n, err, tt.answer, len(tt.text))
			}
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	for name, text := range brokenAnswers {
		t.Run(name, func(t *testing.T) {
			if a, _, err := feed("GET", []byte(text), nil); !errors.Is(err, errProtocol) {
				t.Errorf("feed(%.80q) = %+v, %v; want %v", text, a, err, errProtocol)
			}
		})
	}
}

func TestUnasked(t *testing.T) {
	h := &http1{}
	h.reset()
	if _, _, done, err := h.take([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n")); done || !errors.Is(err, errProtocol) {
		t.Errorf("take without a question = %v, %v; want %v", done, err, errProtocol)
	}
}

// FuzzAnswer: what the codec takes for an answer net/http does, too, with the
// same status, length and fate of the connection; and it makes no difference
// where the answer is cut into pieces.
func FuzzAnswer(f *testing.F) {
	for _, tt := range wholeAnswers {
		f.Add([]byte(tt.text), uint(len(tt.text)/2), false)
		f.Add([]byte(tt.text), uint(0), true)
	}
	for _, text := range brokenAnswers {
		if len(text) < 1000 {
			f.Add([]byte(text), uint(len(text)/2), false)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		a, n, err := feed(method, b, nil)
		at := int(cut % uint(len(b)+1))
		a2, n2, err2 := feed(method, b[:at], b[at:])
		surplus := err != nil && err2 == nil && n2 == at // more came after the answer
		if !surplus && (a != a2 || err == nil && n != n2 || !errors.Is(err2, err)) {
			t.Fatalf("whole: %+v of %d, %v; cut at %d: %+v of %d, %v", a, n, err, at, a2, n2, err2)
		}
		if err != nil {
			return
		}
		want, wantN, trailers, err := reference(method, b)
		if trailers {
			return // it checks which names a trailer has
		}
		if err != nil || a != want || n != wantN {
			t.Errorf("take = %+v of %d bytes; net/http: %+v of %d, %v", a, n, want, wantN, err)
		}
	})
}

func TestEndsConnection(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		want       bool
	}{
		{"HTTP/1.1 goes on", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"close ends it", "GET / HTTP/1.1\r\nHost: a\r\nconnection: x, CLOSE\r\n\r\n", true},
		{"close in the body does not", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\nConnection: close\r\n", false},
		{"HTTP/1.0 ends it", "GET / HTTP/1.0\r\n\r\n", true},
		{"HTTP/1.0 with keep-alive goes on", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
		{"no HTTP at all", "ping", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := endsConnection([]byte(tt.wire)); got != tt.want {
				t.Errorf("endsConnection(%q) = %v, want %v", tt.wire, got, tt.want)
			}
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	h := &http1{asks: asksOf([]Request{{Wire: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}})}
	text := []byte("HTTP/1.1 200 OK\r\nServer: bk\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		h.ask(0, 0)
		if _, _, done, err := h.take(text); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}
