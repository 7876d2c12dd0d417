// SPDX-License-Identifier: Apache-2.0

package routing

import "github.com/sluice-mesh/sluice/conditions"

// MaxDepth bounds how many gateways one request may pass.
const MaxDepth = 8

// maxRedraws bounds the tickets that one request takes to find a usable
// route. Two periods always hold one, so with weights in whole percents,
// whose period is at most 100, it is never reached.
const maxRedraws = 256

// Reason says why nothing serves a request.
type Reason uint8

const (
	// ReasonNone means that a target was decided.
	ReasonNone Reason = iota
	// ReasonNoRoute means that the gateway has no route, or all weights are 0.
	ReasonNoRoute
	// ReasonNoInstance means that the chosen route has no usable instance.
	ReasonNoInstance
)

// String returns the stable name of the reason, empty for ReasonNone.
func (r Reason) String() string {
	switch r {
	case ReasonNoRoute:
		return "no_route"
	case ReasonNoInstance:
		return "no_ready_instance"
	default:
		return ""
	}
}

// Draws hands the numbers that decide choices to Decide, and says what is
// usable now.
type Draws interface {
	// Ticket takes the next ticket of a split.
	Ticket(s *Split) uint64
	// Usable reports whether a route of a gateway leads to anything that may
	// serve. It is asked of routes to addresses only.
	Usable(g *CompiledGateway, r *CompiledRoute) bool
	// Open counts the connections that are open on a route of a gateway. It is
	// asked where the least connections decide between routes.
	Open(g *CompiledGateway, r *CompiledRoute) uint64
}

// Hop is what one gateway decided.
type Hop struct {
	Gateway *CompiledGateway
	Route   *CompiledRoute // nil if none could be chosen
	// Held is the position in Gateway.Conditions of the condition that held,
	// or the number of conditions if none did: the conditions before it were
	// asked and were false.
	Held int
	// Taken reports that the condition that held also took the request: its
	// strength draw was won. Route is then the route of that condition, unless
	// it was not usable and the gateway redistributes.
	Taken bool
	// Pins says what the client brought along, at a sticky gateway.
	Pins Pins
	// Key is the client's, hashed, if Keyed.
	Key   uint64
	Keyed bool
}

// Decision is what serves one request. The zero Decision is ready to be
// filled; it may be reused.
type Decision struct {
	Hops   [MaxDepth]Hop
	Depth  int // how many of Hops are filled
	Reason Reason
	// Edited reports that a route of a hop has Edits.
	Edited bool

	rewritten rewritten
}

// Last returns the last hop. Depth must be above 0.
func (d *Decision) Last() *Hop { return &d.Hops[d.Depth-1] }

// Decide walks from gateway g, which is one of this snapshot, to the route
// that serves r, and fills d. It neither allocates nor blocks.
//
// At each gateway the conditions are asked in route order, and the first that
// holds draws its strength. If it wins, its route is taken. If it loses, or
// none holds, all routes are drawn by weight, those with conditions included.
// A route to another gateway goes on there.
//
// At a sticky gateway what the client brings, a cookie or a key, takes the
// place of a draw, and no ticket is taken; the order stays.
//
// What is drawn and has nothing usable ends the walk with ReasonNoInstance,
// or, if the gateway redistributes, is replaced by the next usable draw by
// weight. A route to a gateway counts as usable if that gateway has routes;
// what they lead to is that gateway's own affair.
//
// Once a route is chosen its rewrites change the path: its own gateway saw
// the path as it came, the gateways behind it see the new one. Decide
// allocates only for a rewrite that applies.
func (s *Snapshot) Decide(g *CompiledGateway, r conditions.Request, draws Draws, d *Decision) {
	d.unedit()
	for d.Depth = 0; ; {
		hop := &d.Hops[d.Depth]
		d.Depth++
		d.Reason = s.choose(hop, g, r, draws)
		if d.Reason != ReasonNone {
			return
		}
		if e := hop.Route.Edits; e != nil {
			r = d.edit(e, r)
		}
		if hop.Route.Target.Kind != TargetGateway {
			return
		}
		if d.Depth == MaxDepth {
			// Compile refuses such chains; this guards the array.
			d.Reason = ReasonNoInstance
			return
		}
		g = s.slots[hop.Route.Target.Slot]
	}
}

