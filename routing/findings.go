// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"

	"github.com/sluice-mesh/sluice/conditions"
)

// The codes of what Findings finds. docs/findings.md tells of each.
const (
	codeNothingRouted   = "GatewayNothingRouted"
	codeWeightZero      = "RouteWeightZero"
	codeStrengthZero    = "RouteStrengthZero"
	codeNeverTrue       = "ConditionNeverTrue"
	codeAlwaysTrue      = "ConditionAlwaysTrue"
	codeShadowed        = "ConditionShadowed"
	codeWithoutEffect   = "ConditionWithoutEffect"
	codeRegexpNoEffect  = "RegexpWithoutEffect"
	codeTestNoEffect    = "TestWithoutEffect"
	codeMixedHosts      = "VirtualHostMixedTLS"
	pathOfCondition     = "condition"
	pathOfAllRoutes     = "routes"
	remedyWeight        = "give it a weight, or a condition with a strength, or remove it"
	consequenceOfWeight = "only its weight of %v leads to it"
	consequenceOfNone   = "no request comes to it"
)

// Findings returns what is certain to be without effect in a snapshot: routes
// that no request can reach, conditions that decide nothing. Everything found
// is a Warning: it is served as it is written. Findings come in the order of
// the gateways, then of their routes; what Compile warns of is not repeated.
func Findings(s *Snapshot) []*Fault {
	f := findings{shown: s.shown(), called: s.called()}
	for _, g := range s.gateways {
		f.gateway = g
		f.look()
	}
	return f.all
}

// findings collects faults of one gateway after the other.
type findings struct {
	gateway *CompiledGateway
	shown   []conditions.Facts // by slot: what its connections may tell
	called  []bool             // by slot: whether they may speak HTTP/2
	all     []*Fault
}

// add notes what was found at a route.
func (f *findings) add(r *CompiledRoute, code, field, problem, allowed string) {
	asked := f.gateway.Asked.Routes[r.Index]
	at := asked.At
	if field == pathOfCondition {
		at = asked.ConditionAt
	}
	f.all = append(f.all, &Fault{
		Code: code, At: at, Kind: kindGateways, Name: f.gateway.Name, Path: asked.field(field),
		Problem: problem, Allowed: allowed, Severity: Warning,
	})
}

func (f *findings) look() {
	g := f.gateway
	f.bounds()
	f.chains()
	f.calls()
	if len(g.Routes) == 0 {
		return // which nobody overlooks
	}
	if !g.routes() && !f.changing() {
		f.all = append(f.all, &Fault{
			Code: codeNothingRouted, At: g.Asked.At, Kind: kindGateways, Name: g.Name, Path: pathOfAllRoutes,
			Problem: "all weights are 0%, and no condition takes anything: every request is answered by the proxy itself",
			Allowed: "give at least one route a weight, or a condition with a strength", Severity: Warning,
		})
		return
	}
	conditions := f.conditions()
	for _, r := range g.Routes {
		f.weight(r)
		f.all = append(f.all, conditions[r]...)
	}
}

// routes reports whether any request may be routed.
func (g *CompiledGateway) routes() bool {
	if g.Weights != nil {
		return true
	}
	for _, c := range g.Conditions {
		if c.Strength > 0 {
			return true
		}
	}
	return false
}

// changing reports whether weights do not tell all: sessions that stick to a
// route stay there when its weight becomes 0, and what a selector finds gets
// weights of its own.
func (f *findings) changing() bool {
	return f.gateway.Asked.Sticky != "" || f.gateway.Asked.Selector != ""
}

// weight looks at a route that the weights never choose.
func (f *findings) weight(r *CompiledRoute) {
	switch {
	case r.Weight > 0 || f.changing():
	case r.Condition == nil:
		f.add(r, codeWeightZero, "", "no request comes to the route: its weight is 0%, and it has no condition", remedyWeight)
	case r.Strength == 0:
		f.add(r, codeStrengthZero, "", "no request comes to the route: its weight is 0%, and the strength of its condition is 0%", remedyWeight)
	}
}

// conditions looks at the conditions in the order asked, and returns what it
// finds by route.
func (f *findings) conditions() map[*CompiledRoute][]*Fault {
	found := make(map[*CompiledRoute][]*Fault)
	outer := f.all
	var before []*CompiledRoute // that may hold
	for i, c := range f.gateway.Conditions {
		f.all = nil
		holds, decided := c.Condition.Always()
		last := i == len(f.gateway.Conditions)-1
		switch {
		case decided && !holds:
			f.add(c, codeNeverTrue, pathOfCondition, "the condition is never true: "+f.consequence(c), "a condition that a request can meet")
		case f.shadowed(c, before):
		case decided && f.hides(c, last):
			f.add(c, codeAlwaysTrue, pathOfCondition, "the condition is true of every request: "+f.hidden(c), "a condition that tells requests apart")
		case last && c.Weight == FullWeight && !f.changing():
			f.add(c, codeWithoutEffect, pathOfCondition, "the condition changes nothing: all that it does not take comes to the same route by weight",
				"a weight below 100%, or no condition")
		}
		if len(f.all) == 0 {
			f.regexp(c) // which may be why
		}
		f.facts(c)
		found[c] = f.all
		if decided && holds {
			break // what comes after it is told of with it
		}
		if !decided {
			before = append(before, c)
		}
	}
	f.all = outer
	return found
}

// regexp looks for a regular expression that matches everything.
func (f *findings) regexp(r *CompiledRoute) {
	if test, re := idleRegexp(r.Condition); test != "" {
		f.add(r, codeRegexpNoEffect, pathOfCondition,
			fmt.Sprintf("the regular expression %s matches everything: %s asks at most whether there is anything", quote(re), quote(test)),
			"an expression that says what the value must be, or has")
	}
}

// consequence says what a route is left with whose condition takes nothing.
func (f *findings) consequence(r *CompiledRoute) string {
	if r.Weight > 0 || f.changing() {
		return fmt.Sprintf(consequenceOfWeight, r.Weight)
	}
	return consequenceOfNone
}

// shadowed finds an earlier condition that holds wherever that of r does.
// Since only the first that holds counts, whatever its strength, the one of r
// then decides nothing.
func (f *findings) shadowed(r *CompiledRoute, before []*CompiledRoute) bool {
	for _, e := range before {
		if implied, decided := r.Condition.Implies(e.Condition); !decided || !implied {
			continue
		}
		f.add(r, codeShadowed, pathOfCondition,
			fmt.Sprintf("wherever the condition holds, that of route %s does too, and is asked first: %s", e.Path, f.consequence(r)),
			fmt.Sprintf("write this route before %s, or a condition that tells them apart", e.Path))
		return true
	}
	return false
}

// hides reports whether a condition that always holds keeps requests from
// anything else.
func (f *findings) hides(r *CompiledRoute, last bool) bool {
	return !last || f.takesAll(r) && len(f.gateway.Routes) > 1
}

// takesAll reports whether all that the condition of r matches goes to r,
// even if nothing there can serve.
func (f *findings) takesAll(r *CompiledRoute) bool {
	return r.Strength == FullWeight && f.gateway.Asked.Unavailable != UnavailableRedistribute
}

// hidden says what a condition that always holds keeps requests from.
func (f *findings) hidden(r *CompiledRoute) string {
	if f.takesAll(r) {
		return "no request comes to another route"
	}
	return "no condition after it is asked"
}
