// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of one text. They are far above any real set of gateways and keep
// the time and memory that a hostile text takes proportional to its length.
const (
	maxTextBytes = 8 << 20
	maxNodes     = 1_000_000 // aliases count as what they stand for
	maxNesting   = 100

	// Places within a text are found by walking along its line, which is not
	// worth it in a file that is one long line.
	maxExactColumn = 1 << 12
)

// source is a text, with the line starts that positions need.
type source struct {
	name  string
	data  []byte // without a byte order mark
	lines []int  // offset of the start of each line; at least one
}

func newSource(name string, data []byte) *source {
	s := &source{name: name, data: bytes.TrimPrefix(data, []byte("\uFEFF")), lines: []int{0}}
	for i := 0; i < len(s.data); {
		n := breakLength(s.data[i:])
		if n == 0 {
			i++
			continue
		}
		i += n
		s.lines = append(s.lines, i)
	}
	return s
}

// breakLength returns how many bytes the line break that b starts with has; 0
// if there is none. YAML 1.1 breaks lines at NEL, LS and PS as well.
func breakLength(b []byte) int {
	switch b[0] {
	case '\n':
		return 1
	case '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	case 0xC2:
		if len(b) > 1 && b[1] == 0x85 {
			return 2
		}
	case 0xE2:
		if len(b) > 2 && b[1] == 0x80 && (b[2] == 0xA8 || b[2] == 0xA9) {
			return 3
		}
	}
	return 0
}

// line returns the text of a line, counted from 1, with its line break.
func (s *source) line(n int) []byte {
	if n < 1 || n > len(s.lines) {
		return nil
	}
	end := len(s.data)
	if n < len(s.lines) {
		end = s.lines[n]
	}
	return s.data[s.lines[n-1]:end]
}

// rest returns the text from a place to the end.
func (s *source) rest(p place) []byte {
	line := s.line(int(p.line))
	if line == nil {
		return nil
	}
	offset := s.lines[p.line-1]
	for c := int32(1); c < p.column && offset < len(s.data); c++ {
		_, size := utf8.DecodeRune(s.data[offset:])
		offset += size
	}
	return s.data[offset:]
}

// at returns the place of a byte offset.
func (s *source) at(offset int) place {
	low, high := 0, len(s.lines)
	for high-low > 1 {
		if mid := (low + high) / 2; s.lines[mid] <= offset {
			low = mid
		} else {
			high = mid
		}
	}
	column := utf8.RuneCount(s.data[s.lines[low]:offset]) + 1
	return place{src: s, line: int32(low + 1), column: int32(column)}
}

// lineStart returns the place of the first visible character of a line, of
// the nearest line if there is no such line.
func (s *source) lineStart(n int) place {
	n = max(1, min(n, len(s.lines)))
	line := s.line(n)
	blank := len(line) - len(bytes.TrimLeft(line, " \t"))
	return place{src: s, line: int32(n), column: int32(blank + 1)}
}

// place is a position that still knows its text. The zero place is unknown.
type place struct {
	src          *source
	line, column int32 // from 1
}

func (p place) position() Position {
	if p.src == nil {
		return Position{}
	}
	return Position{Source: p.src.name, Line: int(p.line), Column: int(p.column)}
}

// valueKind is the YAML 1.1 type of a value.
type valueKind uint8

const (
	nullValue valueKind = iota
	booleanValue
	integerValue
	decimalValue
	textValue
	listValue
	mapValue
	unreadableValue // has a mark that says why
)

// value is a YAML value, types resolved and aliases followed. Values are
// shared where an alias stands, so they are not changed once they are made.
type value struct {
	kind    valueKind
	marked  bool // a mark stands here or below
	place   place
	text    string // scalars: as text; YAML 1.1 typing applied: true for yes
	raw     string // scalars: as written
	items   []*value
	entries []entry // in the order written; keys are unique
	marks   []mark
	size    int // nodes, this one and all below
	depth   int // levels below, this one counted
}

// entry is a key of a map with its value.
type entry struct {
	key   string
	place place // of the key
	value *value
}

// mark is something to say about a value that no reader of it will see.
type mark struct {
	fault Fault  // without kind, name and path
	key   string // of the entry concerned; may be empty
}

