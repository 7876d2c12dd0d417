// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

// malformed says what is wrong with a message: its stream ends with
// PROTOCOL_ERROR (RFC 9113 section 8.1.1). The empty one says that nothing is.
type malformed string

// What is wrong with messages.
const (
	wellFormed      malformed = ""
	badName         malformed = "a field name that no field may have"
	badValue        malformed = "a field value with a line break, a NUL, or blanks around it"
	badPseudo       malformed = "a pseudo-field that is unknown, repeated, or not in front"
	badRequestLine  malformed = "no valid method, scheme and path"
	badConnect      malformed = "a CONNECT request that is not of its form"
	badAuthority    malformed = "an authority that is not one, or unlike the host"
	badConnection   malformed = "a field of a connection of HTTP/1"
	badLength       malformed = "a content-length that is not one, or unlike the content"
	badStatus       malformed = "no valid status"
	badContent      malformed = "content in an answer that has none"
	tooManyTrailers malformed = "trailers over their limit"
)

// Sizes of lists.
const (
	fieldOverhead = 32       // RFC 9113 section 6.5.2
	maxTrailers   = 16 << 10 // bytes of trailers, as a list
)

// Classes of bytes.
const (
	nameByte    = 1 << iota // RFC 9110 section 5.6.2, less the capital letters
	methodByte              // RFC 9110 section 5.6.2
	targetByte              // neither blank nor control
	schemeByte              // RFC 3986 section 3.1
	brokenValue             // RFC 9113 section 8.2.1: cannot stand in a value
)

var class = makeClasses()

func makeClasses() (t [256]uint8) {
	for c := range 256 {
		lower := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		upper := 'A' <= c && c <= 'Z'
		if lower || upper {
			t[c] |= methodByte | schemeByte
		}
		if lower {
			t[c] |= nameByte
		}
		if c > ' ' && c != 0x7f {
			t[c] |= targetByte
		}
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= nameByte | methodByte
	}
	for _, c := range []byte("+-.") {
		t[c] |= schemeByte
	}
	for _, c := range []byte("\r\n\x00") {
		t[c] |= brokenValue
	}
	return t
}

// only reports whether s, which is not empty, has bytes of the class alone.
func only(s string, of uint8) bool {
	for i := range len(s) {
		if class[s[i]]&of == 0 {
			return false
		}
	}
	return s != ""
}

// validValue reports whether a field may have the value (RFC 9113 section
// 8.2.1). What else cannot stand in one is refused by who reads the text.
func validValue(s string) bool {
	n := len(s)
	if n == 0 {
		return true
	}
	if blank(s[0]) || blank(s[n-1]) {
		return false
	}
	const ones, high = 0x0101010101010101, 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(s), n)
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		if (x-0x10*ones)&^x&high != 0 && !unbroken(b[:8]) { // one below 0x10
			return false
		}
		b = b[8:]
	}
	return unbroken(b)
}

func unbroken(b []byte) bool {
	for _, c := range b {
		if class[c]&brokenValue != 0 {
			return false
		}
	}
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// list turns the regular fields of a header list into lines of text.
type list struct {
	lines  []byte // "name: value CRLF", one a field
	most   int    // bytes of a list, as in SETTINGS_MAX_HEADER_LIST_SIZE
	size   int    // of them so far
	fault  malformed
	past   bool  // the list is over most: nothing further is read
	fields bool  // a regular field was there: no pseudo-field may follow
	length int64 // content-length; -1: none
	grpc   bool  // content-type is that of gRPC
	tells  bool  // trailers are announced
}

func (l *list) reset(most int) {
	*l = list{lines: l.lines[:0], most: most, length: -1}
}

// counts takes a field into account and reports whether it is to be read: not
// behind a fault, nor behind what made the list too long, for a short block of
// HPACK may stand for a list without end.
func (l *list) counts(f *hpack.HeaderField) bool {
	if l.past || l.fault != wellFormed {
		return false
	}
	l.size += len(f.Name) + len(f.Value) + fieldOverhead
	l.past = l.size > l.most
	return true
}

// put takes in a regular field.
func (l *list) put(name, value string) {
	l.fields = true
	switch {
	case !only(name, nameByte):
		l.fault = badName
	case !validValue(value):
		l.fault = badValue
	case ofConnection(name):
		l.fault = badConnection
	case name == "content-length": // framing says it where the text has it
		n, ok := parseLength(value)
		if !ok || l.length >= 0 {
			l.fault = badLength
			return
		}
		l.length = n
	default:
		l.note(name, value)
		l.line(name, value)
	}
}

// line appends a line, unless the list is too long anyway.
func (l *list) line(name, value string) {
	if l.past {
		return
	}
	l.lines = append(l.lines, name...)
	l.lines = append(l.lines, ':', ' ')
	l.lines = append(l.lines, value...)
	l.lines = append(l.lines, '\r', '\n')
}

// ofConnection reports whether a field speaks of a connection of HTTP/1, and
// cannot stand in a message of HTTP/2 (RFC 9113 section 8.2.2).
func ofConnection(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	default:
		return false
	}
}

// note takes in what a field means for the text.
func (l *list) note(name, value string) {
	switch name {
	case "te":
		if !foldsTo(value, "trailers") {
			l.fault = badConnection
		}
	case "content-type":
		l.grpc = isGRPC(value)
	case "trailer":
		l.tells = true
	}
}

// parseLength reads 1 to 18 digits.
func parseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// isGRPC reports whether a content-type says that a message is one of gRPC:
// application/grpc, with a suffix or parameters or without.
func isGRPC(value string) bool {
	const prefix = "application/grpc"
	if len(value) < len(prefix) || !foldsTo(value[:len(prefix)], prefix) {
		return false
	}
	return len(value) == len(prefix) || value[len(prefix)] == '+' || value[len(prefix)] == ';'
}

// foldsTo reports whether s is t, which is in lower case, without regard to
// the case of its letters.
func foldsTo(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != t[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
