// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// wireMessage is a request or an answer as its recipient saw it, byte by
// byte.
type wireMessage struct {
	stray  int      // empty lines before it
	start  string   // the request line or the status line
	fields []string // the field lines, blanks included
	body   string   // as it was framed: chunk lines and trailers included
	ends   wireEnd
}

// wireEnd says what ends the body of a message (RFC 9112 section 6.3).
type wireEnd string

const (
	endsAtOnce   wireEnd = "no body"
	endsByLength wireEnd = "by length"
	endsByChunk  wireEnd = "by the last chunk"
	endsByClose  wireEnd = "by the end of the connection"
)

func (m *wireMessage) clone() *wireMessage {
	c := *m
	c.fields = slices.Clone(m.fields)
	return &c
}

// splitField returns the name of a field line in lower case, and the value.
func splitField(line string) (name, value string) {
	name, value, _ = strings.Cut(line, ":")
	return strings.ToLower(name), strings.Trim(value, " \t")
}

// values returns the values of all fields of a name in lower case.
func (m *wireMessage) values(name string) (values []string) {
	for _, f := range m.fields {
		if n, v := splitField(f); n == name {
			values = append(values, v)
		}
	}
	return values
}

// options returns the members of all Connection fields, in lower case.
func (m *wireMessage) options() (options []string) {
	for _, v := range m.values("connection") {
		for o := range strings.SplitSeq(v, ",") {
			options = append(options, strings.ToLower(strings.Trim(o, " \t")))
		}
	}
	return options
}

// keeps reports whether the connection may go on behind the message
// (RFC 9112 section 9.3).
func (m *wireMessage) keeps() bool {
	if m.ends == endsByClose || slices.Contains(m.options(), "close") {
		return false
	}
	return !m.old() || slices.Contains(m.options(), "keep-alive")
}

// old reports whether the message is of HTTP/1.0.
func (m *wireMessage) old() bool {
	return strings.HasPrefix(m.start, "HTTP/1.0 ") || strings.HasSuffix(m.start, " HTTP/1.0")
}

// status returns the status code of an answer, 0 if there is none.
func (m *wireMessage) status() int {
	_, rest, _ := strings.Cut(m.start, " ")
	n, _ := strconv.Atoi(rest[:min(3, len(rest))])
	return n
}

// String shows the message for a person.
func (m *wireMessage) String() string {
	if m == nil {
		return "  nothing\n"
	}
	var b strings.Builder
	if m.stray > 0 {
		fmt.Fprintf(&b, "  (%d empty lines)\n", m.stray)
	}
	fmt.Fprintf(&b, "  %s\n", shorten(m.start))
	for _, f := range m.fields {
		fmt.Fprintf(&b, "  %s\n", shorten(f))
	}
	fmt.Fprintf(&b, "  body, %d bytes as framed, ends %s: %s\n", len(m.body), m.ends, shorten(m.body))
	return b.String()
}

// shorten quotes what fits on a screen.
func shorten(s string) string {
	const part = 400
	if len(s) > 3*part {
		return fmt.Sprintf("%q... (%d bytes) ...%q", s[:part], len(s)-2*part, s[len(s)-part:])
	}
	return fmt.Sprintf("%q", s)
}

var errWire = errors.New("not a valid message")

// readWireLine reads a line that ends in CRLF.
func readWireLine(br *bufio.Reader) (string, error) {
	s, err := br.ReadString('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && s != "" {
			err = io.ErrUnexpectedEOF
		}
		return s, err
	}
	line, ok := strings.CutSuffix(s, "\r\n")
	if !ok {
		return s, fmt.Errorf("%w: line %q", errWire, s)
	}
	return line, nil
}

// readWireHead reads a head. io.EOF means that there is none.
func readWireHead(br *bufio.Reader) (*wireMessage, error) {
	m := &wireMessage{ends: endsAtOnce}
	for m.start == "" {
		line, err := readWireLine(br)
		if err != nil {
			return nil, err
		}
		if line == "" {
			m.stray++
		}
		m.start = line
	}
	for {
		line, err := readWireLine(br)
		switch {
		case errors.Is(err, io.EOF):
			return m, io.ErrUnexpectedEOF
		case err != nil:
			return m, err
		case line == "":
			return m, nil
		}
		m.fields = append(m.fields, line)
	}
}

