// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Selected is what the selectors of one gateway have found. The zero Selected
// has found and remembers nothing.
type Selected struct {
	// Gateway has the routes and instances: the gateway itself if it has no
	// selector, nil if it is refused.
	Gateway *Gateway
	Known   []KnownRoute // as in Selection.Known
	Groups  []Group      // as in Selection.Groups
	Found   []*Instance  // of all routes, each once
	Faults  []*Fault     // without those of Claims
}

// SelectGateway has the selectors of one gateway find their instances, as
// Select does for a table. prev is what they had found before. Neither it nor
// the gateway is changed.
func SelectGateway(prev Selected, g *Gateway, is *Instances, now time.Time, o SelectOptions) Selected {
	s := &selecting{prev: prev, instances: is, now: now, options: o.withDefaults()}
	s.gateway(g)
	return s.next
}

// Claims tells of instances that the selectors of several gateways find. The
// zero Claims are empty. They are not safe for concurrent use.
type Claims struct {
	owners  map[netip.AddrPort][]string // names of gateways, sorted
	found   map[string][]*Instance
	touched map[string]bool
}

// Set says what the selectors of a gateway have found, each instance once.
func (c *Claims) Set(gateway string, found []*Instance) {
	if c.owners == nil {
		c.owners, c.found, c.touched = make(map[netip.AddrPort][]string), make(map[string][]*Instance), make(map[string]bool)
	}
	was := c.found[gateway]
	if len(found) == 0 {
		delete(c.found, gateway)
	} else {
		c.found[gateway] = found
	}
	stays := make(map[netip.AddrPort]bool, len(was))
	for _, i := range was {
		stays[i.AddrPort()] = false
	}
	for _, i := range found {
		at := i.AddrPort()
		if _, had := stays[at]; had {
			stays[at] = true
			continue
		}
		list := c.owners[at]
		k, _ := slices.BinarySearch(list, gateway)
		c.owners[at] = slices.Insert(list, k, gateway)
		c.touch(at)
	}
	for at, stays := range stays {
		if stays {
			continue
		}
		c.touch(at)
		list := c.owners[at]
		if k, ok := slices.BinarySearch(list, gateway); ok {
			list = slices.Delete(list, k, k+1)
		}
		if c.owners[at] = list; len(list) == 0 {
			delete(c.owners, at)
		}
	}
}

// touch notes that the gateways of an address share it in another way.
func (c *Claims) touch(at netip.AddrPort) {
	if list := c.owners[at]; len(list) > 1 {
		for _, name := range list {
			c.touched[name] = true
		}
	}
}

// Touched returns the gateways whose Fault may differ since the last call, in
// no stated order.
func (c *Claims) Touched() []string {
	names := make([]string, 0, len(c.touched))
	for name := range c.touched {
		names = append(names, name)
	}
	clear(c.touched)
	return names
}

// Fault warns if instances of a gateway are those of another one, too, whose
// name comes before its own; else it is nil.
func (c *Claims) Fault(g *Gateway) *Fault {
	shared, other := 0, ""
	for _, i := range c.found[g.Name] {
		first := c.owners[i.AddrPort()][0]
		if first == g.Name {
			continue
		}
		if shared++; other == "" || first < other {
			other = first
		}
	}
	if shared == 0 {
		return nil
	}
	return &Fault{
		Code: codeInstanceClaimed, At: g.At, Path: "selector", Severity: Warning,
		Kind: kindGateways, Name: g.Name,
		Problem: fmt.Sprintf("gateway %s has a selector that finds the same instances (%d shared)", other, shared),
		Allowed: "it is allowed; each gateway counts its own weights, so together they may not be what either asks",
	}
}

// Interests tells which gateways may find an instance. The zero Interests are
// empty. They are not safe for concurrent use.
type Interests struct {
	byName   map[string]*interest
	byAnchor map[anchor]map[string]*interest
	wide     map[string]*interest // those that may find any instance
	named    addressed            // those that may find one by its Names
}

// interest is that of one gateway.
type interest struct {
	gateway   *Gateway
	namespace string
	selectors []*Selector
	anchors   []anchor // every instance that is found has one of them
	wide      bool
}

// anchor is something that an instance has and a selector asks for.
type anchor struct {
	subject subject
	label   Label // with a value alone where the subject is no label
}

