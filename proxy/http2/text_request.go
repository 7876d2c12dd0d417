// SPDX-License-Identifier: Apache-2.0

package http2

import "golang.org/x/net/http2/hpack"

// requestText turns the header list of a request into the head of a message
// of HTTP/1. What HTTP/2 itself forbids is refused (RFC 9113 sections 8.2 and
// 8.3), so that no list becomes text that means anything else; what any
// request may not have is left to who reads the text. It is used again for
// the next list: reset, add for each field as the decoder of HPACK emits it,
// end.
type requestText struct {
	list

	method, scheme, path, authority, host string
	seen                                  uint8  // pseudo-fields and host, by what they are
	cookie                                []byte // crumbs, joined (RFC 9113 section 8.2.3)
}

const (
	sawMethod = 1 << iota
	sawScheme
	sawPath
	sawAuthority
	sawHost
)

// reset begins a list of at most so many bytes, counted as for
// SETTINGS_MAX_HEADER_LIST_SIZE.
func (t *requestText) reset(most int) {
	t.list.reset(most)
	t.method, t.scheme, t.path, t.authority, t.host = "", "", "", "", ""
	t.seen, t.cookie = 0, t.cookie[:0]
}

// add takes in the next field of the list.
func (t *requestText) add(f hpack.HeaderField) {
	if !t.counts(&f) {
		return
	}
	switch {
	case f.Name == "":
		t.fault = badName
	case f.Name[0] == ':':
		t.pseudo(f.Name, f.Value)
	case f.Name == "cookie":
		t.crumb(f.Value)
	case f.Name == "host":
		t.fields = true
		t.once(&t.host, f.Value, sawHost, badAuthority)
	default:
		t.put(f.Name, f.Value)
	}
}

// isHead reports whether the method is HEAD: the answer has no content.
func (t *requestText) isHead() bool { return t.method == "HEAD" }

func (t *requestText) pseudo(name, value string) {
	switch {
	case t.fields:
		t.fault = badPseudo
	case name == ":method":
		t.once(&t.method, value, sawMethod, badPseudo)
	case name == ":scheme":
		t.once(&t.scheme, value, sawScheme, badPseudo)
	case name == ":path":
		t.once(&t.path, value, sawPath, badPseudo)
	case name == ":authority":
		t.once(&t.authority, value, sawAuthority, badPseudo)
	default:
		t.fault = badPseudo
	}
}

// once takes in what a request says one time at most.
func (t *requestText) once(into *string, value string, what uint8, again malformed) {
	if t.seen&what != 0 {
		t.fault = again
		return
	}
	t.seen |= what
	*into = value
}

func (t *requestText) crumb(value string) {
	t.fields = true
	if !validValue(value) {
		t.fault = badValue
		return
	}
	if t.past {
		return
	}
	if len(t.cookie) > 0 {
		t.cookie = append(t.cookie, ';', ' ')
	}
	t.cookie = append(t.cookie, value...)
}

// end appends the text of the list to b, and says how the content becomes
// text. ended says that there is none: END_STREAM came with the list. A list
// over its limit becomes a head that is over it, too, and that never ends, so
// that who reads it refuses it as such: its content is passed over.
func (t *requestText) end(b []byte, ended bool) ([]byte, content, malformed) {
	if t.past && t.fault == wellFormed {
		return t.endless(b), content{form: passedOver}, wellFormed
	}
	if t.fault == wellFormed {
		t.fault = t.check()
	}
	if t.fault != wellFormed {
		return b, content{}, t.fault
	}
	c, fault := t.content(ended)
	if fault != wellFormed {
		return b, content{}, fault
	}
	b = t.requestLine(b)
	if host := t.effectiveHost(); t.seen&(sawAuthority|sawHost) != 0 {
		b = append(b, "Host: "...)
		b = append(b, host...)
		b = append(b, '\r', '\n')
	}
	b = append(b, t.lines...)
	if len(t.cookie) > 0 {
		b = append(b, "cookie: "...)
		b = append(b, t.cookie...)
		b = append(b, '\r', '\n')
	}
	return appendFraming(b, c.form, t.length), c, wellFormed
}

// content says how the content becomes text: by chunks, too, where trailers
// are announced, since what has a length has none in HTTP/1.
func (t *requestText) content(ended bool) (content, malformed) {
	switch {
	case ended && t.length > 0:
		return content{}, badLength
	case ended:
		return content{want: -1}, wellFormed
	case t.length < 0 || t.tells:
		return content{form: byChunks, want: t.length}, wellFormed
	default:
		return content{form: asIs, want: t.length}, wellFormed
	}
}

// check applies what rules over a whole list (RFC 9113 sections 8.3.1 and
// 8.5).
func (t *requestText) check() malformed {
	if !only(t.method, methodByte) {
		return badRequestLine
	}
	if t.seen&sawAuthority != 0 && t.authority != "" && !only(t.authority, targetByte) || !validValue(t.host) {
		return badAuthority
	}
	if t.seen&(sawAuthority|sawHost) == sawAuthority|sawHost && !equalFold(t.authority, t.host) {
		return badAuthority
	}
	if t.method == "CONNECT" {
		if t.seen&(sawScheme|sawPath) != 0 || t.authority == "" {
			return badConnect
		}
		return wellFormed
	}
	if !only(t.scheme, schemeByte) || !only(t.path, targetByte) {
		return badRequestLine
	}
	if t.path[0] != '/' && (t.path != "*" || t.method != "OPTIONS") {
		return badRequestLine // in the absolute form it would name another host
	}
	return wellFormed
}

// effectiveHost returns whom the request is for: :authority rules.
func (t *requestText) effectiveHost() string {
	if t.seen&sawAuthority != 0 {
		return t.authority
	}
	return t.host
}

func (t *requestText) requestLine(b []byte) []byte {
	b = append(b, t.method...)
	b = append(b, ' ')
	if t.method == "CONNECT" {
		b = append(b, t.authority...)
	} else {
		b = append(b, t.path...)
	}
	return append(b, " HTTP/1.1\r\n"...)
}

// endless appends the beginning of a head that is longer than the limit: the
// request line as far as it was read, and then the name of a field that does
// not end.
func (t *requestText) endless(b []byte) []byte {
	from := len(b)
	if only(t.method, methodByte) && only(t.path, targetByte) && t.method != "CONNECT" {
		b = t.requestLine(b)
	}
	b = b[:min(len(b), from+t.most)]
	for len(b)-from <= t.most {
		b = append(b, 'x')
	}
	return b
}

// equalFold compares ASCII texts without regard to the case of letters.
func equalFold(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lower(t[i]) {
			return false
		}
	}
	return true
}
