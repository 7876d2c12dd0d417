// SPDX-License-Identifier: Apache-2.0

package conditions

import "strings"

// String returns the condition in canonical form: one spelling for each test,
// single blanks, no needless parentheses, quotes only where they help. Parsing
// it gives an equal tree.
func (e *Expr) String() string {
	if e == nil {
		return ""
	}
	var b strings.Builder
	e.format(&b)
	return b.String()
}

func (e *Expr) format(b *strings.Builder) {
	switch e.op {
	case opTest:
		e.test.format(b)
	case opNot:
		b.WriteString("not ")
		e.x.formatIn(b, e.x.op != opTest)
	case opAnd:
		e.x.formatIn(b, e.x.op == opOr)
		b.WriteString(" and ")
		e.y.formatIn(b, e.y.op == opOr || e.y.op == opAnd)
	case opOr:
		e.x.format(b)
		b.WriteString(" or ")
		e.y.formatIn(b, e.y.op == opOr)
	}
}

// formatIn writes e as a part of another condition.
func (e *Expr) formatIn(b *strings.Builder, parentheses bool) {
	if parentheses {
		b.WriteByte('(')
	}
	e.format(b)
	if parentheses {
		b.WriteByte(')')
	}
}

func (t *test) format(b *strings.Builder) {
	switch t.subject {
	case ofHost:
		b.WriteString("host" + either(t.negated, " != ", " == "))
		writeValue(b, t.value)
	case ofAgent:
		b.WriteString("user-agent" + either(t.negated, " != ", " == "))
		writeValue(b, t.value)
	case ofClient:
		t.formatClient(b)
	case ofCertificate:
		b.WriteString("client certificate")
	case ofRaw:
		b.WriteString("< " + t.raw.String() + " >")
	case ofProgram:
		b.WriteString("expr(" + t.value + ")")
	default:
		t.formatText(b)
	}
}

// formatText writes a test of what is compared as text.
func (t *test) formatText(b *strings.Builder) {
	if t.match == present {
		b.WriteString(either(t.negated, "misses ", "has ") + nouns[t.subject] + " ")
		writeValue(b, t.name)
		return
	}
	b.WriteString(nouns[t.subject])
	if t.subject.named() {
		b.WriteByte(' ')
		writeValue(b, t.name)
	}
	switch t.match {
	case equals:
		b.WriteString(either(t.negated, " != ", " == "))
	case startsWith:
		b.WriteString(" starts with ")
	case endsWith:
		b.WriteString(" ends with ")
	case matches:
		b.WriteString(" matches ")
	default:
		b.WriteString(either(t.negated, " misses ", " has "))
	}
	writeValue(b, t.value)
}

// nouns are how subjects are written that are compared as text.
var nouns = [...]string{
	ofHeader: "header", ofCookie: "cookie", ofQuery: "query", ofMethod: "method", ofPath: "path",
	ofServerName: "sni", ofProtocol: "alpn", ofSubject: "client subject", ofNames: "client san",
}

// named reports whether a name tells subjects of a kind apart.
func (s subject) named() bool { return s == ofHeader || s == ofCookie || s == ofQuery }

// formatClient writes a test of the client's address.
func (t *test) formatClient(b *strings.Builder) {
	if t.match == equals {
		b.WriteString("ip" + either(t.negated, " != ", " == ") + t.networks[0].Addr().String())
		return
	}
	b.WriteString("ip" + either(t.negated, " not in ", " in "))
	if len(t.networks) == 1 {
		b.WriteString(networkText(t.networks[0]))
		return
	}
	for i, n := range t.networks {
		b.WriteString(either(i == 0, "(", ", ") + networkText(n))
	}
	b.WriteByte(')')
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// writeValue writes a name or value so that it is read as the same one again.
// With both kinds of quotes in it no quoted form exists; then it can only have
// been a bare value, and stays one.
func writeValue(b *strings.Builder, v string) {
	single, double := strings.Contains(v, "'"), strings.Contains(v, `"`)
	switch {
	case single && double, !single && !double && isPlain(v):
		b.WriteString(v)
	case single:
		b.WriteString("'" + strings.ReplaceAll(v, "'", "''") + "'")
	default:
		b.WriteString(`"` + strings.ReplaceAll(v, `"`, `""`) + `"`)
	}
}

// isPlain reports whether v reads well without quotes: it could be, and
// neither looks like an operator nor holds one.
func isPlain(v string) bool {
	for i := range len(v) {
		if !isBare(v[i]) || strings.IndexByte("=!<>&|", v[i]) >= 0 {
			return false
		}
	}
	switch strings.ToLower(v) {
	case "", "and", "or", "not", "is", "has", "contains", "misses":
		return false
	}
	return true
}
