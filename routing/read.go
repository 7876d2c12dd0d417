// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxFaults bounds the faults told of one text.
const maxFaults = 1000

// Read reads the artifacts of one text, which is YAML 1.1 or JSON in UTF-8:
// one or more YAML documents, each an artifact or a list of artifacts. source
// names the text in positions. An artifact without kind is a gateway.
//
// Every fault is told, in the order of the text, up to a bound of 1,000. An
// artifact with Refused faults is returned with Broken set if its name could
// be read, and left out otherwise. Where the text as a whole cannot be read
// (more than 8 MiB, not UTF-8, not YAML, too many or too deeply nested
// values) docs is nil, and the one fault has neither Kind nor Name. An empty
// text has no documents and no faults.
//
// References between artifacts are not followed; Resolve does that.
func Read(source string, data []byte) (docs []*Document, faults []*Fault) {
	return ReadAs(kindGateways, source, data)
}

// ReadAs reads what Read does, but for artifacts without kind, which are of
// the given plural kind: what a text is about may be said beside it.
func ReadAs(kind, source string, data []byte) (docs []*Document, faults []*Fault) {
	return (&reader{unsaid: kind}).read(source, data)
}

// ReadWithin reads what Read does, of an object in a namespace of Kubernetes:
// the Secrets that it names must be of that namespace.
func ReadWithin(namespace, source string, data []byte) (docs []*Document, faults []*Fault) {
	return (&reader{unsaid: kindGateways, within: namespace}).read(source, data)
}

func (r *reader) read(source string, data []byte) (docs []*Document, faults []*Fault) {
	roots, fault := parseYAML(source, data)
	if fault != nil {
		return nil, []*Fault{fault}
	}
	for _, root := range roots {
		artifacts := []*value{root}
		if root.kind == listValue && !root.hasOwnMark() {
			artifacts = root.items
		}
		for _, v := range artifacts {
			if d := r.document(v); d != nil {
				docs = append(docs, d)
			}
		}
	}
	return docs, r.sorted()
}

// hasOwnMark reports whether v itself, not something in it, is marked.
func (v *value) hasOwnMark() bool { return len(v.marks) > 0 }

// reader decodes values and collects what is wrong with them.
type reader struct {
	unsaid     string // the kind of artifacts that do not say it
	within     string // the namespace whose Secrets may be named; empty for all
	kind, name string // of the artifact at hand; may be empty
	faults     []*Fault
	omitted    int  // faults beyond maxFaults
	unbounded  bool // there is no bound to faults
	refused    bool // the artifact at hand has a Refused fault
}

func (r *reader) add(f Fault) {
	f.Kind, f.Name = r.kind, oneLine(r.name)
	if f.Severity == Refused {
		r.refused = true
	}
	if len(r.faults) >= maxFaults && !r.unbounded {
		r.omitted++
		return
	}
	r.faults = append(r.faults, &f)
}

// oneLine keeps a name that was refused from breaking the line of a message.
func oneLine(name string) string {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return shorten(name)
	}
	return name
}

func (r *reader) refuse(code string, at place, path, problem, allowed string) {
	r.add(Fault{Code: code, At: at.position(), Path: path, Problem: problem, Allowed: allowed})
}

func (r *reader) warn(code string, at place, path, problem, allowed string) {
	r.add(Fault{Code: code, At: at.position(), Path: path, Problem: problem, Allowed: allowed, Severity: Warning})
}

// sorted returns the faults in the order of their texts, the texts in the
// order in which they first had a fault.
func (r *reader) sorted() []*Fault {
	rank := make(map[string]int)
	for _, f := range r.faults {
		if _, ok := rank[f.At.Source]; !ok {
			rank[f.At.Source] = len(rank)
		}
	}
	slices.SortStableFunc(r.faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(rank[a.At.Source], rank[b.At.Source]),
			cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column))
	})
	if r.omitted > 0 {
		last := r.faults[len(r.faults)-1]
		r.faults = append(r.faults, &Fault{
			Code: codeTooManyFaults, At: Position{Source: last.At.Source},
			Problem: strconv.Itoa(r.omitted) + " more faults are not shown",
		})
	}
	return r.faults
}

// under joins a path and a key.
func under(path, key string) string {
	key = cmp.Or(shorten(key), `""`)
	if path == "" {
		return key
	}
	return path + "." + key
}

// describe names what a value is, for messages.
func describe(v *value) string {
	switch v.kind {
	case nullValue:
		return "nothing"
	case booleanValue:
		if v.raw != v.text {
			return "the YAML boolean " + quote(v.raw)
		}
		return "the boolean " + v.text
	case integerValue, decimalValue:
		return "the number " + shorten(v.raw)
	case textValue:
		return "the text " + quote(v.text)
	case listValue:
		return "a list"
	case mapValue:
		return "a map"
	default:
		return "a value with an unknown tag"
	}
}

