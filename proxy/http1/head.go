// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/sluice-mesh/sluice/routing"
)

// span is a part of a head: from inclusive, to exclusive.
type span struct{ from, to uint32 }

// field is one line of a head.
type field struct {
	name, value span
	end         uint32 // after the line's CRLF
	kind        kind
}

// head is a message head: spans into raw. It is used again for the next one.
type head struct {
	raw    []byte // from the first byte to the end of the empty line
	fields []field

	// What bounds it: a request, and an answer in bytes.
	entry *routing.Entry
	most  int

	// Of requests.
	method, target span
	authority      span // of an absolute-form target; otherwise empty
	host           span
	lines          uint32 // where the field lines begin
	told           bool   // work.own has all that tells of the client
	identified     bool   // and an identifier of the request

	// Of answers.
	answer bool
	status int
	reason span // from after the status code to the end of the line
	amend  bool // status line or framing are not fit to go through as they came

	minor      int   // of the version: 0 or 1
	length     int64 // Content-Length; -1 if absent
	chunked    bool
	close      bool // Connection: close
	keepAlive  bool // Connection: keep-alive
	expect     bool // Expect: 100-continue
	connection bool // Connection names fields: drop looks at them
	upgrade    bool // an upgrade is asked for, or agreed to, that may go through
	odd        bool // a tab or a byte above 0x7f stands in target or values
	seen       uint32
}

func (h *head) bytes(s span) []byte { return h.raw[s.from:s.to] }

// kind sorts fields by what the proxy does with them.
type kind uint8

const (
	kindOther kind = iota
	kindHost
	kindContentLength
	kindTransferEncoding
	kindConnection
	kindExpect
	// kindHop ends at this hop (RFC 9110 section 7.6.1).
	kindHop
	// kindOwn is set by the proxy; a client's is dropped.
	kindOwn
	// kindReason is Sluice-Reason, which only our own failures carry, and
	// Sluice-Explain, which only we say.
	kindReason
	// kindUpgrade ends at this hop, too: we ask for what a client asks for.
	kindUpgrade
	// The fields from here on may stand in a head once (RFC 9110 section
	// 5.3: a recipient cannot join them).
	kindUserAgent
	kindContentType
	kindAuthorization
	kindReferer
	kindFrom
	kindOrigin
	kindRange
	kindContentRange
	kindMaxForwards
	kindIfModifiedSince
	kindIfUnmodifiedSince
)

// single reports whether a second line of the kind makes a head malformed.
func (k kind) single() bool { return k >= kindUserAgent || k == kindHost }

// metadata reports whether a field of the kind says nothing of how the message
// is read or where it goes.
func (k kind) metadata() bool { return k >= kindUserAgent || k == kindOwn || k == kindReason }

// kinds holds the field names that the proxy treats in some way.
var kinds = map[string]kind{
	"host": kindHost, "content-length": kindContentLength, "transfer-encoding": kindTransferEncoding,
	"connection": kindConnection, "expect": kindExpect,

	"te": kindHop, "upgrade": kindUpgrade, "keep-alive": kindHop, "http2-settings": kindHop,
	"proxy-connection": kindHop, "proxy-authorization": kindHop,

	"proxy":     kindOwn, // becomes HTTP_PROXY in CGI programs
	"forwarded": kindOwn, "x-real-ip": kindOwn, "x-request-id": kindOwn,
	"sluice-reason": kindReason, "sluice-explain": kindReason, "sluice-explanation": kindReason,

	"user-agent": kindUserAgent, "content-type": kindContentType, "authorization": kindAuthorization,
	"referer": kindReferer, "from": kindFrom, "origin": kindOrigin, "range": kindRange,
	"content-range": kindContentRange, "max-forwards": kindMaxForwards,
	"if-modified-since": kindIfModifiedSince, "if-unmodified-since": kindIfUnmodifiedSince,
}

// families holds the prefixes of names that the proxy sets itself.
var families = [...]string{"x-forwarded-", "sluice-"}

