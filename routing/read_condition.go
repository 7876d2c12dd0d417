// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"errors"

	"github.com/sluice-mesh/sluice/conditions"
)

const conditionAllowed = "a text, {condition: TEXT} or {ref: NAME} is allowed"

// condition reads the condition of a route.
func (r *reader) condition(v *value, path string) conditionForm {
	switch v.kind {
	case textValue:
		return r.conditionText(v, path)
	case mapValue:
		if ref := r.reference(v, path); ref != nil {
			r.ignored(SectionCondition, v, path)
			r.conditionBody(v, path)
			return conditionForm{ref: ref, place: ref.place}
		}
		return r.conditionBody(v, path)
	default:
		r.wrongType(codeUnexpectedType, v, path, conditionAllowed)
		return conditionForm{}
	}
}

// storedCondition reads an artifact of kind conditions.
func (r *reader) storedCondition(v *value) *conditionForm {
	r.refuseReference(v)
	f := r.conditionBody(v, "")
	return &f
}

func (r *reader) conditionBody(v *value, path string) conditionForm {
	var f conditionForm
	nested := path != ""
	r.fields(SectionCondition, v, path, func(e entry, path string) {
		switch e.key {
		case "condition":
			if e.value.kind != textValue {
				r.wrongType(codeUnexpectedType, e.value, path, "the text of a condition is allowed")
				return
			}
			f = r.conditionText(e.value, path)
		case "metadata":
			r.metadata(e.value, path)
		case "kind":
			if nested {
				r.checkKind(e.value, path, kindConditions)
			}
		case "import":
			if nested {
				r.nestedImport(e, path)
			}
		}
	})
	if v.get("condition") == nil && (!nested || v.get("ref") == nil && v.get("reference") == nil) {
		r.refuse(codeMissing, v.place, under(path, "condition"), "the condition is missing", `write its text, or "" for none`)
	}
	return f
}

// conditionText checks the text of a condition. The empty text is none.
func (r *reader) conditionText(v *value, path string) conditionForm {
	if v.text == "" {
		return conditionForm{}
	}
	if _, err := conditions.Compile(v.text); err != nil {
		at, problem, allowed := v.place, err.Error(), ""
		if syntax, ok := errors.AsType[*conditions.SyntaxError](err); ok {
			at, problem, allowed = v.at(syntax.Offset), syntax.Problem, syntax.Allowed
		}
		r.refuse(codeConditionSyntax, at, path, problem, allowed)
	}
	return conditionForm{text: v.text, place: v.place}
}
