// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// KnownRoute is what is remembered of a route that a gateway's selector made.
type KnownRoute struct {
	Name  string
	Since time.Time // when its first instance was known
	// Weight is its share as long as nothing of the others is missing.
	Weight Weight
	Gone   time.Time // since when it has no instance; zero while it has one
	// Promoted says that it has all the weight, being the one that is left.
	Promoted bool
}

// Regrouping is what the routes of a gateway with a selector come to.
type Regrouping struct {
	Routes []*Route // those with instances: the written ones in their order, then by age and name
	// Known is to be handed to the next Regroup of the gateway. It is sorted by
	// age, then by name.
	Known []KnownRoute
	// Promoted names the route that has all the weight although it was asked
	// to have none, as nothing with a weight is left; empty if there is none.
	Promoted string
}

// Regroup makes the routes of a gateway with a selector out of the groups of
// now. Neither argument is changed. Weights always sum to 100 %, or to 0 where
// they are written so and nothing is missing.
//
// A route that is written has its settings for as long as it is written,
// whenever it has instances. Any other has a weight alone: when it is new and
// the others do not have all of it, what is left, of several new ones that
// whose first instance is known for longest (then the first by name); the
// others have 0. What is missing because routes lost their instances the rest
// share in proportion, in whole percentages if their own are whole, and the
// largest takes what rounding leaves. A route that lost its instances has its
// weight back when it returns within keep, unless a new one took it; so has
// one that is still written, at any time.
func Regroup(written []*Route, known []KnownRoute, groups []Group, now time.Time, keep time.Duration) Regrouping {
	if late := tooLate(written, known, now, keep); len(late) > 0 {
		// First the others settle without those who come back too late.
		rest := slices.DeleteFunc(slices.Clone(groups), func(g Group) bool { return late[g.Name] })
		known = regroup(written, known, rest, now, keep).Known
	}
	return regroup(written, known, groups, now, keep)
}

// tooLate returns the routes that have no claim to what they had any more.
func tooLate(written []*Route, known []KnownRoute, now time.Time, keep time.Duration) map[string]bool {
	late := make(map[string]bool)
	for _, k := range known {
		if !k.Gone.IsZero() && now.Sub(k.Gone) >= keep {
			late[k.Name] = true
		}
	}
	for _, w := range written {
		delete(late, w.Path)
	}
	return late
}

// regroup is Regroup where nobody comes back too late.
func regroup(written []*Route, known []KnownRoute, groups []Group, now time.Time, keep time.Duration) Regrouping {
	r := &regrouping{now: now, members: make(map[string]*member, len(groups))}
	r.gather(written, known, groups)
	r.share()
	// Those whose time is up leave what they had to the others as they are.
	r.forget(keep)
	return r.result()
}

// regrouping is one run of Regroup.
type regrouping struct {
	now      time.Time
	members  map[string]*member
	present  []*member // in the order of the routes
	gone     []*member
	promoted *member // nil if there is none
	yielded  bool    // written routes took weight back from others
}

// member is a route: one that is written, known, or both, or new.
type member struct {
	KnownRoute

	order   int    // among the written ones; they come first
	written *Route // nil if it is not
	group   *Group // nil if it has no instance now
	fresh   bool   // neither written nor known before
	weight  Weight // what it has now
}

// compare orders members by age, then by name.
func (m *member) compare(o *member) int {
	return cmp.Or(m.Since.Compare(o.Since), strings.Compare(m.Name, o.Name))
}

func (r *regrouping) gather(written []*Route, known []KnownRoute, groups []Group) {
	for _, k := range known {
		r.members[k.Name] = &member{KnownRoute: k, order: len(written)}
	}
	for i, w := range written {
		m := r.members[w.Path]
		if m == nil {
			m = &member{KnownRoute: KnownRoute{Name: w.Path, Since: r.now, Gone: r.now}}
			r.members[w.Path] = m
		}
		m.order, m.written, m.Weight = i, w, w.Weight
	}
	for i := range groups {
		r.arrive(&groups[i], len(written))
	}
	for _, m := range r.members {
		if m.group != nil {
			r.present = append(r.present, m)
			continue
		}
		if m.Gone.IsZero() {
			m.Gone = r.now
		}
		r.gone = append(r.gone, m)
	}
	slices.SortFunc(r.present, func(a, b *member) int { return cmp.Or(cmp.Compare(a.order, b.order), a.compare(b)) })
}

