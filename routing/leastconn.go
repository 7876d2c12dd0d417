// SPDX-License-Identifier: Apache-2.0

package routing

import "math/bits"

// leastConn reports whether the least connections decide between the routes of
// a gateway. Its splits take turns then, whatever the weights say.
func (g *CompiledGateway) leastConn() bool { return g.Asked.BetweenRoutes == BetweenLeastConn }

// turns makes all weights above 0 the same.
func turns(weights []Weight) {
	for i, w := range weights {
		weights[i] = min(w, 1)
	}
}

// leastBusy returns the route with the fewest open connections for its weight,
// as the leastconn of HAProxy does, by which Vamp spread connections over
// routes: an idle one is never beaten, so that connections which come one after
// the other are spread evenly. Of equals it is the first one from turn on. A
// route that cannot serve is passed over: since nothing stays open there, it
// would be given everything. If none can, it is turn.
func (s *Snapshot) leastBusy(g *CompiledGateway, turn *CompiledRoute, draws Draws) *CompiledRoute {
	var best *CompiledRoute
	var busy uint64
	for k := range g.Routes {
		r := g.Routes[(turn.Index+k)%len(g.Routes)]
		if r.Weight == 0 || !s.usable(g, r, draws) {
			continue
		}
		n := draws.Open(g, r)
		if n == 0 {
			return r
		}
		if best == nil || less(n+1, r.Weight, busy+1, best.Weight) {
			best, busy = r, n
		}
	}
	if best == nil {
		return turn
	}
	return best
}

// less reports whether a/weight is less than b/of.
func less(a uint64, weight Weight, b uint64, of Weight) bool {
	high, low := bits.Mul64(a, uint64(of))
	otherHigh, otherLow := bits.Mul64(b, uint64(weight))
	return high < otherHigh || high == otherHigh && low < otherLow
}
