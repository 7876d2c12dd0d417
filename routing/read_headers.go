// SPDX-License-Identifier: Apache-2.0

package routing

import "strconv"

// headers reads what a route changes of header fields; nil if nothing.
func (r *reader) headers(v *value, path string) *Headers {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of request and response is allowed")
		return nil
	}
	h := &Headers{}
	r.fields(SectionHeaders, v, path, func(e entry, path string) {
		switch e.key {
		case "request":
			h.Request = r.headerChanges(e.value, path, requestFields)
		case "response":
			h.Response = r.headerChanges(e.value, path, responseFields)
		}
	})
	if h.Request.empty() && h.Response.empty() {
		return nil
	}
	return h
}

func (r *reader) headerChanges(v *value, path string, side fieldSide) (c HeaderChanges) {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of remove, set and add is allowed")
		return c
	}
	r.fields(SectionHeaderChanges, v, path, func(e entry, path string) {
		switch e.key {
		case "remove":
			c.Remove = r.fieldNames(e.value, path, side)
		case "set":
			c.Set = r.headerFields(e.value, path, side, true)
		case "add":
			c.Add = r.headerFields(e.value, path, side, false)
		}
	})
	return c
}

// fieldNames reads a name or a list of names.
func (r *reader) fieldNames(v *value, path string, side fieldSide) (names []string) {
	items := []*value{v}
	if v.kind == listValue {
		items = v.items
	}
	for i, item := range items {
		here := path
		if v.kind == listValue {
			here += "[" + strconv.Itoa(i) + "]"
		}
		name, ok := r.text(item, here, "the name of a header is allowed")
		if !ok {
			continue
		}
		if err := checkField(name, side, false); err != nil {
			r.refuseFormat(codeHeaders, item, here, err)
		}
		names = append(names, name)
	}
	return names
}

// headerFields reads fields with their values, in the order written.
func (r *reader) headerFields(v *value, path string, side fieldSide, set bool) (fields []HeaderField) {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of names and values is allowed")
		return nil
	}
	for _, e := range v.entries {
		here := under(path, e.key)
		if err := checkField(e.key, side, set); err != nil {
			r.refuse(codeHeaders, e.place, here, err.Problem, err.Allowed)
		}
		text, ok := r.text(e.value, here, "a text is allowed")
		if !ok {
			continue
		}
		if _, err := ParseFormat(text); err != nil {
			r.refuseFormat(codeHeaders, e.value, here, err)
		}
		fields = append(fields, HeaderField{Name: e.key, Value: text})
	}
	return fields
}

// redirect reads where a route sends its clients.
func (r *reader) redirect(v *value, path string) *Redirect {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of to and code is allowed")
		return nil
	}
	x := &Redirect{Code: 302}
	var to *value
	r.fields(SectionRedirect, v, path, func(e entry, path string) {
		switch e.key {
		case "to":
			if text, ok := r.text(e.value, path, "a URL or a path is allowed"); ok {
				x.To, to = text, e.value
			}
		case "code":
			if n, err := strconv.Atoi(r.choice(e.value, path, redirectCodes...)); err == nil {
				x.Code = n
			}
		}
	})
	if to != nil {
		if _, err := parseRedirect(x); err != nil {
			r.refuseFormat(codeRedirect, to, under(path, "to"), err)
		}
	} else if v.get("to") == nil {
		r.refuse(codeMissing, v.place, under(path, "to"), "the place to go to is missing", "a URL or a path is allowed")
	}
	return x
}

// checkEditPorts refuses edits on tcp gateways, which see no requests: those
// of stored routes if stored is set, the others if not.
func (r *reader) checkEditPorts(f *gatewayForm, stored bool) {
	if f.gateway.Port.Type != TCP {
		return
	}
	for _, route := range f.routes {
		edits := len(route.rewrites) > 0 || route.route.Headers != nil || route.route.Redirect != nil
		if !edits || (route.ref != nil) != stored {
			continue
		}
		at := route.at
		if stored {
			at = route.ref.place
		}
		r.refuse(codeEditPort, at, under("routes", route.route.Path), editPortProblem, editPortAllowed)
	}
}
