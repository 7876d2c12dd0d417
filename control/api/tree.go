// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Trees of answers are made of yaml.Nodes, which keep the order of keys. Maps
// have texts as keys, each once.

func str(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func boolean(b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(b)}
}

func integer(n uint64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatUint(n, 10)}
}

func null() *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"} }

// strOrNull returns null for an empty text.
func strOrNull(s string) *yaml.Node {
	if s == "" {
		return null()
	}
	return str(s)
}

func emptyMap() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func list(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
}

// mapping returns a map of one entry.
func mapping(key string, v *yaml.Node) *yaml.Node {
	m := emptyMap()
	set(m, key, v)
	return m
}

// get returns the value of a key; nil if it is absent.
func get(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

// set gives a key a value, in its place if it has one and at the end if not.
func set(m *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = v
			return
		}
	}
	m.Content = append(m.Content, str(key), v)
}

// drop takes a key away.
func drop(m *yaml.Node, key string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content = append(m.Content[:i:i], m.Content[i+2:]...)
			return
		}
	}
}

// nodeOf makes a tree of a value that encoding/json takes.
func nodeOf(v any) *yaml.Node {
	text, err := json.Marshal(v)
	if err != nil {
		return null()
	}
	n := new(yaml.Node)
	if err := yaml.Unmarshal(text, n); err != nil || len(n.Content) == 0 {
		return null()
	}
	blockStyle(n)
	return n.Content[0]
}
