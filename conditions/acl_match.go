// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"encoding/binary"
	"net/netip"
	"regexp"
	"strings"
)

// aclMethod is a way to match a sample with values.
type aclMethod uint8

const (
	matchStr aclMethod = iota
	matchBeg
	matchEnd
	matchSub
	matchDir
	matchDom
	matchReg
	matchBin
	matchLen
	matchInt
	matchIP
	matchBool
	matchFound
	matchVerb // of methods of a request; has no name
)

var aclMethodNames = [...]string{"str", "beg", "end", "sub", "dir", "dom", "reg", "bin", "len", "int", "ip", "bool", "found"}

func (m aclMethod) String() string {
	if m == matchVerb {
		return ""
	}
	return aclMethodNames[m]
}

// aclValue is a value that samples are matched with.
type aclValue struct {
	text      string // as it is compared: in lower case if letter case does not count
	written   string // canonical, an operator included
	low, high int64  // of int and len
	network   aclNetwork
	re        *regexp.Regexp
}

// aclNetwork is an address with a mask.
type aclNetwork struct {
	is4               bool
	high, low         uint64 // the masked address; low alone for IPv4
	maskHigh, maskLow uint64
}

// matches reports whether any value matches the sample.
func (t *aclTest) matches(s *aclSample, c *aclCursor) bool {
	switch t.method {
	case matchFound:
		return true
	case matchBool:
		n, ok := s.asInt()
		return ok && n != 0
	case matchInt:
		n, ok := s.asInt()
		return ok && t.contains(n)
	case matchLen:
		return t.contains(int64(len(s.asText(c))))
	case matchIP:
		addr, ok := s.asIP()
		return ok && t.includes(addr)
	default:
		return t.matchesText(s.asText(c))
	}
}

func (t *aclTest) contains(n int64) bool {
	for i := range t.values {
		if v := &t.values[i]; v.low <= n && n <= v.high {
			return true
		}
	}
	return false
}

func (t *aclTest) matchesText(s string) bool {
	for i := range t.values {
		if t.values[i].matchesText(s, t.method, t.fold) {
			return true
		}
	}
	return false
}

func (v *aclValue) matchesText(s string, m aclMethod, fold bool) bool {
	switch m {
	case matchStr, matchBin:
		return len(s) == len(v.text) && equalText(s, v.text, fold)
	case matchBeg:
		return len(s) >= len(v.text) && equalText(s[:len(v.text)], v.text, fold)
	case matchEnd:
		return len(s) >= len(v.text) && equalText(s[len(s)-len(v.text):], v.text, fold)
	case matchSub:
		if fold {
			return containsFold(s, v.text)
		}
		return strings.Contains(s, v.text)
	case matchDir:
		return containsPart(s, v.text, "/?", fold)
	case matchDom:
		return containsPart(s, v.text, "/?.:", fold)
	case matchVerb:
		return equalVerb(s, v.text, fold)
	default: // matchReg
		return v.re.MatchString(s[:min(len(s), maxRegexpInput)])
	}
}

// equalText compares two texts of the same length. With fold, letter case of
// ASCII does not count, and want is in lower case.
func equalText(s, want string, fold bool) bool {
	if !fold {
		return s == want
	}
	for i := range len(s) {
		if lowerByte(s[i]) != want[i] {
			return false
		}
	}
	return true
}

// equalVerb reports whether two methods are the same. HAProxy knows some by
// number, which have no other letter case.
func equalVerb(s, want string, fold bool) bool {
	if s == want {
		return true
	}
	return fold && len(s) == len(want) && strings.EqualFold(s, want) && !isKnownVerb(s) && !isKnownVerb(want)
}

func isKnownVerb(s string) bool {
	switch s {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT":
		return true
	default:
		return false
	}
}

// containsFold reports whether s contains want, which is in lower case,
// without regard to the letter case of ASCII. It takes time linear in s (Karp
// and Rabin, 1987): s is foreign and may be made to be slow to compare.
func containsFold(s, want string) bool {
	const prime = 16777619
	if len(s) < len(want) {
		return false
	}
	var hash, sum, power uint32 = 0, 0, 1
	for i := range len(want) {
		hash = hash*prime + uint32(want[i])
		sum = sum*prime + uint32(lowerByte(s[i]))
		power *= prime
	}
	for i := len(want); ; i++ {
		if sum == hash && equalText(s[i-len(want):i], want, true) {
			return true
		}
		if i == len(s) {
			return false
		}
		sum = sum*prime + uint32(lowerByte(s[i])) - power*uint32(lowerByte(s[i-len(want)]))
	}
}

// containsPart reports whether want, which neither starts nor ends with a
// delimiter, stands between delimiters or ends of s.
func containsPart(s, want, delimiters string, fold bool) bool {
	for i := 0; i+len(want) <= len(s); i++ {
		if i > 0 && strings.IndexByte(delimiters, s[i-1]) < 0 {
			continue
		}
		end := i + len(want)
		if (end == len(s) || strings.IndexByte(delimiters, s[end]) >= 0) && equalText(s[i:end], want, fold) {
			return true
		}
	}
	return false
}

// asIP returns the sample as an address; false if it is none.
func (s *aclSample) asIP() (netip.Addr, bool) {
	switch s.kind {
	case aclIP:
		return s.addr, true
	case aclText:
		if addr, n := leadingIPv4(s.text); n > 0 {
			return addr, true
		}
		return parseIPv6(s.text)
	default:
		return netip.Addr{}, false
	}
}

// includes reports whether an address lies in one of the networks. Addresses
// of both families meet as section 7.1.6 of HAProxy's manual says.
func (t *aclTest) includes(a netip.Addr) bool {
	v4, has4 := embeddedIPv4(a)
	b := a.As16()
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	for i := range t.values {
		n := &t.values[i].network
		switch {
		case n.is4:
			if has4 && uint64(ipv4Number(v4))&n.maskLow == n.low {
				return true
			}
		case high&n.maskHigh == n.high && low&n.maskLow == n.low:
			return true
		}
	}
	return false
}

// embeddedIPv4 returns the IPv4 address that a is, or holds as 2002:IPV4::,
// ::IPV4 or ::ffff:IPV4.
func embeddedIPv4(a netip.Addr) (netip.Addr, bool) {
	if a = a.Unmap(); a.Is4() {
		return a, true
	}
	b := a.As16()
	if b[0] == 0x20 && b[1] == 0x02 {
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return compatibleIPv4(a)
}

// compatibleIPv4 returns the IPv4 address in ::IPV4.
func compatibleIPv4(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() || a.Is4In6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	if [12]byte(b[:12]) != [12]byte{} {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b[12:])), true
}

func ipv4Number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}
