// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// WhyNot names the first thing that kept a request away from a route.
type WhyNot struct {
	Route   string `json:"route"`             // as asked for
	Gateway string `json:"gateway,omitempty"` // that has the route; empty if none on the way does
	Reason  string `json:"reason"`            // one of the Why constants
	Text    string `json:"text"`              // the same for people
	// Clause is the one that decided the condition of WhyConditionFalse.
	Clause *ClauseExplanation `json:"clause,omitempty"`
	// Percent and Fraction say how many of the requests like this one are
	// given to the route.
	Percent  string `json:"percent"`
	Fraction string `json:"fraction"`
}

// What may keep a request away from a route. The names are stable.
const (
	// WhyChosen means that nothing did: the route was chosen and can serve.
	WhyChosen = "chosen"
	// WhyNotOnGateway means that no gateway on the way has the route.
	WhyNotOnGateway = "not_on_gateway"
	// WhyEarlierCondition means that the condition of another route held
	// first, so that this one's was not asked.
	WhyEarlierCondition = "earlier_condition"
	// WhyConditionFalse means that its condition is false, and the weights
	// did not choose it either.
	WhyConditionFalse = "condition_false"
	// WhyStrengthLost means that its condition holds, but its strength left
	// the request to the weights, which did not choose it either.
	WhyStrengthLost = "strength_lost"
	// WhyWeightZero means that it has no condition and weight 0.
	WhyWeightZero = "weight_zero"
	// WhyWeights means that the weights chose another route.
	WhyWeights = "weights"
	// WhyPinned means that the client is kept on another route.
	WhyPinned = "pinned"
	// WhyNotUsable means that it was chosen, but nothing there can serve.
	WhyNotUsable = "not_usable"
)

// whyNot answers what was asked.
func (x *explainer) whyNot() *WhyNot {
	h := x.hopWith(x.asked.WhyNot)
	if h == nil {
		return &WhyNot{
			Route: x.asked.WhyNot, Reason: WhyNotOnGateway, Text: x.elsewhere(),
			Percent: percent(new(big.Rat)), Fraction: "0",
		}
	}
	r := h.Gateway.route(x.asked.WhyNot)
	w := &WhyNot{Route: r.Path, Gateway: h.Gateway.Name}
	share := x.flow.taken[branch{h.Gateway, r}]
	if share == nil {
		share = new(big.Rat)
	}
	w.Percent, w.Fraction = percent(share), share.RatString()
	x.judge(w, h, r)
	return w
}

// route returns the route of that path, nil if there is none. The brackets of
// an address may be left out.
func (g *CompiledGateway) route(path string) *CompiledRoute {
	for _, r := range g.Routes {
		if r.Path == path || r.Path == "["+path+"]" {
			return r
		}
	}
	return nil
}

// hopWith returns the first hop whose gateway has a route of that path.
func (x *explainer) hopWith(path string) *Hop {
	for i := range x.decision.Depth {
		if h := &x.decision.Hops[i]; h.Gateway.route(path) != nil {
			return h
		}
	}
	return nil
}

// elsewhere says where the route is, if it is not on the way.
func (x *explainer) elsewhere() string {
	var names, known []string
	for _, g := range x.snapshot.gateways {
		if g.route(x.asked.WhyNot) != nil {
			names = append(names, g.Name)
		}
		for _, r := range g.Routes {
			known = append(known, r.Path)
		}
	}
	if len(names) > 0 {
		return fmt.Sprintf("the request does not come to gateway %s, which has this route", strings.Join(firstNames(names), ", "))
	}
	if best := suggest(x.asked.WhyNot, known); best != "" {
		return "no gateway has this route (but there is " + best + ")"
	}
	return "no gateway has this route"
}

func firstNames(names []string) []string { return names[:min(len(names), maxNames)] }

