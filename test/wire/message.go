// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// message is one message as it came, or what came of it.
type message struct {
	start    string
	head     []byte // with the empty line
	fields   []field
	framing  framing
	body     []byte // without framing
	trailers []field
	interim  []int // statuses of the answers 1xx before it
	status   int   // of answers
	cut      bool  // it ended early, and the recipient can tell
}

// field is one line, its value without the blanks around it.
type field struct{ name, value string }

// framing says what ends the body.
type framing string

const (
	byLength framing = "length"
	byChunks framing = "chunked"
	byClose  framing = "close"
	noBody   framing = "none"
)

// errNothing reports a connection that ended, or was idle, where a message
// could have begun.
var errNothing = errors.New("nothing")

// malformedError reports bytes that are no message by RFC 9112, read
// strictly.
type malformedError struct {
	what string
	got  []byte
}

func (e *malformedError) Error() string { return fmt.Sprintf("%s in %.200q", e.what, e.got) }

// reader reads messages from a connection.
type reader struct {
	conn net.Conn
	buf  []byte // read, not yet used
	err  error  // why no more can be read
}

// maxHead bounds heads, and lines of chunked bodies.
const maxHead = 1 << 20

// fill reads more. It reports what ended the connection.
func (r *reader) fill() error {
	if r.err != nil {
		return r.err
	}
	var b [16 << 10]byte
	n, err := r.conn.Read(b[:])
	r.buf = append(r.buf, b[:n]...)
	if n == 0 && err != nil {
		r.err = err
	}
	return r.err
}

// line returns the next line without its CRLF.
func (r *reader) line() (string, error) {
	for from := 0; ; {
		if i := bytes.IndexByte(r.buf[from:], '\n'); i >= 0 {
			i += from
			if i == 0 || r.buf[i-1] != '\r' {
				return "", &malformedError{"a line that ends in LF alone", r.buf[:i+1]}
			}
			l := string(r.buf[:i-1])
			if strings.ContainsRune(l, '\r') {
				return "", &malformedError{"a bare CR", r.buf[:i+1]}
			}
			r.buf = r.buf[i+1:]
			return l, nil
		}
		if from = len(r.buf); from > maxHead {
			return "", &malformedError{"a line without end", r.buf[:100]}
		}
		if err := r.fill(); err != nil {
			return "", err
		}
	}
}

// head reads the head of a message. An error that is neither errNothing nor
// malformed means that the head was cut.
func (r *reader) head() (*message, error) {
	if len(r.buf) == 0 && r.fill() != nil {
		return nil, errNothing
	}
	m := &message{}
	var err error
	if m.start, err = r.line(); err != nil {
		return nil, err
	}
	if m.fields, err = r.fields(); err != nil {
		return nil, err
	}
	m.head = fmt.Appendf(nil, "%s\r\n", m.start)
	for _, f := range m.fields {
		m.head = fmt.Appendf(m.head, "%s\r\n", f.name)
	}
	for i, f := range m.fields {
		if m.fields[i], err = splitField(f.name); err != nil {
			return nil, err
		}
	}
	m.head = append(m.head, "\r\n"...)
	return m, nil
}

// fields reads lines up to the empty one; each stands in its field's name.
func (r *reader) fields() ([]field, error) {
	var fields []field
	for {
		l, err := r.line()
		if err != nil || l == "" {
			return fields, err
		}
		fields = append(fields, field{name: l})
	}
}

// splitField splits a line by RFC 9112 section 5, without folding.
func splitField(line string) (field, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsFunc(name, func(c rune) bool { return c > '~' || !isToken(byte(c)) }) {
		return field{}, &malformedError{"a field name that is no token", []byte(line)}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return field{}, &malformedError{"a control byte in a field", []byte(line)}
		}
	}
	return field{name, strings.Trim(value, " \t")}, nil
}

