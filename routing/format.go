// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// maxFormatted bounds what a format makes of one request.
const maxFormatted = 16 << 10

// Format is a text with parts that each request fills in, such as
// "/v2%[path]". It is immutable and safe for concurrent use.
//
// What stands in %[ ] is a sample expression of HAProxy (Configuration Manual
// 3.0, section 7.3): a fetch, its arguments in parentheses, and converters
// after commas. "%%" is a percent sign, and so is "%" before two hexadecimal
// digits. Where a fetch finds nothing, nothing stands in its place.
type Format struct {
	text  string
	parts []formatPart
}

// formatPart is a text that stands for itself, or a fetch.
type formatPart struct {
	literal    string // if fetch is fetchNone
	fetch      fetch
	name       string // of a field in canonical form, of a cookie or parameter
	occurrence int    // of a field: from 1 on, or from -1 on from the last
	steps      []formatStep
}

// String returns the format as it was written.
func (f *Format) String() string { return f.text }

// Append appends what the format says for r and reports whether it can: if
// not, b is returned as it was. What was appended has no control characters
// but tabs, and at most 16 KiB. Append allocates only to extend b, and for
// converters that make a text longer.
func (f *Format) Append(b []byte, r conditions.Request) ([]byte, bool) {
	from := len(b)
	for i := range f.parts {
		p := &f.parts[i]
		start := len(b)
		b = p.append(b, r)
		for k := range p.steps {
			var ok bool
			if b, ok = p.steps[k].convert(b, start); !ok {
				return b[:from], false
			}
		}
		if len(b)-from > maxFormatted {
			return b[:from], false
		}
	}
	for _, c := range b[from:] {
		if c < ' ' && c != '\t' || c == 0x7f {
			return b[:from], false
		}
	}
	return b, true
}

// fetch is what is taken from a request.
type fetch uint8

const (
	fetchNone fetch = iota
	fetchBase
	fetchCookie
	fetchDst
	fetchDstPort
	fetchField     // the last member of a list, or the one asked for
	fetchFullField // the last line, or the one asked for
	fetchMethod
	fetchParam
	fetchPath
	fetchPathQuery
	fetchQuery
	fetchSrc
	fetchSrcPort
	fetchTLS
	fetchURL
)

func (p *formatPart) append(b []byte, r conditions.Request) []byte {
	switch p.fetch {
	case fetchNone:
		return append(b, p.literal...)
	case fetchBase:
		return append(append(b, r.Host()...), pathOf(r)...)
	case fetchCookie:
		return append(b, lastCookie(r, p.name)...)
	case fetchDst:
		return appendAddr(b, r.Conn().Local.Addr())
	case fetchDstPort:
		return strconv.AppendUint(b, uint64(r.Conn().Local.Port()), 10)
	case fetchField, fetchFullField:
		return append(b, p.field(r)...)
	case fetchMethod:
		return append(b, r.Method()...)
	case fetchParam:
		return append(b, firstParam(r.Query(), p.name)...)
	case fetchPath:
		return append(b, pathOf(r)...)
	case fetchPathQuery:
		b = append(b, pathOf(r)...)
		if q := r.Query(); q != "" {
			b = append(append(b, '?'), q...)
		}
		return b
	case fetchQuery:
		return append(b, r.Query()...)
	case fetchSrc:
		return appendAddr(b, r.Conn().Client.Addr())
	case fetchSrcPort:
		return strconv.AppendUint(b, uint64(r.Conn().Client.Port()), 10)
	case fetchTLS:
		if r.Conn().TLS != nil {
			return append(b, '1')
		}
		return append(b, '0')
	case fetchURL:
		return append(b, r.Target()...)
	default:
		return b
	}
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	return a.WithZone("").AppendTo(b)
}

// pathOf returns the path of a request: "/" where the target leaves it out,
// nothing for the target "*".
func pathOf(r conditions.Request) string {
	switch path := r.Path(); path {
	case "":
		return "/"
	case "*":
		return ""
	default:
		return path
	}
}

// field returns a line of a field, or a member of the list that its lines
// are.
func (p *formatPart) field(r conditions.Request) string {
	if p.name == "Host" {
		return r.Host() // which an absolute target may have replaced
	}
	n := p.occurrence
	if n < 0 {
		if n += p.count(r) + 1; n < 1 {
			return ""
		}
	}
	found := ""
	p.each(r, func(value string) bool {
		n--
		if n == 0 {
			found = value
		}
		return n > 0
	})
	return found
}

