// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// transcript is what a message says to send, one part a line: pieces of
// content that follow each other are one.
type transcript struct {
	tb    testing.TB
	lines []string
	data  strings.Builder
	ended bool
}

func (s *transcript) say(format string, a ...any) {
	s.flush()
	s.lines = append(s.lines, fmt.Sprintf(format, a...))
}

func (s *transcript) flush() {
	if s.data.Len() > 0 {
		s.lines = append(s.lines, "content "+s.data.String())
		s.data.Reset()
	}
}

// end notes END_STREAM, which must come once.
func (s *transcript) end() {
	if s.ended {
		s.tb.Error("the end was said twice")
	}
	s.ended = true
}

func (s *transcript) String() string {
	s.flush()
	if s.ended {
		return strings.Join(append(s.lines, "end"), "\n")
	}
	return strings.Join(s.lines, "\n")
}

// block reads a header block.
func (s *transcript) block(what string, b []byte) {
	list, err := hpack.NewDecoder(0, nil).DecodeFull(b)
	if err != nil {
		s.tb.Errorf("header block %x: %v", b, err)
	}
	var w strings.Builder
	for _, f := range list {
		fmt.Fprintf(&w, " [%s: %s]", f.Name, f.Value)
	}
	s.say("%s%s", what, w.String())
}

// feed has m read text in pieces of the given sizes, the last of them again
// and again, with room for so much content at a time.
func (s *transcript) feed(m *message, text string, room int, sizes ...int) error {
	for i := 0; len(text) > 0; i++ {
		size := min(len(text), sizes[min(i, len(sizes)-1)])
		piece := []byte(text[:size])
		text = text[size:]
		for len(piece) > 0 {
			p, n, data, err := m.next(piece, room)
			if err != nil {
				return err
			}
			if n == 0 && len(data) == 0 && p != partHead {
				return fmt.Errorf("next(%q, %d) used nothing in state %d", piece, room, m.state)
			}
			s.part(m, p, data)
			clear(piece[:n]) // what was used may change
			piece = piece[n:]
		}
	}
	return nil
}

func (s *transcript) part(m *message, p part, data []byte) {
	switch p {
	case partHead:
		what := "head"
		if m.interim() {
			what = "interim"
		}
		s.block(what, m.appendHead(nil, true))
	case partData:
		s.data.Write(data)
	case partTrailers:
		s.block("trailers", m.appendTrailers(nil))
		s.end()
		return
	case partEnd:
		s.end()
		return
	case partNone:
		return
	}
	if m.done() {
		s.end()
	}
}

// readText reads a text in one piece.
func readText(tb testing.TB, begin func(*message), text string, room int, sizes ...int) (string, error) {
	tb.Helper()
	var m message
	begin(&m)
	s := transcript{tb: tb}
	err := s.feed(&m, text, room, sizes...)
	return s.String(), err
}

func answer(m *message)       { m.beginAnswer(false) }
func answerToHead(m *message) { m.beginAnswer(true) }

