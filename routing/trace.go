// SPDX-License-Identifier: Apache-2.0

package routing

// Trace hands the draws of others on and notes them: a walk that was made
// with it can be explained. Without it nothing is noted, and nothing is paid.
// The zero Trace needs Draws; it may be used again after Reset, and by one
// goroutine at a time.
type Trace struct {
	Draws Draws

	noted []tracedDraw
}

// tracedDraw is one ticket, and the split from which it was taken.
type tracedDraw struct {
	split  *Split
	ticket uint64
}

// Reset forgets what was noted, and takes draws from d.
func (t *Trace) Reset(d Draws) { t.Draws, t.noted = d, t.noted[:0] }

// Ticket takes the next ticket of a split and notes it.
func (t *Trace) Ticket(s *Split) uint64 {
	ticket := t.Draws.Ticket(s)
	t.noted = append(t.noted, tracedDraw{s, ticket})
	return ticket
}

// Usable reports whether a route leads to anything that may serve.
func (t *Trace) Usable(g *CompiledGateway, r *CompiledRoute) bool { return t.Draws.Usable(g, r) }

// Open counts the connections that are open on a route.
func (t *Trace) Open(g *CompiledGateway, r *CompiledRoute) uint64 { return t.Draws.Open(g, r) }

// strength returns the draw of the strength of the condition that held at a
// hop, nil if there was none. A walk passes no gateway twice, and no split is
// of two gateways, so that a split tells where its draw was made.
func (t *Trace) strength(h *Hop) *tracedDraw {
	c := h.held()
	if c == nil || c.Taken == nil {
		return nil
	}
	for i := range t.noted {
		if t.noted[i].split == c.Taken {
			return &t.noted[i]
		}
	}
	return nil
}

// weights returns the draws among the weights at a hop: the first one, and
// those made since the one before fell on what is not usable.
func (t *Trace) weights(h *Hop) (draws []tracedDraw) {
	c := h.held()
	for _, d := range t.noted {
		if d.split == h.Gateway.Weights || c != nil && d.split == c.Remainder {
			draws = append(draws, d)
		}
	}
	return draws
}

// held returns the route whose condition held, nil if none did.
func (h *Hop) held() *CompiledRoute {
	if h.Held == len(h.Gateway.Conditions) {
		return nil
	}
	return h.Gateway.Conditions[h.Held]
}

// Tickets returns the draws of a decision that was made with the trace, and
// the number that conditions left to chance, so that Explain makes the same
// ones.
func (t *Trace) Tickets(d *Decision, random uint32) Tickets {
	tickets := Tickets{roleRandom: uint64(random)}
	for i := range d.Depth {
		h := &d.Hops[i]
		if s := t.strength(h); s != nil {
			tickets[roleStrength+"@"+h.Gateway.Name] = s.ticket
		}
		if draws := t.weights(h); len(draws) > 0 {
			tickets[roleWeights+"@"+h.Gateway.Name] = draws[0].ticket
		}
	}
	return tickets
}