// get returns the value of a key, nil if it is absent or null.
func (v *value) get(key string) *value {
	for i := range v.entries {
		if v.entries[i].key == key && v.entries[i].value.kind != nullValue {
			return v.entries[i].value
		}
	}
	return nil
}

// scalar reports whether v is one of the kinds that have a text.
func (v *value) scalar() bool {
	return v.kind == booleanValue || v.kind == integerValue || v.kind == decimalValue || v.kind == textValue
}

// at returns the place of the character that stands at a byte offset of the
// text of v. It is the place of v itself where escapes or several lines keep
// the two apart.
func (v *value) at(offset int) place {
	if v.kind != textValue || offset < 0 || offset > len(v.text) || v.place.column > maxExactColumn {
		return v.place
	}
	written := v.place.src.rest(v.place)
	if len(written) == 0 {
		return v.place
	}
	column := v.place.column
	quote := written[0]
	if quote == '"' || quote == '\'' {
		written = written[1:]
		column++
	}
	for i, r := range v.text {
		if i >= offset {
			break
		}
		step := 1
		if quote == '\'' && r == '\'' || quote == '"' && (r == '"' || r == '\\') {
			step = 2 // doubled, or after a backslash
		}
		size := step - 1 + utf8.RuneLen(r)
		if len(written) < size || string(written[step-1:size]) != string(r) {
			return v.place
		}
		written = written[size:]
		column += int32(step)
	}
	return place{src: v.place.src, line: v.place.line, column: column}
}

// parseYAML returns the documents of a text. A fault means that the text as a
// whole cannot be read; no value is returned with it.
func parseYAML(name string, data []byte) ([]*value, *Fault) {
	if len(data) > maxTextBytes {
		return nil, &Fault{
			Code: codeYaml, At: Position{Source: name},
			Problem: fmt.Sprintf("the text has %d bytes", len(data)),
			Allowed: fmt.Sprintf("at most %d bytes (8 MiB) are allowed", maxTextBytes),
		}
	}
	src := newSource(name, data)
	if f := checkCharacters(src); f != nil {
		return nil, f
	}
	lines := &lineReader{src: src}
	dec := yaml.NewDecoder(lines)
	conv := converter{src: src, left: maxNodes, anchors: make(map[*yaml.Node]*value)}
	var docs []*value
	for {
		node, err := nextDocument(dec)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, syntaxFault(src, err, lines.delivered)
		}
		v := conv.value(node, 0)
		if conv.fault != nil {
			return nil, conv.fault
		}
		docs = append(docs, v)
		clear(conv.anchors)
	}
}

// nextDocument parses one document. A panic of the library becomes an error,
// since it is a text that caused it and texts come from outside.
func nextDocument(dec *yaml.Decoder) (node *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	node = new(yaml.Node)
	err = dec.Decode(node)
	return node, err
}

