// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// headerEdits are changes of header fields that a route makes.
type headerEdits struct {
	Request  *fieldEdits `json:"request,omitempty"`
	Response *fieldEdits `json:"response,omitempty"`
}

// fieldEdits are those of requests, or of answers.
type fieldEdits struct {
	Remove []string          `json:"remove,omitempty"`
	Set    map[string]string `json:"set,omitempty"`
	Add    map[string]string `json:"add,omitempty"`
}

// set has a field set.
func (e *fieldEdits) set(name, value string) *fieldEdits {
	if e == nil {
		e = &fieldEdits{}
	}
	if e.Set == nil {
		e.Set = make(map[string]string)
	}
	e.Set[name] = value
	return e
}

// edit makes one change as HAProxy names it; false if it knows no such one.
func (e *fieldEdits) edit(verb, name, value string) (*fieldEdits, bool) {
	if e == nil {
		e = &fieldEdits{}
	}
	switch verb {
	case "set-header":
		return e.set(name, value), true
	case "add-header":
		if e.Add == nil {
			e.Add = make(map[string]string)
		}
		_, twice := e.Add[name]
		e.Add[name] = value
		return e, !twice
	case "del-header":
		e.Remove = append(e.Remove, name)
		return e, value == ""
	}
	return e, false
}

// optionLine is a line of HAProxy that changes a field, or tells what it is to
// be.
var optionLine = regexp.MustCompile(`^http-(request|response)\s+(set-header|add-header|del-header)\s+([A-Za-z0-9_-]+)(?:\s+(.*))?$`)

// needless are options that say what is done anyway.
var needless = regexp.MustCompile(`^option\s+(forwardfor|http-keep-alive|http-server-close|httpclose|forceclose|redispatch|httplog|dontlognull|http-no-delay)\b`)

// taken are values that mean the same here as they do in HAProxy.
var taken = regexp.MustCompile(`^%\[(src|dst|src_port|dst_port|path|query|method|base|hdr\([A-Za-z0-9-]+\))\]$`)

// optionLines is what lines of HAProxy say.
type optionLines struct {
	text  string
	edits headerEdits
	left  string // the first that is not taken over; empty if all are
}

// options takes over lines of HAProxy that change header fields.
func (r *labelReader) options(o *offer, value string) {
	if r.edited.text != value {
		r.edited = readLines(value)
	}
	o.edits = r.edited.edits.clone()
	if left := r.edited.left; left != "" {
		r.say(NotSupported, quoted(left)+" is raw text of HAProxy, of which there is none here; set, add and remove header fields without conditions, "+
			fmt.Sprintf("%d of them at most, or write a gateway", maxEdits))
		return
	}
	r.say(Translated, "")
}

// readLines reads lines of HAProxy. Of those that change header fields there
// may be so many: each is tried with all before.
func readLines(text string) optionLines {
	read := optionLines{text: text}
	tried := 0
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || needless.MatchString(line) {
			continue
		}
		if tried++; tried <= maxEdits {
			if next, ok := takeOption(read.edits, line); ok {
				read.edits = next
				continue
			}
		}
		if read.left == "" {
			read.left = directive(line)
		}
		if tried > maxEdits {
			break
		}
	}
	return read
}

// directive returns what a line of HAProxy is about, without what it says of it:
// that may be what lets somebody in.
func directive(line string) string {
	words := strings.Fields(line)
	return strings.Join(words[:min(len(words), 3)], " ")
}

// takeOption adds the change that a line makes; false if it cannot be made
// here.
func takeOption(edits headerEdits, line string) (headerEdits, bool) {
	m := optionLine.FindStringSubmatch(line)
	if m == nil {
		return edits, false
	}
	if m[1] == "request" && saidAnyway(strings.ToLower(m[3]), m[2]) {
		return edits, true
	}
	value, ok := optionValue(m[4])
	if !ok || m[1] == "response" && strings.HasPrefix(value, "%[") {
		return edits, false
	}
	next := edits.clone()
	if m[1] == "request" {
		next.Request, ok = next.Request.edit(m[2], m[3], value)
	} else {
		next.Response, ok = next.Response.edit(m[2], m[3], value)
	}
	return next, ok && acceptable(lbRoute{Sluice: &lbRouteOwn{Headers: &next}})
}

// saidAnyway reports whether a field of requests, in lower case, is set or
// removed by the proxy itself.
func saidAnyway(name, verb string) bool {
	switch name {
	case "proxy", "forwarded", "x-real-ip":
		return verb == "del-header"
	}
	return strings.HasPrefix(name, "x-forwarded-")
}

// optionValue reads a value as HAProxy writes it; false if it has a condition,
// or takes something from the request that is not to be had here.
func optionValue(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if taken.MatchString(text) {
		return text, true
	}
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	} else if words := strings.Fields(strings.ReplaceAll(text, `\ `, "_")); len(words) > 1 {
		return "", false // a condition
	}
	text = strings.ReplaceAll(text, `\ `, " ")
	return text, !strings.ContainsAny(text, `%\"`)
}

// clone returns a copy that can be changed.
func (e headerEdits) clone() headerEdits {
	return headerEdits{e.Request.clone(), e.Response.clone()}
}

func (e *fieldEdits) clone() *fieldEdits {
	if e == nil {
		return nil
	}
	next := &fieldEdits{Remove: append([]string(nil), e.Remove...)}
	for name, value := range e.Set {
		next = next.set(name, value)
	}
	for name, value := range e.Add {
		next, _ = next.edit("add-header", name, value)
	}
	return next
}

// acceptable reports whether a gateway may have a route.
func acceptable(r lbRoute) bool {
	r.Selector, r.Weight = "true", "100%"
	if r.Condition != "" {
		r.Strength = "100%"
	}
	return readable(lbGateway{Name: "a", Routes: []map[string]lbRoute{{"a": r}}})
}

// readable reports whether a gateway is read without a fault.
func readable(g lbGateway) bool {
	text, err := json.Marshal(g)
	if err != nil {
		return false
	}
	_, faults := routing.Read("", text)
	return len(faults) == 0
}
