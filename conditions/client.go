// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"net/netip"
	"strings"
)

// parseNetwork reads an address or a network such as 10.0.0.0/8. Bits beyond
// the prefix are cleared; an IPv4 address in IPv6 form is an IPv4 address, as
// it is in requests.
func parseNetwork(text string) (netip.Prefix, bool) {
	if strings.IndexByte(text, '/') < 0 {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	n, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n.Masked(), true
}

// covers reports whether a client's address lies in one of the networks of t.
// An address that is not known lies in none.
func (t *test) covers(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for _, n := range t.networks {
		if n.Contains(client) {
			return true
		}
	}
	return false
}

// networkText returns a network as it is written in canonical form.
func networkText(n netip.Prefix) string {
	if n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.String()
}
