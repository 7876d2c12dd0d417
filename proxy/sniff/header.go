// SPDX-License-Identifier: Apache-2.0

package sniff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strconv"
	"unsafe"

	"github.com/sluice-mesh/sluice/routing"
)

// Header is what a header of the PROXY protocol says (the specification of
// versions 1 and 2 is doc/proxy-protocol.txt of HAProxy). The zero Header says
// nothing; it is written like one that is Local.
type Header struct {
	// Source is the client, Destination the address that it connected to. Both
	// are set, or neither is. IPv4 addresses are never mapped into IPv6.
	Source, Destination netip.AddrPort
	// Local tells that the addresses are those of the connection itself: the
	// balancer speaks for itself (LOCAL), or for a client whose addresses are
	// not of TCP over IP (UNKNOWN, AF_UNSPEC, AF_UNIX, datagrams).
	Local bool
	// TLVs are the type-length-value vectors of version 2 as they stand there,
	// one after the other; empty if Local. ParseHeader makes it a view of what
	// it parsed.
	TLVs []byte
}

// MaxHeader is how many bytes a header may have. The protocol allows version 2
// four times as many, and what balancers send takes 100, or 4,000 with the
// certificate of a client.
const MaxHeader = 16 << 10

var (
	// ErrShort reports that what there is may begin a header.
	ErrShort = errors.New("the PROXY header is not complete")
	// ErrMissing reports a connection that does not begin with a header.
	ErrMissing = errors.New("no PROXY header")
	// ErrMalformed reports a header that cannot be read, or one that is too
	// large.
	ErrMalformed = errors.New("malformed PROXY header")
)

const (
	startV1 = "PROXY "
	startV2 = "\r\n\r\n\x00\r\nQUIT\n"

	maxV1   = 107 // its end of line included
	fixedV2 = 16  // what is before the addresses

	commandLocal = 0x20 // with the version
	commandProxy = 0x21

	// Address family and transport.
	familyTCP4 = 0x11
	familyTCP6 = 0x21
	familyUnix = 0x3
	stream     = 0x1

	tlvHeader = 3
	tlvCRC32C = 0x03
)

// ParseHeader reads a header from the first bytes of a connection and returns
// how long it is. The error is nil, ErrShort, ErrMissing or ErrMalformed. It
// does not allocate. MaxHeader bytes are never short.
//
// A checksum among the vectors is verified.
func ParseHeader(b []byte) (h Header, n int, err error) {
	switch {
	case begins(b, startV2):
		return parseV2(b)
	case begins(b, startV1):
		return parseV1(b)
	default:
		return Header{}, 0, ErrMissing
	}
}

// begins reports whether one of the two is the beginning of the other.
func begins(b []byte, start string) bool {
	n := min(len(b), len(start))
	return string(b[:n]) == start[:n]
}

func parseV1(b []byte) (Header, int, error) {
	end := bytes.IndexByte(b[:min(len(b), maxV1)], '\n')
	switch {
	case end < 0 && len(b) >= maxV1:
		return Header{}, 0, ErrMalformed
	case end < 0:
		return Header{}, 0, ErrShort
	case end < len(startV1) || b[end-1] != '\r':
		return Header{}, 0, ErrMalformed
	}
	line, n := b[len(startV1):end-1], end+1
	protocol, rest, _ := bytes.Cut(line, space)
	if string(protocol) == "UNKNOWN" { // whatever follows is to be ignored
		return Header{Local: true}, n, nil
	}
	var fields [4][]byte
	for i := range fields {
		var more bool
		if fields[i], rest, more = bytes.Cut(rest, space); more != (i < len(fields)-1) {
			return Header{}, 0, ErrMalformed
		}
	}
	six := string(protocol) == "TCP6"
	if !six && string(protocol) != "TCP4" {
		return Header{}, 0, ErrMalformed
	}
	source, ok := parseAddrPort(fields[0], fields[2], six)
	destination, also := parseAddrPort(fields[1], fields[3], six)
	if !ok || !also {
		return Header{}, 0, ErrMalformed
	}
	return Header{Source: source, Destination: destination}, n, nil
}

var space = []byte{' '}

// parseAddrPort reads an address of version 1 and its port, which are written
// in the usual forms and without zeros in front.
func parseAddrPort(addr, port []byte, six bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(addr), len(addr)))
	if err != nil || a.Is6() != six || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	p := 0
	for i, x := range port {
		if x < '0' || x > '9' || i == 1 && p == 0 || i > 4 {
			return netip.AddrPort{}, false
		}
		p = p*10 + int(x-'0')
	}
	if len(port) == 0 || p > 0xffff {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

func parseV2(b []byte) (Header, int, error) {
	if len(b) < fixedV2 {
		return Header{}, 0, early(b)
	}
	command, family, transport := b[12], b[13]>>4, b[13]&0xf
	n := fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case command != commandLocal && command != commandProxy, family > familyUnix, transport > 2, n > MaxHeader:
		return Header{}, 0, ErrMalformed
	case len(b) < n:
		return Header{}, 0, ErrShort
	case command == commandLocal:
		return Header{Local: true}, n, nil // the rest is to be ignored
	}
	h, rest, ok := parseAddresses(b[13], b[fixedV2:n])
	if !ok {
		return Header{}, 0, ErrMalformed
	}
	if h.Local {
		return h, n, nil
	}
	sum, ok := checkTLVs(rest)
	if !ok || sum >= 0 && checksum(b[:n], n-len(rest)+sum) != binary.BigEndian.Uint32(rest[sum:]) {
		return Header{}, 0, ErrMalformed
	}
	h.TLVs = rest
	return h, n, nil
}

