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

// NewSelection returns a Selection that remembers routes, by gateway, which
// selectors made in a former life. The map is not changed afterwards.
func NewSelection(known map[string][]KnownRoute) *Selection { return &Selection{known: known} }

// Groups returns the groups that a gateway's selector has found, sorted by
// name; nil if it has none. They are not to be changed.
func (s *Selection) Groups(gateway string) []Group { return s.groups[gateway] }

// Known returns what is remembered of the routes that a gateway's selector
// made, those without instances among them. It is not to be changed.
func (s *Selection) Known(gateway string) []KnownRoute { return s.known[gateway] }

// Select has all selectors of a table find their instances. It returns the
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
	s := &selecting{
		prev: prev, instances: is, now: now, options: o,
		next:    &Selection{known: make(map[string][]KnownRoute), groups: make(map[string][]Group)},
		claimed: make(map[*Instance]string),
	}
	s.options.Keep = cmp.Or(o.Keep, KeepVanished)
	out := &Table{Version: t.Version, Broken: slices.Clip(t.Broken)}
	for _, name := range t.Broken {
		s.remember(name)
	}
	for _, g := range t.Gateways {
		if g = s.gateway(g); g.Name == "" {
			continue
		}
		out.Gateways = append(out.Gateways, g)
	}
	out.Broken = append(out.Broken, s.broken...)
	return out, s.next, s.faults
}

// selecting is one run of Select.
type selecting struct {
	prev      *Selection
	instances *Instances
	now       time.Time
	options   SelectOptions
	next      *Selection
	claimed   map[*Instance]string // by the gateway that was first
	broken    []string
	faults    []*Fault
}

// remember keeps what is known of a gateway that is not looked at now.
func (s *selecting) remember(name string) {
	if known, ok := s.prev.known[name]; ok {
		s.next.known[name] = known
	}
	if groups, ok := s.prev.groups[name]; ok {
		s.next.groups[name] = groups
	}
}

// gateway returns a gateway with what its selectors find: itself if it has
// none, and the zero Gateway if it is refused.
func (s *selecting) gateway(g *Gateway) *Gateway {
	if g.Selector == "" && !g.selects() {
		return g
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
		s.broken = append(s.broken, g.Name)
		return &Gateway{}
	}
	s.claim(g, found)
	return &c
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
		s.remember(g.Name)
		return nil, false
	}
	r := Regroup(g.Routes, s.prev.known[g.Name], groups, s.now, s.options.Keep)
	s.next.known[g.Name], s.next.groups[g.Name] = r.Known, groups
	for _, route := range r.Routes {
		if route.Selector != "" {
			// A selector of its own says more closely what the route means.
			if route.Instances, ok = s.find(g, route); !ok {
				return nil, false
			}
		}
		note(found, route.Instances)
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

// fill gives the routes of a gateway that have a selector their instances.
func (s *selecting) fill(g *Gateway, found map[*Instance]bool) ([]*Route, bool) {
	routes := make([]*Route, len(g.Routes))
	for i, r := range g.Routes {
		routes[i] = r
		if r.Selector == "" {
			continue
		}
		c := *r
		var ok bool
		if c.Instances, ok = s.find(g, r); !ok {
			return nil, false
		}
		if len(c.Instances) == 0 {
			s.fault(g, Fault{
				Code: codeSelectsNothing, At: r.At, Path: r.field("selector"), Severity: Warning,
				Problem: "the selector finds no instance; the route answers 503 until it does",
				Allowed: "see /status for the instances that there are",
			})
		}
		note(found, c.Instances)
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

func note(found map[*Instance]bool, list []*Instance) {
	for _, i := range list {
		found[i] = true
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

// claim warns if instances of a gateway are those of another one, too.
func (s *selecting) claim(g *Gateway, found map[*Instance]bool) {
	shared, other := 0, ""
	for i := range found {
		first, taken := s.claimed[i]
		if !taken {
			s.claimed[i] = g.Name
			continue
		}
		if shared++; other == "" || first < other {
			other = first
		}
	}
	if shared == 0 {
		return
	}
	s.fault(g, Fault{
		Code: codeInstanceClaimed, At: g.At, Path: "selector", Severity: Warning,
		Problem: fmt.Sprintf("gateway %s has a selector that finds the same instances (%d shared)", other, shared),
		Allowed: "it is allowed; each gateway counts its own weights, so together they may not be what either asks",
	})
}

func (s *selecting) fault(g *Gateway, f Fault) {
	f.Kind, f.Name = kindGateways, g.Name
	s.faults = append(s.faults, &f)
}
