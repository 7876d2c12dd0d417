// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Trees of answers are made of yaml.Nodes, which keep the order of keys. Maps
// have texts as keys, each once.

func str(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if !plain.MatchString(s) || words[strings.ToLower(s)] {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plain are texts that stand without quotes: whatever else a reader of YAML
// 1.1 may take for a number, a time or a word of its own has them.
var plain = regexp.MustCompile(`^(?:[A-Za-z_/(][ -~]*|[0-9]{1,3}(?:\.[0-9]{1,2})?%|[0-9]{1,5}/(?:http|tcp)|[0-9]{1,9}(?:ms|s|m|h))$`)

// words are those that YAML 1.1 takes for something else than texts.
var words = map[string]bool{
	"y": true, "n": true, "yes": true, "no": true, "on": true, "off": true, "true": true, "false": true, "null": true,
}

// quoted puts quotes where texts need them, in a tree of resolved values, and
// returns it.
func quoted(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.Style = str(n.Value).Style
	}
	for _, c := range n.Content {
		quoted(c)
	}
	return n
}

// clone returns a copy of a tree.
func clone(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = clone(child)
	}
	return &c
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

// drop takes a key away, if there is a map that has it.
func drop(m *yaml.Node, key string) {
	if m == nil || m.Kind != yaml.MappingNode {
		return
	}
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
	return quoted(n.Content[0])
}
