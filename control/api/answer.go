// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The types of answers.
const (
	typeJSON = "application/json"
	typeYAML = "application/x-yaml"
	typeText = "text/plain; charset=utf-8"
)

// yaml reports whether the client prefers YAML: its Accept begins with it, as
// Vamp reads it.
func (c *call) yaml() bool {
	accept := strings.TrimSpace(c.r.Header.Get("Accept"))
	for _, t := range []string{typeYAML, "application/yaml", "text/yaml"} {
		if strings.HasPrefix(accept, t) {
			return true
		}
	}
	return false
}

// answer answers a value as JSON or YAML, as the client asks. A *yaml.Node
// keeps the order of its keys; other values are those of encoding/json.
func (c *call) answer(status int, v any) error {
	var text []byte
	var err error
	contentType := typeJSON
	if c.yaml() {
		contentType = typeYAML
		text, err = asYAML(v)
	} else {
		text, err = asJSON(v)
	}
	if err != nil {
		return err
	}
	c.send(status, contentType, text)
	return nil
}

// none answers without a body.
func (c *call) none(status int) error {
	c.w.WriteHeader(status)
	return nil
}

// send answers a whole body; to HEAD, net/http sends its head alone.
func (c *call) send(status int, contentType string, body []byte) {
	patience(c.w)
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // a client that is gone needs no answer
}

func asJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	switch v := v.(type) {
	case *yaml.Node:
		writeJSON(&b, v)
		b.WriteByte('\n')
	case []*yaml.Node:
		b.WriteByte('[')
		for i, n := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(&b, n)
		}
		b.WriteString("]\n")
	default:
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false) // conditions are full of < and >
		if err := enc.Encode(v); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func asYAML(v any) ([]byte, error) {
	switch n := v.(type) {
	case *yaml.Node:
	case []*yaml.Node:
		v = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: n}
	default:
		// JSON is YAML; its names and forms are those of the answer.
		text, err := asJSON(v)
		if err != nil {
			return nil, err
		}
		node := new(yaml.Node)
		if err := yaml.Unmarshal(text, node); err != nil {
			return nil, err
		}
		v = quoted(node)
	}
	return encodeYAML(v)
}

// encodeYAML writes YAML as people do.
func encodeYAML(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeJSON writes a tree of resolved values as JSON, keys in their order.
func writeJSON(b *bytes.Buffer, n *yaml.Node) {
	switch n.Kind {
	case yaml.DocumentNode:
		writeJSON(b, n.Content[0])
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSONText(b, n.Content[i].Value)
			b.WriteByte(':')
			writeJSON(b, n.Content[i+1])
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, item)
		}
		b.WriteByte(']')
	default:
		writeJSONScalar(b, n)
	}
}

func writeJSONScalar(b *bytes.Buffer, n *yaml.Node) {
	switch n.Tag {
	case "!!null":
		b.WriteString("null")
	case "!!bool", "!!int", "!!float":
		if json.Valid([]byte(n.Value)) { // what YAML calls a number may be none of JSON
			b.WriteString(n.Value)
			return
		}
		writeJSONText(b, n.Value)
	default:
		writeJSONText(b, n.Value)
	}
}

func writeJSONText(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)       // a string cannot fail
	b.Truncate(b.Len() - 1) // the line feed
}

// text answers plain text.
func text(w http.ResponseWriter, status int, body string) {
	patience(w)
	w.Header().Set("Content-Type", typeText)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
