// SPDX-License-Identifier: Apache-2.0

package live

import (
	"sync/atomic"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/limit"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Generation is a snapshot bound to live parts. It is immutable; the zero
// Generation serves nothing.
type Generation struct {
	Snapshot *routing.Snapshot
	// Serial tells the generations of one Binder apart, without holding on to
	// one as a pointer would. 0 is the zero Generation's.
	Serial   uint64
	gateways []*Gateway // by slot
}

// Gateway holds the live parts of a compiled gateway.
type Gateway struct {
	Compiled   *routing.CompiledGateway
	Series     *metrics.Gateway
	Conditions *metrics.Conditions
	Routes     []Route       // by CompiledRoute.Index
	Rates      []*limit.Rate // of all its requests
	Limited    bool          // it has rates, or one of its routes has limits
}

// Route holds the live parts of a compiled route.
type Route struct {
	Series *metrics.Route
	Target *upstream.Target // nil unless the route leads to an address or to instances
	Limits *Limits          // nil if nothing bounds how much there is to do
	// Retries stays while the route does, and counts what is tried again.
	Retries *limit.Budget
}

// Gateway returns the live parts of g, which is of this generation's
// snapshot.
func (gen *Generation) Gateway(g *routing.CompiledGateway) *Gateway { return gen.gateways[g.Slot] }

// Ticket takes the next ticket of a split: with Usable, Generation is a
// routing.Draws.
func (gen *Generation) Ticket(s *routing.Split) uint64 { return s.Next() }

// Usable reports whether a route to an address has an instance, or one to
// instances a ready one. Where its share can go to other routes, it also needs
// one that is not known to fail, unless the others have none either.
func (gen *Generation) Usable(g *routing.CompiledGateway, r *routing.CompiledRoute) bool {
	bound := gen.gateways[g.Slot]
	t := bound.Routes[r.Index].Target
	switch {
	case t == nil || !t.Usable():
		return false
	case g.Asked.Unavailable != routing.UnavailableRedistribute && g.Asked.BetweenRoutes != routing.BetweenLeastConn:
		return true
	default:
		return t.Well() || !bound.well()
	}
}

// Open counts the exchanges that are under way on a route: of a tcp gateway
// these are its connections. Routes that share a series for want of room
// are all as busy as all of them.
func (gen *Generation) Open(g *routing.CompiledGateway, r *routing.CompiledRoute) uint64 {
	return gen.gateways[g.Slot].Routes[r.Index].Series.InFlight()
}

// well reports whether a route of some weight leads to anything that is not
// known to fail.
func (g *Gateway) well() bool {
	for i, r := range g.Compiled.Routes {
		if r.Weight == 0 {
			continue
		}
		if t := g.Routes[i].Target; r.Target.Kind == routing.TargetGateway || t != nil && t.Well() {
			return true
		}
	}
	return false
}

// Handle publishes the generation that serves new exchanges. The zero Handle
// holds an empty one.
type Handle struct{ p atomic.Pointer[Generation] }

var empty = Generation{Snapshot: &routing.Snapshot{}}

// Load returns the present generation, never nil. Load it once an exchange.
func (h *Handle) Load() *Generation {
	if g := h.p.Load(); g != nil {
		return g
	}
	return &empty
}

// Store makes next the present generation.
func (h *Handle) Store(next *Generation) { h.p.Store(next) }
