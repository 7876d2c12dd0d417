// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"

	"go.yaml.in/yaml/v3"
)

// ordered is an object or another value of JSON that keeps the order of its
// keys, in which routes stand for a reason.
type ordered struct{ node *yaml.Node }

// parseJSON reads a value of JSON.
func parseJSON(text []byte) (*ordered, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil { // JSON is YAML
		return nil, err
	}
	if len(root.Content) != 1 {
		return nil, errors.New("there is no value")
	}
	return &ordered{root.Content[0]}, nil
}

// write writes the value as YAML.
func (o *ordered) write(w io.Writer) error {
	plain(o.node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(o.node); err != nil {
		return err
	}
	return enc.Close()
}

// at returns the value of a key; nil if o is no object or has no such key.
func (o *ordered) at(key string) *ordered {
	if i := o.index(key); i >= 0 {
		return &ordered{o.node.Content[i+1]}
	}
	return nil
}

// index returns where a key is in the content of the node, below 0 if nowhere.
func (o *ordered) index(key string) int {
	if o.node.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(o.node.Content); i += 2 {
			if o.node.Content[i].Value == key {
				return i
			}
		}
	}
	return -1
}

// values returns the values of an object, in their order.
func (o *ordered) values() []*ordered {
	var all []*ordered
	if o.node.Kind == yaml.MappingNode {
		for i := 1; i < len(o.node.Content); i += 2 {
			all = append(all, &ordered{o.node.Content[i]})
		}
	}
	return all
}

// remove takes keys away.
func (o *ordered) remove(keys ...string) {
	for _, key := range keys {
		if i := o.index(key); i >= 0 {
			o.node.Content = append(o.node.Content[:i:i], o.node.Content[i+2:]...)
		}
	}
}

// set gives a key a text; nil means null.
func (o *ordered) set(key string, text *string) {
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	if text != nil {
		value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: *text}
	}
	if i := o.index(key); i >= 0 {
		o.node.Content[i+1] = value
		return
	}
	o.node.Content = append(o.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
}
