// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"sync"
	"unsafe"
)

// aclFetch is what a test looks at.
type aclFetch uint8

const (
	fetchHdr aclFetch = iota
	fetchFhdr
	fetchHdrCnt
	fetchFhdrCnt
	fetchHdrVal
	fetchHdrIP
	fetchCook
	fetchCookCnt
	fetchCookVal
	fetchParam
	fetchParamVal
	fetchPath
	fetchPathq
	fetchURL
	fetchQuery
	fetchBase
	fetchBaseq
	fetchMethod
	fetchSrc
	fetchSrcPort
	fetchDst
	fetchDstPort
	fetchTLS
	fetchSNI
	fetchALPN
	fetchProtocol
	fetchClientUsed
	fetchClientVerify
	fetchClientSubject
	fetchHelloType
	fetchHelloSNI
	fetchHelloALPN
	fetchRand
	fetchText
	fetchInt
	fetchBool
)

// aclSample is one thing that a fetch yields. Texts are views of the request
// or of the scratch of the cursor.
type aclSample struct {
	kind   aclType
	text   string     // of texts and bytes
	number int64      // of integers and booleans (0, 1)
	addr   netip.Addr // of addresses; IPv4 in its short form
}

// aclCursor says how far a test has come in what its fetch yields.
type aclCursor struct {
	began   bool   // the only sample was yielded
	open    bool   // rest has more
	rest    string // of the line or query
	field   int    // position in the request, or of a protocol
	cookies string // of the value that was reached
	scratch *aclScratch
}

// aclScratch is where texts are made that are no part of the request. A text
// that does not fit makes its test fail, as it does in HAProxy, whose buffers
// are finite, too. It is pooled rather than put on the stack: a regular
// expression keeps its input in memory of its own while it runs, which must
// not point into a stack that may move.
type aclScratch [8 << 10]byte

var aclScratches = sync.Pool{New: func() any { return new(aclScratch) }}

// buffer returns the scratch. What was made in it before is lost, unless it
// is copied first: copying within the scratch is fine.
func (c *aclCursor) buffer() []byte {
	if c.scratch == nil {
		c.scratch = aclScratches.Get().(*aclScratch)
	}
	return c.scratch[:]
}

// release gives the scratch back, to which no sample may point any more.
func (c *aclCursor) release() {
	if c.scratch != nil {
		aclScratches.Put(c.scratch)
		c.scratch = nil
	}
}

