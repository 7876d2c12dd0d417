// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// Trust says which proxies in front of this one are believed: what they say of
// a client is kept, and added to. It is immutable. A nil Trust believes nobody.
type Trust struct{ networks []netip.Prefix }

// maxTrusted bounds the networks of a Trust: each connection is compared with
// them one after the other.
const maxTrusted = 1000

// NewTrust returns the Trust in networks such as 10.0.0.0/8 and in single
// addresses; nil if there are none. An error says which one is neither.
func NewTrust(networks []string) (*Trust, error) {
	if len(networks) > maxTrusted {
		return nil, fmt.Errorf("%d networks; at most %d", len(networks), maxTrusted)
	}
	t := new(Trust)
	for _, text := range networks {
		n, err := parseNetwork(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%q is neither a network nor an address; such as 10.0.0.0/8 or 192.0.2.1", text)
		}
		t.networks = append(t.networks, n)
	}
	if len(t.networks) == 0 {
		return nil, nil //nolint:nilnil // nobody is trusted
	}
	return t, nil
}

// parseNetwork reads a network or an address. IPv4 in IPv6 form is IPv4.
func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errForwarded
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n.Masked(), nil
}

// Believes reports whether what a proxy at this address says is believed. A
// nil Trust believes nobody.
func (t *Trust) Believes(a netip.Addr) bool {
	if t == nil {
		return false
	}
	a = a.WithZone("")
	for _, n := range t.networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Networks returns the networks that are trusted. They are not to be changed.
// Those of a nil Trust are none.
func (t *Trust) Networks() []netip.Prefix {
	if t == nil {
		return nil
	}
	return t.networks
}

// maxHops bounds how far back a list of proxies is followed.
const maxHops = 32

// follow returns the client at the other end of the proxies that are trusted:
// from the right, the first address that is not, and the leftmost one if all
// are. What is no address ends the way, as whoever wrote it hides what is
// behind. next yields the nodes from the right; a node without address is
// invalid.
func (t *Trust) follow(peer netip.AddrPort, next func() (node netip.AddrPort, more bool)) netip.AddrPort {
	client := peer
	for range maxHops {
		if !t.Believes(client.Addr()) {
			break
		}
		node, more := next()
		if !more || !node.IsValid() {
			break
		}
		client = node
	}
	return client
}

// lastMember takes the last member of a comma-separated list. Empty ones do
// not count (RFC 9110 section 5.6.1).
func lastMember(list []byte) (member, rest []byte) {
	for len(list) > 0 {
		i := bytes.LastIndexByte(list, ',')
		member, list = bytes.Trim(list[i+1:], " \t"), list[:max(i, 0)]
		if len(member) > 0 {
			return member, list
		}
	}
	return nil, nil
}

// parseNode reads an address, with a port or not, as X-Forwarded-For and
// Forwarded have it: IPv6 with a port only in brackets. It returns an invalid
// address for all else, such as names that hide one.
func parseNode(b []byte) netip.AddrPort {
	host, port := b, []byte(nil)
	switch i := bytes.LastIndexByte(b, ':'); {
	case len(b) > 0 && b[0] == '[':
		end := bytes.IndexByte(b, ']')
		if end < 0 || end+1 < len(b) && b[end+1] != ':' {
			return netip.AddrPort{}
		}
		host, port = b[1:end], b[min(end+2, len(b)):]
		if bytes.IndexByte(host, ':') < 0 {
			return netip.AddrPort{}
		}
	case i >= 0 && bytes.IndexByte(b, ':') == i:
		host, port = b[:i], b[i+1:]
	}
	// No zone, and no error to be made for what cannot be an address.
	if len(host) < 2 || len(host) > 45 || bytes.IndexByte(host, '%') >= 0 || !isHex(host[0]) && host[0] != ':' {
		return netip.AddrPort{}
	}
	a, err := netip.ParseAddr(view(host))
	if err != nil {
		return netip.AddrPort{}
	}
	n, ok := parseLength(port)
	if !ok || n > 65535 {
		n = 0 // a port may be hidden, too
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n))
}
