// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"errors"
	"strings"
	"unsafe"

	"github.com/sluice-mesh/sluice/conditions"
)

// RewriteRule is a rewrite, compiled.
type RewriteRule struct {
	To *Format
	If *conditions.Condition
}

// parseRewrite reads "NEW if CONDITION". The text is split at the last "if".
// The condition is an ACL; braces around it may be left out.
func parseRewrite(text string) (*RewriteRule, *FormatError) {
	at := strings.LastIndex(asciiLower(text), separator)
	if at < 0 || strings.TrimSpace(text[:at]) == "" || strings.TrimSpace(text[at+len(separator):]) == "" {
		return nil, &FormatError{0, quote(text) + " is no rewrite", rewriteAllowed}
	}
	to, err := parsePath(text[:at])
	if err != nil {
		return nil, err
	}
	condition, err := parseRewriteCondition(text, at+len(separator))
	if err != nil {
		return nil, err
	}
	return &RewriteRule{To: to, If: condition}, nil
}

const (
	separator      = " if "
	rewriteAllowed = "NEW if CONDITION is allowed, such as /v2%[path] if path_beg /api"
)

// parsePath reads NEW, which must be able to be a path. Its text may have
// blanks around it.
func parsePath(text string) (*Format, *FormatError) {
	blanks := len(text) - len(strings.TrimLeft(text, " \t\r\n"))
	f, err := parseFormat(strings.TrimSpace(text), " ?#")
	if err == nil && f.parts[0].fetch == fetchNone && f.parts[0].literal[0] != '/' {
		err = &FormatError{0, "a path begins with a slash", "/v2%[path] and %[path] are allowed"}
	}
	if err == nil {
		return f, nil
	}
	if err.Allowed == "" && strings.HasSuffix(err.Problem, "stands here") {
		err.Allowed = "a path without query is allowed; what a client sent as query is kept"
	}
	err.Offset += blanks
	return nil, err
}

// parseRewriteCondition reads what stands from an offset on.
func parseRewriteCondition(text string, from int) (*conditions.Condition, *FormatError) {
	acl := strings.TrimSpace(text[from:])
	from += strings.Index(text[from:], acl)
	before := "< "
	if !strings.HasPrefix(acl, "{") || !strings.HasSuffix(acl, "}") {
		before = "< { "
		acl += " }"
	}
	condition, err := conditions.Compile(before + acl + " >")
	if err == nil {
		return condition, nil
	}
	fault := &FormatError{Offset: from, Problem: err.Error()}
	if syntax, ok := errors.AsType[*conditions.SyntaxError](err); ok {
		offset := min(from+max(syntax.Offset-len(before), 0), len(text))
		fault = &FormatError{Offset: offset, Problem: syntax.Problem, Allowed: syntax.Allowed}
	}
	return nil, fault
}

// rewritten is a request as rewrites leave it.
type rewritten struct {
	conditions.Request

	path    string // once a rewrite applied; a view of the buffer that is not next
	applied bool
	skipped int
	// buffers take turns: a rewrite reads the path in one while it writes the
	// other. They are kept for the next request.
	buffers [2][]byte
	next    int
}

// apply lets the rewrites of a route change the path, in order. One whose
// result is no path is passed over.
func (w *rewritten) apply(rules []*RewriteRule) {
	for _, rule := range rules {
		if w.Path() == "*" || !rule.If.Holds(w) {
			continue
		}
		path, ok := rule.To.Append(w.buffers[w.next][:0], w)
		w.buffers[w.next] = path
		if !ok || !isPath(path) {
			w.skipped++
			continue
		}
		w.path, w.applied = unsafe.String(unsafe.SliceData(path), len(path)), true
		w.next = 1 - w.next
	}
}

// isPath reports whether b can stand in a request line as a path.
func isPath(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == '?' || c == '#' {
			return false
		}
	}
	return len(b) > 0 && b[0] == '/'
}

// Path implements conditions.Request.
func (w *rewritten) Path() string {
	if w.applied {
		return w.path
	}
	return w.Request.Path()
}

// Target implements conditions.Request. It has no scheme and host once a
// rewrite applied.
func (w *rewritten) Target() string {
	if !w.applied {
		return w.Request.Target()
	}
	if q := w.Query(); q != "" {
		return w.path + "?" + q
	}
	return w.path
}

// edit notes that a route has edits, and returns the request as its rewrites
// leave it.
func (d *Decision) edit(e *Edits, r conditions.Request) conditions.Request {
	d.Edited = true
	if len(e.Rewrites) == 0 {
		return r
	}
	if r != conditions.Request(&d.rewritten) {
		d.rewritten.Request = r
	}
	d.rewritten.apply(e.Rewrites)
	return &d.rewritten
}

// unedit forgets the edits of a decision before.
func (d *Decision) unedit() {
	d.Edited = false
	d.rewritten.applied, d.rewritten.skipped = false, 0
}

// Path returns the path that rewrites gave the request, if any did. It is
// valid until the next decision.
func (d *Decision) Path() (path string, rewritten bool) {
	return d.rewritten.path, d.rewritten.applied
}

// Skipped returns how many rewrites were passed over because their results
// were no paths.
func (d *Decision) Skipped() int { return d.rewritten.skipped }

// Rewritten returns r, which the decision was made for, as all rewrites leave
// it. It is valid until the next decision.
func (d *Decision) Rewritten(r conditions.Request) conditions.Request {
	if d.rewritten.applied {
		return &d.rewritten
	}
	return r
}

// Seen returns r, which the decision was made for, as the gateway of hop i
// saw it: rewritten by the routes before. It is for explanations, and
// allocates if there is anything to rewrite.
func (d *Decision) Seen(i int, r conditions.Request) conditions.Request {
	var w *rewritten
	for k := range i {
		route := d.Hops[k].Route
		if route.Edits == nil || len(route.Edits.Rewrites) == 0 {
			continue
		}
		if w == nil {
			w = &rewritten{Request: r}
		}
		w.apply(route.Edits.Rewrites)
	}
	if w == nil {
		return r
	}
	return w
}
