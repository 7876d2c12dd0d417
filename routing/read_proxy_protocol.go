// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxProxyNetworks    = 256
	proxyFromAllowed    = "a network or an address is allowed, such as 10.0.0.0/8, or a list of up to 256, or {from: [...]}"
	proxyNetworkAllowed = "a network or an address is allowed, such as 10.0.0.0/8, 10.0.0.1 or 2001:db8::/32"
)

// proxyFrom reads from whom a PROXY header is expected.
func (r *reader) proxyFrom(v *value, path string) []netip.Prefix {
	if v.kind != mapValue {
		return r.networks(v, path)
	}
	var from []netip.Prefix
	r.fields(SectionProxyProtocol, v, path, func(e entry, path string) {
		if e.key == "from" {
			from = r.networks(e.value, path)
		}
	})
	if v.get("from") == nil {
		r.refuse(codeMissing, v.place, under(path, "from"), "the networks are missing from which a PROXY header is expected", proxyFromAllowed)
	}
	return from
}

// networks reads a network or a list of them, each once.
func (r *reader) networks(v *value, path string) []netip.Prefix {
	var all []netip.Prefix
	r.each(v, path, func(v *value, path string) {
		if v.kind != textValue {
			r.wrongType(codeUnexpectedType, v, path, proxyFromAllowed)
			return
		}
		n, ok := parseNetwork(v.text)
		switch {
		case !ok:
			r.refuse(codeUnexpectedType, v.place, path, quote(v.text)+" is no network", proxyNetworkAllowed)
		case !slices.Contains(all, n):
			all = append(all, n)
		}
	})
	switch {
	case v.kind == listValue && len(v.items) == 0:
		r.refuse(codeMissing, v.place, path, "the list is empty", proxyFromAllowed)
	case len(all) > maxProxyNetworks:
		r.refuse(codeBound, v.place, path, fmt.Sprintf("there are %d networks", len(all)), proxyFromAllowed)
	}
	return all
}

// parseNetwork reads an address or a network. Bits behind the prefix are
// cleared; IPv4 in IPv6 form is IPv4.
func parseNetwork(text string) (netip.Prefix, bool) {
	if !strings.Contains(text, "/") {
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

// proxyVersion reads with which header connections to instances begin.
func (r *reader) proxyVersion(v *value, path string) ProxyVersion {
	switch r.choice(v, path, "v1", "v2", "none") {
	case "v1":
		return ProxyV1
	case "v2":
		return ProxyV2
	default:
		return ProxyNone
	}
}

func (r *reader) betweenRoutes(v *value, path string) BetweenRoutes {
	if r.choice(v, path, "weights", "leastconn") == "leastconn" {
		return BetweenLeastConn
	}
	return BetweenWeights
}
