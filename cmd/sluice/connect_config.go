// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/cmd/internal/verb"
)

// configDefault is where the contexts are if nobody says otherwise.
const configDefault = "~/.config/sluice/config.yaml"

// maxConfigBytes bounds that file.
const maxConfigBytes = 1 << 20

// configuration is a file of contexts.
type configuration struct {
	Context  string // the one that counts if nobody names another; may be empty
	Contexts map[string]configContext
}

// configContext says how to reach one control plane, and as whom. What is
// empty is not said.
type configContext struct {
	Host      string
	Namespace string
	TokenFile string
	CA        string
}

// fields returns the parts of a context by their keys.
func (c *configContext) fields() map[string]*string {
	return map[string]*string{"host": &c.Host, "namespace": &c.Namespace, "token_file": &c.TokenFile, "ca": &c.CA}
}

// configPath returns where the contexts are, and whether somebody said so.
func (c *connection) configPath(lookup func(string) (string, bool)) (path string, said bool) {
	if c.config != "" {
		return c.config, true
	}
	if path, _ := lookup("SLUICE_CONFIG"); path != "" { // for completion, which reads no environment
		return path, true
	}
	if dir, _ := lookup("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sluice", "config.yaml"), false
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", false
	}
	return filepath.Join(home, ".config", "sluice", "config.yaml"), false
}

// readConfig reads the contexts. A file that is nowhere named may be missing.
func (c *connection) readConfig(lookup func(string) (string, bool)) (string, configuration, error) {
	path, said := c.configPath(lookup)
	if path == "" {
		return configDefault, configuration{}, nil
	}
	data, err := readBounded(path, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) && !said {
		return path, configuration{}, nil
	}
	if err != nil {
		return path, configuration{}, fmt.Errorf("--config: %w", err)
	}
	config, err := parseConfig(data)
	if err != nil {
		return path, configuration{}, usagef("%s:%w", path, err)
	}
	for name, context := range config.Contexts {
		context.TokenFile = beside(path, context.TokenFile)
		context.CA = beside(path, context.CA)
		config.Contexts[name] = context
	}
	return path, config, nil
}

// beside returns where a file is that another one names: relative to it, or to
// the home directory behind ~/.
func beside(config, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(config), path)
}

// parseConfig reads a file of contexts. Errors begin with line and column.
func parseConfig(data []byte) (configuration, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return configuration{}, fmt.Errorf(" %w", err)
	}
	c := configuration{Contexts: make(map[string]configContext)}
	if len(root.Content) == 0 {
		return c, nil
	}
	err := eachKey(root.Content[0], []string{"context", "contexts"}, func(key string, value *yaml.Node) error {
		if key == "context" {
			return scalar(value, &c.Context)
		}
		return eachKey(value, nil, func(name string, value *yaml.Node) error {
			var context configContext
			fields := context.fields()
			err := eachKey(value, slices.Sorted(maps.Keys(fields)), func(key string, value *yaml.Node) error {
				return scalar(value, fields[key])
			})
			c.Contexts[name] = context
			return err
		})
	})
	return c, err
}

// eachKey hands on the pairs of a map. Without allowed any key may stand there;
// none may stand there twice, or be empty.
func eachKey(n *yaml.Node, allowed []string, each func(key string, value *yaml.Node) error) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return wrongAt(n, "a map is wanted here")
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		var key string
		if err := scalar(n.Content[i], &key); err != nil {
			return err
		}
		switch {
		case key == "":
			return wrongAt(n.Content[i], "a key is empty")
		case seen[key]:
			return wrongAt(n.Content[i], "%.40q stands here twice", key)
		case allowed != nil && !slices.Contains(allowed, key):
			return wrongAt(n.Content[i], "%.40q is unknown%s", key, nearest(key, allowed))
		}
		seen[key] = true
		if err := each(key, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// scalar reads a text.
func scalar(n *yaml.Node, text *string) error {
	if n.Kind != yaml.ScalarNode {
		return wrongAt(n, "a text is wanted here")
	}
	if *text = n.Value; n.Tag == "!!null" {
		*text = ""
	}
	return nil
}

func wrongAt(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%d:%d: "+format, append([]any{n.Line, n.Column}, args...)...)
}

// nearest says which of some words was probably meant, or names them all.
func nearest(typed string, words []string) string {
	best, least := "", 1+max(2, len(typed)/3)
	for _, word := range words {
		if d := verb.Distance(typed, word); d < least {
			best, least = word, d
		}
	}
	if best != "" {
		return "; did you mean " + best + "?"
	}
	return "; " + enumerate(words)
}

// enumerate joins words as a sentence does.
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// known says which contexts there are.
func known(c configuration) string {
	return cmp.Or(enumerate(slices.Sorted(maps.Keys(c.Contexts))), "it names none")
}
