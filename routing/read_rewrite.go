// SPDX-License-Identifier: Apache-2.0

package routing

import "strconv"

// rewriteForm is a rewrite: a text, or a reference to a stored one.
type rewriteForm struct {
	text  string
	place place
	ref   *reference
}

const rewriteForms = `{path: "NEW if CONDITION"} or {ref: NAME} is allowed`

// rewrites reads the rewrites of a route: a list, or a single one.
func (r *reader) rewrites(v *value, path string) []rewriteForm {
	items := []*value{v}
	if v.kind == listValue {
		items = v.items
	}
	forms := make([]rewriteForm, 0, len(items))
	for i, item := range items {
		here := path
		if v.kind == listValue {
			here += "[" + strconv.Itoa(i) + "]"
		}
		forms = append(forms, r.rewrite(item, here))
	}
	return forms
}

// rewrite reads one rewrite; a bare text is a reference.
func (r *reader) rewrite(v *value, path string) rewriteForm {
	switch v.kind {
	case textValue:
		return rewriteForm{ref: r.referenceTo(v, path)}
	case mapValue:
		if ref := r.reference(v, path); ref != nil {
			r.ignored(SectionRewrite, v, path)
			r.rewriteBody(v, path)
			return rewriteForm{ref: ref}
		}
		return r.rewriteBody(v, path)
	default:
		r.wrongType(codeUnexpectedType, v, path, rewriteForms)
		return rewriteForm{}
	}
}

// storedRewrite reads an artifact of kind rewrites.
func (r *reader) storedRewrite(v *value) *rewriteForm {
	r.refuseReference(v)
	f := r.rewriteBody(v, "")
	return &f
}

func (r *reader) rewriteBody(v *value, path string) (f rewriteForm) {
	nested := path != ""
	r.fields(SectionRewrite, v, path, func(e entry, path string) {
		switch e.key {
		case "path":
			f = r.rewriteText(e.value, path)
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
	return f
}

// rewriteText checks "NEW if CONDITION".
func (r *reader) rewriteText(v *value, path string) rewriteForm {
	text, ok := r.text(v, path, "NEW if CONDITION is allowed")
	if !ok {
		return rewriteForm{}
	}
	if _, err := parseRewrite(text); err != nil {
		r.refuseFormat(codeRewrite, v, path, err)
	}
	return rewriteForm{text: text, place: v.place}
}

// refuseFormat refuses a value at the character where it goes wrong.
func (r *reader) refuseFormat(code string, v *value, path string, err *FormatError) {
	at := v.place
	if v.kind == textValue {
		at = v.at(err.Offset)
	}
	r.refuse(code, at, path, err.Problem, err.Allowed)
}

// resolveRewrites returns the rewrites of a route with references followed.
func (s *resolver) resolveRewrites(forms []rewriteForm, path string) (list []Rewrite) {
	for i, f := range forms {
		rw := Rewrite{Path: f.text, At: f.place.position()}
		if f.ref != nil {
			stored := s.stored(kindRewrites, f.ref, path+"["+strconv.Itoa(i)+"]")
			if stored == nil {
				continue
			}
			rw = Rewrite{Path: stored.rewrite.text, Ref: f.ref.name, At: stored.rewrite.place.position()}
		}
		list = append(list, rw)
	}
	return list
}

// asciiLower lowers A to Z alone, byte by byte, which keeps every offset even
// where the text is no UTF-8.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerASCII(c)
	}
	return string(b)
}
