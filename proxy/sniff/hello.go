// SPDX-License-Identifier: Apache-2.0

package sniff

import (
	"encoding/binary"
	"strings"
)

// Hello is what a client asks for before anything is encrypted. The zero Hello
// asks for nothing.
type Hello struct {
	// ServerName is the host name of the server_name extension (RFC 6066
	// section 3) in lower case and without a final dot: visible ASCII, at most
	// 255 bytes. Empty if there is none.
	ServerName string
	// ALPN are the protocols that the client offers (RFC 7301), as sent, best
	// first: the first MaxProtocols of them, each of 1 to 255 bytes.
	ALPN []string
}

// Verdict is what the first bytes of a connection turned out to be.
type Verdict uint8

const (
	// NeedMore tells that what there is may begin a ClientHello.
	NeedMore Verdict = iota
	// NotTLS tells that the client does not begin with TLS.
	NotTLS
	// Malformed tells that the client begins with TLS, but not with a
	// ClientHello that can be read, or with one that is too large.
	Malformed
	// Complete tells that the whole ClientHello was read.
	Complete
)

// String returns the verdict in words, such as "not TLS".
func (v Verdict) String() string {
	switch v {
	case NeedMore:
		return "need more"
	case NotTLS:
		return "not TLS"
	case Malformed:
		return "malformed"
	case Complete:
		return "complete"
	default:
		return "unknown"
	}
}

const (
	// MaxHello is how many bytes a ClientHello may take on the wire, the
	// headers of its records included. Those of browsers take 2,000.
	MaxHello = 64 << 10
	// MaxProtocols is how many protocols of a ClientHello are kept.
	MaxProtocols = 32

	// maxRecords bounds the work that a client makes who sends by the byte: the
	// records are gone through whenever more has come.
	maxRecords = 1024
	maxRecord  = 16 << 10 // RFC 8446 section 5.1
	maxName    = 255

	recordHeader  = 5
	messageHeader = 4

	typeHandshake   = 22
	majorVersion    = 3
	typeClientHello = 1
	typeServerName  = 0
	typeALPN        = 16
	nameTypeHost    = 0
)

// ParseHello reads a ClientHello (RFC 8446 section 4.1.2), be it in one record
// or in many, from the first bytes of a connection. The Hello is empty unless
// the verdict is Complete, and is no view of b. MaxHello bytes never need more.
//
// Malformed are also two lists of names or of protocols: whoever reads the
// connection next might believe the other one.
func ParseHello(b []byte) (Hello, Verdict) {
	b = b[:min(len(b), MaxHello)]
	size, v := measure(b)
	if v == NeedMore && len(b) == MaxHello {
		v = Malformed
	}
	if v != Complete {
		return Hello{}, v
	}
	h, ok := parseMessage(message(b, size))
	if !ok {
		return Hello{}, Malformed
	}
	return h, Complete
}

// measure returns how long the ClientHello is, its header included, if all of
// it is there.
func measure(b []byte) (size int, v Verdict) {
	var header [messageHeader]byte
	size = messageHeader
	have := 0
	for r := (records{rest: b}); have < size; {
		piece, v := r.next()
		if v != Complete {
			return 0, v
		}
		if len(piece) == 0 { // its header is there
			return 0, NeedMore
		}
		if have < messageHeader {
			copy(header[have:], piece)
		}
		have += len(piece)
		if header[0] != typeClientHello {
			return 0, Malformed
		}
		if have >= messageHeader {
			size = messageHeader + int(header[1])<<16 + int(header[2])<<8 + int(header[3])
		}
		if size > MaxHello-recordHeader {
			return 0, Malformed
		}
	}
	return size, Complete
}

// message returns the first size bytes of what the records hold: a view of b
// where one record holds them all.
func message(b []byte, size int) []byte {
	r := records{rest: b}
	m, _ := r.next()
	if len(m) >= size {
		return m[:size]
	}
	m = append(make([]byte, 0, size), m...)
	for len(m) < size {
		piece, _ := r.next()
		m = append(m, piece[:min(len(piece), size-len(m))]...)
	}
	return m
}

// records are the records of TLS at the start of a connection.
type records struct {
	rest []byte
	seen int
}