var messages = []struct {
	name  string
	begin func(*message)
	text  string
	want  string
}{
	{
		"a request without content", (*message).beginRequest,
		"GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: x\r\n\r\n",
		"head [:method: GET] [:scheme: https] [:authority: shop.example] [:path: /] [user-agent: x]\nend",
	},
	{
		"a request with content of a length", (*message).beginRequest,
		"PUT /a?b HTTP/1.1\r\nx-a:  y \r\nhost: a:1\r\nContent-Length: 5\r\n\r\nhello",
		"head [:method: PUT] [:scheme: https] [:authority: a:1] [:path: /a?b] [x-a: y] [content-length: 5]\ncontent hello\nend",
	},
	{
		"a request with no content of stated length", (*message).beginRequest,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"head [:method: POST] [:scheme: https] [:authority: a] [:path: /] [content-length: 0]\nend",
	},
	{
		"a request by chunks", (*message).beginRequest,
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\n\r\n",
		"head [:method: POST] [:scheme: https] [:authority: a] [:path: /]\ncontent abc0123456789\nend",
	},
	{
		"a request with trailers", (*message).beginRequest,
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n",
		"head [:method: POST] [:scheme: https] [:authority: a] [:path: /]\ncontent abc\ntrailers [x-sum: 1] [y: ]\nend",
	},
	{
		"what belongs to a connection ends here", (*message).beginRequest,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: y\r\nTE: gzip\r\nx: y\r\n\r\n",
		"head [:method: GET] [:scheme: https] [:authority: a] [:path: /] [x: y]\nend",
	},
	{
		"TE goes on for trailers", (*message).beginRequest,
		"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, trailers\r\nx: y\r\n\r\n",
		"head [:method: GET] [:scheme: https] [:authority: a] [:path: /] [x: y] [te: trailers]\nend",
	},
	{
		"a request of gRPC always understands trailers", (*message).beginRequest,
		"POST /s/m HTTP/1.1\r\nHost: a\r\ncontent-type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"head [:method: POST] [:scheme: https] [:authority: a] [:path: /s/m] [content-type: application/grpc] [te: trailers]\nend",
	},
	{
		"a request without a host", (*message).beginRequest,
		"OPTIONS * HTTP/1.1\r\n\r\n",
		"head [:method: OPTIONS] [:scheme: https] [:path: *]\nend",
	},
	{
		"an answer with content of a length", answer,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello",
		"head [:status: 200] [content-length: 5] [server: x]\ncontent hello\nend",
	},
	{
		"an answer by chunks with trailers", answer,
		"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"head [:status: 404] [trailer: x]\ncontent hello\ntrailers [x: y]\nend",
	},
	{
		"trailers without content", answer,
		"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n",
		"head [:status: 200] [content-type: application/grpc]\ntrailers [grpc-status: 5]\nend",
	},
	{
		"an answer of trailers alone", answer,
		"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 5\r\nContent-Length: 0\r\n\r\n",
		"head [:status: 200] [content-type: application/grpc] [grpc-status: 5]\nend",
	},
	{
		"an answer until the end", answer,
		"HTTP/1.1 500 \r\nConnection: close\r\n\r\nhello",
		"head [:status: 500]\ncontent hello",
	},
	{
		"interim answers stand before the answer", answer,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 418 I'm a teapot\r\nContent-Length: 1\r\n\r\nx",
		"interim [:status: 100]\ninterim [:status: 103] [link: </a>]\nhead [:status: 418] [content-length: 1]\ncontent x\nend",
	},
	{
		"an answer to HEAD keeps its length", answerToHead,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		"head [:status: 200] [content-length: 5]\nend",
	},
	{
		"an answer to HEAD by chunks", answerToHead,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"head [:status: 200]\nend",
	},
	{
		"204 ends with its head", answer,
		"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
		"head [:status: 204] [server: x]\nend",
	},
	{
		"304 ends with its head", answer,
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"head [:status: 304] [content-length: 5]\nend",
	},
	{
		"an interim answer before one to HEAD", answerToHead,
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		"interim [:status: 103]\nhead [:status: 200] [content-length: 5]\nend",
	},
	{
		"statuses without a number in the table", answer,
		"HTTP/1.1 206 x\r\nContent-Length: 0\r\n\r\n",
		"head [:status: 206] [content-length: 0]\nend",
	},
	{
		"secrets, cookies and host of an answer", answer,
		"HTTP/1.1 400 x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nHost: x\r\nAuthorization: y\r\nContent-Length: 0\r\n\r\n",
		"head [:status: 400] [set-cookie: a=1] [set-cookie: b=2] [host: x] [authorization: y] [content-length: 0]\nend",
	},
	{
		"long names and values", answer,
		"HTTP/1.1 500 x\r\n" + strings.Repeat("Na", 100) + ": " + strings.Repeat("v", 20000) + "\r\nContent-Length: 0\r\n\r\n",
		"head [:status: 500] [" + strings.Repeat("na", 100) + ": " + strings.Repeat("v", 20000) + "] [content-length: 0]\nend",
	},
}

func TestMessage(t *testing.T) {
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readText(t, tt.begin, tt.text, 1<<20, len(tt.text))
			if err != nil || got != tt.want {
				t.Errorf("parts of %q =\n%s\n%v, want\n%s", tt.text, got, err, tt.want)
			}
		})
	}
}

func TestAMessageMayComeInAnyPieces(t *testing.T) {
	for _, tt := range messages {
		if len(tt.text) > 1000 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			for size := 1; size <= len(tt.text); size++ {
				for first := range min(size, 20) {
					for _, room := range []int{1, 3, 1 << 20} {
						got, err := readText(t, tt.begin, tt.text, room, first+1, size)
						if err != nil || got != tt.want {
							t.Fatalf("parts of %q in pieces of %d and %d with room for %d =\n%s\n%v, want\n%s",
								tt.text, first+1, size, room, got, err, tt.want)
						}
					}
				}
			}
		})
	}
}

