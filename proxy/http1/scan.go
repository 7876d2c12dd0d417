// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/http"

	"github.com/sluice-mesh/sluice/proxy/live"
)

// Limits of heads that are the same for all gateways.
const (
	maxAnswerFields = 200
	maxMethod       = 255
	maxStray        = 32 // bytes of empty lines before a request line
)

// Classes of bytes.
const (
	tokenByte  = 1 << iota // RFC 9110 section 5.6.2
	valueByte              // RFC 9110 section 5.5: visible, blank, tab, obs-text
	targetByte             // anything visible but "#"; obs-text goes through as sent
	hostByte               // RFC 3986 section 3.2.2, reg-name
	underscore             // "_" alone
	oddByte                // tab and obs-text
)

var class = makeClasses()

func makeClasses() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		alnum := '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
		if alnum || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), b) >= 0 {
			t[c] |= tokenByte
		}
		if b == '\t' || b >= ' ' && b != 0x7f {
			t[c] |= valueByte
		}
		if b > ' ' && b != 0x7f && b != '#' {
			t[c] |= targetByte
		}
		if alnum || bytes.IndexByte([]byte("-._~%!$&'()*+,;="), b) >= 0 {
			t[c] |= hostByte
		}
	}
	t['_'] |= underscore
	t['\t'] |= oddByte
	for c := 0x80; c < 0x100; c++ {
		t[c] |= oddByte
	}
	return t
}

// valueEnd returns where the first byte is, from i on, that cannot stand in a
// field value; len(b) if there is none. It looks at eight bytes at a time
// (H. Warren, Hacker's Delight, 6-1): the lowest bit that it finds is exact.
func (h *head) valueEnd(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		y := x ^ 0x7f*ones
		stop := ((x-0x20*ones)&^x | (y-ones)&^y) & high
		if stop == 0 {
			h.odd = h.odd || x&high != 0
			i += 8
			continue
		}
		at := bits.TrailingZeros64(stop) >> 3
		if at > 0 && x<<(64-8*at)&high != 0 {
			h.odd = true
		}
		i += at
		if b[i] != '\t' {
			return i
		}
		h.odd = true
		i++
	}
	all := uint8(0)
	for i < len(b) && class[b[i]]&valueByte != 0 {
		all |= class[b[i]]
		i++
	}
	h.odd = h.odd || all&oddByte != 0
	return i
}

// scanRequest reads a request head from the start of b. It returns the length
// of the head; 0 if it is not complete yet; or why it is refused. Lines end
// in CRLF, names are tokens, nothing is folded (RFC 9112 sections 2.2 and 5).
func (h *head) scanRequest(b []byte) (int, live.Reason) {
	h.reset()
	if h.entry == nil {
		h.entry = &defaultEntry
	}
	h.raw = b // what is refused has a method, too
	start := 0
	for len(b)-start >= 2 && b[start] == '\r' && b[start+1] == '\n' { // RFC 9112 section 2.2
		if start += 2; start > maxStray {
			return 0, live.BadRequest
		}
	}
	if len(b)-start == 1 && b[start] == '\r' {
		return 0, live.None
	}
	p, reason := h.requestLine(b, start)
	if p == 0 || reason != live.None {
		return 0, reason
	}
	h.lines = uint32(p)
	n, reason := h.scanFields(b, p, h.entry.Head, h.entry.Fields)
	if reason != live.None {
		return 0, reason
	}
	if n == 0 {
		return 0, live.None
	}
	h.raw = b[:n]
	return n, h.checkRequest()
}

// scanResponse reads the head of an answer, as scanRequest does.
func (h *head) scanResponse(b []byte) (int, live.Reason) {
	h.reset()
	if h.most == 0 {
		h.most = defaultBounds.AnswerHead
	}
	h.answer = true
	p, ok := h.statusLine(b)
	if !ok {
		return 0, live.UpstreamProtocol
	}
	if p == 0 {
		if len(b) >= h.most {
			return 0, live.UpstreamProtocol
		}
		return 0, live.None
	}
	n, reason := h.scanFields(b, p, h.most, maxAnswerFields)
	if reason != live.None {
		return 0, live.UpstreamProtocol
	}
	if n == 0 {
		return 0, live.None
	}
	h.raw = b[:n]
	if h.length >= 0 && h.chunked || h.chunked && h.minor == 0 {
		return 0, live.UpstreamProtocol
	}
	h.amend = h.amend || h.unframed() && h.seen&framingKinds != 0
	h.readConnection()
	return n, live.None
}

// framingKinds are the fields that say where a message ends.
const framingKinds = 1<<kindContentLength | 1<<kindTransferEncoding

// unframed reports whether an answer ends with its head, whatever was asked
// for, and must not say how long it is (RFC 9110 section 8.6, RFC 9112 section
// 6.1).
func (h *head) unframed() bool { return h.status < 200 || h.status == http.StatusNoContent }

func (h *head) reset() {
	fields := h.fields[:0]
	*h = head{fields: fields, length: -1, entry: h.entry, most: h.most}
}

