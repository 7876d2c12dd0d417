// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// Headers is what a route changes of header fields, as written.
type Headers struct {
	Request, Response HeaderChanges
}

// HeaderChanges are made in this order: fields are removed, then set, then
// added. Values are formats.
type HeaderChanges struct {
	Remove []string      // names
	Set    []HeaderField // in place of all fields of the name
	Add    []HeaderField // beside those that there are
}

func (c *HeaderChanges) empty() bool { return len(c.Remove)+len(c.Set)+len(c.Add) == 0 }

// Redirect answers with another place to go to, as written.
type Redirect struct {
	To   string // a format
	Code int    // 301, 302, 303, 307 or 308
}

// redirectCodes are the statuses with which a client goes elsewhere (RFC 9110
// section 15.4).
var redirectCodes = []string{"301", "302", "303", "307", "308"}

// Edits is what a route changes of a request and its answer, compiled. It is
// immutable and safe for concurrent use.
type Edits struct {
	Rewrites []*RewriteRule // in order; Decide applies them
	Request  *HeaderEdits   // nil if nothing changes
	Response *HeaderEdits   // nil if nothing changes
	Redirect *RedirectRule  // nil unless the route answers by itself
}

// HeaderEdits are changes of header fields, compiled.
type HeaderEdits struct {
	// Drop has the names of the fields that go: those that are removed, and
	// those that are set anew.
	Drop []string
	// Put has the fields that come, those that are set first.
	Put []FieldFormat
}

// FieldFormat is a field whose value each request fills in.
type FieldFormat struct {
	Name  string
	Value *Format
}

// RedirectRule is a redirect, compiled.
type RedirectRule struct {
	To   *Format
	Code int
}

// Append appends the value of the Location field for r and reports whether
// there is one: it is not empty and has neither blanks nor control
// characters. Unless the format names another host itself, the value does
// not either: a path such as "//host" would be taken for one.
func (x *RedirectRule) Append(b []byte, r conditions.Request) ([]byte, bool) {
	from := len(b)
	b, ok := x.To.Append(b, r)
	if !ok || len(b) == from {
		return b[:from], false
	}
	for _, c := range b[from:] {
		if c <= ' ' {
			return b[:from], false
		}
	}
	if to := b[from:]; !strings.HasPrefix(x.To.text, "//") && len(to) > 1 && to[0] == '/' && (to[1] == '/' || to[1] == '\\') {
		return b[:from], false
	}
	return b, true
}

// usesEdits reports whether a route changes anything.
func (r *Route) usesEdits() bool {
	return len(r.Rewrites) > 0 || r.Headers != nil || r.Redirect != nil
}

// editFault is what is wrong with a part of the edits of a route.
type editFault struct {
	code  string
	field string // within the route, such as sluice.redirect.to
	at    Position
	err   *FormatError
}

// compileEdits compiles what a route changes, and returns all that is wrong;
// nil if it changes nothing.
func (r *Route) compileEdits() (e *Edits, faults []editFault) {
	if !r.usesEdits() {
		return nil, nil
	}
	e = new(Edits)
	fault := func(code, field string, at Position, err *FormatError) {
		faults = append(faults, editFault{code, field, at, err})
	}
	for _, rw := range r.Rewrites {
		rule, err := parseRewrite(rw.Path)
		if err != nil {
			fault(codeRewrite, "rewrites", rw.At, err)
		}
		e.Rewrites = append(e.Rewrites, rule)
	}
	if h := r.Headers; h != nil {
		var err *FormatError
		if e.Request, err = h.Request.compile(requestFields); err != nil {
			fault(codeHeaders, "sluice.headers.request", r.At, err)
		}
		if e.Response, err = h.Response.compile(responseFields); err != nil {
			fault(codeHeaders, "sluice.headers.response", r.At, err)
		}
	}
	if x := r.Redirect; x != nil {
		to, err := parseRedirect(x)
		if err != nil {
			fault(codeRedirect, "sluice.redirect", r.At, err)
		}
		e.Redirect = &RedirectRule{To: to, Code: x.Code}
	}
	return e, faults
}