func TestContentWaitsForRoom(t *testing.T) {
	for _, tt := range []struct{ name, head, content, behind string }{
		{"of a stated length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello", ""},
		{"by chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "hello", "\r\n0\r\n\r\n"},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\n", "hello", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m message
			m.beginAnswer(false)
			b := []byte(tt.head + tt.content + tt.behind)
			p, n, _, err := m.next(b, 0)
			if p != partHead || n != len(tt.head) || err != nil {
				t.Fatalf("next() = %d, %d, %v, want the head of %d bytes", p, n, err, len(tt.head))
			}
			b = b[n:]
			for range 2 {
				if p, n, data, err := m.next(b, 0); p != partData || n != 0 || len(data) > 0 || err != nil {
					t.Fatalf("next() without room = %d, %d, %q, %v, want content, of which nothing was used", p, n, data, err)
				}
			}
			if p, n, data, err := m.next(b, 2); p != partData || n != 2 || string(data) != "he" || err != nil {
				t.Fatalf("next() with room for 2 = %d, %d, %q, %v", p, n, data, err)
			}
			p, n, data, err := m.next(b[2:], 9)
			if p != partData || n != len(b)-2 || string(data) != "llo" || err != nil {
				t.Fatalf("next() with room for 9 = %d, %d, %q, %v", p, n, data, err)
			}
			if m.done() == m.untilClose() {
				t.Errorf("done() = %t, untilClose() = %t", m.done(), m.untilClose())
			}
		})
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begin func(*message)
		text  string
	}{
		{"a request line of one word", (*message).beginRequest, "GET\r\n\r\n"},
		{"a request line of two words", (*message).beginRequest, "GET /\r\n\r\n"},
		{"the absolute form", (*message).beginRequest, "GET http://a/ HTTP/1.1\r\n\r\n"},
		{"a status line without a status", answer, "HTTP/1.1 OK\r\n\r\n"},
		{"another protocol", answer, "HTTQ/1.1 200 OK\r\n\r\n"},
		{"a field without a name", answer, "HTTP/1.1 200 OK\r\n: x\r\n\r\n"},
		{"a line without a colon", answer, "HTTP/1.1 200 OK\r\nx\r\n\r\n"},
		{"a line that ends in a line feed alone", answer, "HTTP/1.1 200 OK\r\nx: y\nz: w\r\n\r\n"},
		{"a chunk without a size", answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n"},
		{"a size that is none", answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"},
		{"a size beyond counting", answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n"},
		{"a chunk longer than its size", answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"},
		{"a trailer without a colon", answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nab\r\n\r\n"},
		{"more than a message", answer, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"},
		{"more than a head", answerToHead, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"},
	} {
		for _, size := range []int{1, 5, 4096} {
			t.Run(fmt.Sprintf("%s in pieces of %d", tt.name, size), func(t *testing.T) {
				got, err := readText(t, tt.begin, tt.text, 1<<20, size)
				if !errors.Is(err, errText) {
					t.Errorf("parts of %q =\n%s\n%v, want %v", tt.text, got, err, errText)
				}
			})
		}
	}
}

func TestAHeadWithoutAnEndIsGivenUp(t *testing.T) {
	text := "HTTP/1.1 200 OK\r\n" + strings.Repeat("x", 2*maxText)
	if got, err := readText(t, answer, text, 1<<20, 4096); !errors.Is(err, errText) {
		t.Errorf("parts of an endless head = %q, %v, want %v", got, err, errText)
	}
}

// Values that may be secrets are marked: nobody may keep them in a table.
func TestSecretsAreNeverIndexed(t *testing.T) {
	var m message
	m.beginRequest()
	b := []byte("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nCookie: y\r\nProxy-Authorization: z\r\nAccept: w\r\n\r\n")
	if _, _, _, err := m.next(b, 0); err != nil {
		t.Fatal(err)
	}
	list, err := hpack.NewDecoder(0, nil).DecodeFull(m.appendHead([]byte{noTable}, false))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		want := f.Name == "authorization" || f.Name == "cookie" || f.Name == "proxy-authorization"
		if f.Sensitive != want {
			t.Errorf("%s is marked: %t, want %t", f.Name, f.Sensitive, want)
		}
	}
}