// lineReader hands out a line at a time, so that it is known how far the
// library had come when it failed: its own line numbers are of the begin of
// the surrounding construct, and off by one.
type lineReader struct {
	src       *source
	delivered int // lines
	rest      []byte
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.delivered >= len(r.src.lines) {
			return 0, io.EOF
		}
		r.delivered++
		r.rest = r.src.line(r.delivered)
	}
	if len(r.rest) == 0 {
		return 0, io.EOF // the last line, which has no character
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// checkCharacters refuses what no YAML text may hold.
func checkCharacters(src *source) *Fault {
	for i := 0; i < len(src.data); {
		c := src.data[i]
		if c >= ' ' && c < 0x7F || c == '\n' || c == '\t' || c == '\r' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(src.data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Fault{
				Code: codeYaml, At: src.at(i).position(),
				Problem: fmt.Sprintf("byte 0x%02X is not UTF-8", c),
				Allowed: "the text must be UTF-8",
			}
		case r < ' ' || r == 0x7F || r > 0x7F && r < 0xA0 && r != 0x85 || r == 0xFFFE || r == 0xFFFF:
			return &Fault{
				Code: codeYaml, At: src.at(i).position(),
				Problem: fmt.Sprintf("the control character U+%04X stands in the text", r),
				Allowed: "write it as an escape within double quotes",
			}
		}
		i += size
	}
	return nil
}

// hintLine says how the line of a mistake is found.
type hintLine uint8

const (
	lineTold    hintLine = iota // by the message; none is line 1
	lineBefore                  // the message tells the one before
	lineReached                 // it is how far the library had read
)

// syntaxHints says in our words what the library's messages mean.
var syntaxHints = []struct {
	library, problem, allowed string
	line                      hintLine
}{
	{"mapping values are not allowed", "a second key stands on one line, or the line is indented wrongly", "quote a text that has a colon and a blank in it", lineTold},
	{"did not find expected key", "the line does not continue the map that it stands in", "keys of one map start in the same column", lineReached},
	{"did not find expected '-' indicator", "the line does not continue the list that it stands in", "entries of one list start with '-' in the same column", lineReached},
	{"expected ',' or ']'", "a list in [ ] lacks a comma or its closing bracket", "quote a text that starts with '['", lineBefore},
	{"expected ',' or '}'", "a map in { } lacks a comma or its closing brace", "quote a text that starts with '{'", lineBefore},
	{"could not find expected ':'", "the line is no key with a colon and no continuation of a text", "write 'key: value'", lineTold},
	{"cannot start any token", "a text starts with a character that YAML keeps for itself", "quote a text that starts with @ ` or %, and indent with blanks instead of tabs", lineTold},
	{"unexpected end of stream", "a quoted text has no closing quote", "close the quote that opens here", lineTold},
	{"unexpected document indicator", "a quoted text has no closing quote", "close the quote that opens here", lineTold},
	{"unknown escape character", "a text in double quotes has an escape that YAML does not know", `use '...' around texts with backslashes, or write \\`, lineTold},
	{"invalid Unicode character escape code", "an escape stands for no character, or for half of one", "write the character itself", lineTold},
	{"node content", "a value is missing or starts with a character that YAML keeps for itself", "quote a text that starts with , : ] or }, and an address such as \"[[::1]:80]\"", lineReached},
	{"tab character", "a tab stands where blanks are expected", "indent with blanks", lineTold},
	{"exceeded max depth", "lists or maps are nested too deeply", "at most 100 levels are allowed", lineTold},
	{"found undefined tag handle", "a text starts with '!', which begins a tag in YAML", "quote a text that starts with '!'", lineReached},
	{"tag", "a text starts with '!', which begins a tag in YAML", "quote a text that starts with '!'", lineTold},
	{"alphabetic or numeric character", "a text starts with '&' or '*', which YAML keeps for anchors", "quote a text that starts with & or *", lineTold},
	{"whitespace or line break", "a text starts with '!', which begins a tag in YAML", "quote a text that starts with '!'", lineTold},
	{"block sequence entries are not allowed", "a list entry starts where no list can be", "put '-' on a line of its own, below the key", lineTold},
	{"mapping keys are not allowed", "a key starts where no map can be", "put it on a line of its own", lineTold},
	{"document start", "a second document starts without a line '---'", "separate documents by '---', and start all keys of one map in the same column", lineReached},
}

// syntaxFault turns an error of the library into a fault.
func syntaxFault(src *source, err error, delivered int) *Fault {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	f := &Fault{Code: codeYaml, Problem: "the text is not YAML", Allowed: "YAML 1.1 or JSON is allowed"}
	if name, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		f.Problem = "the alias " + quote("*"+name) + " stands for nothing"
		f.Allowed = "define it before by &" + shorten(name) + ", or quote a text that starts with '*'"
		f.At = src.lineStart(1).position()
		if i := bytes.Index(src.data, []byte("*"+name)); i >= 0 {
			f.At = src.at(i).position()
		}
		return f
	}
	line, known := delivered, false
	if _, serr := fmt.Sscanf(message, "line %d:", &line); serr == nil {
		known = true
	}
	for _, h := range syntaxHints {
		if !strings.Contains(message, h.library) {
			continue
		}
		f.Problem, f.Allowed = h.problem, h.allowed
		switch {
		case h.line == lineReached:
			line = delivered
		case h.line == lineBefore && known:
			line++
		case !known:
			line = 1
		}
		break
	}
	f.At = src.lineStart(line).position()
	return f
}

