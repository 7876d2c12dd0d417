// SPDX-License-Identifier: Apache-2.0

package http2

// Header blocks are written without the dynamic table: nothing is kept for
// the next, no field is hashed, and views of a text can be encoded as they
// are. Names and values of the static table are one byte. A value that may be
// a secret is marked as one that nobody further on may keep in a table either
// (RFC 7541 section 7.1.3).

// noTable is the change of the dynamic table's size to nothing (RFC 7541
// section 6.3). The first header block of a connection begins with it: however
// small the peer has its table from then on, it fits.
const noTable = 0x20

// Representations of fields (RFC 7541 section 6).
const (
	indexed      = 0x80 // and seven bits of index: name and value
	literal      = 0x00 // four bits of index of the name, or 0 and the name
	neverIndexed = 0x10
)

// Indexes of the static table (RFC 7541 appendix A).
const (
	authority              = 1
	methodGET              = 2
	methodPOST             = 3
	pathRoot               = 4
	schemeHTTP             = 6
	schemeHTTPS            = 7
	status200              = 8
	status204              = 9
	status206              = 10
	status304              = 11
	status400              = 12
	status404              = 13
	status500              = 14
	nameAuthorization      = 23
	nameContentLength      = 28
	nameContentType        = 31
	nameCookie             = 32
	nameHost               = 38
	nameProxyAuthorization = 49
	nameSetCookie          = 55
	nameTransferEncoding   = 57
)

// What is no index, but says what is done with a name.
const (
	nameOther = 0   // in no table
	nameTE    = 254 // goes on only as far as trailers are concerned
	nameHop   = 255 // ends at this hop (RFC 9113 section 8.2.2)
)

// longestName is the length of the longest name that indexOf knows.
const longestName = len("access-control-allow-origin")

// indexOf returns the index of a name in the static table, without regard to
// the case of its letters, or what is done with it.
func indexOf(name []byte) uint8 {
	if len(name) > longestName {
		return nameOther
	}
	var folded [longestName]byte
	for i, c := range name {
		folded[i] = lower(c)
	}
	switch string(folded[:len(name)]) {
	case "accept-charset":
		return 15
	case "accept-encoding":
		return 16
	case "accept-language":
		return 17
	case "accept-ranges":
		return 18
	case "accept":
		return 19
	case "access-control-allow-origin":
		return 20
	case "age":
		return 21
	case "allow":
		return 22
	case "authorization":
		return nameAuthorization
	case "cache-control":
		return 24
	case "content-disposition":
		return 25
	case "content-encoding":
		return 26
	case "content-language":
		return 27
	case "content-length":
		return nameContentLength
	case "content-location":
		return 29
	case "content-range":
		return 30
	case "content-type":
		return nameContentType
	case "cookie":
		return nameCookie
	case "date":
		return 33
	case "etag":
		return 34
	case "expect":
		return 35
	case "expires":
		return 36
	case "from":
		return 37
	case "host":
		return nameHost
	case "if-match":
		return 39
	case "if-modified-since":
		return 40
	case "if-none-match":
		return 41
	case "if-range":
		return 42
	case "if-unmodified-since":
		return 43
	case "last-modified":
		return 44
	case "link":
		return 45
	case "location":
		return 46
	case "max-forwards":
		return 47
	case "proxy-authenticate":
		return 48
	case "proxy-authorization":
		return nameProxyAuthorization
	case "range":
		return 50
	case "referer":
		return 51
	case "refresh":
		return 52
	case "retry-after":
		return 53
	case "server":
		return 54
	case "set-cookie":
		return nameSetCookie
	case "strict-transport-security":
		return 56
	case "transfer-encoding":
		return nameTransferEncoding
	case "user-agent":
		return 58
	case "vary":
		return 59
	case "via":
		return 60
	case "www-authenticate":
		return 61
	case "te":
		return nameTE
	case "connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings":
		return nameHop
	default:
		return nameOther
	}
}