// viewACL returns b, a part of a scratch, as a text without copying it.
func viewACL(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// next returns the next sample; false if there is none left.
func (t *aclTest) next(r Request, c *aclCursor) (aclSample, bool) {
	switch t.fetch {
	case fetchHdr, fetchFhdr, fetchHdrVal, fetchHdrIP:
		return t.nextField(r, c)
	case fetchCook, fetchCookVal:
		value, ok := c.nextCookie(r, t.arg)
		return aclValueOf(t.fetch == fetchCookVal, value), ok
	case fetchParam, fetchParamVal:
		value, ok := c.nextParam(r, t)
		return aclValueOf(t.fetch == fetchParamVal, value), ok
	case fetchHelloALPN:
		return c.nextProtocol(r.Conn().Hello)
	default:
		if c.began {
			return aclSample{}, false
		}
		c.began = true
		return t.only(r, c)
	}
}

// only returns the sample of a fetch that yields at most one.
func (t *aclTest) only(r Request, c *aclCursor) (aclSample, bool) {
	switch t.fetch {
	case fetchHdrCnt, fetchFhdrCnt:
		return intSample(int64(t.countFields(r))), true
	case fetchCookCnt:
		var count aclCursor
		n := int64(0)
		for _, ok := count.nextCookie(r, t.arg); ok; _, ok = count.nextCookie(r, t.arg) {
			n++
		}
		return intSample(n), true
	case fetchPath, fetchPathq, fetchURL, fetchQuery, fetchBase, fetchBaseq:
		return t.fetch.ofTarget(r, c)
	case fetchMethod:
		s := aclSample{text: r.Method()}
		return s, s.text != ""
	case fetchSrc:
		return addrSample(r.Conn().Client)
	case fetchDst:
		return addrSample(r.Conn().Local)
	case fetchSrcPort:
		a := r.Conn().Client
		return intSample(int64(a.Port())), a.IsValid()
	case fetchDstPort:
		a := r.Conn().Local
		return intSample(int64(a.Port())), a.IsValid()
	case fetchTLS:
		return boolSample(r.Conn().TLS != nil), true
	case fetchSNI, fetchALPN, fetchProtocol:
		return t.fetch.ofTLS(r.Conn().TLS)
	case fetchClientUsed, fetchClientVerify:
		return t.fetch.ofClient(r.Conn().TLS)
	case fetchClientSubject:
		return t.ofSubject(r.Conn(), c)
	case fetchHelloType, fetchHelloSNI:
		return t.fetch.ofHello(r.Conn().Hello)
	case fetchRand:
		return intSample(int64(uint64(r.Random()) * uint64(t.number) >> 32)), true
	case fetchText:
		return aclSample{text: t.arg}, true
	case fetchInt:
		return intSample(t.number), true
	default: // fetchBool
		return boolSample(t.number != 0), true
	}
}

func intSample(n int64) aclSample { return aclSample{kind: aclInt, number: n} }

func boolSample(b bool) aclSample {
	s := aclSample{kind: aclBool}
	if b {
		s.number = 1
	}
	return s
}

func addrSample(a netip.AddrPort) (aclSample, bool) {
	return aclSample{kind: aclIP, addr: a.Addr().Unmap()}, a.IsValid()
}

// aclValueOf returns a text as it is, or as the number that it begins with.
func aclValueOf(number bool, s string) aclSample {
	if number {
		return intSample(int64(leadingInt(s)))
	}
	return aclSample{text: s}
}

// leadingInt reads a number as the fetches that end in _val do: 32 bits that
// wrap around, up to the first byte above "9". What stands below "0" counts
// as a negative digit; HAProxy has always read blanks and points like that.
func leadingInt(s string) int32 {
	sign := int32(1)
	if s != "" && s[0] == '-' {
		sign, s = -1, s[1:]
	}
	n := int32(0)
	for i := range len(s) {
		digit := int32(int8(s[i])) - '0'
		if digit > 9 {
			break
		}
		n = n*10 + sign*digit
	}
	return n
}

// nextField yields values of a header field: of all its lines, or the one
// that the occurrence names.
func (t *aclTest) nextField(r Request, c *aclCursor) (aclSample, bool) {
	for {
		value, ok := t.nextFieldValue(r, c)
		if !ok {
			return aclSample{}, false
		}
		if t.fetch != fetchHdrIP {
			return aclValueOf(t.fetch == fetchHdrVal, value), true
		}
		if addr, ok := parseFieldIP(value); ok {
			return aclSample{kind: aclIP, addr: addr}, true
		}
	}
}

func (t *aclTest) nextFieldValue(r Request, c *aclCursor) (value string, ok bool) {
	if t.number == 0 {
		return c.nextValue(r, t.arg, t.fetch != fetchFhdr)
	}
	if c.began {
		return "", false
	}
	c.began = true
	skip := int(t.number) - 1
	if t.number < 0 {
		skip = t.countFields(r) + int(t.number)
	}
	if skip < 0 {
		return "", false
	}
	for ok = true; ok && skip >= 0; skip-- {
		value, ok = c.nextValue(r, t.arg, t.fetch != fetchFhdr)
	}
	return value, ok
}

func (t *aclTest) countFields(r Request) int {
	var c aclCursor
	n := 0
	split := t.fetch != fetchFhdr && t.fetch != fetchFhdrCnt
	for _, ok := c.nextValue(r, t.arg, split); ok; _, ok = c.nextValue(r, t.arg, split) {
		n++
	}
	return n
}

// nextValue returns the next value of a field: a line, or what stands between
// commas in one.
func (c *aclCursor) nextValue(r Request, name string, split bool) (string, bool) {
	if !c.open {
		line, next := r.Field(name, c.field)
		if next < 0 {
			return "", false
		}
		if c.field = next; !split {
			return line, true
		}
		c.rest, c.open = line, true
	}
	end := unquotedIndex(c.rest, ',', ',')
	value := c.rest[:end]
	if c.open = end < len(c.rest); c.open {
		c.rest = c.rest[end+1:]
	}
	return trim(value), true
}

// unquotedIndex returns where the first of two bytes stands outside double
// quotes, or else the length of s.
func unquotedIndex(s string, a, b byte) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '"':
			quoted = !quoted
		case quoted && ch == '\\':
			i++
		case !quoted && (ch == a || ch == b):
			return i
		}
	}
	return len(s)
}