// next returns what has come of the next record's content. NeedMore tells that
// not even its header has.
func (r *records) next() ([]byte, Verdict) {
	b := r.rest
	r.seen++
	switch {
	case r.seen > maxRecords:
		return nil, Malformed
	case len(b) > 0 && b[0] != typeHandshake, len(b) > 1 && b[1] != majorVersion:
		if r.seen == 1 {
			return nil, NotTLS
		}
		return nil, Malformed
	case len(b) < recordHeader:
		return nil, NeedMore
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n == 0 || n > maxRecord {
		return nil, Malformed
	}
	end := min(recordHeader+n, len(b))
	r.rest = b[end:]
	return b[recordHeader:end], Complete
}

// cursor is what is left to be read of a message.
type cursor []byte

// take returns the next n bytes.
func (c *cursor) take(n int) (cursor, bool) {
	if len(*c) < n {
		return nil, false
	}
	taken := (*c)[:n]
	*c = (*c)[n:]
	return taken, true
}

// vector returns what follows its own length, which is of so many bytes.
func (c *cursor) vector(lengthBytes int) (cursor, bool) {
	length, ok := c.take(lengthBytes)
	if !ok {
		return nil, false
	}
	n := 0
	for _, x := range length {
		n = n<<8 | int(x)
	}
	return c.take(n)
}

// parseMessage reads a ClientHello with the header of its message.
func parseMessage(m cursor) (h Hello, ok bool) {
	const versionAndRandom = 2 + 32
	if _, ok = m.take(messageHeader + versionAndRandom); !ok {
		return h, false
	}
	for _, lengthBytes := range [...]int{1, 2, 1} { // session, cipher suites, compression
		if _, ok = m.vector(lengthBytes); !ok {
			return h, false
		}
	}
	if len(m) == 0 { // before TLS 1.3 extensions may be missing altogether
		return h, true
	}
	extensions, ok := m.vector(2)
	if !ok || len(m) > 0 {
		return h, false
	}
	named, offered := false, false
	for len(extensions) > 0 {
		kind, _ := extensions.take(2)
		content, ok := extensions.vector(2)
		if !ok {
			return h, false
		}
		switch binary.BigEndian.Uint16(kind) {
		case typeServerName:
			if ok = !named && h.parseNames(content); !ok {
				return h, false
			}
			named = true
		case typeALPN:
			if ok = !offered && h.parseProtocols(content); !ok {
				return h, false
			}
			offered = true
		}
	}
	return h, true
}

// parseNames reads a ServerNameList. Names of other kinds than host names do
// not exist yet; they are passed over.
func (h *Hello) parseNames(c cursor) bool {
	list, ok := c.vector(2)
	if !ok || len(c) > 0 || len(list) == 0 {
		return false
	}
	seen := false
	for len(list) > 0 {
		kind, _ := list.take(1)
		name, ok := list.vector(2)
		if !ok || len(name) == 0 {
			return false
		}
		if kind[0] != nameTypeHost {
			continue
		}
		if seen {
			return false
		}
		seen = true
		if h.ServerName, ok = hostName(name); !ok {
			return false
		}
	}
	return true
}

// hostName returns a name in lower case. It is compared and shown, never
// resolved: what no name can hold is refused, all else is left to whoever
// compares.
func hostName(b []byte) (string, bool) {
	for _, x := range b {
		if x <= ' ' || x > '~' {
			return "", false
		}
	}
	name := strings.ToLower(strings.TrimSuffix(string(b), "."))
	return name, name != "" && len(name) <= maxName
}

// parseProtocols reads a ProtocolNameList.
func (h *Hello) parseProtocols(c cursor) bool {
	list, ok := c.vector(2)
	if !ok || len(c) > 0 || len(list) == 0 {
		return false
	}
	for len(list) > 0 {
		name, ok := list.vector(1)
		if !ok || len(name) == 0 {
			return false
		}
		if len(h.ALPN) < MaxProtocols {
			h.ALPN = append(h.ALPN, protocol(name))
		}
	}
	return true
}

// protocol returns a name without allocating where it is one of the two that
// nearly all clients offer.
func protocol(b []byte) string {
	switch string(b) {
	case "h2":
		return "h2"
	case "http/1.1":
		return "http/1.1"
	default:
		return string(b)
	}
}
