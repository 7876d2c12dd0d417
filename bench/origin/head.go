// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"bytes"
	"net/http"
)

// maxHead is how many bytes the head of a request may have.
const maxHead = 64 << 10

// head is what counts of the head of a request.
type head struct {
	target  []byte // a view of what was scanned
	length  int64  // of the body
	chunked bool   // the body comes in chunks, and length is 0
	old     bool   // HTTP/1.0
	close   bool   // the connection ends with the answer
	bare    bool   // the answer has no body: HEAD
	expects bool   // the client waits for a 100 before it sends the body
}

// scanHead reads the head at the beginning of b. It returns how many bytes
// that is, or 0 if the rest has yet to come. A status other than 0 is what a
// request is refused with; its connection has to be closed, since nobody knows
// where it ends.
func scanHead(b []byte) (h head, n, status int) {
	var f fields
	for first := true; ; {
		line, size, ok := cutLine(b[n:])
		if !ok {
			return h, 0, http.StatusBadRequest
		}
		if size == 0 {
			return h, 0, 0
		}
		n += size
		switch {
		case first && len(line) == 0: // RFC 9112 section 2.2
		case first:
			first = false
			if status := h.request(line); status != 0 {
				return h, 0, status
			}
		case len(line) == 0:
			if status := f.check(&h); status != 0 {
				return h, 0, status
			}
			return h, n, 0
		default:
			if status := f.add(&h, line); status != 0 {
				return h, 0, status
			}
		}
	}
}

// cutLine returns the first line of b without its end, and how many bytes it
// has with it: 0 if the end is not there yet. A line that ends without CR, or
// has a CR or NUL inside, is not ok: readers disagree on where it ends.
func cutLine(b []byte) (line []byte, size int, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0, true
	}
	if i == 0 || b[i-1] != '\r' {
		return nil, 0, false
	}
	line = b[:i-1]
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, 0, false
	}
	return line, i + 1, true
}

// request reads the first line.
func (h *head) request(line []byte) (status int) {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || !token(method) || !visible(target) {
		return http.StatusBadRequest
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.old = true
	default:
		if len(version) == len("HTTP/1.1") && bytes.HasPrefix(version, []byte("HTTP/")) && visible(version) {
			return http.StatusHTTPVersionNotSupported
		}
		return http.StatusBadRequest
	}
	h.target, h.bare = target, string(method) == http.MethodHead
	return 0
}

// fields counts the fields that may stand only once.
type fields struct {
	hosts, lengths, encodings int
	close, keep               bool // options of the connection
}

// add reads one line of a field.
func (f *fields) add(h *head, line []byte) (status int) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 || !token(line[:i]) {
		return http.StatusBadRequest
	}
	name, value := line[:i], trim(line[i+1:])
	// Few names are of these lengths, so that most cost one comparison.
	switch len(name) {
	case len("Host"):
		if fold(name, "host") {
			f.hosts++
		}
	case len("Expect"):
		if fold(name, "expect") {
			if !fold(value, "100-continue") {
				return http.StatusExpectationFailed
			}
			h.expects = true
		}
	case len("Connection"):
		if fold(name, "connection") {
			f.connection(value)
		}
	case len("Content-Length"):
		if fold(name, "content-length") {
			f.lengths++
			if h.length, status = decimal(value); status != 0 {
				return status
			}
		}
	case len("Transfer-Encoding"):
		if fold(name, "transfer-encoding") {
			f.encodings++
			h.chunked = true
			if !fold(value, "chunked") {
				return http.StatusNotImplemented
			}
		}
	}
	return 0
}

// connection reads a list of options of the connection.
func (f *fields) connection(value []byte) {
	for len(value) > 0 {
		option, rest, _ := bytes.Cut(value, []byte(","))
		option = trim(option)
		f.close = f.close || fold(option, "close")
		f.keep = f.keep || fold(option, "keep-alive")
		value = rest
	}
}

// check judges the fields together.
func (f *fields) check(h *head) (status int) {
	switch {
	case f.hosts > 1, f.hosts == 0 && !h.old,
		f.lengths > 1, f.encodings > 1,
		f.lengths > 0 && f.encodings > 0,
		f.encodings > 0 && h.old:
		return http.StatusBadRequest
	}
	h.close = f.close || h.old && !f.keep
	return 0
}

// decimal reads a number of at most 18 digits.
func decimal(b []byte) (n int64, status int) {
	if len(b) == 0 {
		return 0, http.StatusBadRequest
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, http.StatusBadRequest
		}
	}
	if b = bytes.TrimLeft(b, "0"); len(b) > 18 {
		return 0, http.StatusRequestEntityTooLarge
	}
	for _, c := range b {
		n = n*10 + int64(c-'0')
	}
	return n, 0
}

// fold reports whether b is want, which is in lower case, but for letter case.
func fold(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// trim cuts blanks and tabs off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// token reports whether b is a name as in RFC 9110 section 5.6.2.
func token(b []byte) bool {
	for _, c := range b {
		if !tokens[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokens = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// visible reports whether b has neither blanks nor control characters.
func visible(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(b) > 0
}
