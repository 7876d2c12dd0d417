// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Ref names a document.
type Ref struct{ Kind, Name string }

// References returns what a document refers to, each once, in the order in
// which it stands: what it imports, and stored routes, conditions and rewrites.
// What an import brings along is referred to by what is imported.
func (d *Document) References() []Ref {
	c := references{seen: make(map[Ref]bool)}
	for _, i := range d.imports {
		c.add(i.kind, i.name)
	}
	if d.body == nil {
		return c.list
	}
	switch d.Kind {
	case kindRoutes:
		c.route(d.body)
	case kindTemplates:
		c.gateway(d.body)
		c.route(d.body)
		if definition := d.body.get("definition"); definition != nil {
			c.gateway(definition)
			c.route(definition)
		}
	default:
		c.gateway(d.body)
	}
	return c.list
}

// references collects what is referred to.
type references struct {
	seen map[Ref]bool
	list []Ref
}

func (c *references) add(kind, name string) {
	ref := Ref{kind, name}
	if name != "" && !c.seen[ref] {
		c.seen[ref] = true
		c.list = append(c.list, ref)
	}
}

func (c *references) gateway(v *value) {
	routes := v.get("routes")
	if routes == nil {
		return
	}
	for _, e := range routes.entries {
		c.named(kindRoutes, e.value)
		c.route(e.value)
	}
	for _, item := range routes.items { // of maps of one entry
		for _, e := range item.entries {
			c.named(kindRoutes, e.value)
			c.route(e.value)
		}
	}
}

func (c *references) route(v *value) {
	if condition := v.get("condition"); condition != nil && condition.kind == mapValue {
		c.named(kindConditions, condition)
	}
	rewrites := v.get("rewrites")
	if rewrites == nil {
		return
	}
	for _, item := range append([]*value{rewrites}, rewrites.items...) {
		c.named(kindRewrites, item)
	}
}

// named adds what a text, or a map with a reference, names.
func (c *references) named(kind string, v *value) {
	if v.kind == textValue {
		c.add(kind, v.text)
		return
	}
	for _, key := range []string{"ref", "reference"} {
		if n := v.get(key); n != nil && n.scalar() {
			c.add(kind, n.text)
			return
		}
	}
}

// Tree returns what a document says, merged over its imports, which are looked
// for among docs as Resolve does; nil if one of them is refused, or the
// document has values that cannot be read. The caller owns the tree. Its types
// are resolved: keys are texts, each once and in the order written, aliases are
// what they stand for, and scalars have the tags !!null, !!bool, !!int, !!float
// or !!str, with the value in the form of JSON where JSON has one.
func Tree(docs []*Document, d *Document) *yaml.Node {
	body := d.body
	if d.imports != nil {
		s := &resolver{
			reader: &reader{}, byName: make(map[docKey]*Document, len(docs)),
			merged: make(map[*Document]*value), left: maxMerged,
		}
		s.index(docs)
		body = s.merge(d)
	}
	if body == nil {
		return nil
	}
	left := maxNodes
	return body.tree(&left)
}

// Written returns what a document says by itself, in the form of Tree.
func Written(d *Document) *yaml.Node {
	left := maxNodes
	return d.body.tree(&left)
}

// tree returns a value as nodes of YAML; nil if it cannot be read, or if there
// are more nodes than left.
func (v *value) tree(left *int) *yaml.Node {
	*left--
	if *left < 0 {
		return nil
	}
	scalar := func(tag, text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
	}
	switch v.kind {
	case nullValue:
		return scalar("!!null", "null")
	case booleanValue:
		return scalar("!!bool", v.text)
	case integerValue:
		return scalar("!!int", v.text)
	case decimalValue:
		if f := decimal(v.raw); !math.IsInf(f, 0) && !math.IsNaN(f) {
			return scalar("!!float", strconv.FormatFloat(f, 'g', -1, 64))
		}
		return scalar("!!float", v.raw)
	case textValue:
		return scalar("!!str", v.text)
	case listValue:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v.items {
			child := item.tree(left)
			if child == nil {
				return nil
			}
			n.Content = append(n.Content, child)
		}
		return n
	case mapValue:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, e := range v.entries {
			child := e.value.tree(left)
			if child == nil {
				return nil
			}
			n.Content = append(n.Content, scalar("!!str", e.key), child)
		}
		return n
	default:
		return nil
	}
}
