// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"slices"
	"strings"
)

// chains reports whether any route may lead to another gateway.
func (g *Gateway) chains() bool {
	for _, r := range g.Routes {
		if !r.external() && !g.led(r) && r.Redirect == nil {
			return true
		}
	}
	return false
}

// chain returns the candidate that the path of a form's route names, or nil:
// gateways are named by paths of one to three segments. Four name the
// instances of a service, and a selector finds instances under any name.
func (c *compilation) chain(form *Gateway, r *Route) *candidate {
	if r.external() || form.led(r) || r.Redirect != nil || strings.Count(r.Path, "/") > 2 {
		return nil
	}
	if to := c.byName[r.Path]; to != nil && to.form != nil {
		return to
	}
	return nil
}

// link returns the candidate that a route of a form leads to, or nil.
func (c *compilation) link(form *Gateway, r *Route) *candidate {
	if to := c.chain(form, r); to != nil && to.form.Port.Type == form.Port.Type {
		return to
	}
	return nil
}

// target returns what a route of a settled candidate leads to.
func (c *compilation) target(one *candidate, i int) *Target {
	r := one.form.Routes[i]
	switch {
	case r.Redirect != nil:
		return noTarget
	case one.form.led(r):
		return toInstances
	case !r.external():
		if to := c.link(one.form, r); to != nil {
			return &Target{Kind: TargetGateway, Slot: to.slot}
		}
		return noTarget
	case one.changed:
		return one.addresses[i]
	default:
		return one.prev.Routes[i].Target
	}
}

// warnOfDeadEnds warns of routes that lead nowhere (yet).
func (c *compilation) warnOfDeadEnds() {
	for _, one := range c.chained {
		if one.form == nil {
			continue
		}
		for i, r := range one.form.Routes {
			if r.external() || one.form.led(r) || r.Redirect != nil || c.link(one.form, r) != nil {
				continue
			}
			problem := fmt.Sprintf("there is no gateway %s; the route answers 503 until there is", r.Path)
			if to := c.chain(one.form, r); to != nil {
				problem = fmt.Sprintf("gateway %s is %s, this one is %s; the route answers 503",
					r.Path, to.form.Port.Type, one.form.Port.Type)
			}
			one.fault(Fault{
				Code:     codeTargetMissing,
				At:       one.written(i),
				Path:     r.field(""),
				Problem:  problem,
				Allowed:  `the name of a gateway of the same type, or an address such as "[10.0.0.1:8080]"`,
				Severity: Warning,
			})
		}
	}
}

// written returns where a route of the present form stands now: the form may
// be an older one, that says the same from another place.
func (c *candidate) written(i int) Position {
	path := c.form.Routes[i].Path
	if c.asked != nil && i < len(c.asked.Routes) && c.asked.Routes[i].Path == path {
		return c.asked.Routes[i].At
	}
	return c.form.Routes[i].At
}

// settleTypes refuses chains between http and tcp, and reports whether a form
// was given up for that. Who stayed as he was is not refused: if the gateway
// that others lead to changes its type, it is the one.
func (c *compilation) settleTypes() bool {
	// Everyone is looked at before anyone gives up a form.
	var refused []*candidate
	for _, one := range c.chained {
		if one.form == nil {
			continue
		}
		for i, r := range one.form.Routes {
			if to := c.chain(one.form, r); to != nil && c.link(one.form, r) == nil {
				refused = append(refused, mismatch(one, i, to)...)
			}
		}
	}
	for _, one := range refused {
		if one.changed {
			one.revert()
		}
	}
	return len(refused) > 0
}

// mismatch refuses one of two gateways of different types of which the first
// leads to the second. If the first stayed as it was and the second did not
// change its type, it refuses none: the route has led nowhere before.
func mismatch(from *candidate, i int, to *candidate) []*candidate {
	theirs, ours := to.form.Port.Type, from.form.Port.Type
	switch {
	case from.changed:
		from.fault(Fault{
			Code:    "GatewayChainTypeError",
			At:      from.form.Routes[i].At,
			Path:    from.form.Routes[i].field(""),
			Problem: fmt.Sprintf("gateway %s is %s, this one is %s", to.name, theirs, ours),
			Allowed: "a gateway of the same type",
		})
		return []*candidate{from}
	case to.changed && to.prev != nil && to.prev.Type == ours:
		to.fault(Fault{
			Code:    "GatewayChainTypeError",
			Path:    "port",
			Problem: fmt.Sprintf("gateway %s leads here and is %s, this one is %s", from.name, ours, theirs),
			Allowed: "the same type as the gateways that lead to it",
		})
		return []*candidate{to}
	default:
		return nil
	}
}