// requestLine reads "METHOD SP target SP HTTP/1.x CRLF" and returns where the
// fields begin; 0 if the line is not complete.
func (h *head) requestLine(b []byte, start int) (int, live.Reason) {
	i := start
	for i < len(b) && class[b[i]]&tokenByte != 0 {
		i++
	}
	if i-start > maxMethod {
		return 0, live.BadRequest
	}
	if i == len(b) {
		return 0, live.None
	}
	if b[i] != ' ' || i == start {
		return 0, live.BadRequest
	}
	h.method = span{uint32(start), uint32(i)}
	i++
	from := i
	all := uint8(0)
	for i < len(b) && class[b[i]]&targetByte != 0 {
		all |= class[b[i]]
		i++
	}
	h.odd = all&oddByte != 0
	if i-from > h.entry.Target {
		return 0, live.TargetTooLong
	}
	if i == len(b) {
		return 0, live.None
	}
	if b[i] != ' ' || i == from {
		return 0, live.BadRequest
	}
	h.target = span{uint32(from), uint32(i)}
	return h.version(b, i+1)
}

// version reads "HTTP/1.x CRLF".
func (h *head) version(b []byte, i int) (int, live.Reason) {
	const form = "HTTP/1.1\r\n"
	rest := b[i:]
	for k := range min(len(rest), len(form)) {
		c := rest[k]
		switch {
		case k == 5 || k == 7:
			if c < '0' || c > '9' {
				return 0, live.BadRequest
			}
		case c != form[k]:
			return 0, live.BadRequest
		}
	}
	if len(rest) < len(form) {
		return 0, live.None
	}
	if rest[5] != '1' {
		// Whatever follows in another version's form is not looked at, but a
		// preface of HTTP/2 is told apart from a mere wrong number.
		if fold(b[h.method.from:h.method.to], "pri") {
			return 0, live.BadRequest
		}
		return 0, live.VersionNotSupported
	}
	if rest[7] > '1' {
		h.minor = 1
	} else {
		h.minor = int(rest[7] - '0')
	}
	return i + len(form), live.None
}

