// SPDX-License-Identifier: Apache-2.0

package balance

import "github.com/sluice-mesh/sluice/routing"

// Place is where something runs. Empty parts are unknown.
type Place struct{ Zone, Node string }

// distance returns the tier that an instance belongs to, from near to far: 0
// on the proxy's node, 1 in its zone, 2 elsewhere.
func distance(own, other Place, prefer routing.Nearness) int {
	switch {
	case prefer == routing.NearnessNode && own.Node != "" && own.Node == other.Node:
		return 0
	case prefer != routing.NearnessNone && own.Zone != "" && own.Zone == other.Zone:
		return 1
	default:
		return 2
	}
}

// near returns the weights with which members take part, by the rule of
// routing.Locality: with C the sum of the ready weights and B = Enough * C,
//
//   - the tiers are filled in order: own node, own zone, elsewhere;
//   - a tier of capacity c takes part with the factor min(1, b/c), where b is
//     what the tiers before it left of B.
//
// So requests are spread, by weight, over B of the capacity, the nearest one.
// Nobody gets more than 1/Enough times its share of C, whatever fails, and the
// more of a tier fails the more goes on to the next: without a jump, since the
// factors are continuous in the weights. If nothing is near, all factors are
// equal.
func near(members []Member, own Place, l routing.Locality) []float64 {
	weights := make([]float64, len(members))
	var capacity [3]float64
	for i := range members {
		m := &members[i]
		weights[i] = max(m.share(), 0)
		capacity[distance(own, m.Place, l.Prefer)] += weights[i]
	}
	if capacity[0]+capacity[1] == 0 {
		return weights // most often: no preference, or no place of our own
	}
	var factors [3]float64
	left := (capacity[0] + capacity[1] + capacity[2]) * float64(l.Enough) / float64(routing.FullWeight)
	for tier, c := range capacity {
		if c > 0 {
			factors[tier] = min(1, left/c)
		}
		left = max(left-c, 0)
	}
	// Factors only fall from tier to tier. The first one becomes 1, so that
	// near members keep the points that they have on a ring.
	top := max(factors[0], factors[1])
	for i, m := range members {
		weights[i] *= factors[distance(own, m.Place, l.Prefer)] / top
	}
	return weights
}
