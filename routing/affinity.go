// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"crypto/sha1" //nolint:gosec // names things as Vamp named them; nothing is secured by it
	"encoding/hex"
	"math"
	"net/netip"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// KeySource says where the key of a client is found in its requests.
type KeySource uint8

const (
	// KeyNone says that there is no key.
	KeyNone KeySource = iota
	// KeyHeader is the first value of a header.
	KeyHeader
	// KeyCookie is the value of a cookie that somebody else sets.
	KeyCookie
	// KeyIP is the client's address.
	KeyIP
)

// Affinity keeps the requests of a client together. The zero Affinity does
// not. Comparable.
type Affinity struct {
	// Key is where the client's key stands; Name names the header (canonical)
	// or cookie.
	Key  KeySource
	Name string
	// Instance extends a key from the route to the instance.
	Instance bool
	// Cut moves those who are on a route whose weight becomes 0. Without it
	// they stay, and only new clients go elsewhere.
	Cut bool
}

// Sticky is the compiled affinity of a gateway. Immutable.
type Sticky struct {
	// Cookie is the name of the cookie whose value is the ID of the route that
	// the weights chose. Empty if a key decides.
	Cookie string
	// Instance says that the instance is kept as well.
	Instance bool

	affinity Affinity
	byID     map[string]*CompiledRoute
	routes   []*CompiledRoute
}

// Pins says which draws of a hop were decided by what the client showed, and
// which were made anew although the gateway is sticky.
type Pins uint8

const (
	// StrengthPinned says that the strength's draw was.
	StrengthPinned Pins = 1 << iota
	// WeightsPinned says that the weights' draw was.
	WeightsPinned
	// StrengthDrawn says that the strength was drawn for a client that may be kept.
	StrengthDrawn
	// WeightsDrawn says that the weights were drawn for a client that may be kept.
	WeightsDrawn
)

// GatewayID returns the name of a gateway in cookies, labels and logs: the
// SHA-1 by which Vamp knew it, in hexadecimal without leading zeros.
func GatewayID(name string) string { return lookupName("io.vamp.model.artifact.Gateway", name) }

// RouteID returns the name of a route of a gateway, as GatewayID.
func RouteID(gateway, path string) string {
	segments := []string{path}
	if !strings.HasPrefix(path, "[") {
		segments = strings.Split(path, "/")
	}
	return lookupName("io.vamp.model.artifact.Gateway", padded([]string{gateway})+"/"+padded(segments))
}

// InstanceID returns the name of an instance at an address, host:port, as
// GatewayID.
func InstanceID(address string) string {
	return lookupName("io.vamp.model.artifact.ExternalRouteTarget", address)
}

// padded joins segments, filled up to four with "*".
func padded(segments []string) string {
	for len(segments) < 4 {
		segments = append(segments, "*")
	}
	return strings.Join(segments, "/")
}

func lookupName(class, key string) string {
	sum := sha1.Sum([]byte("class " + class + "@" + key + "v1")) //nolint:gosec // see the import
	return strings.TrimLeft(hex.EncodeToString(sum[:]), "0")
}

// stick gives a gateway its affinity, and its routes their names.
func (g *CompiledGateway) stick() {
	asked := g.Asked
	if asked.Sticky == "" && asked.Affinity.Key == KeyNone {
		return
	}
	s := &Sticky{
		Instance: asked.Sticky == "instance" || asked.Affinity.Instance,
		affinity: asked.Affinity,
		byID:     make(map[string]*CompiledRoute, len(g.Routes)),
		routes:   g.Routes,
	}
	if asked.Affinity.Key == KeyNone {
		s.Cookie = "o_" + GatewayID(g.Name)
	}
	for _, r := range g.Routes {
		r.ID = RouteID(g.Name, r.Path)
		r.pins = &pins{strengthCookie: "im_" + r.ID, salt: mixText(1, r.ID)}
		s.byID[r.ID] = r
	}
	g.Sticky = s
}

// Keyed reports whether a key, not a cookie of ours, decides.
func (s *Sticky) Keyed() bool { return s.affinity.Key != KeyNone }

// StrengthCookie returns the name of the cookie that keeps the outcome of the
// draw of a route's strength; empty unless the gateway is sticky.
func (r *CompiledRoute) StrengthCookie() string {
	if r.pins == nil {
		return ""
	}
	return r.pins.strengthCookie
}

// take decides whether a condition that holds takes the request.
func (g *CompiledGateway) take(hop *Hop, c *CompiledRoute, r conditions.Request, draws Draws) bool {
	if s := g.Sticky; s != nil {
		if taken, pinned := s.strength(hop, c, r); pinned {
			hop.Pins |= StrengthPinned
			return taken
		}
		hop.Pins |= StrengthDrawn
	}
	return c.Taken.Pick(draws.Ticket(c.Taken)) == 0
}