func (p *formatPart) count(r conditions.Request) (n int) {
	p.each(r, func(string) bool { n++; return true })
	return n
}

// each calls yield for each line, or member, until it returns false.
func (p *formatPart) each(r conditions.Request, yield func(string) bool) {
	for line, next := r.Field(p.name, 0); next >= 0; line, next = r.Field(p.name, next) {
		if p.fetch == fetchFullField {
			if !yield(line) {
				return
			}
			continue
		}
		for more := true; more; {
			var member string
			member, line, more = cutMember(line)
			if !yield(member) {
				return
			}
		}
	}
}

// cutMember takes the first member of a list. Commas in quoted strings do not
// separate (RFC 9110 section 5.6.4).
func cutMember(list string) (member, rest string, more bool) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return strings.Trim(list[:i], " \t"), list[i+1:], true
		}
	}
	return strings.Trim(list, " \t"), "", false
}

// lastCookie returns the value of the last cookie of a name.
func lastCookie(r conditions.Request, name string) (value string) {
	for line, next := r.Field("Cookie", 0); next >= 0; line, next = r.Field("Cookie", next) {
		for rest := line; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			if n, v, ok := strings.Cut(pair, "="); ok && strings.Trim(n, " \t") == name {
				value = strings.Trim(v, " \t")
			}
		}
	}
	return value
}

// firstParam returns the value of the first parameter of a name, as it was
// sent.
func firstParam(query, name string) string {
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}

// formatStep is a converter with its arguments.
type formatStep struct {
	do     conversion
	number int           // of convertField
	delims string        // of convertField
	sub    *substitution // of convertRegsub
}

// conversion says what becomes of what was fetched.
type conversion uint8

const (
	convertField conversion = iota
	convertLower
	convertRegsub
	convertUpper
	convertURLDec
	convertURLEnc
)

// convert converts b from start on; false if that cannot be done.
func (s *formatStep) convert(b []byte, start int) ([]byte, bool) {
	part := b[start:]
	switch s.do {
	case convertField:
		return append(b[:start], s.field(part)...), true
	case convertLower:
		for i, c := range part {
			part[i] = lowerASCII(c)
		}
	case convertUpper:
		for i, c := range part {
			if 'a' <= c && c <= 'z' {
				part[i] = c - 'a' + 'A'
			}
		}
	case convertRegsub:
		changed, ok := s.sub.replace(part)
		return append(b[:start], changed...), ok
	case convertURLDec:
		n, ok := decodeInPlace(part)
		return b[:start+n], ok
	case convertURLEnc:
		return append(b[:start], encoded(part)...), true
	}
	return b, true
}

// field returns the n-th of the fields that delimiters separate, counted from
// the last if n is negative; nothing if there is none.
func (s *formatStep) field(text []byte) []byte {
	n := s.number
	for ; n > 1; n-- {
		i := bytes.IndexAny(text, s.delims)
		if i < 0 {
			return nil
		}
		text = text[i+1:]
	}
	for ; n < -1; n++ {
		i := bytes.LastIndexAny(text, s.delims)
		if i < 0 {
			return nil
		}
		text = text[:i]
	}
	if n > 0 {
		if i := bytes.IndexAny(text, s.delims); i >= 0 {
			text = text[:i]
		}
		return text
	}
	return text[bytes.LastIndexAny(text, s.delims)+1:]
}

// decodeInPlace resolves %XX and returns the new length; false if "%" stands
// without two hexadecimal digits.
func decodeInPlace(b []byte) (n int, ok bool) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' {
			if i+2 >= len(b) || !isHexDigit(b[i+1]) || !isHexDigit(b[i+2]) {
				return n, false
			}
			c = hexValue(b[i+1])<<4 | hexValue(b[i+2])
			i += 2
		}
		b[n] = c
		n++
	}
	return n, true
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= lowerASCII(c) && lowerASCII(c) <= 'f'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lowerASCII(c) - 'a' + 10
}

// encoded writes everything but unreserved characters as %XX (RFC 3986
// section 2.3).
func encoded(text []byte) []byte {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(text)+len(text)/2)
	for _, c := range text {
		switch {
		case 'a' <= lowerASCII(c) && lowerASCII(c) <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}
