// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// wildcard begins a virtual host that stands for all names below a domain.
const wildcard = "*."

// anyHost is the virtual host that stands for all names that no other one
// stands for.
var anyHost = []byte("*")

// hostIndex finds gateways by virtual host, and by the path prefix that may
// stand behind one. What it costs to ask depends on how many labels the host
// and how many segments the path has, not on how many hosts and paths there
// are.
type hostIndex struct {
	exact map[string]*CompiledGateway // by host in lower case, with the prefix behind it
	// below has the wildcards by what follows the star, such as
	// ".shop.example".
	below map[string]*CompiledGateway
	// fewest and most are how many dots the keys of below have, so that no
	// suffix is tried that none of them can be.
	fewest, most int
	// longest is how many bytes the longest path prefix behind a host has; 0
	// if there are none.
	longest int
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
	name, prefix := splitPrefix(key)
	x.longest = max(x.longest, len(prefix))
	if !isWildcard(host) {
		return
	}
	dots := strings.Count(name, ".")
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
// dot, and a path: by the name itself, or by the wildcard with the most
// labels; of one name by the longest prefix of the path.
func (x *hostIndex) find(name []byte, path string) *CompiledGateway {
	if g := x.under(x.exact, name, path); g != nil {
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
			if g := x.under(x.below, name[i:], path); g != nil {
				return g
			}
		}
		dots--
	}
	return nil
}

// under returns the gateway of a host and the longest prefix of whole
// segments of the path, nil if there is none.
func (x *hostIndex) under(m map[string]*CompiledGateway, host []byte, path string) *CompiledGateway {
	if x.longest == 0 || path == "" || path[0] != '/' {
		return m[string(host)]
	}
	var buffer [maxHost + maxPrefix]byte
	key := append(append(buffer[:0], host...), path[:min(len(path), x.longest)]...)
	end := len(key)
	if len(path) > x.longest && path[x.longest] != '/' {
		end = bytes.LastIndexByte(key, '/') // not within a segment
	}
	for end > len(host) {
		if g := m[string(key[:end])]; g != nil {
			return g
		}
		end = bytes.LastIndexByte(key[:end], '/')
	}
	return m[string(host)]
}

// maxPrefix bounds the path prefix of a virtual host, in bytes.
const maxPrefix = 256

// splitPrefix splits a virtual host from the path prefix behind it.
func splitPrefix(host string) (name, prefix string) {
	if at := strings.IndexByte(host, '/'); at >= 0 {
		return host[:at], host[at:]
	}
	return host, ""
}

// isWildcard reports whether a host stands for all names below a domain.
func isWildcard(host string) bool {
	return strings.HasPrefix(host, wildcard) && len(host) > len(wildcard)
}

// normalHost returns a virtual host as requests are compared with it: in
// lower case, without the dot that may end a complete name. The path prefix
// keeps its letter case and loses slashes at its end.
func normalHost(host string) string {
	host, prefix := splitPrefix(host)
	if n := len(host) - 1; n > 0 && host[n] == '.' && host != wildcard {
		host = host[:n]
	}
	return strings.ToLower(host) + strings.TrimRight(prefix, "/")
}

// isASCII reports whether all of a text is ASCII.
func isASCII(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
}
