// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"net/textproto"
	"strings"
)

// Condition is a compiled condition: immutable, safe for concurrent use. The
// zero Condition never holds.
type Condition struct {
	text  string
	steps []step // the last one is the first to be asked
}

// Compile parses text and prepares it for evaluation. An error is a
// *SyntaxError.
func Compile(text string) (*Condition, error) {
	e, canonical, err := parse(text)
	if err != nil {
		return nil, err
	}
	c := &Condition{text: canonical}
	c.add(e, accept, reject)
	return c, nil
}

// String returns the condition in canonical form, as Expr.String does.
func (c *Condition) String() string { return c.text }

// Equal reports whether both were compiled from equal trees, as Expr.Equal
// has it.
func (c *Condition) Equal(other *Condition) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.text == other.text
}

// step asks one question and says which step follows upon each answer. A tree
// becomes a list of steps in which "and", "or" and "not" are only jumps.
type step struct {
	yes, no int32 // position in Condition.steps, or accept or reject
	kind    kind
	name    string // canonical header name, or cookie name
	value   string
}

// Where a step may lead instead of to another one.
const (
	reject int32 = -1 // also where an empty list of steps starts
	accept int32 = -2
)

// kind is a test with all that can be settled before the request is known.
type kind uint8

const (
	hostExact      kind = iota // the host is value
	hostFolded                 // the host is value, in any letter case
	fieldPresent               // field name is there
	fieldContains              // a line of field name contains value
	cookieNonEmpty             // cookie name has a value
	cookieContains             // the value of a cookie name contains value
)

// add appends the steps of e, which go on to yes or no, and returns the
// position of the one to start with: the last. Successors are appended first,
// so that their positions are known.
func (c *Condition) add(e *Expr, yes, no int32) int32 {
	switch e.op {
	case opNot:
		return c.add(e.x, no, yes)
	case opAnd:
		return c.add(e.x, c.add(e.y, yes, no), no)
	case opOr:
		return c.add(e.x, yes, c.add(e.y, yes, no))
	default:
		return c.addTest(e.test, yes, no)
	}
}

func (c *Condition) addTest(t test, yes, no int32) int32 {
	if t.negated {
		yes, no = no, yes
	}
	s := step{yes: yes, no: no, name: t.name, value: t.value}
	switch t.subject {
	case hostIs:
		s.kind = hostFolded
		if namesPort(t.value) {
			s.kind = hostExact
		}
	case agentHas:
		return c.addAgent(t.value, yes, no)
	case headerPresent:
		s.kind, s.name = fieldPresent, textproto.CanonicalMIMEHeaderKey(t.name)
	case headerHas:
		s.kind, s.name = fieldContains, textproto.CanonicalMIMEHeaderKey(t.name)
	case cookiePresent:
		s.kind = cookieNonEmpty
	case cookieHas:
		s.kind = cookieContains
	}
	return c.append(s)
}

// addAgent appends a test of the user agent: all parts of it must occur.
func (c *Condition) addAgent(value string, yes, no int32) int32 {
	for _, part := range agentParts(value) {
		yes = c.append(step{yes: yes, no: no, kind: fieldContains, name: "User-Agent", value: part})
	}
	return yes
}

// append appends s and returns its position. MaxTextBytes keeps it far below
// the bounds of int32.
func (c *Condition) append(s step) int32 {
	c.steps = append(c.steps, s)
	return int32(len(c.steps) - 1)
}

// agentParts returns what a User-Agent header must contain to be the browser
// called value. Names of browsers are known in any letter case; any other
// value stands for itself.
func agentParts(value string) []string {
	switch strings.ToLower(value) {
	case "chrome":
		return []string{"Chrome"}
	case "firefox":
		return []string{"Firefox"}
	case "safari": // others claim to be Safari as well, but give no Version
		return []string{"Version", "Safari"}
	case "edge":
		return []string{"Edge"}
	case "ie":
		return []string{"MSIE"}
	default:
		return []string{value}
	}
}

// namesPort reports whether a host is followed by a colon and a port. Colons
// within brackets belong to an IPv6 address.
func namesPort(host string) bool {
	return strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']')
}
