// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"reflect"
	"slices"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// document notes which documents an object has now.
func (s *space) document(o *object, was, is discovery.Update) {
	s.reorder = s.reorder || !sameGateways(was.Documents, is.Documents) || !sameGateways(was.Kept, is.Kept) ||
		len(was.Documents) != len(is.Documents)
	touched := make(map[docKey]bool)
	for _, list := range [][]*routing.Document{was.Documents, was.Kept} {
		for _, d := range list {
			key := docKey{d.Kind, d.Name}
			if !touched[key] {
				touched[key] = true
				s.refs[key] = slices.DeleteFunc(slices.Clone(s.refs[key]), func(r ref) bool { return r.o == o })
			}
		}
	}
	add := func(r ref) {
		key := docKey{r.doc.Kind, r.doc.Name}
		touched[key] = true
		at, _ := slices.BinarySearchFunc(s.refs[key], r, ref.compare)
		s.refs[key] = slices.Insert(s.refs[key], at, r)
	}
	for i, d := range is.Documents {
		add(ref{o: o, at: i, doc: d})
	}
	for i, d := range is.Kept {
		add(ref{o: o, at: len(is.Documents) + i, doc: d, kept: true})
	}
	for key := range touched {
		s.resolver.Set(key.kind, key.name, counting(s.refs[key]))
		if len(s.refs[key]) == 0 {
			delete(s.refs, key)
		}
	}
}

// sameGateways reports whether two lists have the same gateways in the same
// order.
func sameGateways(a, b []*routing.Document) bool {
	return slices.EqualFunc(a, b, func(a, b *routing.Document) bool {
		return a == b || a.Kind == b.Kind && (a.Kind != gateways || a.Name == b.Name)
	})
}

// counting returns the documents that count of those of a name: those that are
// only kept do so if there are no others.
func counting(refs []ref) []*routing.Document {
	present := slices.ContainsFunc(refs, func(r ref) bool { return !r.kept })
	docs := make([]*routing.Document, 0, len(refs))
	for _, r := range refs {
		if r.kept != present {
			docs = append(docs, r.doc)
		}
	}
	return docs
}

// resolve follows the references of what changed.
func (s *space) resolve() {
	for _, one := range s.resolver.Resolve() {
		key := docKey{one.Kind, one.Name}
		s.tellResolved(key, one.Faults)
		if one.Kind != gateways {
			continue
		}
		e := s.entries[one.Name]
		switch {
		case len(one.Documents) == 0 && e != nil:
			s.drop(e)
			continue
		case len(one.Documents) == 0:
			continue
		case e == nil:
			e = &entry{name: one.Name}
			if k, ok := s.memory.saved[one.Name]; ok {
				e.selected.Known = k.Known
			}
			if s.trial != nil {
				s.trial.add(e)
			}
			s.entries[one.Name] = e
			s.reorder = true
		}
		s.stale[e.name] = true
		if e.asked != nil && one.Gateway != nil && reflect.DeepEqual(e.asked, one.Gateway) {
			continue
		}
		s.keep(e)
		e.asked = one.Gateway
		s.interests.Set(e.name, e.asked, s.p.o.Select)
	}
	if s.reorder {
		s.arrange()
	}
}

// tellResolved replaces what resolving says of a document.
func (s *space) tellResolved(key docKey, faults []*routing.Fault) {
	was := s.resolved[key]
	if len(was)+len(faults) == 0 {
		return
	}
	if s.trial != nil {
		s.trial.keepResolved(key, was)
	}
	s.faults.swap(was, faults)
	s.resolved[key] = faults
	if len(faults) == 0 {
		delete(s.resolved, key)
	}
}

// drop lets go of a gateway that is not asked for any more.
func (s *space) drop(e *entry) {
	s.keep(e)
	s.faults.swap(e.selected.Faults, nil)
	s.faults.swap(one(e.claim), nil)
	s.interests.Set(e.name, nil, s.p.o.Select)
	s.claims.Set(e.name, nil)
	delete(s.entries, e.name)
	delete(s.waning, e.name)
	s.stale[e.name] = true
	s.memory.touched[e.name] = true
	s.reorder = true
}

// one returns a list of a fault, or none if it is nil.
func one(f *routing.Fault) []*routing.Fault {
	if f == nil {
		return nil
	}
	return []*routing.Fault{f}
}

// arrange puts the gateways into the order of their documents: of several of a
// name, the first counts.
func (s *space) arrange() {
	s.reorder = false
	s.order = make([]*entry, 0, len(s.entries))
	for _, o := range s.ordered {
		for i, d := range o.Documents {
			s.line(o, i, d)
		}
		for i, d := range o.Kept {
			s.line(o, len(o.Documents)+i, d)
		}
	}
}

// line puts a gateway into the order if a document is its first that counts.
func (s *space) line(o *object, at int, d *routing.Document) {
	if d.Kind != gateways {
		return
	}
	refs := s.refs[docKey{d.Kind, d.Name}]
	first := refs[0]
	if first.kept {
		if k := slices.IndexFunc(refs, func(r ref) bool { return !r.kept }); k >= 0 {
			first = refs[k]
		}
	}
	if first.o != o || first.at != at {
		return
	}
	if e := s.entries[d.Name]; e != nil {
		s.order = append(s.order, e)
	}
}