// early judges a header of which the fixed part has not come.
func early(b []byte) error {
	if len(b) > 12 && b[12] != commandLocal && b[12] != commandProxy {
		return ErrMalformed
	}
	return ErrShort
}

// parseAddresses reads the addresses, and returns what is behind them.
func parseAddresses(family byte, b []byte) (h Header, rest []byte, ok bool) {
	var size int // of an address
	switch family {
	case familyTCP4:
		size = 4
	case familyTCP6:
		size = 16
	default:
		return Header{Local: true}, nil, true
	}
	all := 2*size + 4
	if len(b) < all {
		return h, nil, false
	}
	h.Source = addrPort(b[:size], b[2*size:])
	h.Destination = addrPort(b[size:2*size], b[2*size+2:])
	return h, b[all:], true
}

func addrPort(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr)
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}

// checkTLVs goes through vectors, which have to end where b does. It returns
// where the checksum stands, -1 if there is none.
func checkTLVs(b []byte) (sum int, ok bool) {
	sum = -1
	for at := 0; at < len(b); {
		if len(b)-at < tlvHeader {
			return 0, false
		}
		n := int(binary.BigEndian.Uint16(b[at+1:]))
		kind := b[at]
		if at += tlvHeader; len(b)-at < n {
			return 0, false
		}
		if kind == tlvCRC32C {
			if n != crc32.Size || sum >= 0 {
				return 0, false
			}
			sum = at
		}
		at += n
	}
	return sum, true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the CRC32c of a header as if its own checksum, which is at
// that place, were 0.
func checksum(header []byte, at int) uint32 {
	sum := crc32.Update(0, castagnoli, header[:at])
	sum = crc32.Update(sum, castagnoli, zeros[:])
	return crc32.Update(sum, castagnoli, header[at+crc32.Size:])
}

var zeros [crc32.Size]byte

// AppendHeader appends a header to b: nothing for ProxyNone, "UNKNOWN" and
// LOCAL where h has no addresses. IPv4 and IPv6 do not mix: if only one of the
// addresses is of IPv6 the other one is mapped. Version 1 has no vectors; those
// of version 2 are written as they are, with a checksum among them made anew.
// Vectors that are malformed, or more than a header can hold, are left out.
func AppendHeader(b []byte, v routing.ProxyVersion, h Header) []byte {
	h.Local = h.Local || !h.Source.IsValid() || !h.Destination.IsValid()
	switch v {
	case routing.ProxyV1:
		return appendV1(b, &h)
	case routing.ProxyV2:
		return appendV2(b, &h)
	default:
		return b
	}
}

// addresses returns both addresses in the same family.
func (h *Header) addresses() (source, destination netip.Addr, six bool) {
	source, destination = h.Source.Addr().Unmap(), h.Destination.Addr().Unmap()
	if source.Is4() && destination.Is4() {
		return source, destination, false
	}
	return netip.AddrFrom16(source.As16()), netip.AddrFrom16(destination.As16()), true
}

func appendV1(b []byte, h *Header) []byte {
	if h.Local {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	source, destination, six := h.addresses()
	if six {
		b = append(b, "PROXY TCP6 "...)
	} else {
		b = append(b, "PROXY TCP4 "...)
	}
	b = append(source.AppendTo(b), ' ')
	b = append(destination.AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(h.Source.Port()), 10), ' ')
	b = strconv.AppendUint(b, uint64(h.Destination.Port()), 10)
	return append(b, "\r\n"...)
}

func appendV2(b []byte, h *Header) []byte {
	begin := len(b)
	b = append(b, startV2...)
	if h.Local {
		return append(b, commandLocal, 0, 0, 0)
	}
	source, destination, six := h.addresses()
	if six {
		b = append(b, commandProxy, familyTCP6, 0, 0)
		b = appendBytes16(appendBytes16(b, source), destination)
	} else {
		b = append(b, commandProxy, familyTCP4, 0, 0)
		b = appendBytes4(appendBytes4(b, source), destination)
	}
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	b = binary.BigEndian.AppendUint16(b, h.Destination.Port())
	vectors := len(b)
	sum, ok := checkTLVs(h.TLVs)
	if ok = ok && vectors-begin+len(h.TLVs) <= MaxHeader; ok {
		b = append(b, h.TLVs...)
	}
	header := b[begin:]
	binary.BigEndian.PutUint16(header[14:], uint16(len(header)-fixedV2))
	if ok && sum >= 0 {
		at := vectors - begin + sum
		binary.BigEndian.PutUint32(header[at:], checksum(header, at))
	}
	return b
}

func appendBytes4(b []byte, a netip.Addr) []byte {
	bytes := a.As4()
	return append(b, bytes[:]...)
}

func appendBytes16(b []byte, a netip.Addr) []byte {
	bytes := a.As16()
	return append(b, bytes[:]...)
}