// requestEnd says what ends the body of a request.
func (m *wireMessage) requestEnd() wireEnd {
	switch {
	case m.values("transfer-encoding") != nil:
		return endsByChunk
	case m.values("content-length") != nil:
		return endsByLength
	}
	return endsAtOnce
}

// answerEnd says what ends the body of an answer to a request of a method.
func (m *wireMessage) answerEnd(method string) wireEnd {
	if s := m.status(); method == "HEAD" || s < 200 || s == 204 || s == 304 {
		return endsAtOnce
	}
	if e := m.requestEnd(); e != endsAtOnce {
		return e
	}
	return endsByClose
}

// readBody reads the body that the head announced.
func (m *wireMessage) readBody(br *bufio.Reader, end wireEnd) error {
	m.ends = end
	switch end {
	case endsByLength:
		n, err := strconv.Atoi(m.values("content-length")[0])
		if err != nil {
			return err
		}
		return m.readBytes(br, n)
	case endsByChunk:
		return m.readChunks(br)
	case endsByClose:
		b, err := io.ReadAll(br)
		m.body = string(b)
		return err
	default:
		return nil
	}
}

func (m *wireMessage) readBytes(br *bufio.Reader, n int) error {
	b := make([]byte, n)
	got, err := io.ReadFull(br, b)
	m.body += string(b[:got])
	if err != nil && n > 0 {
		return fmt.Errorf("%d of %d bytes: %w", got, n, io.ErrUnexpectedEOF)
	}
	return nil
}

func (m *wireMessage) readChunks(br *bufio.Reader) error {
	var all strings.Builder
	defer func() { m.body = all.String() }()
	line := func() (string, error) {
		s, err := readWireLine(br)
		if err != nil {
			all.WriteString(s)
			return s, fmt.Errorf("chunked body: %w", err)
		}
		all.WriteString(s + "\r\n")
		return s, nil
	}
	for {
		s, err := line()
		if err != nil {
			return err
		}
		digits, _, _ := strings.Cut(s, ";")
		size, err := strconv.ParseUint(digits, 16, 31)
		if err != nil {
			return fmt.Errorf("%w: chunk line %q", errWire, s)
		}
		if size == 0 {
			break
		}
		if _, err := io.CopyN(&all, br, int64(size)); err != nil {
			return fmt.Errorf("chunk data: %w", err)
		}
		switch s, err := line(); {
		case err != nil:
			return err
		case s != "":
			return fmt.Errorf("%w: %q behind a chunk", errWire, s)
		}
	}
	for {
		if s, err := line(); err != nil || s == "" {
			return err
		}
	}
}

// writePieces writes b in pieces of the given sizes, over and over; in one if
// there are none.
func writePieces(nc net.Conn, b []byte, sizes []int) error {
	for i := 0; len(b) > 0; i++ {
		n := len(b)
		if len(sizes) > 0 {
			n = min(n, sizes[i%len(sizes)])
		}
		if _, err := nc.Write(b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) > 0 {
			runtime.Gosched() // whoever reads may see the piece alone
		}
	}
	return nil
}

// firstDifference says where two messages differ, "" if nowhere.
func firstDifference(want, got *wireMessage) string {
	switch {
	case want == nil && got == nil:
		return ""
	case want == nil || got == nil:
		return fmt.Sprintf("one is missing: want\n%vgot\n%v", want, got)
	case want.stray != got.stray:
		return fmt.Sprintf("empty lines before it: want %d, got %d", want.stray, got.stray)
	case want.start != got.start:
		return fmt.Sprintf("first line: want %s, got %s", shorten(want.start), shorten(got.start))
	}
	for i := range max(len(want.fields), len(got.fields)) {
		var w, g string
		if i < len(want.fields) {
			w = want.fields[i]
		}
		if i < len(got.fields) {
			g = got.fields[i]
		}
		if w != g {
			return fmt.Sprintf("field line %d: want %s, got %s", i, shorten(w), shorten(g))
		}
	}
	if want.ends != got.ends {
		return fmt.Sprintf("end of the body: want %s, got %s", want.ends, got.ends)
	}
	if want.body == got.body {
		return ""
	}
	at := 0
	for at < min(len(want.body), len(got.body)) && want.body[at] == got.body[at] {
		at++
	}
	return fmt.Sprintf("body of %d bytes, want %d, from byte %d: want %s, got %s",
		len(got.body), len(want.body), at, shorten(want.body[at:]), shorten(got.body[at:]))
}