// wrongType refuses a value of another type than the key needs. A value that
// is marked unreadable has its fault already.
func (r *reader) wrongType(code string, v *value, path, allowed string) {
	if v.kind != unreadableValue {
		r.refuse(code, v.place, path, describe(v)+" stands here", allowed)
	}
}

// text returns a scalar as text.
func (r *reader) text(v *value, path, allowed string) (string, bool) {
	if !v.scalar() {
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return "", false
	}
	return v.text, true
}

// document decodes one artifact. It returns nil if the artifact has no name
// or no kind that is known here.
func (r *reader) document(v *value) *Document {
	r.kind, r.name, r.refused = "", "", false
	if v.kind == nullValue {
		return nil
	}
	d := &Document{At: v.place.position(), body: v, within: r.within}
	known := r.documentHead(d)
	r.marks(v, "", make(map[*value]bool))
	if !known {
		return nil
	}
	d.imports = r.imports(v)
	if d.imports == nil {
		d.content = r.content(d.Kind, v)
	}
	d.Broken = r.refused
	if d.Name == "" {
		return nil
	}
	return d
}

// documentHead finds the kind and name of an artifact and reports whether it
// is one that is known here.
func (r *reader) documentHead(d *Document) bool {
	if d.body.kind != mapValue {
		r.wrongType(codeUnexpectedType, d.body, "", "an artifact is a map that starts with its name, such as 'name: shop'")
		return false
	}
	kind, known := r.documentKind(d.body)
	if !known {
		return false
	}
	d.Kind, r.kind = kind, kind
	d.Name = r.documentName(d.body)
	return true
}

// marks tells what was found wrong when the values were made.
func (r *reader) marks(v *value, path string, seen map[*value]bool) {
	if !v.marked || seen[v] {
		return
	}
	seen[v] = true
	for _, m := range v.marks {
		f := m.fault
		f.Path = path
		if m.key != "" {
			f.Path = under(path, m.key)
		}
		r.add(f)
	}
	for i, item := range v.items {
		r.marks(item, path+"["+strconv.Itoa(i)+"]", seen)
	}
	for _, e := range v.entries {
		r.marks(e.value, under(path, e.key), seen)
	}
}

// documentKind returns the plural kind of an artifact.
func (r *reader) documentKind(v *value) (string, bool) {
	k := v.get("kind")
	if k == nil {
		return r.unsaid, true
	}
	if name := v.get("name"); name != nil && name.scalar() {
		r.name = name.text
	}
	text, ok := r.text(k, "kind", "a kind is one of "+choices(kindNames))
	if !ok {
		return "", false
	}
	kind, ok := kinds[text]
	if !ok {
		r.unknownKind(k.place, "kind", text)
	}
	return kind, ok
}

func (r *reader) unknownKind(at place, path, text string) {
	allowed := choices(kindNames) + " are allowed"
	problem := "the kind " + quote(text) + " is unknown"
	if foreignKinds[text] {
		problem = "the kind " + quote(text) + " of Vamp is not served here"
	} else if s := suggest(text, kindNames); s != "" {
		allowed = "did you mean " + s + "? " + allowed
	}
	r.refuse(codeUnknownKind, at, path, problem, allowed)
}

// documentName returns the name of an artifact and checks it. An empty one
// was refused.
func (r *reader) documentName(v *value) string {
	n := v.get("name")
	if n == nil {
		at := v.place
		for _, e := range v.entries {
			if e.key == "name" {
				at = e.place
			}
		}
		r.refuse(codeMissing, at, "name", "the name is missing", "every artifact needs a name, such as 'name: shop'")
		return ""
	}
	text, ok := r.text(n, "name", "a name is a text")
	if !ok {
		return ""
	}
	r.name = text
	if r.kind == kindGateways {
		r.checkGatewayName(n)
	} else {
		r.checkName(n.place, "name", text)
	}
	return text
}

// checkName applies the rule for general names.
func (r *reader) checkName(at place, path, name string) bool {
	ok := name != "" && !strings.ContainsFunc(name, notInNames) && !strings.Contains(name, "/")
	if !ok {
		r.refuse(codeName, at, path, quote(name)+" is no name",
			"one or more characters are allowed, without white space, / [ and ]")
	}
	return ok
}

func notInNames(c rune) bool {
	return unicode.IsSpace(c) || unicode.IsControl(c) || c == '[' || c == ']'
}

// content decodes the body of an artifact.
func (r *reader) content(kind string, v *value) content {
	switch kind {
	case kindGateways:
		return content{gateway: r.gateway(v)}
	case kindRoutes:
		return content{route: r.storedRoute(v)}
	case kindConditions:
		return content{condition: r.storedCondition(v)}
	case kindRewrites:
		return content{rewrite: r.storedRewrite(v)}
	case kindTemplates:
		if m := v.get("metadata"); m != nil {
			r.metadata(m, "metadata")
		}
	}
	return content{}
}