// appendHead appends the header block of the head that next found. secure says
// that the connection is one of TLS; it matters to requests alone.
func (m *message) appendHead(b []byte, secure bool) []byte {
	if m.answer {
		b = m.appendStatus(b)
	} else {
		b = m.appendTarget(b, secure)
	}
	for i := range m.lines {
		if l := &m.lines[i]; m.sends(l) {
			b = m.appendLine(b, l)
		}
	}
	if !m.answer && (m.grpc || m.trailers) {
		b = append(b, literal, 2, 't', 'e', 8)
		b = append(b, trailersName...)
	}
	return b
}

// appendTrailers appends the header block of the trailer section that next
// found.
func (m *message) appendTrailers(b []byte) []byte {
	for i := range m.lines {
		if l := &m.lines[i]; m.sends(l) {
			b = m.appendLine(b, l)
		}
	}
	return b
}

// sends reports whether a field goes on: it does not end at this hop, and is
// not said in another way. Answers of gRPC have no content-length: what they
// are to say stands behind their content, however long that is.
func (m *message) sends(l *line) bool {
	switch l.index {
	case nameHop, nameTransferEncoding, nameTE:
		return false
	case nameHost:
		return m.answer
	case nameContentLength:
		return !m.chunked && (!m.grpc || !m.answer)
	default:
		return true
	}
}

func (m *message) appendStatus(b []byte) []byte {
	switch m.status {
	case 200:
		return append(b, indexed|status200)
	case 204:
		return append(b, indexed|status204)
	case 206:
		return append(b, indexed|status206)
	case 304:
		return append(b, indexed|status304)
	case 400:
		return append(b, indexed|status400)
	case 404:
		return append(b, indexed|status404)
	case 500:
		return append(b, indexed|status500)
	}
	s := m.status
	return append(b, literal|status200, 3, '0'+byte(s/100), '0'+byte(s/10%10), '0'+byte(s%10))
}

// appendTarget appends the pseudo-fields of a request.
func (m *message) appendTarget(b []byte, secure bool) []byte {
	switch method := m.bytes(m.method); string(method) {
	case "GET":
		b = append(b, indexed|methodGET)
	case "POST":
		b = append(b, indexed|methodPOST)
	default:
		b = appendString(append(b, literal|methodGET), method)
	}
	if secure {
		b = append(b, indexed|schemeHTTPS)
	} else {
		b = append(b, indexed|schemeHTTP)
	}
	if m.host.from < m.host.to {
		b = appendString(append(b, literal|authority), m.bytes(m.host))
	}
	target := m.bytes(m.target)
	if len(target) == 1 && target[0] == '/' {
		return append(b, indexed|pathRoot)
	}
	return appendString(append(b, literal|pathRoot), target)
}

// appendLine appends a field.
func (m *message) appendLine(b []byte, l *line) []byte {
	kind := byte(literal)
	switch l.index {
	case nameAuthorization, nameProxyAuthorization, nameCookie, nameSetCookie:
		kind = neverIndexed
	}
	if l.index != nameOther {
		b = appendInt(b, kind, 4, int(l.index))
		return appendString(b, m.bytes(l.value))
	}
	name := m.bytes(l.name)
	b = appendInt(append(b, kind), 0, 7, len(name))
	for _, c := range name {
		b = append(b, lower(c))
	}
	return appendString(b, m.bytes(l.value))
}

// appendString appends a text as it is (RFC 7541 section 5.2).
func appendString(b, s []byte) []byte {
	return append(appendInt(b, 0, 7, len(s)), s...)
}

// appendInt appends an integer of which the first byte has so many bits below
// the flags (RFC 7541 section 5.1).
func appendInt(b []byte, flags byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, flags|byte(n))
	}
	b = append(b, flags|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, 0x80|byte(n))
	}
	return append(b, byte(n))
}
