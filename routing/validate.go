// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"math"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
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

// checkConditionPorts refuses conditions that ask for requests on tcp
// gateways, which see none: those that are stored, or of stored routes, if
// stored is set, the others if not.
func (r *reader) checkConditionPorts(f *gatewayForm, stored bool) {
	if f.gateway.Port.Type != TCP {
		return
	}
	for _, route := range f.routes {
		byRef := route.ref != nil || route.condition.ref != nil
		if route.condition.text == "" || byRef != stored {
			continue
		}
		condition, err := conditions.Compile(route.condition.text)
		if err != nil {
			continue // which was told
		}
		problem := needsRequest(condition)
		if problem == "" {
			continue
		}
		at, path := route.condition.place, under(under("routes", route.route.Path), pathOfCondition)
		switch {
		case route.ref != nil:
			at, path = route.ref.place, under("routes", route.route.Path)
		case stored:
			at = route.condition.ref.place
		}
		r.refuse(codeConditionPort, at, path, problem, conditionPortAllowed)
	}
}

const conditionPortAllowed = "on tcp ports conditions may ask for ip, sni, alpn and client, and raw ACLs for src, dst, ssl_fc, req.ssl_sni and their like"

// needsRequest says what a condition asks that only requests have; empty if it
// asks for nothing of that kind.
func needsRequest(c *conditions.Condition) string {
	tests := c.TestsOf(conditions.FactRequest)
	if len(tests) == 0 {
		return ""
	}
	for i := range tests {
		tests[i] = quote(tests[i])
	}
	const most = 5
	if n := len(tests); n > most {
		tests = append(tests[:most], fmt.Sprintf("%d more", n-most))
	}
	return "the condition asks " + strings.Join(tests, ", ") + " of a request, and on a tcp port there are none"
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
