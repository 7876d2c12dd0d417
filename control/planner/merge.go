// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/sluice-mesh/sluice/routing"
)

// merge returns all documents that count, in their order.
func (s *space) merge() []*routing.Document {
	type id struct{ kind, name string }
	present := make(map[id]bool)
	for _, o := range s.ordered {
		for _, d := range o.Documents {
			present[id{d.Kind, d.Name}] = true
		}
	}
	var docs []*routing.Document
	for _, o := range s.ordered {
		docs = append(docs, o.Documents...)
		for _, d := range o.Kept {
			if !present[id{d.Kind, d.Name}] {
				docs = append(docs, d)
			}
		}
	}
	return docs
}

// serve returns the table of what is to be served, in the order of documents:
// what is asked for, or the last good form of it.
func (s *space) serve(w *work, docs []*routing.Document) *routing.Table {
	asked := make(map[string]*routing.Gateway, len(w.asked.Gateways))
	for _, g := range w.asked.Gateways {
		asked[g.Name] = g
	}
	t := &routing.Table{Version: w.asked.Version}
	seen := make(map[string]bool, len(asked))
	for _, d := range docs {
		if d.Kind != gateways || seen[d.Name] {
			continue
		}
		seen[d.Name] = true
		if g := s.form(w, d.Name, asked[d.Name]); g != nil {
			t.Gateways = append(t.Gateways, g)
		} else {
			t.Broken = append(t.Broken, d.Name)
		}
	}
	return t
}

// form returns the form in which a gateway is to be served, nil if there is
// none.
func (s *space) form(w *work, name string, asked *routing.Gateway) *routing.Gateway {
	compiled, was := w.snapshot.ByName(name), s.serving[name]
	switch {
	case compiled == nil:
		return nil
	case w.refused[name] && was == nil:
		return compiled.Asked // of Memory
	case w.refused[name], was == asked, was != nil && reflect.DeepEqual(was, asked):
		return was
	default:
		return asked
	}
}

// sameTable reports whether two tables ask for the same; gateways that do are
// the same pointers.
func sameTable(a, b *routing.Table) bool {
	return slices.Equal(a.Gateways, b.Gateways) && slices.Equal(a.Broken, b.Broken)
}

// allFaults returns the faults of all objects, and those that planning found,
// in the order of their places.
func (s *space) allFaults(found []*routing.Fault) []*routing.Fault {
	var all []*routing.Fault
	for _, o := range s.ordered {
		all = append(all, o.Faults...)
	}
	all = append(all, found...)
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

// take makes what planning came to count.
func (s *space) take(w *work) {
	s.dirty = false
	s.countNew(s.last.Faults, w.faults)
	next := Plan{Namespace: s.name, Table: w.table, Snapshot: w.snapshot, Faults: w.faults, Changes: s.changes}
	s.changes = nil
	if w.changed {
		s.p.planned++
	} else {
		next.Table, next.Snapshot = s.last.Table, s.last.Snapshot
	}
	s.touch(w)
	s.selection, s.refused, s.last = w.selection, w.refused, next
	s.serving = make(map[string]*routing.Gateway, len(next.Table.Gateways))
	for _, g := range next.Table.Gateways {
		s.serving[g.Name] = g
	}
}

// touch notes of which gateways something else is to be kept.
func (s *space) touch(w *work) {
	touched := s.memory.touched
	for name := range w.refused {
		touched[name] = touched[name] || !s.refused[name]
	}
	for name := range s.refused {
		touched[name] = touched[name] || !w.refused[name]
	}
	for _, g := range w.asked.Gateways {
		touched[g.Name] = touched[g.Name] || !slices.EqualFunc(s.selection.Known(g.Name), w.selection.Known(g.Name), sameRoute)
	}
	for name := range s.serving {
		if w.snapshot.ByName(name) == nil {
			touched[name] = true
		}
	}
}

// countNew counts the refusals that were not there before, wherever in the
// text they stand.
func (s *space) countNew(before, now []*routing.Fault) {
	known := make(map[routing.Fault]bool, len(before))
	for _, f := range before {
		known[unplaced(f)] = true
	}
	for _, f := range now {
		if f.Severity == routing.Refused && !known[unplaced(f)] {
			s.p.rejected[f.Code]++
		}
	}
}

// unplaced returns a fault without its place within its text.
func unplaced(f *routing.Fault) routing.Fault {
	u := *f
	u.At = routing.Position{Source: f.At.Source}
	return u
}

// kept returns how gateways fare that are only kept, by name.
func (s *space) kept() map[string]State {
	kept := make(map[string]State)
	for _, o := range s.objects {
		state := LastGood
		if o.Held != nil {
			state = HeldBack
		}
		for _, d := range o.Kept {
			if d.Kind == gateways {
				kept[d.Name] = state
			}
		}
	}
	maps.DeleteFunc(kept, func(name string, _ State) bool { return s.present(name) })
	return kept
}

// present reports whether an object has a document of a gateway that is not
// only kept.
func (s *space) present(name string) bool {
	for _, o := range s.objects {
		for _, d := range o.Documents {
			if d.Kind == gateways && d.Name == name {
				return true
			}
		}
	}
	return false
}