func isToken(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// values returns the values of all fields of a name.
func (m *message) values(name string) []string { return valuesOf(m.fields, name) }

func valuesOf(fields []field, name string) []string {
	var values []string
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// request reads the head of a request and finds its framing.
func (r *reader) request() (*message, error) {
	m, err := r.head()
	if err != nil {
		return nil, err
	}
	method, rest, _ := strings.Cut(m.start, " ")
	target, version, ok := strings.Cut(rest, " ")
	if !ok || method == "" || target == "" || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return nil, &malformedError{"no request line", m.head}
	}
	if n := len(m.values("Host")); n != 1 && version == "HTTP/1.1" {
		return nil, &malformedError{"not one Host", m.head}
	}
	return m, m.frame(noBody)
}

// response reads the head of an answer; headless says that its request makes
// it one without body.
func (r *reader) response(headless bool) (*message, error) {
	m, err := r.head()
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(m.start, " ")
	code, _, spaced := strings.Cut(rest, " ")
	m.status, err = strconv.Atoi(code)
	if version != "HTTP/1.1" && version != "HTTP/1.0" || err != nil || len(code) != 3 || !spaced {
		return nil, &malformedError{"no status line", m.head}
	}
	if err := m.frame(byClose); err != nil {
		return nil, err
	}
	if headless || m.status < 200 || m.status == 204 || m.status == 304 {
		m.framing = noBody
	}
	return m, nil
}

// frame finds what ends the body (RFC 9112 section 6.3); without says what
// holds if no field tells.
func (m *message) frame(without framing) error {
	lengths, codings := m.values("Content-Length"), m.values("Transfer-Encoding")
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return &malformedError{"both Content-Length and Transfer-Encoding", m.head}
	case len(codings) > 1 || len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return &malformedError{"a transfer coding other than chunked", m.head}
	case len(codings) == 1 && strings.Contains(m.start, "HTTP/1.0"):
		return &malformedError{"a transfer coding in HTTP/1.0", m.head}
	case len(codings) == 1:
		m.framing = byChunks
	case len(lengths) > 1:
		return &malformedError{"two Content-Length", m.head}
	case len(lengths) == 1:
		if _, err := strconv.ParseUint(lengths[0], 10, 63); err != nil {
			return &malformedError{"no length", m.head}
		}
		m.framing = byLength
	default:
		m.framing = without
	}
	return nil
}

// rest reads the body. A body that ends early makes the message cut; an error
// means that it is malformed.
func (r *reader) rest(m *message) error {
	var err error
	switch m.framing {
	case byLength:
		n, _ := strconv.Atoi(m.values("Content-Length")[0]) // checked by frame
		err = r.take(m, n)
	case byChunks:
		err = r.chunks(m)
	case byClose:
		for err = r.fill(); err == nil; err = r.fill() { //nolint:revive // what is read stays in the buffer
		}
		m.body, r.buf = r.buf, nil
		if errors.Is(err, io.EOF) {
			err = nil
		}
	case noBody:
	}
	if _, malformed := errors.AsType[*malformedError](err); malformed {
		return err
	}
	if outcome(err) == late {
		return err
	}
	m.cut = err != nil
	return nil
}

// take reads n bytes of a body.
func (r *reader) take(m *message, n int) error {
	for {
		now := min(n, len(r.buf))
		m.body = append(m.body, r.buf[:now]...)
		r.buf = r.buf[now:]
		if n -= now; n == 0 {
			return nil
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// chunks reads a chunked body (RFC 9112 section 7.1) and its trailers.
func (r *reader) chunks(m *message) error {
	for {
		l, err := r.line()
		if err != nil {
			return err
		}
		digits, _, _ := strings.Cut(l, ";")
		size, err := strconv.ParseUint(strings.TrimRight(digits, " \t"), 16, 31)
		if err != nil {
			return &malformedError{"no chunk size", []byte(l)}
		}
		if size == 0 {
			break
		}
		if err := r.take(m, int(size)); err != nil {
			return err
		}
		if l, err = r.line(); err != nil {
			return err
		}
		if l != "" {
			return &malformedError{"a chunk longer than its size", []byte(l)}
		}
	}
	lines, err := r.fields()
	for _, l := range lines {
		f, err := splitField(l.name)
		if err != nil {
			return err
		}
		m.trailers = append(m.trailers, f)
	}
	return err
}