// nextCookie returns the value of the next cookie called name, or of any if
// that is empty.
func (c *aclCursor) nextCookie(r Request, name string) (value string, ok bool) {
	for {
		if value, c.cookies, ok = cutCookie(c.cookies, name); ok {
			return value, true
		}
		if c.cookies, ok = c.nextValue(r, "Cookie", true); !ok {
			return "", false
		}
	}
}

// cutCookie finds the next cookie called name in s, which is what stands
// between commas in a line: HAProxy reads the field as a list first. Quotes
// protect both commas and semicolons, names that start with "$" do not count,
// and a cookie without a value at the end of s is not found.
func cutCookie(s, name string) (value, rest string, ok bool) {
	for len(s) > len(name)+1 {
		start := trimLeft(s)
		i := strings.IndexAny(start, "=;,")
		if i < 0 {
			break
		}
		if start[i] != '=' {
			s = start[i+1:]
			continue
		}
		value = trimLeft(start[i+1:])
		end := unquotedIndex(value, ',', ';')
		s = value[min(end+1, len(value)):]
		if start[0] != '$' && (name == "" || trim(start[:i]) == name) {
			return trim(value[:end]), s, true
		}
	}
	return "", "", false
}

func trimLeft(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

// nextParam returns the value of the next parameter of the query with the
// name of the test, or of any if that is empty.
func (c *aclCursor) nextParam(r Request, t *aclTest) (value string, ok bool) {
	if !c.began {
		c.began = true
		target := r.Target()
		if i := strings.IndexByte(target, t.delimiter); i >= 0 {
			c.rest = target[i+1:]
		}
	}
	s := c.rest
	if t.arg == "" {
		_, s, ok = strings.Cut(s, "=")
	} else {
		for !ok && len(s) > len(t.arg) {
			if ok = s[len(t.arg)] == '=' && s[:len(t.arg)] == t.arg; ok {
				s = s[len(t.arg)+1:]
			} else {
				s = s[min(t.paramEnd(s)+1, len(s)):]
			}
		}
	}
	if !ok {
		c.rest = ""
		return "", false
	}
	end := t.paramEnd(s)
	c.rest = s[min(end+1, len(s)):]
	return s[:end], true
}

// paramEnd returns where the parameter at the start of s ends.
func (t *aclTest) paramEnd(s string) int {
	for i := range len(s) {
		if s[i] == '&' || s[i] == ';' || s[i] == t.delimiter {
			return i
		}
	}
	return len(s)
}

// ofTarget returns a part of the request target.
func (f aclFetch) ofTarget(r Request, c *aclCursor) (aclSample, bool) {
	target := r.Target()
	if target == "" {
		return aclSample{}, false
	}
	if f == fetchURL {
		return aclSample{text: target}, true
	}
	if f == fetchQuery {
		_, query, ok := strings.Cut(target, "?")
		return aclSample{text: query}, ok
	}
	path := originPart(target)
	if f == fetchPath || f == fetchBase {
		path, _, _ = strings.Cut(path, "?")
	}
	if f == fetchPath || f == fetchPathq {
		return aclSample{text: path}, path != ""
	}
	host := r.Host()
	b := c.buffer()
	if len(host)+len(path) > len(b) {
		return aclSample{}, false
	}
	n := copy(b, host)
	n += copy(b[n:], path)
	return aclSample{text: viewACL(b[:n])}, true
}

// originPart returns path and query of a target, which start at the first
// slash after scheme and host; empty if there is none.
func originPart(target string) string {
	if target[0] == '/' {
		return target
	}
	_, rest, _ := strings.Cut(target, "://")
	return rest[min(uint(strings.IndexByte(rest, '/')), uint(len(rest))):]
}

// ofTLS returns a fact of a TLS connection.
func (f aclFetch) ofTLS(t *TLS) (aclSample, bool) {
	if t == nil {
		return aclSample{}, false
	}
	var s string
	switch f {
	case fetchSNI:
		s = t.ServerName
	case fetchALPN:
		s = t.ALPN
	default: // fetchProtocol
		s = tlsVersionName(t.Version)
	}
	return aclSample{text: s}, s != ""
}

// unverified is what HAProxy shows of a certificate for which nobody vouches
// who is trusted: X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY of OpenSSL.
const unverified = 20

// ofClient returns whether a client sent a certificate, or what came of its
// verification: 0 is well, also without one.
func (f aclFetch) ofClient(t *TLS) (aclSample, bool) {
	switch {
	case f == fetchClientUsed:
		return boolSample(t != nil && t.Client != nil), t != nil
	case t == nil:
		return aclSample{}, false
	case t.Client != nil && !t.Client.Verified:
		return intSample(unverified), true
	default:
		return intSample(0), true
	}
}

// clientHello is the type of the message that a Hello is.
const clientHello = 1

// ofHello returns what the client of a connection said whose TLS passes
// through.
func (f aclFetch) ofHello(h *Hello) (aclSample, bool) {
	switch {
	case h == nil:
		return aclSample{}, false
	case f == fetchHelloType:
		return intSample(clientHello), true
	default:
		return aclSample{text: h.ServerName}, h.ServerName != ""
	}
}

// nextProtocol yields the protocols that such a client offers, one by one.
func (c *aclCursor) nextProtocol(h *Hello) (aclSample, bool) {
	if h == nil || c.field >= len(h.ALPN) {
		return aclSample{}, false
	}
	c.field++
	return aclSample{text: h.ALPN[c.field-1]}, true
}

// tlsVersionName names a version as HAProxy does; empty if it is unknown.
func tlsVersionName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	default:
		return ""
	}
}

