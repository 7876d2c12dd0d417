// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// roster knows what runs where, and since when, so that the same instance
// stays the same value from plan to plan.
type roster struct {
	tenants map[netip.AddrPort]*tenant
	touched addresses // of which somebody said something else
	index   *routing.Instances
}

// tenant is what is known of one address.
type tenant struct {
	tellers []teller          // in the order of objects; the first counts
	told    *routing.Instance // as it was told when it was last looked at
	dated   *routing.Instance // the same with the time since when; nil if there is none
}

// teller is an object that tells of an instance.
type teller struct {
	o    *object
	at   int // among the object's instances
	told *routing.Instance
}

func (t teller) compare(b teller) int { return cmp.Or(t.o.compare(b.o), cmp.Compare(t.at, b.at)) }

func newRoster() roster {
	return roster{
		tenants: make(map[netip.AddrPort]*tenant), touched: make(addresses), index: routing.NewInstances(nil),
	}
}

// tell notes which instances an object tells of.
func (r *roster) tell(o *object, was, is []*routing.Instance) {
	for _, i := range was {
		at := i.AddrPort()
		t := r.tenants[at]
		t.tellers = slices.DeleteFunc(t.tellers, func(t teller) bool { return t.o == o })
		r.touched[at] = true
	}
	for k, i := range is {
		at := i.AddrPort()
		t := r.tenants[at]
		if t == nil {
			t = &tenant{}
			r.tenants[at] = t
		}
		one := teller{o: o, at: k, told: i}
		place, _ := slices.BinarySearchFunc(t.tellers, one, teller.compare)
		t.tellers = slices.Insert(t.tellers, place, one)
		r.touched[at] = true
	}
}

// meet brings the index of instances up to date, and notes whose selectors
// that concerns.
func (s *space) meet(now time.Time) {
	for at := range s.roster.touched {
		t := s.roster.tenants[at]
		if s.trial != nil {
			s.trial.keepTenant(at, t)
		}
		was := t.dated
		switch {
		case len(t.tellers) == 0:
			t.told, t.dated = nil, nil
			delete(s.roster.tenants, at)
		case t.told == nil || t.told != t.tellers[0].told && !reflect.DeepEqual(t.told, t.tellers[0].told):
			t.told = t.tellers[0].told
			t.dated = date(t.told, was, now)
		default:
			t.told = t.tellers[0].told
		}
		s.move(was, t.dated)
	}
	clear(s.roster.touched)
}

// move replaces an instance by another one; either may be nil.
func (s *space) move(was, is *routing.Instance) {
	if was == is {
		return
	}
	s.roster.index.Replace(was, is)
	for _, i := range []*routing.Instance{was, is} {
		if i != nil {
			s.interests.Concerned(i, s.stale)
		}
	}
}

// date returns an instance with the time since when it is known: what its
// source says, since something else may be at an address soon, or since when
// the address is.
func date(told, before *routing.Instance, now time.Time) *routing.Instance {
	dated := *told
	switch {
	case !dated.Since.IsZero():
	case before != nil:
		dated.Since = before.Since
	default:
		dated.Since = now
	}
	return &dated
}

// choose has the selectors look again that may find something else.
func (s *space) choose(now time.Time) {
	for name, due := range s.waning {
		if !now.Before(due) {
			s.stale[name] = true
		}
	}
	for name := range s.stale {
		if e := s.entries[name]; e != nil {
			s.reselect(e, now)
		}
	}
	names := s.claims.Touched()
	for name := range s.stale {
		names = append(names, name)
	}
	for _, name := range names {
		if e := s.entries[name]; e != nil {
			s.claim(e)
		}
	}
}

// reselect has the selectors of one gateway look again.
func (s *space) reselect(e *entry, now time.Time) {
	was := e.selected
	next := routing.Selected{Known: was.Known, Groups: was.Groups}
	if e.asked != nil {
		next = routing.SelectGateway(was, e.asked, s.roster.index, now, s.p.o.Select)
	}
	if was.Gateway != nil && next.Gateway != nil && (was.Gateway == next.Gateway || reflect.DeepEqual(was.Gateway, next.Gateway)) {
		next.Gateway = was.Gateway
	}
	s.keep(e)
	if !slices.EqualFunc(was.Known, next.Known, sameRoute) {
		s.memory.touched[e.name] = true
	}
	s.faults.swap(was.Faults, next.Faults)
	s.claims.Set(e.name, next.Found)
	e.selected = next
	delete(s.waning, e.name)
	for _, k := range next.Known {
		if k.Gone.IsZero() {
			continue
		}
		due := k.Gone.Add(cmp.Or(s.p.o.Select.Keep, routing.KeepVanished))
		if first, ok := s.waning[e.name]; now.Before(due) && (!ok || due.Before(first)) {
			s.waning[e.name] = due
		}
	}
}

// claim notes whether other gateways find instances of one.
func (s *space) claim(e *entry) {
	var next *routing.Fault
	if e.selected.Gateway != nil {
		next = s.claims.Fault(e.asked)
	}
	if e.claim == next || e.claim != nil && next != nil && *e.claim == *next {
		return
	}
	s.keep(e)
	s.faults.swap(one(e.claim), one(next))
	e.claim = next
}

// groups tells of the groups of a gateway.
func (e *entry) groups() []Group {
	found := make(map[string][]string)
	for _, g := range e.selected.Groups {
		for _, i := range g.Instances {
			found[g.Name] = append(found[g.Name], i.AddrPort().String())
		}
	}
	var all []Group
	for _, k := range e.selected.Known {
		one := Group{Name: k.Name, Since: k.Since, Instances: found[k.Name], Promoted: k.Promoted}
		if one.Instances == nil {
			one.Instances = []string{}
		}
		if !k.Gone.IsZero() {
			one.Gone = &k.Gone
		}
		all = append(all, one)
	}
	return all
}
