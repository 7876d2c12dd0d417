// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Resolve makes one table of the documents of all texts: it merges imports,
// follows references to stored routes, conditions and rewrites, whatever the order of
// the documents, and applies the defaults for weights and strengths. Routes
// keep the order in which they were written.
//
// A name may stand once in a kind; of two documents the first that Read found
// good counts, and the other is refused. A gateway whose document is Broken,
// or is refused here, is named in Table.Broken. Table.Version is left zero.
//
// Faults are told in the order of docs. Those of Read are not repeated.
// Whether gateways fit beside each other (ports, hosts, cycles) is for
// Compile to say.
func Resolve(docs []*Document) (*Table, []*Fault) {
	s := &resolver{
		reader: &reader{},
		byName: make(map[docKey]*Document, len(docs)),
		merged: make(map[*Document]*value),
		left:   maxMerged,
	}
	good := s.index(docs)
	for _, d := range good {
		s.decode(d)
	}
	t := &Table{}
	standing := make(map[string]bool)
	for _, d := range good {
		if d.Kind != kindGateways {
			continue
		}
		if g := s.gateway(s.decoded[d]); g != nil {
			t.Gateways = append(t.Gateways, g)
			standing[g.Name] = true
		}
	}
	for _, d := range docs {
		if d.Kind == kindGateways && !standing[d.Name] {
			standing[d.Name] = true
			t.Broken = append(t.Broken, d.Name)
		}
	}
	return t, s.sortedBy(docs)
}

// docKey names a document within a table.
type docKey struct{ kind, name string }

func (d *Document) key() docKey { return docKey{d.Kind, d.Name} }

// resolver is one run of Resolve.
type resolver struct {
	*reader
	byName  map[docKey]*Document
	decoded map[*Document]*Document // of good documents; Broken if refused here
	merged  map[*Document]*value    // bodies with their imports; nil while in work or refused
	left    int                     // nodes that imports may still make

	// looked notes that a document looked a name up; an empty name stands for
	// all of its kind. Nil if nobody wants to know.
	looked func(by *Document, key docKey)
	begun  []begun           // whose faults come from where on, if looked is set
	spent  map[*Document]int // nodes that the imports of a document made
	at     *Document         // that was begun last
}

// begun says whose the faults are that come from a number on.
type begun struct {
	from int
	of   *Document
}

// begin turns to a document, so that its faults bear its name.
func (s *resolver) begin(d *Document) {
	s.kind, s.name, s.within, s.refused, s.at = d.Kind, d.Name, d.within, false, d
	if s.looked != nil {
		s.begun = append(s.begun, begun{len(s.faults), d})
	}
}

// look finds the document of a name for another one.
func (s *resolver) look(by *Document, key docKey) *Document {
	if s.looked != nil {
		s.looked(by, key)
	}
	return s.byName[key]
}

// index finds the documents by name and returns those that count.
func (s *resolver) index(docs []*Document) []*Document {
	first := make(map[docKey]*Document, len(docs))
	for _, d := range docs {
		if old := s.byName[d.key()]; old == nil || old.Broken && !d.Broken {
			s.byName[d.key()] = d
		}
		old := first[d.key()]
		if old == nil {
			first[d.key()] = d
			continue
		}
		s.begin(d)
		f := Fault{
			Code: CodeDuplicateName, At: d.At,
			Problem: fmt.Sprintf("the name stands twice, before at %v", old.At),
			Allowed: "one artifact of a kind has one name; the first counts",
		}
		if old.Broken && !d.Broken {
			f.Severity = Warning
			f.Allowed = "the first is refused, so this one counts"
			first[d.key()] = d
		}
		s.add(f)
	}
	var good []*Document
	for _, d := range docs {
		if !d.Broken && s.byName[d.key()] == d {
			good = append(good, d)
		}
	}
	return good
}