// Set says what a gateway asks for; nil that the one of that name asks for
// nothing any more.
func (t *Interests) Set(name string, g *Gateway, o SelectOptions) {
	if t.byName == nil {
		t.byName, t.wide = make(map[string]*interest), make(map[string]*interest)
		t.byAnchor = make(map[anchor]map[string]*interest)
	}
	t.named.set(name, g)
	if old := t.byName[name]; old != nil {
		if old.gateway == g {
			return
		}
		delete(t.byName, name)
		delete(t.wide, name)
		for _, a := range old.anchors {
			delete(t.byAnchor[a], name)
			if len(t.byAnchor[a]) == 0 {
				delete(t.byAnchor, a)
			}
		}
	}
	if g == nil || g.Selector == "" && !g.selects() {
		return
	}
	one := newInterest(g, o)
	t.byName[name] = one
	if one.wide {
		t.wide[name] = one
		return
	}
	for _, a := range one.anchors {
		if t.byAnchor[a] == nil {
			t.byAnchor[a] = make(map[string]*interest)
		}
		t.byAnchor[a][name] = one
	}
}

func newInterest(g *Gateway, o SelectOptions) *interest {
	one := &interest{gateway: g, namespace: o.Namespace}
	add := func(text string) {
		selector, err := ParseSelector(text)
		if text == "" || err != nil {
			return // it is refused, and finds nothing
		}
		if o.Base != nil {
			selector = &Selector{op: selectAnd, x: o.Base, y: selector}
		}
		one.selectors = append(one.selectors, selector)
		anchors, ok := selector.anchors(o.Namespace)
		one.anchors, one.wide = append(one.anchors, anchors...), one.wide || !ok
	}
	add(g.Selector)
	for _, r := range g.Routes {
		add(r.Selector)
	}
	if one.wide {
		one.anchors = nil
	}
	return one
}

// anchors returns anchors of which every instance that is meant has one; ok is
// false if none are known.
func (s *Selector) anchors(namespace string) (anchors []anchor, ok bool) {
	switch s.op {
	case selectFalse:
		return nil, true
	case selectAnd:
		x, okX := s.x.anchors(namespace)
		y, okY := s.y.anchors(namespace)
		if okY && (!okX || worth(y) > worth(x)) {
			return y, true
		}
		return x, okX
	case selectOr:
		x, okX := s.x.anchors(namespace)
		y, okY := s.y.anchors(namespace)
		return slices.Concat(x, y), okX && okY
	case selectTest:
		return s.test.anchors(namespace)
	default:
		return nil, false
	}
}

func (t *selectorTest) anchors(namespace string) (anchors []anchor, ok bool) {
	first, second := &t.args[0], &t.args[1]
	one := anchor{subject: t.subject}
	switch {
	case t.subject == subjectLabel && first.literal && second.literal:
		one.label = Label{first.plain, second.plain}
	case (t.subject == subjectName || t.subject == subjectNamespace) && first.literal:
		one.label.Value = first.plain
	case t.subject == subjectNamespace && first.own:
		one.label.Value = namespace
	default:
		return nil, false
	}
	return []anchor{one}, true
}

// worth says how closely anchors tell instances apart: as their worst does.
func worth(anchors []anchor) int {
	least := 3
	for _, a := range anchors {
		switch a.subject {
		case subjectLabel, subjectName:
			least = min(least, 2)
		default:
			least = min(least, 1)
		}
	}
	return least
}

// Concerned adds to found the gateways of which a selector finds an instance,
// or a route asks for it by name.
func (t *Interests) Concerned(i *Instance, found map[string]bool) {
	m := matcher{}
	ask := func(all map[string]*interest) {
		for name, one := range all {
			if found[name] {
				continue
			}
			m.namespace = one.namespace
			for _, s := range one.selectors {
				if m.values = m.values[:0]; s.matches(i, &m) {
					found[name] = true
					break
				}
			}
		}
	}
	ask(t.wide)
	ask(t.byAnchor[anchor{subjectName, Label{Value: i.Name}}])
	if i.ID != "" {
		ask(t.byAnchor[anchor{subjectName, Label{Value: i.ID}}])
	}
	ask(t.byAnchor[anchor{subjectNamespace, Label{Value: i.Namespace}}])
	for _, l := range i.Labels {
		ask(t.byAnchor[anchor{subjectLabel, l}])
	}
	t.named.concerned(i, found)
}
