// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// retryKeys are the keys of retries that are numbers.
var retryKeys = []quantity{
	{key: "attempts", least: 0, most: 10, plain: true},
	{key: "budget_min", least: 0, most: 1e5, plain: true},
}

// retries reads what a route says of retries.
func (r *reader) retries(v *value, path string, only *httpOnly) Retries {
	all := DefaultRetries()
	all.Written = true
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of "+choices(SectionRetries.names())+" is allowed")
		return all
	}
	r.fields(SectionRetries, v, path, func(e entry, path string) {
		switch e.key {
		case "statuses", "methods":
			only.note(e.place, path)
		}
		switch e.key {
		case "attempts":
			n := int64(all.Attempts)
			r.amount(retryKeys, e, path, &n)
			all.Attempts = int(n)
		case "statuses":
			r.each(e.value, path, func(v *value, path string) { r.retryStatus(&all.Statuses, v, path) })
		case "methods":
			r.retryMethods(&all, e.value, path)
		case "budget":
			if w, ok := r.finePercent(e.value, path); ok {
				all.Budget = w
			}
		case "budget_min":
			r.amount(retryKeys, e, path, &all.Spare)
		}
	})
	return all
}

// each hands on the items of a list, or the one value that stands in its
// place.
func (r *reader) each(v *value, path string, read func(v *value, path string)) {
	if v.kind != listValue {
		read(v, path)
		return
	}
	for i, item := range v.items {
		read(item, path+"["+strconv.Itoa(i)+"]")
	}
}

func (r *reader) retryStatus(to *Statuses, v *value, path string) {
	allowed := fmt.Sprintf("a status from %d to %d is allowed, or a list of them", firstStatus, lastStatus)
	if v.kind != integerValue && v.kind != textValue || !isDigits(v.text, 3) {
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return
	}
	n, _ := strconv.Atoi(v.text)
	if n < firstStatus || n > lastStatus {
		r.refuse(codeBound, v.place, path, v.text+" is out of bounds", allowed)
		return
	}
	to.Add(n)
}

// retryMethods reads methods. They are compared in their letter case (RFC 9110
// section 9.1), so one in small letters is a mistake.
func (r *reader) retryMethods(to *Retries, v *value, path string) {
	const allowed = "the name of a method in capital letters is allowed, such as PUT, or a list of up to eight"
	var methods []string
	r.each(v, path, func(v *value, path string) {
		text, ok := r.text(v, path, allowed)
		switch {
		case !ok:
		case text == "" || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "":
			r.refuse(codeUnexpectedType, v.place, path, quote(text)+" is no such method", allowed)
		case !slices.Contains(methods, text):
			methods = append(methods, text)
		}
	})
	if len(methods) > MaxRetryMethods {
		r.refuse(codeBound, v.place, path, fmt.Sprintf("there are %d methods", len(methods)), allowed)
	}
	copy(to.Methods[:], methods)
}