// settleCycles refuses every gateway that can be reached from itself, and
// reports whether a form was given up for that. A gateway that stayed as it
// was keeps its form, which has no cycle once the others have theirs.
func (c *compilation) settleCycles() bool {
	for _, one := range c.chained {
		one.mark, one.low, one.stacked = 0, 0, false
	}
	w := &cycleWalk{c: c}
	for _, one := range c.chained {
		if one.form != nil && one.mark == 0 {
			w.visit(one)
		}
	}
	var faults []Fault
	for _, one := range w.found {
		faults = append(faults, Fault{
			Code:    "GatewayCycleError",
			Path:    "routes",
			Problem: "the gateway leads back to itself: " + arrows(c.cycle(one)),
			Allowed: "chains of gateways that end",
		})
	}
	moved := false
	for i, one := range w.found {
		one.fault(faults[i])
		if one.changed {
			one.revert()
			moved = true
		}
	}
	if !moved {
		// Forms that served together have no cycle, so this is not reached
		// with one. It keeps Decide safe all the same.
		for _, one := range w.found {
			one.revert()
		}
	}
	return len(w.found) > 0
}

// cycleWalk finds the gateways on cycles: R. Tarjan, Depth-first search and
// linear graph algorithms, SIAM J. Comput. 1 (1972).
type cycleWalk struct {
	c     *compilation
	count int
	stack []*candidate
	found []*candidate
}

func (w *cycleWalk) visit(one *candidate) {
	w.count++
	one.mark, one.low, one.stacked = w.count, w.count, true
	w.stack = append(w.stack, one)
	self := false
	for _, r := range one.form.Routes {
		to := w.c.link(one.form, r)
		switch {
		case to == nil || !to.form.chains():
			// It leads to no further gateway, so it is on no cycle.
		case to.mark == 0:
			w.visit(to)
			one.low = min(one.low, to.low)
		case to.stacked:
			self = self || to == one
			one.low = min(one.low, to.mark)
		}
	}
	if one.low != one.mark {
		return
	}
	at := slices.Index(w.stack, one)
	part := w.stack[at:]
	for _, member := range part {
		member.stacked = false
	}
	if len(part) > 1 || self {
		w.found = append(w.found, part...)
	}
	w.stack = w.stack[:at]
}

// cycle returns a way from a gateway on a cycle back to itself: a, b, a. It
// is the shortest one among the first thousand gateways that are reached.
func (c *compilation) cycle(from *candidate) []string {
	reached := map[*candidate]*candidate{} // with where from
	for queue := []*candidate{from}; len(queue) > 0 && len(reached) < 1000; queue = queue[1:] {
		one := queue[0]
		for _, r := range one.form.Routes {
			to := c.link(one.form, r)
			if to == nil || reached[to] != nil {
				continue
			}
			reached[to] = one
			if to != from {
				queue = append(queue, to)
				continue
			}
			names := []string{from.name}
			for at := one; at != from; at = reached[at] {
				names = append(names, at.name)
			}
			names = append(names, from.name)
			slices.Reverse(names)
			return names
		}
	}
	return []string{from.name, "(over 1000 gateways)", from.name}
}

// maxNames bounds how many names a fault lists.
const maxNames = 20

// arrows joins names by " -> " and leaves out some in the middle of many.
func arrows(names []string) string {
	if over := len(names) - maxNames; over > 0 {
		names = slices.Concat(names[:maxNames/2],
			[]string{fmt.Sprintf("(%d more)", over)}, names[maxNames/2+over:])
	}
	return strings.Join(names, " -> ")
}

// settleDepth refuses chains of more than MaxDepth gateways, and reports
// whether a form was given up for that: that of the gateway where the chain
// starts, or, if that one stayed as it was, of those on its way that changed.
// It must not be called while there are cycles.
func (c *compilation) settleDepth() bool {
	for _, one := range c.chained {
		one.depth, one.via = 0, nil
	}
	var deep []*candidate
	for _, one := range c.chained {
		if one.form != nil && c.measure(one) > MaxDepth {
			deep = append(deep, one)
		}
	}
	// Blame is found before anyone gives up a form, and laid once on each.
	blamed := map[*candidate]bool{}
	for _, head := range deep {
		f := Fault{
			Code:    "GatewayDepthError",
			Path:    "routes",
			Problem: fmt.Sprintf("a request would pass %d gateways: %s", head.depth, arrows(head.way())),
			Allowed: fmt.Sprintf("at most %d", MaxDepth),
		}
		for _, one := range head.culprits() {
			if !blamed[one] {
				blamed[one] = true
				one.fault(f)
			}
		}
	}
	for one := range blamed {
		one.revert()
	}
	return len(deep) > 0
}

// measure returns how many gateways a request passes from one on, at most.
func (c *compilation) measure(one *candidate) int {
	if one.depth > 0 {
		return one.depth
	}
	one.depth, one.via = 1, nil
	for _, r := range one.form.Routes {
		if to := c.link(one.form, r); to != nil {
			if n := 1 + c.measure(to); n > one.depth {
				one.depth, one.via = n, to
			}
		}
	}
	return one.depth
}

// way returns the names of the gateways on the longest chain from c on.
func (c *candidate) way() []string {
	var names []string
	for at := c; at != nil; at = at.via {
		names = append(names, at.name)
	}
	return names
}

// culprits returns who has to give way if the chain from c on is too long.
func (c *candidate) culprits() []*candidate {
	if c.changed {
		return []*candidate{c}
	}
	var changed []*candidate
	for at := c.via; at != nil; at = at.via {
		if at.changed {
			changed = append(changed, at)
		}
	}
	if changed == nil {
		return []*candidate{c}
	}
	return changed
}