// converter makes values of the nodes of one text.
type converter struct {
	src     *source
	left    int // nodes that may still come
	last    place
	offset  int // of last
	fault   *Fault
	anchors map[*yaml.Node]*value // nil while the node is being converted
}

func (c *converter) place(n *yaml.Node) place {
	line := max(1, min(n.Line, len(c.src.lines)))
	return place{src: c.src, line: int32(line), column: int32(max(1, n.Column))}
}

// refuseAll gives up the whole text.
func (c *converter) refuseAll(at place, problem, allowed string) {
	if c.fault == nil {
		c.fault = &Fault{Code: codeYaml, At: at.position(), Problem: problem, Allowed: allowed}
	}
}

// spend takes n nodes from the budget.
func (c *converter) spend(at place, n int) bool {
	c.left -= n
	if c.left < 0 {
		c.refuseAll(at, "the text has too many values, aliases counted as what they stand for",
			fmt.Sprintf("at most %d are allowed", maxNodes))
	}
	return c.fault == nil
}

func (c *converter) nested(at place, depth int) bool {
	if depth > maxNesting {
		c.refuseAll(at, "lists or maps are nested too deeply", fmt.Sprintf("at most %d levels are allowed", maxNesting))
	}
	return c.fault == nil
}

// value converts n, which stands depth levels below its document. It returns
// a value in every case; c.fault tells whether to go on.
func (c *converter) value(n *yaml.Node, depth int) *value {
	at := c.place(n)
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return &value{place: at, size: 1}
		}
		return c.value(n.Content[0], depth)
	case yaml.AliasNode:
		return c.alias(n, at, depth)
	default:
	}
	v := &value{place: at, size: 1, depth: 1}
	if !c.spend(at, 1) || !c.nested(at, depth+1) {
		return v
	}
	if n.Anchor != "" {
		c.anchors[n] = nil
	}
	if tag, custom := c.customTag(n, at); custom {
		v.kind = unreadableValue
		v.addMark("", at, codeYaml, Refused, "a text starts with '!', which makes it the YAML tag "+quote(tag),
			"quote a text that starts with '!'")
	} else {
		switch n.Kind {
		case yaml.SequenceNode:
			c.list(v, n, depth)
		case yaml.MappingNode:
			c.mapping(v, n, depth)
		default:
			resolveScalar(v, n)
		}
	}
	if n.Anchor != "" {
		c.anchors[n] = v
	}
	return v
}

func (v *value) addMark(key string, at place, code string, severity Severity, problem, allowed string) {
	v.marked = true
	v.marks = append(v.marks, mark{key: key, fault: Fault{
		Code: code, At: at.position(), Problem: problem, Allowed: allowed, Severity: severity,
	}})
}

func (c *converter) alias(n *yaml.Node, at place, depth int) *value {
	v, known := c.anchors[n.Alias]
	switch {
	case !known: // the library remembers anchors of earlier documents
		c.refuseAll(at, "the alias "+quote("*"+n.Value)+" stands for nothing in this document", "define it before by &"+shorten(n.Value))
	case v == nil:
		c.refuseAll(at, "the alias "+quote("*"+n.Value)+" stands within what it stands for", "an alias must follow its anchor")
	case c.spend(at, v.size) && c.nested(at, depth+v.depth):
		return v
	}
	return &value{place: at, size: 1}
}

// customTag returns the tag of a node if it is none of YAML's own. A single
// '!' leaves no trace in the node, so the text is looked at.
func (c *converter) customTag(n *yaml.Node, at place) (string, bool) {
	if n.Style&yaml.TaggedStyle != 0 {
		switch n.Tag {
		case "!!str", "!!int", "!!float", "!!bool", "!!null", mergeTag:
			return n.Tag, n.Kind != yaml.ScalarNode
		case "!!map":
			return n.Tag, n.Kind != yaml.MappingNode
		case "!!seq":
			return n.Tag, n.Kind != yaml.SequenceNode
		}
		return n.Tag, true
	}
	written := c.rest(at)
	if n.Anchor != "" && bytes.HasPrefix(written, []byte("&"+n.Anchor)) {
		written = bytes.TrimLeft(written[1+len(n.Anchor):], " \t")
	}
	return "!", len(written) > 0 && written[0] == '!' && n.Style&yaml.TaggedStyle == 0
}

