// SPDX-License-Identifier: Apache-2.0

package api

import "go.yaml.in/yaml/v3"

// Route is one of the routes of an API, as tests see it.
type Route struct {
	Method, Path string // the whole path
	Open, Root   bool
	Everywhere   bool
	Need         string
}

// Routes returns all that can be asked.
func (a *API) Routes() []Route {
	var all []Route
	for _, r := range a.table {
		out := Route{Method: r.method, Path: r.path, Open: r.open, Root: r.root, Everywhere: r.everywhere || r.root, Need: r.need.String()}
		if !r.root {
			out.Path = base + r.path
		}
		all = append(all, out)
	}
	return all
}

// Tree is an answer, to be changed by tests that play clients.
type Tree struct{ n *yaml.Node }

// ParseTree reads an answer in JSON.
func ParseTree(text string) Tree {
	n := new(yaml.Node)
	if err := yaml.Unmarshal([]byte(text), n); err != nil {
		panic(err)
	}
	return Tree{n.Content[0]}
}

// Routes returns the routes of a gateway.
func (t Tree) Routes() []Tree {
	var all []Tree
	for _, e := range routeEntries(get(t.n, "routes")) {
		all = append(all, Tree{e.value})
	}
	return all
}

// Set gives a key a text, behind the keys that lead there.
func (t Tree) Set(text string, keys ...string) {
	n := t.n
	for _, key := range keys[:len(keys)-1] {
		n = get(n, key)
	}
	set(n, keys[len(keys)-1], str(text))
}

// SetMap gives a key a map of one text.
func (t Tree) SetMap(key, inner, text string) { set(t.n, key, mapping(inner, str(text))) }

// DropFine takes finer weights away, where whole ones took their place.
func (t Tree) DropFine() {
	for _, r := range t.Routes() {
		own := get(r.n, "sluice")
		if drop(own, "weight"); own != nil && len(own.Content) == 0 {
			drop(r.n, "sluice")
		}
		if w := get(r.n, "weight"); w != nil { // where answers have it
			drop(r.n, "weight")
			for i := 0; i+1 < len(r.n.Content); i += 2 {
				if r.n.Content[i].Value == "balance" {
					rest := append([]*yaml.Node{str("weight"), w}, r.n.Content[i:]...)
					r.n.Content = append(r.n.Content[:i:i], rest...)
					break
				}
			}
		}
	}
}

// JSON writes the tree as answers are.
func (t Tree) JSON() string {
	b, err := asJSON(t.n)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Limit is limit, for tests with fewer connections than a server takes.
var Limit = limit
