// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"regexp"
	"strings"
)

// Bounds of selectors.
const (
	// MaxSelectorBytes bounds the text of a selector, as written and in
	// canonical form.
	MaxSelectorBytes = 8 << 10
	// MaxSelectorNesting bounds how many parentheses around selectors may be
	// open at a time.
	MaxSelectorNesting = 100
	// MaxPatternBytes bounds one argument of a selector.
	MaxPatternBytes = 1 << 10
)

// Selector says which instances are meant, and by captures into which groups
// they fall. It comes from ParseSelector, is immutable and safe for
// concurrent use.
//
//	Selector = Or END
//	Or       = And    { ("or" | "||" | "|")  WS And }
//	And      = Factor { ("and" | "&&" | "&") WS Factor }
//	Factor   = OWS ( ("!" OWS | "not" WS) Primary | Primary ) OWS
//	Primary  = Operand | Constant | "(" Or ")"
//	Operand  = Name OWS "(" Argument ")" [ OWS "(" Argument ")" ]
//	Constant = "true" | "t" | "1" | "false" | "f" | "0"
//
// Names are in lower case: name and id, kind and type, namespace and group,
// image, ip and host, port, port_index and index take one argument, label
// takes two. That of name may match the ID of an instance in place of its Name,
// which is tried first. An argument is printable ASCII with at most one parenthesised
// group and at least one character; its blanks count. Those of port, port_index
// and index are digits, all others regular expressions that match the whole
// text. namespace($namespace) stands for the namespace of whoever asks.
// Operators are written in any letter case, "not" in lower case.
type Selector struct {
	op   selectorOp
	x, y *Selector // x of a negation, x and y of "and" and "or"
	test selectorTest
}

// selectorOp says what a Selector is made of.
type selectorOp uint8

const (
	selectTest selectorOp = iota
	selectNot
	selectAnd
	selectOr
	selectTrue
	selectFalse
)

// selectorTest is an operand: one question about an instance.
type selectorTest struct {
	subject subject
	args    [2]pattern // the second of a label alone
	number  int        // of a port or an index
}

// subject says what an operand looks at.
type subject uint8

const (
	subjectName subject = iota
	subjectKind
	subjectNamespace
	subjectImage
	subjectLabel
	subjectAddress
	subjectPort
	subjectIndex
)

// subjectNames are the names of each subject, the canonical one first.
var subjectNames = [...][]string{
	subjectName:      {"name", "id"},
	subjectKind:      {"kind", "type"},
	subjectNamespace: {"namespace", "group"},
	subjectImage:     {"image"},
	subjectLabel:     {"label"},
	subjectAddress:   {"ip", "host"},
	subjectPort:      {"port"},
	subjectIndex:     {"port_index", "index"},
}

// pattern is an argument: a text that is compared, or a regular expression.
type pattern struct {
	text    string // as written
	literal bool   // it matches nothing but plain
	plain   string // what is written, without marks that take meaning away
	any     bool   // it matches every text in one line
	own     bool   // it stands for the namespace of whoever asks
	re      *regexp.Regexp
}

// SelectorError says what is wrong with the text of a selector, and where.
type SelectorError struct {
	Offset  int    // in bytes, from 0
	Problem string // what is wrong
	Allowed string // what is allowed instead; may be empty
}

// Error returns the position in characters from 1, what is wrong and what is
// allowed.
func (e *SelectorError) Error() string {
	text := fmt.Sprintf("character %d: %s", e.Offset+1, e.Problem)
	if e.Allowed != "" {
		text += "; " + e.Allowed
	}
	return text
}

// Equal reports whether both are the same tree: the same operands, joined and
// grouped alike. Other names of an operand, white space and needless
// parentheses do not count.
func (s *Selector) Equal(o *Selector) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.op == o.op && s.test.equal(&o.test) && s.x.Equal(o.x) && s.y.Equal(o.y)
}

func (t *selectorTest) equal(o *selectorTest) bool {
	return t.subject == o.subject && t.number == o.number && t.args[0].text == o.args[0].text && t.args[1].text == o.args[1].text
}

// String returns the selector in canonical form: one name for each operand,
// single blanks, no needless parentheses. Parsing it gives an equal tree.
func (s *Selector) String() string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	s.format(&b)
	return b.String()
}

func (s *Selector) format(b *strings.Builder) {
	switch s.op {
	case selectTrue:
		b.WriteString("true")
	case selectFalse:
		b.WriteString("false")
	case selectTest:
		s.test.format(b)
	case selectNot:
		b.WriteString("not ")
		s.x.formatIn(b, s.x.op == selectNot || s.x.op == selectAnd || s.x.op == selectOr)
	case selectAnd:
		s.x.formatIn(b, s.x.op == selectOr)
		b.WriteString(" and ")
		s.y.formatIn(b, s.y.op == selectOr || s.y.op == selectAnd)
	case selectOr:
		s.x.format(b)
		b.WriteString(" or ")
		s.y.formatIn(b, s.y.op == selectOr)
	}
}

// formatIn writes s as a part of another selector.
func (s *Selector) formatIn(b *strings.Builder, parentheses bool) {
	if parentheses {
		b.WriteByte('(')
	}
	s.format(b)
	if parentheses {
		b.WriteByte(')')
	}
}

func (t *selectorTest) format(b *strings.Builder) {
	b.WriteString(subjectNames[t.subject][0])
	switch t.subject {
	case subjectPort, subjectIndex:
		fmt.Fprintf(b, "(%d)", t.number)
	case subjectLabel:
		b.WriteString("(" + t.args[0].text + ")(" + t.args[1].text + ")")
	default:
		b.WriteString("(" + t.args[0].text + ")")
	}
}