// parseFieldIP reads an address as header fields have it: IPv4, maybe with a
// port, or IPv6 without brackets.
func parseFieldIP(s string) (netip.Addr, bool) {
	addr, n := leadingIPv4(s)
	if n == 0 {
		return parseIPv6(s)
	}
	if n == len(s) {
		return addr, true
	}
	port := s[n:]
	if port[0] != ':' || len(port) == 1 {
		return addr, false
	}
	sum := 0
	for i := 1; i < len(port); i++ {
		if port[i] < '0' || port[i] > '9' || sum > 65535 {
			return addr, false
		}
		sum = sum*10 + int(port[i]-'0')
	}
	return addr, sum <= 65535
}

func parseIPv6(s string) (netip.Addr, bool) {
	if strings.IndexByte(s, ':') < 0 || strings.IndexByte(s, '%') >= 0 {
		return netip.Addr{}, false // ParseAddr would allocate an error, or a zone
	}
	addr, err := netip.ParseAddr(s)
	return addr, err == nil
}

// leadingIPv4 reads four numbers with points between them at the start of s
// and returns how long they are; 0 if they are not there.
func leadingIPv4(s string) (netip.Addr, int) {
	var b [4]byte
	octet, digits, i := 0, 0, 0
	for ; i < len(s); i++ {
		ch := s[i]
		if ch == '.' {
			if octet++; digits == 0 || octet > 3 {
				return netip.Addr{}, 0
			}
			digits = 0
			continue
		}
		if ch < '0' || ch > '9' {
			break
		}
		n := int(b[octet])*10 + int(ch-'0')
		if n > 255 {
			return netip.Addr{}, 0
		}
		b[octet] = byte(n)
		digits++
	}
	if octet < 3 || digits == 0 {
		return netip.Addr{}, 0
	}
	return netip.AddrFrom4(b), i
}