// sortedBy returns the faults in the order of docs.
func (s *resolver) sortedBy(docs []*Document) []*Fault {
	rank := make(map[string]int, len(docs))
	for i, d := range docs {
		if _, ok := rank[d.At.Source]; !ok {
			rank[d.At.Source] = i
		}
	}
	slices.SortStableFunc(s.faults, func(a, b *Fault) int {
		return cmp.Compare(rank[a.At.Source], rank[b.At.Source])
	})
	return s.sorted()
}

// decode decodes a document that imports others; the others already are.
func (s *resolver) decode(d *Document) {
	if s.decoded == nil {
		s.decoded = make(map[*Document]*Document)
	}
	s.decoded[d] = d
	if d.imports == nil {
		return
	}
	s.begin(d)
	c := *d
	body := s.merge(d)
	if body != nil {
		s.begin(d)
		c.content = s.content(d.Kind, body)
	}
	c.Broken = body == nil || s.refused
	s.decoded[d] = &c
}

// gateway resolves the references of a gateway; nil if it is refused.
func (s *resolver) gateway(d *Document) *Gateway {
	if d.Broken {
		return nil
	}
	s.begin(d)
	// The form belongs to the document, which may be resolved again.
	f := &gatewayForm{gateway: d.gateway.gateway, routesAt: d.gateway.routesAt}
	for _, route := range d.gateway.routes {
		f.routes = append(f.routes, s.route(route))
	}
	if !s.refused {
		s.checkConditionPorts(f, true)
	}
	if d.gateway.hasReferences() && !s.refused {
		s.checkEditPorts(f, true)
		s.checkBoundPorts(f, true)
		s.checkDials(f, true)
		s.checkWeights(f)
	}
	if s.refused {
		return nil
	}
	f.applyDefaults()
	for _, route := range f.routes {
		f.gateway.Routes = append(f.gateway.Routes, &route.route)
	}
	return &f.gateway
}

// route returns a copy of a route with its references followed. A stored
// route takes the path that the gateway gives it.
func (s *resolver) route(f *routeForm) *routeForm {
	c := *f
	path := under("routes", f.route.Path)
	if f.ref != nil {
		stored := s.stored(kindRoutes, f.ref, path)
		if stored == nil {
			return &c
		}
		c = *stored.route
		c.route.Path, c.route.At, c.ref = f.route.Path, f.route.At, f.ref
	}
	if ref := c.condition.ref; ref != nil {
		if stored := s.stored(kindConditions, ref, under(path, "condition")); stored != nil {
			c.condition.text, c.condition.place = stored.condition.text, stored.condition.place
		}
	}
	c.route.Rewrites = s.resolveRewrites(c.rewrites, under(path, "rewrites"))
	c.route.Condition = c.condition.text
	if c.route.Condition != "" {
		c.route.ConditionAt = c.condition.place.position()
	}
	return &c
}

// stored finds what a reference names; nil if it is missing or refused.
func (s *resolver) stored(kind string, ref *reference, path string) *Document {
	d := s.look(s.at, docKey{kind, ref.name})
	if d == nil {
		s.refuse(codeNotFound, ref.place, path, fmt.Sprintf("nothing of kind %s is called %s", kind, quote(ref.name)), s.similar(s.at, kind, ref.name))
		return nil
	}
	if known := s.decoded[d]; known != nil {
		d = known
	}
	if d.Broken {
		s.refuse(codeNotFound, ref.place, path, fmt.Sprintf("%s of kind %s, at %v, is refused itself", quote(ref.name), kind, d.At),
			"put it right there")
		return nil
	}
	return d
}

// similar suggests a stored name to a document.
func (s *resolver) similar(by *Document, kind, name string) string {
	if kind == kindRoutes && strings.HasSuffix(name, "%") {
		return "write {weight: " + quote(name) + "} for a weight"
	}
	if s.looked != nil {
		s.looked(by, docKey{kind, ""})
	}
	var names []string
	for key := range s.byName {
		if key.kind == kind {
			names = append(names, key.name)
		}
	}
	slices.Sort(names) // so that the suggestion does not vary
	if best := suggest(name, names); best != "" {
		return "did you mean " + best + "?"
	}
	return "define it in a document with 'kind: " + kind + "'"
}
