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
// Letter case, a port attached to the host as in a Host field, and a dot at
// the end of the name do not count. A host that agrees as a whole comes before
// a wildcard; of those that cover the host, the one with the most labels
// counts. *.shop.example covers names of any number of labels below
// shop.example, not shop.example itself. The star alone covers what no other
// does, a request without host too. If several gateways have one host it
// is the first by number of name segments, then by name. ByHost does not
// allocate.
func (s *Snapshot) ByHost(host string) *CompiledGateway { return s.ByHostAndPath(host, "") }

// ByHostAndPath is ByHost for gateways whose virtual hosts have a path prefix,
// such as shop.example/cart: of those that have the host, the one with the
// longest prefix of whole segments of the path, which is compared byte by byte
// as it was sent.
func (s *Snapshot) ByHostAndPath(host, path string) *CompiledGateway {
	if len(host) > maxHost || len(s.hosts.exact)+len(s.hosts.below) == 0 {
		return nil
	}
	var buffer [maxHost]byte
	lower := buffer[:len(host)]
	for i := range len(host) {
		lower[i] = lowerASCII(host[i])
	}
	n := len(withoutPort(host))
	if n < len(host) {
		if g := s.hosts.under(s.hosts.exact, lower, path); g != nil {
			return g // it was written with its port
		}
	}
	if n > 1 && lower[n-1] == '.' {
		n--
	}
	if g := s.hosts.find(lower[:n], path); g != nil {
		return g
	}
	return s.hosts.under(s.hosts.exact, anyHost, path)
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
	s.hosts = newHostIndex()
	shared := false
	for _, g := range s.gateways {
		s.byName[g.Name] = g
		s.indexPort(g)
		for _, host := range g.Hosts {
			first := s.hosts.get(host)
			shared = shared || first != nil
			if first == nil || publishedBefore(g.Name, first.Name) {
				s.hosts.set(host, g)
			}
		}
	}
	if !shared {
		return nil
	}
	var lost []lostHost
	for _, g := range s.gateways {
		for _, host := range g.Hosts {
			if first := s.hosts.get(host); first != g {
				lost = append(lost, lostHost{gateway: g.Name, host: host, to: first.Name})
			}
		}
	}
	return lost
}

// indexPort makes a gateway findable by its port, if it has one.
func (s *Snapshot) indexPort(g *CompiledGateway) {
	if g.Port != 0 {
		s.byPort[g.Port] = g
	}
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
