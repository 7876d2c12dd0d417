// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"strconv"
	"strings"
)

// Clause is one test of a condition, as it went for one request.
type Clause struct {
	// Text is the test in canonical form, with the negation of its own (!=,
	// misses), but without a "not" before it.
	Text string
	// Holds reports whether the test is true of the request.
	Holds bool
	// Asked reports whether it had to be known: "and" ends at the first part
	// that is false, "or" at the first that is true.
	Asked bool
	// Saw is what the test looked at: quoted values, separated by commas, or
	// a word such as missing. It is cut after about MaxSawBytes.
	Saw string
}

// MaxSawBytes bounds what a clause shows of a request.
const MaxSawBytes = 512

// Explain returns what Holds does, and every test of the condition in written
// order. It asks for more than Holds does, and allocates; what it returns
// does not depend on r any more. A fault in expr( ) is shown, not counted.
func (c *Condition) Explain(r Request) (holds bool, clauses []Clause) {
	if c.tree == nil {
		return false, nil
	}
	x := explainer{request: r}
	return x.explain(c.tree, true), x.clauses
}

// explainer collects the clauses of a condition.
type explainer struct {
	request Request
	clauses []Clause
}

// explain returns whether e holds, with asked for whether that had to be
// known.
func (x *explainer) explain(e *Expr, asked bool) bool {
	switch e.op {
	case opNot:
		return !x.explain(e.x, asked)
	case opAnd:
		first := x.explain(e.x, asked)
		return x.explain(e.y, asked && first) && first
	case opOr:
		first := x.explain(e.x, asked)
		return x.explain(e.y, asked && !first) || first
	default:
		held, saw := e.test.trace(x.request)
		held = held != e.test.negated
		x.clauses = append(x.clauses, Clause{Text: e.String(), Holds: held, Asked: asked, Saw: saw})
		return held
	}
}

// trace returns whether a test holds, its negation left aside, and what it
// saw.
func (t *test) trace(r Request) (held bool, saw string) {
	switch t.subject {
	case ofRaw:
		return t.raw.trace(r)
	case ofProgram:
		return t.program.trace(r)
	case ofAgent:
		return t.traceAgent(r)
	default:
		s := t.step()
		return s.holds(r), t.saw(r)
	}
}

func (t *test) traceAgent(r Request) (held bool, saw string) {
	held = true
	for _, part := range agentParts(t.value) {
		s := step{kind: fieldCompares, match: contains, name: "User-Agent", value: part, test: t}
		held = held && s.holds(r)
	}
	return held, t.saw(r)
}

// saw returns what a test looks at.
func (t *test) saw(r Request) string {
	var seen transcript
	switch t.subject {
	case ofHost:
		seen.add(r.Host())
	case ofMethod:
		seen.add(r.Method())
	case ofPath:
		seen.add(r.Path())
	case ofAgent:
		seen.addFields(r, "User-Agent")
	case ofHeader:
		seen.addFields(r, t.step().name)
	case ofCookie:
		seen.addCookies(r, t.name)
	case ofQuery:
		for name, value := range parameters(r.Query()) {
			if equalDecoded(name, t.name) {
				seen.add(string(appendDecoded(nil, value)))
			}
		}
	case ofClient:
		if client := r.Conn().Client.Addr(); client.IsValid() {
			seen.write(client.Unmap().String())
		}
	case ofServerName, ofProtocol, ofCertificate, ofSubject, ofNames:
		seen.sawTLS(t.subject, r.Conn())
	default: // these tell themselves
	}
	return seen.string()
}

// transcript is a bounded text of what was seen. The nil transcript takes
// nothing.
type transcript struct {
	text strings.Builder
	full bool
}

// string returns what was seen; missing if there was nothing to see.
func (t *transcript) string() string {
	if t.text.Len() == 0 {
		return "missing"
	}
	return t.text.String()
}

// write appends a text after what is there.
func (t *transcript) write(text string) {
	switch {
	case t.full:
		return
	case t.text.Len()+len(text) > MaxSawBytes:
		text, t.full = "...", true
	}
	if t.text.Len() > 0 {
		t.text.WriteString(", ")
	}
	t.text.WriteString(text)
}

// add appends a value, quoted and cut if it is long.
func (t *transcript) add(value string) { t.write(shown(value)) }

func shown(value string) string {
	const longest = 100
	if len(value) > longest {
		return strconv.Quote(value[:longest]) + "..."
	}
	return strconv.Quote(value)
}

func (t *transcript) addFields(r Request, name string) {
	for value, next := r.Field(name, 0); next >= 0; value, next = r.Field(name, next) {
		t.add(value)
	}
}

func (t *transcript) addCookies(r Request, name string) {
	for line, next := r.Field("Cookie", 0); next >= 0; line, next = r.Field("Cookie", next) {
		for n, value := range pairs(line) {
			if n == name {
				t.add(value)
			}
		}
	}
}

// trace runs the program and returns what it yields, and what its functions
// saw on the way.
func (p *program) trace(r Request) (held bool, saw string) {
	var t transcript
	held, err := p.run(r, &t)
	if err != nil {
		t.write("fault: " + faultText(err))
	}
	if t.text.Len() == 0 {
		return held, "nothing of the request"
	}
	return held, t.string()
}

// sawText notes what a function returned, with ok for whether it was there.
func (t *transcript) sawText(function, name, text string, ok bool) {
	if t == nil {
		return
	}
	if ok {
		t.note(function, name, shown(text))
	} else {
		t.note(function, name, "missing")
	}
}

// saw notes whether a function found what it looked for.
func (t *transcript) saw(function, name string, found bool) {
	if t != nil {
		t.note(function, name, strconv.FormatBool(found))
	}
}

func (t *transcript) note(function, name, result string) {
	if name != "" {
		function += "(" + shown(name) + ")"
	}
	t.write(function + " = " + result)
}
