// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/routing"
)

// What clients do is to ask for a gateway, change its weights, and send the
// whole back, so a document in the form of an answer is no text of its own:
// what differs in it from what is answered now is what it asks for.

var errUnreadable = errors.New("the text cannot be read")

// answered reports whether a document is in the form in which gateways are
// answered.
func answered(tree *yaml.Node, name string) bool {
	id := get(tree, "lookup_name")
	return id != nil && id.Value == routing.GatewayID(name) && get(tree, "import") == nil
}

// The keys of gateways and routes that a client may change. All others are
// answers alone.
var (
	gatewayKeys = []string{"metadata", "service", "port", "sticky", "virtual_hosts", "selector", "sluice"}
	routeKeys   = []string{"metadata", "selector", "weight", "balance", "condition", "condition_strength", "rewrites", "sluice"}
)

// merge is a document in the form of an answer beside the stored one.
type merge struct {
	now, sent *yaml.Node // what is answered, and what came back
	stored    string
}

// same reports whether the document asks for nothing new.
func (m *merge) same() bool { return len(m.changedKeys()) == 0 && !m.routesChanged() }

// changedKeys returns the keys of the gateway that differ.
func (m *merge) changedKeys() []string {
	var keys []string
	for _, key := range gatewayKeys {
		sent := get(m.sent, key)
		if key == "port" && normal(key, sent).Tag == "!!null" {
			continue // it keeps the one that it has
		}
		if !alike(key, get(m.now, key), sent) {
			keys = append(keys, key)
		}
	}
	return keys
}

// routesChanged reports whether the routes differ, or their order does.
func (m *merge) routesChanged() bool {
	now, sent := routeEntries(get(m.now, "routes")), routeEntries(get(m.sent, "routes"))
	return !slices.EqualFunc(now, sent, func(a, b routeEntry) bool {
		return a.key == b.key && len(changedRouteKeys(a.value, b.value)) == 0
	})
}

func changedRouteKeys(now, sent *yaml.Node) []string {
	var keys []string
	for _, key := range routeKeys {
		if key == "condition_strength" && normal("condition", get(sent, "condition")).Tag == "!!null" {
			continue // without a condition it says nothing
		}
		if !alike(key, get(now, key), get(sent, key)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// alike reports whether two values of a key mean the same.
func alike(key string, a, b *yaml.Node) bool {
	return equal(normal(key, a), normal(key, b))
}

// normal returns a value with the forms of its key that mean nothing as null.
func normal(key string, n *yaml.Node) *yaml.Node {
	switch {
	case n == nil:
		return null()
	case n.Kind != yaml.ScalarNode && len(n.Content) == 0:
		return null() // {} and [] say as much as no key
	}
	switch key {
	case "condition":
		// A text stands for a map with that text.
		if text := get(n, "condition"); text != nil && len(n.Content) == 2 {
			n = text
		}
		if n.Value == "" && n.Kind == yaml.ScalarNode {
			return null()
		}
	case "balance":
		if n.Value == "default" {
			return null()
		}
	case "sticky":
		if n.Value == "none" {
			return null()
		}
		if n.Tag == "!!str" {
			return str(strings.ToLower(n.Value))
		}
	case "port":
		if n.Tag == "!!int" {
			return str(n.Value)
		}
	case "virtual_hosts":
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
			return list(n)
		}
	}
	return n
}

// equal compares trees. The order of keys does not count, nor does a key that
// is null.
func equal(a, b *yaml.Node) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case yaml.MappingNode:
		return within(a, b) && within(b, a)
	case yaml.SequenceNode:
		return slices.EqualFunc(a.Content, b.Content, equal)
	default:
		return a.Value == b.Value && (a.Tag == b.Tag || endless(a) || endless(b)) || equalNumbers(a, b)
	}
}

// within reports whether all that is in a is in b.
func within(a, b *yaml.Node) bool {
	for i := 0; i+1 < len(a.Content); i += 2 {
		other := get(b, a.Content[i].Value)
		if other == nil {
			other = null()
		}
		if !equal(a.Content[i+1], other) {
			return false
		}
	}
	return true
}

// equalNumbers compares a whole number with the same one in another form, as
// programs write what they read.
func equalNumbers(a, b *yaml.Node) bool {
	if a.Tag == b.Tag && a.Tag != "!!float" || !number(a) || !number(b) {
		return false
	}
	x, errX := strconv.ParseFloat(a.Value, 64)
	y, errY := strconv.ParseFloat(b.Value, 64)
	return errX == nil && errY == nil && x == y
}

// endless reports whether a number is one that JSON writes as a text.
func endless(n *yaml.Node) bool {
	return n.Tag == "!!float" && !json.Valid([]byte(n.Value))
}

func number(n *yaml.Node) bool { return n.Tag == "!!int" || n.Tag == "!!float" }

// edited returns the stored text with what is asked for, its comments and
// references where nothing is; false if that cannot be done.
func (m *merge) edited() (string, bool) {
	root := new(yaml.Node)
	if err := unmarshal(m.stored, root); err != nil || len(root.Content) != 1 || !plainTree(root) {
		return "", false
	}
	top := root.Content[0]
	if top.Kind != yaml.MappingNode {
		return "", false
	}
	for _, key := range m.changedKeys() {
		assign(top, key, normal(key, get(m.sent, key)))
	}
	if m.routesChanged() {
		if !m.editRoutes(top) {
			return "", false
		}
	}
	text, err := encodeYAML(root)
	return string(text), err == nil
}

