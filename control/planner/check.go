// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Check returns what would be wrong if updates were taken over now, in the
// order of places: all refusals of the updates' own objects, and those of
// others that would be new, such as of a gateway whose condition would be gone.
// Warnings of the updates' own objects are among them; those of others are left
// out, and so is that another object has a document of the same name, which
// yields to one of a higher rank. It changes nothing. An empty namespace is the
// one of updates that name none; that of the updates does not count.
func (p *Planner) Check(namespace string, updates []discovery.Update) []*routing.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	namespace = cmp.Or(namespace, p.o.Namespace)
	s := p.spaces[namespace]
	if s == nil {
		s = newSpace(p, namespace) // of which nothing stays
	}
	now := time.Now()
	s.settle(now)
	known := refusals(s.allFaults(s.compiled))
	prev := s.last.Snapshot
	if prev == nil {
		prev = s.before(s.asked())
	}

	s.try()
	own := make(map[string]bool, len(updates))
	undo := make([]discovery.Update, 0, len(updates))
	for _, u := range updates {
		own[u.Key] = true
		undo = append(undo, s.apply(u))
	}
	s.settle(now)
	_, compiled := routing.Compile(prev, s.asked(), p.o.Compile)
	found := slices.Clone(s.allFaults(compiled))
	slices.Reverse(undo)
	s.revert(undo)

	return slices.DeleteFunc(found, func(f *routing.Fault) bool {
		return !own[f.At.Source] && (f.Severity != routing.Refused || known[unplaced(f)] || f.Code == routing.CodeDuplicateName)
	})
}

// apply takes an update over and returns the one that takes it back.
func (s *space) apply(u discovery.Update) (undo discovery.Update) {
	undo = discovery.Update{Key: u.Key, Gone: true}
	o := s.objects[u.Key]
	if o != nil {
		undo = o.Update
	}
	switch {
	case !u.Gone:
		s.put(u)
	case o != nil:
		s.remove(u.Key)
	}
	return undo
}

// trial is how a namespace was before updates were tried. Of what is large it
// has what they touched alone.
type trial struct {
	entries  map[string]keptEntry
	added    []*entry
	tenants  map[netip.AddrPort]tenant
	resolved map[docKey][]*routing.Fault

	order   []*entry
	faults  ledger
	ports   ports
	touched map[string]bool
	waning  map[string]time.Time
	dirty   bool
	empty   time.Time
}

// keptEntry is an entry, and what it was.
type keptEntry struct {
	e   *entry
	was entry
}

func (t *trial) keep(e *entry) {
	if _, ok := t.entries[e.name]; !ok {
		t.entries[e.name] = keptEntry{e, *e}
	}
}

func (t *trial) add(e *entry) { t.added = append(t.added, e) }

func (t *trial) keepTenant(at netip.AddrPort, one *tenant) {
	if _, ok := t.tenants[at]; !ok {
		t.tenants[at] = *one
	}
}

func (t *trial) keepResolved(key docKey, faults []*routing.Fault) {
	if _, ok := t.resolved[key]; !ok {
		t.resolved[key] = faults
	}
}

// try begins to note what is to be reverted. Everything is settled.
func (s *space) try() {
	s.trial = &trial{
		entries: make(map[string]keptEntry), tenants: make(map[netip.AddrPort]tenant),
		resolved: make(map[docKey][]*routing.Fault),
		order:    s.order, faults: ledger{all: s.faults.list()}, ports: s.ports,
		touched: maps.Clone(s.memory.touched), waning: maps.Clone(s.waning), dirty: s.dirty, empty: s.empty,
	}
	p := &s.ports
	p.byName, p.byPort = maps.Clone(p.byName), maps.Clone(p.byPort)
	p.vanished, p.unserved = maps.Clone(p.vanished), maps.Clone(p.unserved)
}

// revert makes everything what it was when it was tried, given the updates
// that take back those which were.
func (s *space) revert(undo []discovery.Update) {
	for _, u := range undo {
		s.apply(u)
	}
	s.resolver.Resolve()
	t := s.trial
	s.trial = nil
	for at, was := range t.tenants {
		is := s.roster.tenants[at]
		if is == nil {
			continue // nobody told of it before either
		}
		if is.dated != was.dated {
			s.roster.index.Replace(is.dated, was.dated)
		}
		is.told, is.dated = was.told, was.dated
		if len(is.tellers) == 0 {
			delete(s.roster.tenants, at)
		}
	}
	clear(s.roster.touched)
	for _, e := range t.added {
		delete(s.entries, e.name)
		s.interests.Set(e.name, nil, s.p.o.Select)
		s.claims.Set(e.name, nil)
		s.ports.ask(e.name, 0)
		delete(t.entries, e.name)
	}
	for name, kept := range t.entries {
		*kept.e = kept.was
		s.entries[name] = kept.e
		s.interests.Set(name, kept.was.asked, s.p.o.Select)
		s.claims.Set(name, kept.was.selected.Found)
		s.ports.ask(name, kept.was.number())
	}
	s.claims.Touched()
	for key, faults := range t.resolved {
		s.resolved[key] = faults
		if len(faults) == 0 {
			delete(s.resolved, key)
		}
	}
	clear(s.stale)
	s.order, s.reorder, s.faults, s.ports = t.order, false, t.faults, t.ports
	s.memory.touched, s.waning, s.dirty, s.empty = t.touched, t.waning, t.dirty, t.empty
}
