// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"strconv"
	"strings"
)

// rewrites reads the rewrites of a route: a list, or a single one.
func (r *reader) rewrites(v *value, path string) []Rewrite {
	items := []*value{v}
	if v.kind == listValue {
		items = v.items
	}
	var list []Rewrite
	for i, item := range items {
		here := path
		if v.kind == listValue {
			here += "[" + strconv.Itoa(i) + "]"
		}
		if rw, ok := r.rewrite(item, here); ok {
			list = append(list, rw)
			r.notYet(item.place, here, "a rewrite", "leave it out for now")
		}
	}
	return list
}

// rewrite reads one rewrite; a bare text is a reference.
func (r *reader) rewrite(v *value, path string) (Rewrite, bool) {
	switch v.kind {
	case textValue:
		ref := r.referenceTo(v, path)
		return Rewrite{Ref: ref.name}, ref.name != ""
	case mapValue:
		if ref := r.reference(v, path); ref != nil {
			r.ignored(SectionRewrite, v, path)
			r.rewriteBody(v, path)
			return Rewrite{Ref: ref.name}, ref.name != ""
		}
		return r.rewriteBody(v, path)
	default:
		r.wrongType(codeUnexpectedType, v, path, `{path: "NEW if CONDITION"} or {ref: NAME} is allowed`)
		return Rewrite{}, false
	}
}

// storedRewrite reads an artifact of kind rewrites.
func (r *reader) storedRewrite(v *value) {
	r.refuseReference(v)
	r.rewriteBody(v, "")
}

func (r *reader) rewriteBody(v *value, path string) (rw Rewrite, ok bool) {
	nested := path != ""
	r.fields(SectionRewrite, v, path, func(e entry, path string) {
		switch e.key {
		case "path":
			rw, ok = r.rewriteText(e.value, path)
		case "metadata":
			r.metadata(e.value, path)
		case "kind":
			if nested {
				r.checkKind(e.value, path, kindRewrites)
			}
		case "import":
			if nested {
				r.nestedImport(e, path)
			}
		}
	})
	if v.get("path") == nil && (!nested || v.get("ref") == nil && v.get("reference") == nil) {
		r.refuse(codeMissing, v.place, under(path, "path"), "the path is missing", "path: NEW if CONDITION is allowed")
	}
	return rw, ok
}

// rewriteText checks "NEW if CONDITION", which is split at the last if.
func (r *reader) rewriteText(v *value, path string) (Rewrite, bool) {
	text, ok := r.text(v, path, "NEW if CONDITION is allowed")
	if !ok {
		return Rewrite{}, false
	}
	i := strings.LastIndex(asciiLower(text), " if ")
	if i < 0 || strings.TrimSpace(text[:i]) == "" || strings.TrimSpace(text[i+len(" if "):]) == "" {
		r.refuse(codeRewrite, v.place, path, quote(text)+" is no rewrite", "NEW if CONDITION is allowed, such as /v2%[path] if path_beg /api")
		return Rewrite{}, false
	}
	return Rewrite{Path: text}, true
}

// asciiLower lowers A to Z alone, which keeps every offset.
func asciiLower(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}
