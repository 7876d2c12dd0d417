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
	equals, has := " == ", "has "
	if t.negated {
		equals, has = " != ", "misses "
	}
	switch t.subject {
	case hostIs:
		b.WriteString("host" + equals)
		writeValue(b, t.value)
	case agentHas:
		b.WriteString("user-agent" + equals)
		writeValue(b, t.value)
	case headerPresent:
		b.WriteString(has + "header ")
		writeValue(b, t.name)
	case cookiePresent:
		b.WriteString(has + "cookie ")
		writeValue(b, t.name)
	case headerHas:
		b.WriteString("header ")
		writePair(b, t.name, has, t.value)
	case cookieHas:
		b.WriteString("cookie ")
		writePair(b, t.name, has, t.value)
	}
}

func writePair(b *strings.Builder, name, has, value string) {
	writeValue(b, name)
	b.WriteByte(' ')
	b.WriteString(has)
	writeValue(b, value)
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