// unmarshal parses a text; a panic of the library is an error.
func unmarshal(text string, n *yaml.Node) (err error) {
	defer func() {
		if recover() != nil {
			err = errUnreadable
		}
	}()
	return yaml.Unmarshal([]byte(text), n)
}

// plainTree reports whether nothing in a tree stands for something elsewhere
// in it, so that a part can be changed alone.
func plainTree(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Tag == "!!merge" {
		return false
	}
	return !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return !plainTree(c) })
}

// assign gives a key of a text a value; null takes the key away.
func assign(m *yaml.Node, key string, v *yaml.Node) {
	if v.Tag == "!!null" {
		drop(m, key)
		return
	}
	set(m, key, quoted(clone(v)))
}

// editRoutes gives a text the routes that are asked for.
func (m *merge) editRoutes(top *yaml.Node) bool {
	now := make(map[string]*yaml.Node)
	for _, e := range routeEntries(get(m.now, "routes")) {
		now[e.key] = e.value
	}
	stored := make(map[string][2]*yaml.Node) // keys with their comments, and values
	if routes := get(top, "routes"); routes != nil && routes.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(routes.Content); i += 2 {
			if key := routes.Content[i]; key.Kind == yaml.ScalarNode {
				stored[key.Value] = [2]*yaml.Node{key, routes.Content[i+1]}
			} else if len(key.Content) == 1 {
				text := "[" + key.Content[0].Value + "]" // an address without quotes
				stored[text] = [2]*yaml.Node{textKey(key, text), routes.Content[i+1]}
			}
		}
	}
	routes := emptyMap()
	if old := get(top, "routes"); old != nil && old.Kind == yaml.MappingNode {
		empty := *old
		empty.Content = nil
		routes = &empty
	}
	for _, e := range routeEntries(get(m.sent, "routes")) {
		if e.value == nil || e.value.Kind != yaml.MappingNode {
			return false // a reference, which no answer has
		}
		key, value := str(e.key), bareRoute(e.value)
		if was, ok := stored[e.key]; ok {
			key = was[0]
			changed := changedRouteKeys(orEmpty(now[e.key]), e.value)
			switch {
			case len(changed) == 0:
				value = was[1]
			case was[1].Kind == yaml.MappingNode && get(was[1], "ref") == nil && get(was[1], "reference") == nil:
				value = was[1]
				for _, k := range changed {
					assign(value, k, normal(k, get(e.value, k)))
				}
			}
			m.weigh(value, e.value)
		}
		routes.Content = append(routes.Content, key, value)
	}
	set(top, "routes", routes)
	return true
}

// textKey returns a key as a text, with the comments of the one in whose place
// it stands.
func textKey(old *yaml.Node, text string) *yaml.Node {
	key := str(text)
	key.HeadComment, key.LineComment, key.FootComment = old.HeadComment, old.LineComment, old.FootComment
	return key
}

// weigh writes the weight of a route where it stood unsaid, since what a
// route without weight gets depends on the others.
func (m *merge) weigh(value, sent *yaml.Node) {
	if value.Kind != yaml.MappingNode || get(value, "ref") != nil || get(value, "reference") != nil {
		return
	}
	if get(value, "weight") == nil && get(get(value, "sluice"), "weight") == nil {
		assign(value, "weight", normal("weight", get(sent, "weight")))
	}
}

func orEmpty(n *yaml.Node) *yaml.Node {
	if n == nil {
		return emptyMap()
	}
	return n
}

// bare returns the document without what only answers have, and without the
// port if that was assigned.
func (m *merge) bare(assigned bool) *yaml.Node {
	out := mapping("name", clone(get(m.sent, "name")))
	if kind := get(m.sent, "kind"); kind != nil {
		set(out, "kind", clone(kind))
	}
	for _, key := range gatewayKeys {
		v := normal(key, get(m.sent, key))
		if v.Tag == "!!null" || key == "port" && assigned && alike(key, get(m.now, key), get(m.sent, key)) {
			continue
		}
		set(out, key, clone(v))
	}
	routes := get(m.sent, "routes")
	if routes != nil && routes.Kind == yaml.MappingNode {
		bare := emptyMap()
		for _, e := range routeEntries(routes) {
			if e.value != nil && e.value.Kind == yaml.MappingNode {
				set(bare, e.key, bareRoute(e.value))
			} else {
				set(bare, e.key, clone(e.value))
			}
		}
		set(out, "routes", bare)
	} else if routes != nil {
		set(out, "routes", clone(routes))
	}
	return quoted(out)
}

// bareRoute returns a route without what only answers have, or what says
// nothing.
func bareRoute(n *yaml.Node) *yaml.Node {
	out := emptyMap()
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		switch v := normal(key, n.Content[i+1]); {
		case key == "lookup_name" || key == "targets" || v.Tag == "!!null":
		case key == "condition_strength" && normal("condition", get(n, "condition")).Tag == "!!null":
		default:
			set(out, key, quoted(clone(v)))
		}
	}
	return out
}

// oneWeight takes the finer weight away where a client has written a whole
// one beside it, which then is the newer one; it reports whether it did.
func oneWeight(tree *yaml.Node) bool {
	did := false
	for _, e := range routeEntries(get(tree, "routes")) {
		own := get(e.value, "sluice")
		if w := get(e.value, "weight"); w != nil && w.Tag != "!!null" && get(own, "weight") != nil {
			drop(own, "weight")
			did = true
		}
	}
	return did
}
