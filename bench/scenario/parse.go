// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a scenario file, in bytes.
const maxFile = 1 << 20

// Parse reads a scenario from YAML, as the package's comment describes it.
// The name is that of the file, for errors. An error of the scenario joins
// one *Fault for each thing that is wrong, in the order of the file.
func Parse(name string, r io.Reader) (*Scenario, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxFile {
		return nil, &Fault{Source: name, Line: 1, Column: 1, Problem: "the file is longer than 1 MiB"}
	}
	root, fault := document(name, text)
	if fault != nil {
		return nil, fault
	}
	p := parser{source: name, sets: make(map[string][]Header)}
	s := p.scenario(root)
	if len(p.faults) > 0 {
		return nil, errors.Join(p.faults...)
	}
	return s, nil
}

// document returns the only YAML document of text.
func document(name string, text []byte) (*yaml.Node, *Fault) {
	var first, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	err := d.Decode(&first)
	if errors.Is(err, io.EOF) || err == nil && len(first.Content) == 0 {
		return nil, &Fault{Source: name, Line: 1, Column: 1, Problem: "the file is empty; at least a key such as mix is needed"}
	}
	if err == nil {
		if err = d.Decode(&second); errors.Is(err, io.EOF) {
			return first.Content[0], nil
		}
	}
	if err != nil {
		return nil, syntaxFault(name, err)
	}
	return nil, &Fault{Source: name, Line: second.Line, Column: second.Column, Problem: "a second document begins here; a file holds one scenario"}
}

// syntaxFault places an error of the YAML parser, which knows no columns, at
// the beginning of its line.
func syntaxFault(name string, err error) *Fault {
	f := &Fault{Source: name, Line: 1, Column: 1}
	f.Problem = strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(f.Problem, "line "); ok {
		if number, problem, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil && n > 0 {
				f.Line, f.Problem = n, problem
			}
		}
	}
	f.Problem = "the text is not YAML: " + f.Problem
	return f
}

// parser turns nodes into a scenario and collects what is wrong.
type parser struct {
	source string
	faults []error
	sets   map[string][]Header
	bodies int // bytes of all bodies so far
}

// field is a key of a mapping and what reads its value.
type field struct {
	key  string
	read func(path string, n *yaml.Node)
}

func (p *parser) faultf(n *yaml.Node, path, format string, args ...any) {
	p.faults = append(p.faults, &Fault{
		Source: p.source, Line: n.Line, Column: n.Column, Path: path, Problem: fmt.Sprintf(format, args...),
	})
}

// check notes a problem of the value of n, if there is one.
func (p *parser) check(n *yaml.Node, path, problem string) {
	if problem != "" {
		p.faultf(n, path, "%s", problem)
	}
}

func (p *parser) scenario(n *yaml.Node) *Scenario {
	s := &Scenario{}
	var mix *yaml.Node
	p.mapping("", n, []field{
		{"name", func(path string, n *yaml.Node) { s.Name = p.text(path, n) }},
		{"host", func(path string, n *yaml.Node) { s.Host = p.checked(path, n, hostProblem) }},
		{"connections", func(path string, n *yaml.Node) { s.Connections = int(p.count(path, n, MaxConnections)) }},
		{"rate", func(path string, n *yaml.Node) { s.Rate = p.rate(path, n) }},
		{"duration", func(path string, n *yaml.Node) { s.Duration = p.duration(path, n, MaxDuration) }},
		{"warmup", func(path string, n *yaml.Node) { s.Warmup = p.duration(path, n, MaxWarmup) }},
		{"requests", func(path string, n *yaml.Node) { s.Requests = p.count(path, n, math.MaxInt64) }},
		{"requests_per_connection", func(path string, n *yaml.Node) { s.PerConnection = int(p.count(path, n, math.MaxInt32)) }},
		{"timeout", func(path string, n *yaml.Node) { s.Timeout = p.duration(path, n, MaxTimeout) }},
		{"headers", func(path string, n *yaml.Node) { s.Headers = p.headers(path, n) }},
		{"header_sets", p.headerSets},
		// Last, as it may use sets that stand below it.
		{"mix", func(_ string, n *yaml.Node) { mix = n }},
	})
	if mix != nil {
		s.Mix = p.mix("mix", mix)
	}
	return s
}

func (p *parser) mix(path string, n *yaml.Node) []Kind {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		p.faultf(n, path, "it is a list of kinds of requests, such as [{path: /cart}]")
		return nil
	}
	if len(n.Content) > MaxMix {
		p.faultf(n, path, "%d kinds of requests are too many; at most %d", len(n.Content), MaxMix)
		return nil
	}
	kinds := make([]Kind, 0, len(n.Content))
	for i, c := range n.Content {
		kinds = append(kinds, p.kind(fmt.Sprintf("%s[%d]", path, i), c))
	}
	return kinds
}

func (p *parser) kind(path string, n *yaml.Node) Kind {
	var k Kind
	var used, own []Header
	var body *yaml.Node
	p.mapping(path, n, []field{
		{"name", func(path string, n *yaml.Node) { k.Name = p.text(path, n) }},
		{"weight", func(path string, n *yaml.Node) { k.Weight = int(p.count(path, n, MaxWeight)) }},
		{"method", func(path string, n *yaml.Node) {
			k.Method = p.checked(path, n, methodProblem)
		}},
		{"path", func(path string, n *yaml.Node) {
			k.Path = p.checked(path, n, targetProblem)
		}},
		{"host", func(path string, n *yaml.Node) { k.Host = p.checked(path, n, hostProblem) }},
		{"use", func(path string, n *yaml.Node) { used = p.use(path, n) }},
		{"headers", func(path string, n *yaml.Node) { own = p.headers(path, n) }},
		{"body", func(path string, n *yaml.Node) { k.Body, body = []byte(p.text(path, n)), n }},
		{"body_size", func(path string, n *yaml.Node) {
			if body != nil {
				p.faultf(n, path, "body gives the body already; one of the two")
				return
			}
			k.Body = p.madeUp(path, n)
		}},
	})
	k.Headers = slices.Concat(used, own)
	return k
}

