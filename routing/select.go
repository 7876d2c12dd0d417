// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxGroups bounds the groups, and so the routes, that the selector of one
	// gateway may make.
	MaxGroups = 1000
	// KeepVanished is how long the weight of a route that lost its instances
	// is kept for it, unless SelectOptions say otherwise.
	KeepVanished = 10 * time.Minute
)

// The codes of faults of selecting.
const (
	codeTooManyGroups   = "TooManyGroups"
	codeSelectsNothing  = "SelectorFindsNothing"
	codeRoutePromoted   = "RoutePromoted"
	codeInstanceClaimed = "InstanceClaimedTwice"
)

// SelectOptions shape Select. The zero SelectOptions are ready to use.
type SelectOptions struct {
	// Base is combined with every selector by "and". Nil means all instances.
	Base *Selector
	// Namespace is what $namespace stands for.
	Namespace string
	// Keep is how long the weight of a route that lost its instances is kept.
	// Zero means KeepVanished; a negative value means not at all.
	Keep time.Duration
}

// ParseBaseSelector parses the selector that all others are combined with.
// Unlike in those, the namespace may also be written ${namespace}.
func ParseBaseSelector(text string) (*Selector, error) {
	return ParseSelector(strings.ReplaceAll(text, "(${namespace})", "($namespace)"))
}

// Selection is what selectors have found, and what is remembered for the next
// time. The zero Selection remembers nothing. It is immutable.
type Selection struct {
	known  map[string][]KnownRoute // by gateway
	groups map[string][]Group      // by gateway with a selector of its own
}

// Groups returns the groups that a gateway's selector has found, sorted by
// name; nil if it has none. They are not to be changed.
func (s *Selection) Groups(gateway string) []Group { return s.groups[gateway] }

// Known returns what is remembered of the routes that a gateway's selector
// made, those without instances among them. It is not to be changed.
func (s *Selection) Known(gateway string) []KnownRoute { return s.known[gateway] }

// Select has all selectors of a table find their instances, and routes to
// addresses those that bear them as Names. It returns the
// table with their routes and instances, and what is to be handed in as prev
// the next time; neither prev nor the table is changed. now is the time at
// which it happens.
//
// A gateway whose selector finds more than MaxGroups groups is named in
// Table.Broken, so that its last good form stays. Faults come in the order of
// the table.
func Select(prev *Selection, t *Table, is *Instances, now time.Time, o SelectOptions) (*Table, *Selection, []*Fault) {
	if prev == nil {
		prev = &Selection{}
	}
	next := &Selection{known: make(map[string][]KnownRoute), groups: make(map[string][]Group)}
	remember := func(name string, one Selected) {
		if one.Known != nil {
			next.known[name] = one.Known
		}
		if one.Groups != nil {
			next.groups[name] = one.Groups
		}
	}
	out := &Table{Version: t.Version, Broken: slices.Clip(t.Broken)}
	for _, name := range t.Broken {
		remember(name, Selected{Known: prev.known[name], Groups: prev.groups[name]})
	}
	var broken []string
	var claims Claims
	found := make([]Selected, len(t.Gateways))
	for i, g := range t.Gateways {
		one := SelectGateway(Selected{Known: prev.known[g.Name], Groups: prev.groups[g.Name]}, g, is, now, o)
		found[i] = one
		remember(g.Name, one)
		if one.Gateway == nil {
			broken = append(broken, g.Name)
			continue
		}
		claims.Set(g.Name, one.Found)
		out.Gateways = append(out.Gateways, one.Gateway)
	}
	var faults []*Fault
	for i, g := range t.Gateways {
		faults = append(faults, found[i].Faults...)
		if f := claims.Fault(g); f != nil {
			faults = append(faults, f)
		}
	}
	out.Broken = append(out.Broken, broken...)
	return out, next, faults
}

func (o SelectOptions) withDefaults() SelectOptions {
	o.Keep = cmp.Or(o.Keep, KeepVanished)
	return o
}

// selecting is one run of SelectGateway.
type selecting struct {
	prev      Selected
	instances *Instances
	now       time.Time
	options   SelectOptions
	next      Selected
}

// gateway finds what the selectors of a gateway find.
func (s *selecting) gateway(g *Gateway) {
	s.next.Gateway = g
	if g.Selector == "" && !g.selects() && !s.named(g) {
		return
	}
	c := *g
	found := make(map[*Instance]bool)
	var ok bool
	if g.Selector != "" {
		c.Routes, ok = s.regroup(g, found)
	} else {
		c.Routes, ok = s.fill(g, found)
	}
	if !ok {
		s.next.Gateway, s.next.Found = nil, nil
		s.next.Known, s.next.Groups = s.prev.Known, s.prev.Groups
		return
	}
	if s.next.Gateway = &c; !g.shares() {
		s.next.Found = nil
	}
}