// fields hands each entry of a map that is known and not null to set, and
// refuses the unknown ones. Keys that are only answers are passed over.
func (r *reader) fields(s Section, v *value, path string, set func(e entry, path string)) {
	for _, e := range v.entries {
		here := under(path, e.key)
		k, known := s.key(e.key)
		switch {
		case !known:
			r.unknownKey(s, e, here)
		case k.Support == Ignored, e.value.kind == nullValue:
		default:
			set(e, here)
		}
	}
}

func (r *reader) unknownKey(s Section, e entry, path string) {
	var allowed string
	own := map[Section]Section{SectionGateway: SectionGatewayOwn, SectionRoute: SectionRouteOwn}[s]
	_, isOwn := own.key(e.key)
	switch best := suggest(e.key, s.names()); {
	case isOwn:
		allowed = fmt.Sprintf("did you mean sluice: {%s: ...}?", e.key)
	case best != "":
		allowed = "did you mean " + best + "?"
	default:
		allowed = choices(s.names()) + " are allowed"
	}
	r.refuse(codeUnexpectedElement, e.place, path, "the key "+quote(e.key)+" is unknown", allowed)
}

func (r *reader) metadata(v *value, path string) map[string]any {
	if v.kind != mapValue {
		r.wrongType(codeMetadata, v, path, "metadata is a map")
		return nil
	}
	m, _ := v.plain().(map[string]any)
	return m
}

// checkKind compares the kind that an inline artifact names with its own.
func (r *reader) checkKind(v *value, path, want string) {
	text, ok := r.text(v, path, "a kind is a text")
	if ok && kinds[text] != want {
		r.refuse(codeKind, v.place, path, "the kind "+quote(text)+" stands where "+want+" belong", want+" is allowed")
	}
}

// reference reads {ref: NAME} out of a map; nil if the map has none. The name
// of an inline artifact is refused, as it would be lost.
func (r *reader) reference(v *value, path string) *reference {
	for _, key := range []string{"ref", "reference"} {
		if n := v.get(key); n != nil {
			return r.referenceTo(n, under(path, key))
		}
	}
	for _, e := range v.entries {
		if e.key == "name" && e.value.kind != nullValue {
			r.refuse(codeReference, e.place, under(path, "name"), "an inline definition has a name",
				"either {ref: NAME} or a definition without name is allowed")
		}
	}
	return nil
}

func (r *reader) referenceTo(v *value, path string) *reference {
	text, ok := r.text(v, path, "a reference is the name of a stored artifact")
	if ok {
		ok = r.checkName(v.place, path, text)
	}
	if !ok {
		// A reference that cannot be read is still one: the map is no inline
		// definition.
		return &reference{place: v.place}
	}
	return &reference{name: text, place: v.place}
}

// ignored warns of keys beside a reference, which wins.
func (r *reader) ignored(s Section, v *value, path string) {
	for _, e := range v.entries {
		switch e.key {
		case "ref", "reference", "kind", "name", "metadata":
		default:
			if k, known := s.key(e.key); known && k.Support != Ignored && e.value.kind != nullValue {
				r.warn(codeIgnoredKey, e.place, under(path, e.key), "the key has no effect beside a reference",
					"write it into the stored artifact, or leave the reference out")
			}
		}
	}
}

// imports reads the top-level key import; nil if it is absent.
func (r *reader) imports(v *value) []importRef {
	for _, e := range v.entries {
		if e.key != "import" || e.value.kind == nullValue {
			continue
		}
		items := []*value{e.value}
		if e.value.kind == listValue {
			items = e.value.items
		}
		if len(items) == 0 {
			r.refuse(codeEmptyImport, e.value.place, "import", "the list is empty", "name at least one template, or KIND/NAME")
		}
		refs := make([]importRef, 0, len(items)) // not nil: what is wrong here is told once
		for i, item := range items {
			path := "import"
			if e.value.kind == listValue {
				path += "[" + strconv.Itoa(i) + "]"
			}
			if ref, ok := r.importRef(item, path); ok {
				refs = append(refs, ref)
			}
		}
		return refs
	}
	return nil
}

func (r *reader) importRef(v *value, path string) (importRef, bool) {
	const allowed = "a template's NAME or KIND/NAME is allowed"
	if v.kind != textValue {
		r.wrongType(codeImport, v, path, allowed)
		return importRef{}, false
	}
	kind, name, qualified := strings.Cut(v.text, "/")
	if !qualified {
		kind, name = kindTemplates, v.text
	}
	if name == "" || strings.Contains(name, "/") {
		r.refuse(codeImport, v.place, path, quote(v.text)+" is no import", allowed)
		return importRef{}, false
	}
	plural, ok := kinds[kind]
	if !ok {
		r.unknownKind(v.place, path, kind)
	}
	return importRef{kind: plural, name: name, place: v.place}, ok
}
