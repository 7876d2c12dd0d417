// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"math"
)

// checkWeights applies the rule for written weights: together they are
// nothing or the whole.
func (r *reader) checkWeights(f *gatewayForm) {
	if f.partial {
		return
	}
	sum, given := int64(0), 0
	for _, route := range f.routes {
		if route.hasWeight {
			sum += int64(route.route.Weight)
			given++
		}
		if !route.hasWeight && route.weightAt.src != nil {
			return // a weight could not be read, so the sum is not known
		}
	}
	if sum == 0 || sum == int64(FullWeight) {
		return
	}
	found := Weight(min(sum, math.MaxInt32)).String()
	what := "the weights add up to " + found
	if given < len(f.routes) {
		what = fmt.Sprintf("the weights that are written (%d of %d) add up to %s", given, len(f.routes), found)
	}
	r.refuse(codeWeight, f.routesAt, "routes", what, "the weights that are written must add up to 0% or 100%")
}

// checkConditionPorts refuses conditions on tcp gateways, which see no
// requests: those of stored routes if stored is set, the others if not.
func (r *reader) checkConditionPorts(f *gatewayForm, stored bool) {
	if f.gateway.Port.Type != TCP {
		return
	}
	for _, route := range f.routes {
		if !route.condition.given() || (route.ref != nil) != stored {
			continue
		}
		at, path := route.condition.place, under(under("routes", route.route.Path), "condition")
		if stored {
			at, path = route.ref.place, under("routes", route.route.Path)
		}
		r.refuse(codeConditionPort, at, path, "the route has a condition, and the port of the gateway is tcp", "conditions need an http port")
	}
}

// applyDefaults gives the routes without weight what is left of the whole, in
// equal whole percentages, the last of them also the rest; and the routes
// without strength theirs.
func (f *gatewayForm) applyDefaults() {
	left, without := FullWeight, Weight(0)
	for _, route := range f.routes {
		if route.hasWeight {
			left -= route.route.Weight
		} else {
			without++
		}
	}
	share := Weight(0)
	if without > 0 {
		share = left / without / 100 * 100
	}
	for _, route := range f.routes {
		if !route.hasStrength && route.route.Condition != "" {
			route.route.Strength = FullWeight
		}
		if route.hasWeight {
			continue
		}
		if without--; without == 0 {
			share = left
		}
		route.route.Weight = share
		left -= share
	}
}