// statusLine reads "HTTP/1.x SP 3DIGIT [SP reason] CRLF" and returns where
// the fields begin; 0 if the line is not complete.
func (h *head) statusLine(b []byte) (int, bool) {
	const form = "HTTP/1."
	for k := range min(len(b), len(form)) {
		if b[k] != form[k] {
			return 0, false
		}
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return 0, true
	}
	if end < 13 || b[end-1] != '\r' || b[8] != ' ' || b[7] < '0' || b[7] > '9' {
		return 0, false
	}
	for _, c := range b[9:12] {
		if c < '0' || c > '9' {
			return 0, false
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || end > 13 && b[12] != ' ' {
		return 0, false
	}
	for _, c := range b[12 : end-1] {
		if class[c]&valueByte == 0 {
			return 0, false
		}
	}
	h.reason = span{12, uint32(end - 1)}
	h.minor = int(min(b[7]-'0', 1))
	h.amend = b[7] != '1' || b[12] != ' '
	return end + 1, true
}

// scanFields reads field lines from p to the empty line and returns where the
// head ends; 0 if it is not complete.
func (h *head) scanFields(b []byte, p, limit, fields int) (int, live.Reason) {
	for {
		if p+1 < len(b) && b[p] == '\r' && b[p+1] == '\n' {
			if p+2 > limit {
				return 0, live.HeadTooLarge
			}
			return p + 2, live.None
		}
		next, reason := h.scanField(b, p)
		if reason != live.None {
			return 0, reason
		}
		if next == 0 {
			return 0, unfinished(len(b) >= limit, live.HeadTooLarge)
		}
		if len(h.fields) > fields || next > limit {
			return 0, live.HeadTooLarge
		}
		p = next
	}
}

// unfinished tells a head that may still become complete from one that is
// over a limit.
func unfinished(over bool, r live.Reason) live.Reason {
	if over {
		return r
	}
	return live.None
}

// scanField reads one line and returns where the next begins; 0 if the line
// is not complete.
func (h *head) scanField(b []byte, p int) (int, live.Reason) {
	i := p
	all := uint8(0)
	for i < len(b) {
		of := class[b[i]]
		if of&tokenByte == 0 {
			break
		}
		all |= of
		i++
	}
	if i == len(b) || i == p && b[i] == '\r' && i+1 == len(b) {
		return 0, live.None
	}
	if b[i] != ':' || i == p {
		return 0, live.BadRequest
	}
	f := field{name: span{uint32(p), uint32(i)}}
	i++
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	from := i
	i = h.valueEnd(b, i)
	if i+1 >= len(b) {
		if i < len(b) && b[i] != '\r' {
			return 0, live.BadRequest
		}
		return 0, live.None
	}
	if b[i] != '\r' || b[i+1] != '\n' {
		return 0, live.BadRequest
	}
	to := i
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	f.value, f.end = span{uint32(from), uint32(to)}, uint32(i+2)
	f.kind = classify(b[p:f.name.to])
	if f.kind == kindOther && all&underscore != 0 && twin(b[p:f.name.to]) {
		f.kind = kindOwn
	}
	reason := live.None
	if f.kind != kindOther {
		reason = h.note(&f, b[from:to])
	}
	h.fields = append(h.fields, f)
	return i + 2, reason
}

// note takes in what a field means for framing and forwarding.
func (h *head) note(f *field, value []byte) live.Reason {
	again := h.seen&(1<<f.kind) != 0
	h.seen |= 1 << f.kind
	if again && f.kind.single() && !h.answer {
		return live.BadRequest
	}
	switch f.kind {
	case kindHost:
		h.host = f.value
	case kindContentLength:
		n, ok := parseLength(value)
		if again || !ok {
			return live.BadRequest
		}
		h.length = n
	case kindTransferEncoding:
		if again || !fold(value, "chunked") {
			return live.CodingNotSupported
		}
		h.chunked = true
	case kindExpect:
		h.expect = fold(value, "100-continue")
	default:
	}
	return live.None
}

// parseLength reads 1 to 18 digits.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// checkRequest applies what rules over a whole request head.
func (h *head) checkRequest() live.Reason {
	if h.chunked && (h.length >= 0 || h.minor == 0) {
		return live.BadRequest // RFC 9112 section 6.1
	}
	if fold(h.bytes(h.method), "connect") {
		return live.MethodNotAllowed
	}
	if r := h.checkTarget(); r != live.None {
		return r
	}
	if !h.validHosts() {
		return live.BadRequest
	}
	h.readConnection()
	return live.None
}

// validHosts reports whether there is a valid Host (RFC 9112 section 3.2).
// HTTP/1.0 knows none; there the absolute form says as much.
func (h *head) validHosts() bool {
	if h.seen&(1<<kindHost) == 0 {
		return h.minor == 0 && h.authority.to > 0
	}
	return validHost(h.bytes(h.host))
}

// checkTarget accepts the origin form, the absolute form of http and https,
// whose authority then rules over Host, and "*" for OPTIONS (RFC 9112 section
// 3.2).
func (h *head) checkTarget() live.Reason {
	t := h.bytes(h.target)
	switch {
	case t[0] == '/':
		return live.None
	case len(t) == 1 && t[0] == '*':
		if string(h.bytes(h.method)) == "OPTIONS" {
			return live.None
		}
		return live.BadRequest
	}
	var scheme int
	switch {
	case len(t) > 7 && fold(t[:7], "http://"):
		scheme = 7
	case len(t) > 8 && fold(t[:8], "https://"):
		scheme = 8
	default:
		return live.BadRequest
	}
	end := bytes.IndexAny(t[scheme:], "/?")
	if end < 0 {
		end = len(t)
	} else {
		end += scheme
	}
	if !validHost(t[scheme:end]) {
		return live.BadRequest
	}
	h.authority = span{h.target.from + uint32(scheme), h.target.from + uint32(end)}
	h.target.from += uint32(end)
	return live.None
}

// validHost accepts uri-host [":" port] without user information (RFC 9110
// section 4.2.1, RFC 3986 section 3.2).
func validHost(b []byte) bool {
	if len(b) > 0 && b[0] == '[' {
		return validLiteral(b)
	}
	host, port, hasPort := bytes.Cut(b, colon)
	if hasPort && !validPort(port) {
		return false
	}
	for _, c := range host {
		if class[c]&hostByte == 0 {
			return false
		}
	}
	return len(host) > 0
}

// validLiteral accepts an IPv6 address in brackets, and a port.
func validLiteral(b []byte) bool {
	end := bytes.IndexByte(b, ']')
	if end < 2 {
		return false
	}
	for _, c := range b[1:end] {
		if !isHex(c) && c != ':' && c != '.' {
			return false
		}
	}
	rest := b[end+1:]
	return len(rest) == 0 || rest[0] == ':' && validPort(rest[1:])
}

var colon = []byte{':'}

// validPort accepts 1 to 65535, and nothing at all: that is the default port
// (RFC 3986 section 3.2.3).
func validPort(b []byte) bool {
	n, ok := parseLength(b)
	return len(b) == 0 || ok && n >= 1 && n <= 65535
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// readConnection takes in the connection options.
func (h *head) readConnection() {
	if h.seen&(1<<kindConnection) == 0 {
		return
	}
	for i := range h.fields {
		if h.fields[i].kind != kindConnection {
			continue
		}
		rest := h.bytes(h.fields[i].value)
		for len(rest) > 0 {
			var token []byte
			token, rest = cutToken(rest)
			switch {
			case len(token) == 0:
			case fold(token, "close"):
				h.close = true
			case fold(token, "keep-alive"):
				h.keepAlive = true
			default:
				h.connection = true
				h.upgrade = h.upgrade || fold(token, "upgrade")
			}
		}
	}
	h.upgrade = h.upgrade && h.upgrades()
}

// drops reports whether a field is not forwarded.
func (h *head) drops(f *field) bool {
	switch f.kind {
	case kindHop, kindUpgrade, kindConnection, kindReason:
		return true
	case kindContentLength, kindTransferEncoding:
		return h.amend && h.unframed()
	default:
		return h.connection && h.named(f)
	}
}