// rest is source.rest for places that mostly follow one another: it goes on
// from the last one, so that a text of one line is not walked again and again.
func (c *converter) rest(p place) []byte {
	if p.line != c.last.line || p.column < c.last.column {
		c.last, c.offset = place{line: p.line, column: 1}, c.src.lines[p.line-1]
	}
	for ; c.last.column < p.column && c.offset < len(c.src.data); c.last.column++ {
		_, size := utf8.DecodeRune(c.src.data[c.offset:])
		c.offset += size
	}
	return c.src.data[c.offset:]
}

func (v *value) include(child *value) {
	v.size += child.size
	v.depth = max(v.depth, child.depth+1)
	v.marked = v.marked || child.marked
}

func (c *converter) list(v *value, n *yaml.Node, depth int) {
	v.kind = listValue
	for _, item := range n.Content {
		child := c.value(item, depth+1)
		if c.fault != nil {
			return
		}
		v.items = append(v.items, child)
		v.include(child)
	}
}

// pair is a key of a map with its value, as they were written.
type pair struct {
	node       *yaml.Node // of the key
	key, value *value
}

// pairs converts the keys and values of a map in the order of the text, which
// aliases depend on.
func (c *converter) pairs(n *yaml.Node, depth int) []pair {
	pairs := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && c.fault == nil; i += 2 {
		p := pair{node: n.Content[i], key: c.value(n.Content[i], depth+1)}
		if c.fault == nil {
			p.value = c.value(n.Content[i+1], depth+1)
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// mapping converts a map. A key written twice keeps its first place and its
// last value. What a merge key brings stands before what is written, and
// gives way to it.
func (c *converter) mapping(v *value, n *yaml.Node, depth int) {
	v.kind = mapValue
	pairs := c.pairs(n, depth)
	if c.fault != nil {
		return
	}
	index := make(map[string]int, len(pairs))
	for _, p := range pairs {
		v.include(p.key)
		v.include(p.value)
		if p.node.Tag == mergeTag {
			c.merge(v, index, p)
		}
	}
	merged := len(v.entries)
	for _, p := range pairs {
		if p.node.Tag != mergeTag {
			v.set(index, merged, p)
		}
	}
}

const mergeTag = "!!merge"

// set adds a written key to a map whose first merged entries were merged.
func (v *value) set(index map[string]int, merged int, p pair) {
	text, ok := keyText(p.key)
	e := entry{key: text, place: p.key.place, value: p.value}
	v.marks = append(v.marks, p.key.marks...)
	if !ok {
		e.key = shorten(text)
		v.addMark(e.key, e.place, codeYaml, Refused, "the key is a list or map of more than "+
			strconv.Itoa(maxKeyBytes)+" characters", "write keys as texts")
	}
	at, seen := index[e.key]
	if !seen {
		index[e.key] = len(v.entries)
		v.entries = append(v.entries, e)
		return
	}
	if old := v.entries[at]; at >= merged {
		v.addMark(e.key, e.place, codeDuplicateKey, Warning,
			fmt.Sprintf("the key is written twice, before at %d:%d", old.place.line, old.place.column), "the last one counts")
	}
	v.entries[at] = e
}

// merge takes over the entries of the maps that a key << names. The first
// one wins.
func (c *converter) merge(v *value, index map[string]int, p pair) {
	maps := []*value{p.value}
	if p.value.kind == listValue {
		maps = p.value.items
	}
	for _, m := range maps {
		if m.kind != mapValue {
			v.addMark("<<", p.key.place, codeUnexpectedType, Refused, "<< merges something that is no map",
				"a map, an alias of one or a list of these is allowed; quote a key that is to be <<")
			return
		}
		if !c.spend(m.place, len(m.entries)) {
			return
		}
		for _, e := range m.entries {
			if _, seen := index[e.key]; !seen {
				index[e.key] = len(v.entries)
				v.entries = append(v.entries, e)
			}
		}
	}
}
