// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/sluice-mesh/sluice/routing"
)

// asked returns the table of what is asked for, with ports.
func (s *space) asked() *routing.Table {
	t := &routing.Table{Gateways: make([]*routing.Gateway, 0, len(s.order))}
	for _, e := range s.order {
		if e.form != nil {
			t.Gateways = append(t.Gateways, e.form)
		} else {
			t.Broken = append(t.Broken, e.name)
		}
	}
	return t
}

// take makes the next plan of what compiling came to, and reports whether its
// table differs from that of the last one.
func (s *space) take(asked *routing.Table, snapshot *routing.Snapshot, faults []*routing.Fault) (changed bool) {
	s.dirty = false
	refused := refusedBy(asked, faults)
	s.touch(refused)
	s.refused = refused
	table := &routing.Table{Version: asked.Version, Gateways: make([]*routing.Gateway, 0, len(s.order))}
	for _, e := range s.order {
		if s.serve(e, snapshot); e.served != nil {
			table.Gateways = append(table.Gateways, e.served)
		} else {
			table.Broken = append(table.Broken, e.name)
		}
	}
	if !slices.Equal(s.compiled, faults) {
		s.compiled = faults
	}
	next := Plan{Namespace: s.name, Table: table, Snapshot: snapshot, Faults: s.allFaults(s.compiled), Changes: s.changes}
	s.changes = nil
	if s.last.Table != nil && sameTable(s.last.Table, table) {
		next.Table, next.Snapshot = s.last.Table, s.last.Snapshot
	} else {
		changed = true
		s.p.planned++
	}
	next.Secrets = s.vault.named(next.Table)
	s.countNew(s.last.Faults, next.Faults)
	s.last = next
	return changed
}

// refusedBy returns the gateways of a table that are refused.
func refusedBy(asked *routing.Table, faults []*routing.Fault) map[string]bool {
	refused := make(map[string]bool)
	for _, name := range asked.Broken {
		refused[name] = true
	}
	for _, f := range faults {
		if f.Severity == routing.Refused {
			refused[f.Name] = true
		}
	}
	return refused
}

// touch notes of which gateways something else is to be kept.
func (s *space) touch(refused map[string]bool) {
	for name := range refused {
		if !s.refused[name] {
			s.memory.touched[name] = true
		}
	}
	for name := range s.refused {
		if !refused[name] {
			s.memory.touched[name] = true
		}
	}
}

// serve decides in which form a gateway serves: that which is asked for, or
// the last good one. A form that says the same is the same pointer.
func (s *space) serve(e *entry, snapshot *routing.Snapshot) {
	if s.refused[e.name] {
		compiled := snapshot.ByName(e.name)
		switch {
		case compiled == nil:
			e.served, e.since = nil, nil
		case e.served == nil:
			e.served = compiled.Asked // of Memory
		}
		return
	}
	if e.since == e.form {
		return
	}
	if e.served == nil || !reflect.DeepEqual(e.served, e.form) {
		e.served = e.form
	}
	e.since = e.form
}

// sameTable reports whether two tables ask for the same; gateways that do are
// the same pointers.
func sameTable(a, b *routing.Table) bool {
	return slices.Equal(a.Gateways, b.Gateways) && slices.Equal(a.Broken, b.Broken)
}

// ledger holds the faults that stand, in the order of their places. The zero
// ledger is empty.
type ledger struct {
	all   []*routing.Fault
	delta map[*routing.Fault]int // how often each was added since
}

// swap takes faults away and adds others.
func (l *ledger) swap(was, is []*routing.Fault) {
	if l.delta == nil {
		l.delta = make(map[*routing.Fault]int)
	}
	for _, f := range was {
		l.delta[f]--
	}
	for _, f := range is {
		l.delta[f]++
	}
}

// list returns the faults. They are not to be changed.
func (l *ledger) list() []*routing.Fault {
	var added []*routing.Fault
	gone := 0
	for f, n := range l.delta {
		switch {
		case n > 0:
			added = append(added, f)
		case n < 0:
			gone++
		}
	}
	if gone > 0 || len(added) > 0 {
		slices.SortFunc(added, compareFaults)
		next := make([]*routing.Fault, 0, len(l.all)+len(added)-gone)
		for _, f := range l.all {
			if l.delta[f] < 0 {
				continue
			}
			for len(added) > 0 && compareFaults(added[0], f) < 0 {
				next, added = append(next, added[0]), added[1:]
			}
			next = append(next, f)
		}
		next = append(next, added...)
		l.all = next
	}
	clear(l.delta)
	return l.all
}

// allFaults returns the faults that stand, with those of compiling.
func (s *space) allFaults(compiled []*routing.Fault) []*routing.Fault {
	if list := s.faults.list(); len(compiled) == 0 {
		return list
	}
	all := slices.Concat(s.faults.all, compiled)
	slices.SortStableFunc(all, compareFaults)
	return all
}

// compareFaults orders faults by their places, and those of one place by all
// that they say.
func compareFaults(a, b *routing.Fault) int {
	return cmp.Or(
		cmp.Compare(a.At.Source, b.At.Source), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column),
		cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Path, b.Path), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Problem, b.Problem),
		cmp.Compare(a.Allowed, b.Allowed),
	)
}

// sameFaults reports whether two lists say the same.
func sameFaults(a, b []*routing.Fault) bool {
	if len(a) != len(b) || len(a) == 0 || &a[0] == &b[0] {
		return len(a) == len(b)
	}
	return slices.EqualFunc(a, b, sameFault)
}

// countNew counts the refusals that were not there before, wherever in the
// text they stand.
func (s *space) countNew(before, now []*routing.Fault) {
	if sameFaults(before, now) {
		return
	}
	known := refusals(before)
	for _, f := range now {
		if f.Severity == routing.Refused && !known[unplaced(f)] {
			s.p.rejected[f.Code]++
		}
	}
}

// refusals returns what is refused, wherever in the text it stands.
func refusals(faults []*routing.Fault) map[routing.Fault]bool {
	known := make(map[routing.Fault]bool)
	for _, f := range faults {
		if f.Severity == routing.Refused {
			known[unplaced(f)] = true
		}
	}
	return known
}

// unplaced returns a fault without its place within its text.
func unplaced(f *routing.Fault) routing.Fault {
	u := *f
	u.At = routing.Position{Source: f.At.Source}
	return u
}
