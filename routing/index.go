// SPDX-License-Identifier: Apache-2.0

package routing

import "strings"

// maxHost bounds the hosts that are looked up. A name has at most 253
// characters (RFC 1035 section 2.3.4, without the final dot and in text),
// and a port adds six.
const maxHost = 260

// ByName returns the gateway of that name, or nil.
func (s *Snapshot) ByName(name string) *CompiledGateway { return s.byName[name] }

// ByPort returns the gateway that takes traffic on that port, or nil.
func (s *Snapshot) ByPort(port int) *CompiledGateway { return s.byPort[port] }

// ByHost returns the gateway that has host among its virtual hosts, or nil.
// The whole host must agree, in any letter case; a port attached to it, as in
// a Host field, is left out of the comparison. If several gateways have one
// host it is the first by number of name segments, then by name. ByHost does
// not allocate.
func (s *Snapshot) ByHost(host string) *CompiledGateway {
	if len(s.byHost) == 0 || len(host) > maxHost {
		return nil
	}
	var lower [maxHost]byte
	for i := range len(host) {
		lower[i] = lowerASCII(host[i])
	}
	if g, ok := s.byHost[string(lower[:len(host)])]; ok {
		return g
	}
	if n := len(withoutPort(host)); n < len(host) {
		return s.byHost[string(lower[:n])]
	}
	return nil
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// withoutPort returns host without ":port" at its end. An IPv6 address has a
// port only if it stands in brackets.
func withoutPort(host string) string {
	at := strings.LastIndexByte(host, ':')
	if at < 0 {
		return host
	}
	name, port := host[:at], host[at+1:]
	if strings.IndexByte(name, ':') >= 0 && !strings.HasSuffix(name, "]") {
		return host
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return host
		}
	}
	return name
}

// index makes gateways findable by name, port and virtual host. It returns
// the gateways that lose a virtual host to another one.
func (s *Snapshot) index() []lostHost {
	s.byName = make(map[string]*CompiledGateway, len(s.gateways))
	s.byPort = make(map[int]*CompiledGateway, len(s.gateways))
	s.byHost = make(map[string]*CompiledGateway)
	shared := false
	for _, g := range s.gateways {
		s.byName[g.Name] = g
		s.byPort[g.Port] = g
		for _, host := range g.Hosts {
			first, taken := s.byHost[host]
			shared = shared || taken
			if !taken || publishedBefore(g.Name, first.Name) {
				s.byHost[host] = g
			}
		}
	}
	if !shared {
		return nil
	}
	var lost []lostHost
	for _, g := range s.gateways {
		for _, host := range g.Hosts {
			if first := s.byHost[host]; first != g {
				lost = append(lost, lostHost{gateway: g.Name, host: host, to: first.Name})
			}
		}
	}
	return lost
}

// lostHost is a virtual host that a gateway asks for and another one has.
type lostHost struct{ gateway, host, to string }

// publishedBefore orders gateways by number of name segments, then by name.
func publishedBefore(a, b string) bool {
	if m, n := strings.Count(a, "/"), strings.Count(b, "/"); m != n {
		return m < n
	}
	return a < b
}