// shares reports whether a gateway spreads requests by weight over what
// selectors find. One that goes by conditions, or has one route, asks for no
// share that another gateway could spoil.
func (g *Gateway) shares() bool {
	if g.Selector != "" {
		return true
	}
	weighted := 0
	for _, r := range g.Routes {
		if r.Weight > 0 {
			weighted++
		}
	}
	return weighted > 1
}

// selects reports whether a route has a selector of its own.
func (g *Gateway) selects() bool {
	for _, r := range g.Routes {
		if r.Selector != "" {
			return true
		}
	}
	return false
}

// regroup makes the routes of a gateway's selector.
func (s *selecting) regroup(g *Gateway, found map[*Instance]bool) ([]*Route, bool) {
	selector, ok := s.parse(g, g.At, "selector", g.Selector)
	if !ok {
		return nil, false
	}
	groups := selector.Groups(s.instances, s.options.Namespace)
	if len(groups) > MaxGroups {
		s.fault(g, Fault{
			Code: codeTooManyGroups, At: g.At, Path: "selector",
			Problem: fmt.Sprintf("the selector finds %d groups, each of which is a route", len(groups)),
			Allowed: fmt.Sprintf("at most %d; capture less, or ask for fewer instances", MaxGroups),
		})
		return nil, false
	}
	r := Regroup(g.Routes, s.prev.Known, groups, s.now, s.options.Keep)
	s.next.Known, s.next.Groups = r.Known, groups
	for _, route := range r.Routes {
		if route.Selector != "" {
			// A selector of its own says more closely what the route means.
			if route.Instances, ok = s.find(g, route); !ok {
				return nil, false
			}
		}
		s.note(found, route.Instances)
	}
	s.tell(g, &r)
	return r.Routes, true
}

// tell warns of what the groups of a gateway came to.
func (s *selecting) tell(g *Gateway, r *Regrouping) {
	switch {
	case len(r.Routes) == 0:
		s.fault(g, Fault{
			Code: codeSelectsNothing, At: g.At, Path: "selector", Severity: Warning,
			Problem: "the selector finds no instance; the gateway answers 503 until it does",
			Allowed: "see /status for the instances that there are",
		})
	case r.Promoted != "":
		s.fault(g, Fault{
			Code: codeRoutePromoted, At: g.At, Path: "routes." + r.Promoted, Severity: Warning,
			Problem: "every route with a weight lost its instances; this one, known for longest, takes all though its weight is 0%",
			Allowed: "give the routes that are left their weights",
		})
	}
}

// fill gives the routes of a gateway that have a selector their instances, and
// those whose address instances bear as a name.
func (s *selecting) fill(g *Gateway, found map[*Instance]bool) ([]*Route, bool) {
	routes := make([]*Route, len(g.Routes))
	for i, r := range g.Routes {
		routes[i] = r
		if r.Selector == "" {
			if list := s.bearers(r); len(list) > 0 {
				c := *r
				c.Instances, routes[i] = list, &c
			}
			continue
		}
		c := *r
		var ok bool
		if c.Instances, ok = s.find(g, r); !ok {
			return nil, false
		}
		if len(c.Instances) == 0 && r.Selector != "false" { // which is meant to find none
			s.fault(g, Fault{
				Code: codeSelectsNothing, At: r.At, Path: r.field("selector"), Severity: Warning,
				Problem: "the selector finds no instance; the route answers 503 until it does",
				Allowed: "see /status for the instances that there are",
			})
		}
		s.note(found, c.Instances)
		routes[i] = &c
	}
	return routes, true
}

// find returns the instances of a route's own selector.
func (s *selecting) find(g *Gateway, r *Route) ([]*Instance, bool) {
	selector, ok := s.parse(g, r.At, r.field("selector"), r.Selector)
	if !ok {
		return nil, false
	}
	return selector.matching(s.instances, s.options.Namespace), true
}

// note adds instances to those that are found, each once.
func (s *selecting) note(found map[*Instance]bool, list []*Instance) {
	for _, i := range list {
		if !found[i] {
			found[i] = true
			s.next.Found = append(s.next.Found, i)
		}
	}
}

// parse returns a selector combined with the base one. Tables need not come
// from text that was checked.
func (s *selecting) parse(g *Gateway, at Position, path, text string) (*Selector, bool) {
	selector, err := ParseSelector(text)
	if err != nil {
		problem, allowed := err.Error(), ""
		if e, ok := errors.AsType[*SelectorError](err); ok {
			problem, allowed = e.Problem, e.Allowed
		}
		s.fault(g, Fault{Code: codeSelector, At: at, Path: path, Problem: problem, Allowed: allowed})
		return nil, false
	}
	if base := s.options.Base; base != nil {
		selector = &Selector{op: selectAnd, x: base, y: selector}
	}
	return selector, true
}

func (s *selecting) fault(g *Gateway, f Fault) {
	f.Kind, f.Name = kindGateways, g.Name
	s.next.Faults = append(s.next.Faults, &f)
}
