// SPDX-License-Identifier: Apache-2.0

package http1

import "bytes"

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

	// Of requests.
	method, target span
	authority      span // of an absolute-form target; otherwise empty
	host           span

	// Of answers.
	answer bool
	status int
	reason span // from after the status code to the end of the line

	minor      int   // of the version: 0 or 1
	length     int64 // Content-Length; -1 if absent
	chunked    bool
	close      bool // Connection: close
	keepAlive  bool // Connection: keep-alive
	expect     bool // Expect: 100-continue
	connection bool // Connection names fields: drop looks at them
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

// classify returns the kind of a field name.
func classify(name []byte) kind {
	switch len(name) {
	case 2:
		return pick(name, "te", kindHop)
	case 4:
		if fold(name, "host") {
			return kindHost
		}
		return pick(name, "from", kindFrom)
	case 5:
		if fold(name, "proxy") { // becomes HTTP_PROXY in CGI programs
			return kindOwn
		}
		return pick(name, "range", kindRange)
	case 6:
		if fold(name, "expect") {
			return kindExpect
		}
		return pick(name, "origin", kindOrigin)
	case 7:
		if fold(name, "upgrade") {
			return kindHop
		}
		return pick(name, "referer", kindReferer)
	case 9:
		if fold(name, "forwarded") || fold(name, "x-real-ip") {
			return kindOwn
		}
	case 10:
		switch {
		case fold(name, "connection"):
			return kindConnection
		case fold(name, "keep-alive"):
			return kindHop
		}
		return pick(name, "user-agent", kindUserAgent)
	case 12:
		if fold(name, "content-type") {
			return kindContentType
		}
		if fold(name, "x-request-id") {
			return kindOwn
		}
		return pick(name, "max-forwards", kindMaxForwards)
	case 13:
		switch {
		case fold(name, "authorization"):
			return kindAuthorization
		case fold(name, "content-range"):
			return kindContentRange
		case fold(name, "sluice-reason"):
			return kindReason
		}
	case 14:
		if fold(name, "content-length") {
			return kindContentLength
		}
		if fold(name, "sluice-explain") {
			return kindReason
		}
		return pick(name, "http2-settings", kindHop)
	case 16:
		return pick(name, "proxy-connection", kindHop)
	case 17:
		if fold(name, "transfer-encoding") {
			return kindTransferEncoding
		}
		return pick(name, "if-modified-since", kindIfModifiedSince)
	case 18:
		if fold(name, "sluice-explanation") {
			return kindReason
		}
	case 19:
		if fold(name, "proxy-authorization") {
			return kindHop
		}
		return pick(name, "if-unmodified-since", kindIfUnmodifiedSince)
	}
	return classifyPrefix(name)
}

// classifyPrefix finds the families of names that the proxy sets itself.
func classifyPrefix(name []byte) kind {
	switch {
	case len(name) > 12 && fold(name[:12], "x-forwarded-"):
		return kindOwn
	case len(name) > 7 && fold(name[:7], "sluice-"):
		return kindOwn
	}
	return kindOther
}

func pick(name []byte, want string, k kind) kind {
	if fold(name, want) {
		return k
	}
	return classifyPrefix(name)
}

// fold reports whether b is the lower-case text s, without regard to the
// letter case of b.
func fold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

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
	if bytes.IndexByte(name, '_') < 0 || len(name) > 64 {
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
	case kindOwn, kindReason, kindHop, kindConnection, kindHost, kindContentLength, kindTransferEncoding:
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