// use returns the fields of the header sets that a kind names.
func (p *parser) use(path string, n *yaml.Node) (fields []Header) {
	if n.Kind != yaml.SequenceNode {
		p.faultf(n, path, "it is a list of names of header_sets, such as [beta]")
		return nil
	}
	for _, c := range n.Content {
		name, ok := p.scalar(path, c)
		if !ok {
			continue
		}
		set, ok := p.sets[name]
		if !ok {
			p.faultf(c, path, "no header set is called %q; header_sets has %s", name, listed(p.setNames()))
			continue
		}
		fields = append(fields, set...)
	}
	return fields
}

func (p *parser) setNames() []string {
	names := make([]string, 0, len(p.sets))
	for name := range p.sets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (p *parser) headerSets(path string, n *yaml.Node) {
	p.entries(path, n, func(key, value *yaml.Node) {
		p.sets[key.Value] = p.headers(path+"."+key.Value, value)
	})
}

// headers reads NAME: VALUE and NAME: [VALUE, ...] in the order written.
func (p *parser) headers(path string, n *yaml.Node) (fields []Header) {
	p.entries(path, n, func(key, value *yaml.Node) {
		path := path + "." + key.Value
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			values = value.Content
		}
		for _, v := range values {
			h := Header{Name: key.Value, Value: p.text(path, v)}
			p.check(v, path, headerProblem(h))
			fields = append(fields, h)
		}
	})
	return fields
}

// mapping reads the keys of a mapping in the order of fields, which may
// depend on each other.
func (p *parser) mapping(path string, n *yaml.Node, fields []field) {
	values := make(map[string]*yaml.Node)
	p.entries(path, n, func(key, value *yaml.Node) {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.key == key.Value }) {
			known := make([]string, 0, len(fields))
			for _, f := range fields {
				known = append(known, f.key)
			}
			p.faultf(key, path, "unknown key %q; known are %s", key.Value, listed(known))
			return
		}
		values[key.Value] = value
	})
	for _, f := range fields {
		if value, ok := values[f.key]; ok {
			f.read(strings.TrimPrefix(path+"."+f.key, "."), value)
		}
	}
	slices.SortStableFunc(p.faults, byPlace)
}

func byPlace(a, b error) int {
	f, g := &Fault{}, &Fault{}
	if !errors.As(a, &f) || !errors.As(b, &g) {
		return 0
	}
	return slices.Compare([]int{f.Line, f.Column}, []int{g.Line, g.Column})
}

// entries calls read for each key of a mapping that is not there twice.
func (p *parser) entries(path string, n *yaml.Node, read func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.faultf(n, path, "it is a mapping, KEY: VALUE")
		return
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			p.faultf(key, path, "a key is a word")
			continue
		}
		if line, twice := lines[key.Value]; twice {
			p.faultf(key, path, "%q stands twice, first on line %d", key.Value, line)
			continue
		}
		lines[key.Value] = key.Line
		read(key, value)
	}
}

// text returns a scalar as it is written; empty if there is none, which is
// noted.
func (p *parser) text(path string, n *yaml.Node) string {
	text, _ := p.scalar(path, n)
	return text
}

// scalar is text that says whether there is one.
func (p *parser) scalar(path string, n *yaml.Node) (string, bool) {
	switch {
	case n.Kind == yaml.AliasNode:
		p.faultf(n, path, "aliases are not followed; what several kinds share belongs under headers or header_sets")
	case n.Kind != yaml.ScalarNode:
		p.faultf(n, path, "it is a single value")
	case n.Tag == "!!null":
		p.faultf(n, path, `it has no value; "" is an empty one`)
	default:
		return n.Value, true
	}
	return "", false
}

// checked returns a scalar of which problem says what is wrong with it.
func (p *parser) checked(path string, n *yaml.Node, problem func(string) string) string {
	text, ok := p.scalar(path, n)
	if ok {
		p.check(n, path, problem(text))
	}
	return text
}

func (p *parser) count(path string, n *yaml.Node, most int64) int64 {
	text, ok := p.scalar(path, n)
	if !ok {
		return 0
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.faultf(n, path, "%q is not a whole number; 1 to %d", text, most)
		return 0
	}
	p.check(n, path, countProblem(v, 1, most))
	return v
}

func (p *parser) rate(path string, n *yaml.Node) float64 {
	text, ok := p.scalar(path, n)
	if !ok {
		return 0
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		p.faultf(n, path, "%q is not a number; requests a second, such as 2000", text)
		return 0
	}
	p.check(n, path, rateProblem(v))
	return v
}

func (p *parser) duration(path string, n *yaml.Node, most time.Duration) time.Duration {
	text, ok := p.scalar(path, n)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d == 0 {
		p.faultf(n, path, "%q is not a duration; a number with a unit, such as 500ms, 10s or 5m", text)
		return 0
	}
	p.check(n, path, durationProblem(d, most))
	return d
}

func (p *parser) madeUp(path string, n *yaml.Node) []byte {
	text, ok := p.scalar(path, n)
	if !ok {
		return nil
	}
	size, err := ParseSize(text)
	if err != nil {
		p.faultf(n, path, "%s", err.Error())
		return nil
	}
	if p.bodies += size; p.bodies > MaxBody {
		p.faultf(n, path, "%s", bodiesProblem)
		return nil
	}
	return MadeUp(size)
}