// choose fills one hop.
func (s *Snapshot) choose(hop *Hop, g *CompiledGateway, r conditions.Request, draws Draws) Reason {
	*hop = Hop{Gateway: g, Held: len(g.Conditions)}
	split := g.Weights
	for i, c := range g.Conditions {
		if !c.Condition.Holds(r) {
			continue
		}
		hop.Held = i
		switch {
		case c.Taken == nil:
			hop.Taken = c.Strength > 0
		case g.take(hop, c, r, draws):
			hop.Taken = true
		default:
			split = c.Remainder
		}
		if hop.Taken {
			hop.Route = c
		}
		break
	}
	if hop.Route == nil {
		hop.Route = g.pinned(hop, r)
	}
	if hop.Route == nil {
		if split == nil {
			return ReasonNoRoute
		}
		hop.Route = g.Routes[split.Pick(draws.Ticket(split))]
		if g.leastConn() {
			hop.Route = s.leastBusy(g, hop.Route, draws)
		}
		hop.drawn(g)
	}
	if s.usable(g, hop.Route, draws) {
		return ReasonNone
	}
	if g.Asked.Unavailable == UnavailableRedistribute {
		if other := s.redraw(g, split, draws); other != nil {
			hop.Route = other
			hop.drawn(g)
			return ReasonNone
		}
	}
	return ReasonNoInstance
}

// drawn notes that a client which may be kept was given its route just now.
func (h *Hop) drawn(g *CompiledGateway) {
	if g.Sticky != nil {
		h.Pins = h.Pins&^WeightsPinned | WeightsDrawn
	}
}

// usable reports whether a route leads to anything.
func (s *Snapshot) usable(g *CompiledGateway, r *CompiledRoute, draws Draws) bool {
	if r.Edits != nil && r.Edits.Redirect != nil {
		return true // it needs nothing
	}
	switch r.Target.Kind {
	case TargetAddress, TargetInstances:
		return draws.Usable(g, r)
	case TargetGateway:
		return len(s.slots[r.Target.Slot].Routes) > 0
	default:
		return false
	}
}

// redraw takes tickets until one falls on a usable route, or returns nil if
// no route of weight above 0 is usable. Tickets of routes that are not usable
// are passed over for good, so the others keep their shares of each other.
func (s *Snapshot) redraw(g *CompiledGateway, split *Split, draws Draws) *CompiledRoute {
	if split == nil || s.usableWeight(g, draws) == 0 {
		return nil // and no ticket is spent
	}
	var ticket uint64
	for range maxRedraws {
		ticket = draws.Ticket(split)
		if r := g.Routes[split.Pick(ticket)]; s.usable(g, r, draws) {
			return r
		}
	}
	// What is left is rare in the schedule. It is drawn by weight from the
	// ticket: fair in the long run, at a bounded price now. It is summed up
	// again, since what is usable may just have changed.
	total := s.usableWeight(g, draws)
	if total == 0 {
		return nil
	}
	left := Weight(split.uniform(ticket, uint64(total)))
	var last *CompiledRoute
	for _, r := range g.Routes {
		if r.Weight == 0 || !s.usable(g, r, draws) {
			continue
		}
		last = r
		if left < r.Weight {
			break
		}
		left -= r.Weight
	}
	return last
}

// usableWeight sums the weights of the usable routes.
func (s *Snapshot) usableWeight(g *CompiledGateway, draws Draws) Weight {
	var total Weight
	for _, r := range g.Routes {
		if r.Weight > 0 && s.usable(g, r, draws) {
			total += r.Weight
		}
	}
	return total
}