// arrive notes that a group has instances.
func (r *regrouping) arrive(g *Group, order int) {
	m := r.members[g.Name]
	if m == nil {
		m = &member{KnownRoute: KnownRoute{Name: g.Name, Since: r.now}, order: order, fresh: true}
		r.members[g.Name] = m
	}
	m.group, m.Gone = g, time.Time{}
	for _, i := range g.Instances {
		if i.Since.Before(m.Since) {
			m.Since = i.Since
		}
	}
}

// share gives everyone present a weight.
func (r *regrouping) share() {
	asked, found := Weight(0), Weight(0) // of the written ones, of the others
	for _, m := range r.present {
		m.weight = m.Weight
		if m.written != nil {
			asked += m.weight
		} else {
			found += m.weight
		}
	}
	if asked+found > FullWeight {
		// What is written has come back: the others give way.
		others := slices.DeleteFunc(slices.Clone(r.present), func(m *member) bool { return m.written != nil })
		scale(others, FullWeight-asked)
		r.yielded = true
		found = FullWeight - asked
	}
	left := FullWeight - asked - found
	if left > 0 && r.welcome(left) {
		left = 0
	}
	switch {
	case left <= 0 || len(r.present) == 0:
	case left < FullWeight:
		scale(r.present, FullWeight)
	case r.reserved() > 0 || slices.ContainsFunc(r.present, func(m *member) bool { return m.Promoted }):
		r.promoted = slices.MinFunc(r.present, (*member).compare)
		r.promoted.weight = FullWeight
	}
}

// welcome gives what is left to one of the new routes, and reports whether
// there is one. Nobody who is gone has a claim to it any more.
func (r *regrouping) welcome(left Weight) bool {
	var first *member
	for _, m := range r.present {
		if m.fresh && (first == nil || m.compare(first) < 0) {
			first = m
		}
	}
	if first == nil {
		return false
	}
	first.weight, first.Weight = left, left
	for _, m := range r.gone {
		if m.written == nil {
			m.Weight = 0
		}
	}
	return true
}

// reserved returns the weight of those who are gone and may come back.
func (r *regrouping) reserved() Weight {
	var sum Weight
	for _, m := range r.gone {
		sum += m.Weight
	}
	return sum
}

// scale makes weights, which are not all 0, sum to total, in proportion: in
// whole percentages if they and total are, else in hundredths. What rounding
// down leaves goes to the largest, the first of several.
func scale(members []*member, total Weight) {
	sum, unit := Weight(0), Weight(100)
	if total%100 != 0 {
		unit = 1
	}
	for _, m := range members {
		sum += m.weight
		if m.weight%100 != 0 {
			unit = 1
		}
	}
	if sum == 0 {
		return
	}
	left := total
	for _, m := range members {
		m.weight = Weight(int64(m.weight)*int64(total)/int64(sum)) / unit * unit
		left -= m.weight
	}
	largest := slices.MaxFunc(members, func(a, b *member) int { return cmp.Compare(a.weight, b.weight) })
	largest.weight += left
}

// forget lets go of those who are gone for too long and not written.
func (r *regrouping) forget(keep time.Duration) {
	r.gone = slices.DeleteFunc(r.gone, func(m *member) bool {
		over := m.written == nil && r.now.Sub(m.Gone) >= keep
		if over {
			delete(r.members, m.Name)
		}
		return over
	})
}

func (r *regrouping) result() Regrouping {
	out := Regrouping{Routes: make([]*Route, 0, len(r.present))}
	// While nobody who is away has a claim, what everyone has is theirs.
	settled := r.reserved() == 0 && !r.yielded
	for _, m := range r.present {
		out.Routes = append(out.Routes, m.route())
		if settled && m.written == nil {
			m.Weight = m.weight
		}
		m.Promoted = m == r.promoted && m.Weight == 0
		if m.Promoted {
			out.Promoted = m.Name
		}
	}
	for _, m := range r.members {
		out.Known = append(out.Known, m.KnownRoute)
	}
	slices.SortFunc(out.Known, func(a, b KnownRoute) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Name, b.Name))
	})
	return out
}

// route returns the route of a member that has instances.
func (m *member) route() *Route {
	r := &Route{Path: m.Name, Metadata: map[string]any{"groups": m.Name, "title": m.Name}}
	if m.written != nil {
		c := *m.written
		r = &c
	}
	r.Weight, r.Instances = m.weight, m.group.Instances
	return r
}
