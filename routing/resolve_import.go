// SPDX-License-Identifier: Apache-2.0

package routing

import "fmt"

// maxMerged bounds the nodes that the imports of one table make together, so
// that a large template with many importers cannot exhaust the memory.
const maxMerged = 2 * maxNodes

// notImported are the keys that tell what a document is; they are its own.
var notImported = map[string]bool{"kind": true, "name": true, "import": true, "lookup_name": true}

// merge returns the body of a document merged over its imports, in the order
// in which they are named; nil if one of them is refused.
func (s *resolver) merge(d *Document) *value {
	if body, done := s.merged[d]; done {
		return body
	}
	s.merged[d] = nil // refused, if an import leads here again
	base := &value{kind: mapValue, place: d.body.place, size: 1}
	for _, ref := range d.imports {
		from := s.imported(d, ref)
		if from == nil {
			return nil
		}
		base = s.spend(d, base, from)
	}
	body := s.spend(d, base, d.body)
	if s.left < 0 {
		s.begin(d)
		s.refuse(codeImportReference, d.imports[0].place, "import", "the imports of all documents make too many values",
			fmt.Sprintf("at most %d are allowed", maxMerged))
		return nil
	}
	s.merged[d] = body
	return body
}

// spend is overlay, and counts what it took for a document.
func (s *resolver) spend(d *Document, base, top *value) *value {
	left := s.left
	out := s.overlay(base, top)
	if s.spent != nil {
		s.spent[d] += left - s.left
	}
	return out
}

// imported returns what a document takes over by one of its imports.
func (s *resolver) imported(d *Document, ref importRef) *value {
	from := s.look(d, docKey{ref.kind, ref.name})
	var problem string
	allowed := "put it right there"
	switch {
	case from == nil:
		problem = fmt.Sprintf("nothing of kind %s is called %s", ref.kind, quote(ref.name))
		allowed = s.similar(d, ref.kind, ref.name)
	case from.Broken:
		problem = fmt.Sprintf("%s of kind %s, at %v, is refused itself", quote(ref.name), ref.kind, from.At)
	default:
		body := from.body
		if from.imports != nil {
			body = s.merge(from)
		}
		if body != nil {
			return importable(from, body)
		}
		problem = fmt.Sprintf("%s of kind %s, at %v, cannot be imported: its own imports are refused or lead back to it", quote(ref.name), ref.kind, from.At)
	}
	s.begin(d)
	s.refuse(codeImportReference, ref.place, "import", problem, allowed)
	return nil
}

// importable returns the part of a body that others take over: of a template
// its definition, if it has one, otherwise all but what tells what it is.
func importable(d *Document, body *value) *value {
	if definition := body.get("definition"); d.Kind == kindTemplates && definition != nil && definition.kind == mapValue {
		body = definition
	}
	out := &value{kind: mapValue, place: body.place, size: 1}
	for _, e := range body.entries {
		if !notImported[e.key] {
			out.entries = append(out.entries, e)
			out.include(e.value)
		}
	}
	return out
}

// overlay merges the map top over the map base. Maps in both are merged in
// turn; otherwise top wins, except that null is the same as an absent key.
// Keys of base come first.
func (s *resolver) overlay(base, top *value) *value {
	out := &value{kind: mapValue, place: top.place, size: 1, entries: make([]entry, 0, len(base.entries)+len(top.entries))}
	out.entries = append(out.entries, base.entries...)
	index := make(map[string]int, len(base.entries))
	for i, e := range base.entries {
		index[e.key] = i
	}
	s.left -= len(base.entries) + len(top.entries)
	for _, e := range top.entries {
		i, both := index[e.key]
		switch {
		case s.left < 0:
			return out
		case !both:
			out.entries = append(out.entries, e)
		case e.value.kind == nullValue:
		case e.value.kind == mapValue && out.entries[i].value.kind == mapValue:
			e.value = s.overlay(out.entries[i].value, e.value)
			out.entries[i] = e
		default:
			out.entries[i] = e
		}
	}
	return out
}