// pinned returns the route on which the client is, nil if it is on none.
func (g *CompiledGateway) pinned(hop *Hop, r conditions.Request) *CompiledRoute {
	s := g.Sticky
	if s == nil {
		return nil
	}
	route := s.route(hop, r)
	if route == nil || route.Weight == 0 && s.affinity.Cut {
		return nil
	}
	hop.Pins |= WeightsPinned
	return route
}

// strength returns the outcome of a strength's draw that a client brings.
func (s *Sticky) strength(hop *Hop, c *CompiledRoute, r conditions.Request) (taken, pinned bool) {
	if s.Keyed() {
		key, ok := s.key(hop, r)
		return uniform(key, c.pins.salt+1) < float64(c.Strength)/float64(FullWeight), ok
	}
	for value := range cookies(r, c.pins.strengthCookie) {
		switch value {
		case c.ID:
			return true, true
		case s.Cookie:
			return false, true
		}
	}
	return false, false
}

// route returns the route that a client brings.
func (s *Sticky) route(hop *Hop, r conditions.Request) *CompiledRoute {
	if s.Keyed() {
		key, ok := s.key(hop, r)
		if !ok {
			return nil
		}
		return s.highest(key)
	}
	for value := range cookies(r, s.Cookie) {
		if route := s.byID[value]; route != nil {
			return route
		}
	}
	return nil
}

// highest chooses a route for a key by weighted rendezvous hashing: each
// route scores -weight/ln(u), where u is uniform for the pair of key and
// route, and the highest score wins (Schindelhauer and Schomaker, "Weighted
// distributed hash tables", SPAA 2005, logarithmic method). A route is chosen
// for its share of keys, and a weight that grows against the others only
// moves keys to its route.
func (s *Sticky) highest(key uint64) (best *CompiledRoute) {
	top := math.Inf(-1)
	for _, r := range s.routes {
		if r.Weight == 0 {
			continue
		}
		if score := -float64(r.Weight) / math.Log(uniform(key, r.pins.salt)); score > top {
			best, top = r, score
		}
	}
	return best
}

// uniform turns a key and a salt into a number between 0 and 1, both excluded.
func uniform(key, salt uint64) float64 {
	return (float64(mix(key^salt)>>11) + 0.5) / (1 << 53)
}

// key finds the key of a client, once a hop.
func (s *Sticky) key(hop *Hop, r conditions.Request) (uint64, bool) {
	if hop.Keyed {
		return hop.Key, true
	}
	switch s.affinity.Key {
	case KeyHeader:
		if value, next := r.Field(s.affinity.Name, 0); next >= 0 && value != "" {
			hop.Key, hop.Keyed = mixText(0, value), true
		}
	case KeyCookie:
		for value := range cookies(r, s.affinity.Name) {
			if value != "" {
				hop.Key, hop.Keyed = mixText(0, value), true
				break
			}
		}
	case KeyIP:
		hop.Key, hop.Keyed = addressKey(r.Conn().Client.Addr()), true
	case KeyNone:
	}
	return hop.Key, hop.Keyed
}

// addressKey hashes an address; an IPv4 address has one key in both forms.
func addressKey(a netip.Addr) uint64 {
	b := a.As16()
	h := uint64(0)
	for i := 0; i < len(b); i += 8 {
		word := uint64(0)
		for _, x := range b[i : i+8] {
			word = word<<8 | uint64(x)
		}
		h = mix(h + word)
	}
	return h
}

// cookies yields the values of the cookies of a name, in the order sent
// (RFC 6265 section 4.2).
func cookies(r conditions.Request, name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for line, next := r.Field("Cookie", 0); next >= 0; line, next = r.Field("Cookie", next) {
			for rest := line; rest != ""; {
				var pair string
				pair, rest, _ = strings.Cut(rest, ";")
				got, value, ok := strings.Cut(pair, "=")
				if ok && strings.Trim(got, " \t") == name && !yield(strings.Trim(value, " \t")) {
					return
				}
			}
		}
	}
}

// Owns reports whether a cookie of that name is set by the gateway.
func (s *Sticky) Owns(name string) bool {
	if s.Keyed() {
		return false
	}
	if name == s.Cookie {
		return true
	}
	id, strength := strings.CutPrefix(name, "im_")
	return s.byID[id] != nil && (strength || s.Instance)
}

// KeyScore returns the score of an instance for a key, by rendezvous hashing
// (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
// IEEE/ACM Transactions on Networking 6(1), 1998): the instance of the highest
// one serves the key, and one that comes or goes moves only its own keys.
func KeyScore(key uint64, instance string) uint64 { return mix(key ^ mixText(2, instance)) }
