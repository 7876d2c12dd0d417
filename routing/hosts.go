// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"strings"
	"unicode/utf8"
)

// wildcard begins a virtual host that stands for all names below a domain.
const wildcard = "*."

// hostIndex finds gateways by virtual host. What it costs to ask depends on
// how many labels the host has, not on how many hosts there are.
type hostIndex struct {
	exact map[string]*CompiledGateway // by host in lower case
	// below has the wildcards by what follows the star, such as
	// ".shop.example".
	below map[string]*CompiledGateway
	// fewest and most are how many dots the keys of below have, so that no
	// suffix is tried that none of them can be.
	fewest, most int
}

func newHostIndex() hostIndex {
	return hostIndex{exact: make(map[string]*CompiledGateway), below: make(map[string]*CompiledGateway)}
}

// at returns the map that a normal host belongs into, and its key there.
func (x *hostIndex) at(host string) (m map[string]*CompiledGateway, key string) {
	if isWildcard(host) {
		return x.below, host[1:]
	}
	return x.exact, host
}

func (x *hostIndex) set(host string, g *CompiledGateway) {
	m, key := x.at(host)
	m[key] = g
	if !isWildcard(host) {
		return
	}
	dots := strings.Count(key, ".")
	if x.most == 0 || dots < x.fewest {
		x.fewest = dots
	}
	x.most = max(x.most, dots)
}

func (x *hostIndex) get(host string) *CompiledGateway {
	m, key := x.at(host)
	return m[key]
}

// find returns the gateway of a name in lower case, without port and final
// dot: by the name itself, or by the wildcard with the most labels.
func (x *hostIndex) find(name []byte) *CompiledGateway {
	if g, ok := x.exact[string(name)]; ok {
		return g
	}
	if x.most == 0 {
		return nil
	}
	dots := 0
	for _, c := range name {
		if c == '.' {
			dots++
		}
	}
	for i, c := range name {
		if c != '.' || i == 0 {
			continue
		}
		if dots < x.fewest {
			return nil
		}
		if dots <= x.most {
			if g, ok := x.below[string(name[i:])]; ok {
				return g
			}
		}
		dots--
	}
	return nil
}

// isWildcard reports whether a host stands for all names below a domain.
func isWildcard(host string) bool {
	return strings.HasPrefix(host, wildcard) && len(host) > len(wildcard)
}

// normalHost returns a virtual host as requests are compared with it: in
// lower case, without the dot that may end a complete name.
func normalHost(host string) string {
	if n := len(host) - 1; n > 0 && host[n] == '.' {
		host = host[:n]
	}
	return strings.ToLower(host)
}

// isASCII reports whether all of a text is ASCII.
func isASCII(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
}