// judge finds the first thing that kept the request away from r at hop h.
func (x *explainer) judge(w *WhyNot, h *Hop, r *CompiledRoute) {
	_, unusable := x.via(h)
	lost := h == x.decision.Last() && x.decision.Reason == ReasonNoInstance
	held := h.held()
	switch {
	case h.Route == r && !lost:
		w.set(WhyChosen, "nothing kept it away: the route was chosen")
	case h.Route == r:
		w.set(WhyNotUsable, "the route was chosen, but nothing there can serve")
	case unusable == r.Path:
		w.set(WhyNotUsable, "the route was chosen, but nothing there can serve, and the gateway gave the request to "+h.Route.Path)
	case held == r:
		w.set(WhyStrengthLost, fmt.Sprintf("its condition holds, but its strength of %v left this request to the weights, which %s",
			r.Strength, x.fellOn(h, r)))
	case held != nil && h.Taken:
		w.set(WhyEarlierCondition, fmt.Sprintf("the condition of %s holds and took the request: %s", held.Path, held.Condition))
	case r.Condition == nil && r.Weight == 0 && h.Pins&WeightsPinned == 0:
		w.set(WhyWeightZero, "it has no condition, and its weight is 0%")
	case held != nil && r.Condition != nil && x.position(h, r) > h.Held:
		w.set(WhyEarlierCondition, fmt.Sprintf("the condition of %s holds, so the one of this route was not asked; the weights %s",
			held.Path, x.fellOn(h, r)))
	case r.Condition != nil:
		w.Clause = decisive(r, x.seen(h))
		text := "its condition is false"
		if w.Clause != nil {
			text += fmt.Sprintf(" (%s: %t, %s)", w.Clause.Text, w.Clause.Holds, w.Clause.sight())
		}
		w.set(WhyConditionFalse, text+", and the weights "+x.fellOn(h, r))
	case h.Pins&WeightsPinned != 0:
		w.set(WhyPinned, "the weights "+x.fellOn(h, r))
	default:
		w.set(WhyWeights, "the weights "+x.fellOn(h, r))
	}
}

func (w *WhyNot) set(reason, text string) { w.Reason, w.Text = reason, text }

// sight says what a clause saw.
func (c *ClauseExplanation) sight() string {
	switch c.Saw {
	case "missing":
		return "it is missing"
	case "":
		return "it saw nothing"
	default:
		return "it saw " + c.Saw
	}
}

// fellOn says what the weights chose at a hop instead of r.
func (x *explainer) fellOn(h *Hop, r *CompiledRoute) string {
	draws := x.trace.weights(h)
	switch {
	case h.Pins&WeightsPinned != 0:
		return fmt.Sprintf("do not decide, since the client brings %s, which keeps it on %s",
			h.Gateway.broughtBy(h.Gateway.Sticky.Cookie), h.Route.Path)
	case h.Gateway.Weights == nil:
		return "are all 0%"
	case r.Weight == 0:
		return "never choose it: its own is 0%"
	case len(draws) == 0:
		return "were not drawn"
	case h.Gateway.leastConn():
		return fmt.Sprintf("chose %s, which has fewer connections for its weight, or was next in turn", h.Route.Path)
	}
	first := draws[0]
	return fmt.Sprintf("chose %s (ticket %d; its own weight is %v)",
		h.Gateway.Routes[first.split.Pick(first.ticket)].Path, first.ticket, r.Weight)
}

// position returns where the condition of r stands among those of its
// gateway.
func (x *explainer) position(h *Hop, r *CompiledRoute) int {
	for i, c := range h.Gateway.Conditions {
		if c == r {
			return i
		}
	}
	return -1
}

// decisive returns the clause that settled the condition of r for a request:
// the last one that had to be asked. It is nil if none had to be.
func decisive(r *CompiledRoute, request conditions.Request) *ClauseExplanation {
	all := clauses(r.Condition, request)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Asked {
			return &all[i]
		}
	}
	return nil
}

// seen returns the request as the gateway of a hop saw it.
func (x *explainer) seen(h *Hop) conditions.Request {
	for i := range x.decision.Depth {
		if h == &x.decision.Hops[i] {
			return x.decision.Seen(i, x.request)
		}
	}
	return x.request
}