// parseRedirect reads where a redirect leads.
func parseRedirect(x *Redirect) (*Format, *FormatError) {
	switch x.Code {
	case 301, 302, 303, 307, 308:
	default:
		return nil, &FormatError{0, "the status is none of a redirect", choices(redirectCodes) + " are allowed"}
	}
	if x.To == "" {
		return nil, &FormatError{0, "there is nowhere to go", `a URL or a path is allowed, such as "https://%[hdr(host)]%[pathq]"`}
	}
	return parseFormat(x.To, " ")
}

// fieldSide says of which message a field is.
type fieldSide uint8

const (
	requestFields fieldSide = iota
	responseFields
)

// compile compiles changes; nil if there are none.
func (c *HeaderChanges) compile(side fieldSide) (*HeaderEdits, *FormatError) {
	if c.empty() {
		return nil, nil
	}
	e := new(HeaderEdits)
	for _, name := range c.Remove {
		if err := checkField(name, side, false); err != nil {
			return nil, err
		}
		e.Drop = append(e.Drop, name)
	}
	for i, f := range slices.Concat(c.Set, c.Add) {
		set := i < len(c.Set)
		if err := checkField(f.Name, side, set); err != nil {
			return nil, err
		}
		value, err := ParseFormat(f.Value)
		if err != nil {
			return nil, err
		}
		if set {
			e.Drop = append(e.Drop, f.Name)
		}
		e.Put = append(e.Put, FieldFormat{Name: f.Name, Value: value})
	}
	return e, nil
}

const reservedAllowed = "any other field is allowed"

// checkField refuses names that are none, and fields that are not for a route
// to change: what says where a message ends, what ends at this hop (RFC 9110
// section 7.6.1), and what the proxy says itself.
func checkField(name string, side fieldSide, set bool) *FormatError {
	if !isToken(name) {
		return &FormatError{0, quote(name) + " is no name of a header", "letters, digits and - are allowed"}
	}
	// Some servers do not tell "_" from "-".
	lower := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	switch lower {
	case "content-length", "transfer-encoding":
		return &FormatError{0, name + " says where a message ends", reservedAllowed}
	case "connection", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "upgrade":
		return &FormatError{0, name + " belongs to one connection", reservedAllowed}
	}
	if strings.HasPrefix(lower, "sluice-") {
		return &FormatError{0, name + " is said by the proxy itself", reservedAllowed}
	}
	if side == responseFields {
		return nil
	}
	switch lower {
	case "forwarded", "proxy", "proxy-authorization", "x-real-ip", "x-request-id":
		return &FormatError{0, name + " is said by the proxy itself, or not at all", reservedAllowed}
	case "host":
		if !set {
			return &FormatError{0, "Host stands once in a request", "set it instead"}
		}
	}
	if strings.HasPrefix(lower, "x-forwarded-") {
		return &FormatError{0, name + " is said by the proxy itself", reservedAllowed}
	}
	return nil
}

// checkEdits compiles what a route of a changed form changes.
func (c *candidate) checkEdits(i int, r *Route) {
	edits, faults := r.compileEdits()
	for _, f := range faults {
		if f.at == (Position{}) {
			f.at = r.At
		}
		c.fault(Fault{Code: f.code, At: f.at, Path: r.field(f.field), Problem: f.err.Problem, Allowed: f.err.Allowed})
	}
	if c.form.Port.Type == HTTP { // bytes are not edited; reading refuses it
		c.edits[i] = edits
	}
}

const (
	editPortProblem = "the route changes requests or answers, and the port of the gateway is tcp"
	editPortAllowed = "rewrites, headers and redirect need an http port"
)

// editsOf returns what a route changes; nil if nothing.
func (c *candidate) editsOf(i int) *Edits {
	if c.changed {
		return c.edits[i]
	}
	return c.prev.Routes[i].Edits
}