// maxNotable bounds the length of a name in kinds.
const maxNotable = 20

// notable is kinds by length of name. letters has, for each length of name,
// the bits of the first letters that a name in kinds or of a family may have:
// most fields of a request are passed over by it.
var notable, letters = makeNotable()

type notableName struct {
	name string
	kind kind
}

func makeNotable() (byLength [maxNotable][]notableName, first [maxNotable]uint32) {
	for name, k := range kinds {
		n := len(name)
		byLength[n] = append(byLength[n], notableName{name, k})
		first[n] |= 1 << (name[0] & 31)
	}
	for _, prefix := range families {
		for n := len(prefix) + 1; n < maxNotable; n++ {
			first[n] |= 1 << (prefix[0] & 31)
		}
	}
	return byLength, first
}

// classify returns the kind of a field name.
func classify(name []byte) kind {
	if n := len(name); n > 0 && n < maxNotable {
		if letters[len(name)]>>(name[0]&31)&1 == 0 {
			return kindOther
		}
		for i := range notable[len(name)] {
			if n := &notable[len(name)][i]; fold(name, n.name) {
				return n.kind
			}
		}
	}
	for _, prefix := range families {
		if len(name) > len(prefix) && fold(name[:len(prefix)], prefix) {
			return kindOwn
		}
	}
	return kindOther
}

// fold reports whether b, which holds no control characters, is the text s of
// lower-case letters, digits and punctuation, without regard to the letter
// case of b. It looks at several bytes at a time.
func fold(b []byte, s string) bool {
	n := len(s)
	if len(b) != n {
		return false
	}
	t := unsafe.Slice(unsafe.StringData(s), n)
	switch {
	case n >= 8:
		for i := 0; i < n-8; i += 8 {
			if lower8(b[i:]) != lower8(t[i:]) {
				return false
			}
		}
		return lower8(b[n-8:]) == lower8(t[n-8:])
	case n >= 4:
		return lower4(b) == lower4(t) && lower4(b[n-4:]) == lower4(t[n-4:])
	}
	for i := range b {
		if b[i]|0x20 != t[i] {
			return false
		}
	}
	return true
}

// lower8 returns 8 bytes with letters in lower case.
func lower8(b []byte) uint64 { return binary.LittleEndian.Uint64(b) | 0x2020202020202020 }

// lower4 does so with 4.
func lower4(b []byte) uint32 { return binary.LittleEndian.Uint32(b) | 0x20202020 }

// equalFold compares ASCII texts without regard to letter case.
func equalFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
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

// twin reports whether a name with underscores becomes, to servers that do
// not tell "_" from "-", a field that only the proxy may set.
func twin(name []byte) bool {
	if len(name) > 64 {
		return false
	}
	var b [64]byte
	for i, c := range name {
		if c == '_' {
			c = '-'
		}
		b[i] = c
	}
	switch classify(b[:len(name)]) {
	case kindOwn, kindReason, kindHop, kindUpgrade, kindConnection, kindHost, kindContentLength, kindTransferEncoding:
		return true
	default:
		return false
	}
}

// named reports whether a Connection field of the head names the field
// (RFC 9110 section 7.6.1). Host, framing and our own fields cannot be named
// away.
func (h *head) named(f *field) bool {
	if f.kind != kindOther && !f.kind.single() || f.kind == kindHost {
		return false
	}
	name := h.bytes(f.name)
	for i := range h.fields {
		if h.fields[i].kind != kindConnection {
			continue
		}
		rest := h.bytes(h.fields[i].value)
		for len(rest) > 0 {
			var token []byte
			token, rest = cutToken(rest)
			if len(token) == len(name) && equalFold(token, view(name)) {
				return true
			}
		}
	}
	return false
}

// cutToken takes the first member of a comma-separated list, trimmed.
func cutToken(list []byte) (token, rest []byte) {
	token, rest, _ = bytes.Cut(list, comma)
	return bytes.Trim(token, " \t"), rest
}

var comma = []byte{','}
