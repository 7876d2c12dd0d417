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
	tree  *Expr
	steps []step // the last one is the first to be asked
}

// Compile parses text and prepares it for evaluation. An error is a
// *SyntaxError.
func Compile(text string) (*Condition, error) {
	e, canonical, err := parse(text)
	if err != nil {
		return nil, err
	}
	c := &Condition{text: canonical, tree: e}
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

// Faults returns how many evaluations of an expr( ) in the condition ended in
// a fault, such as a division by zero. A fault counts as false.
func (c *Condition) Faults() uint64 {
	var n uint64
	for i := range c.steps {
		if s := &c.steps[i]; s.kind == programYields {
			n += s.test.program.faults.Load()
		}
	}
	return n
}

// step asks one question and says which step follows upon each answer. A tree
// becomes a list of steps in which "and", "or" and "not" are only jumps.
type step struct {
	yes, no int32 // position in Condition.steps, or accept or reject
	kind    kind
	match   match  // of what is compared as text
	name    string // canonical header name, or name of cookie or parameter
	value   string
	test    *test // from which the step was made
}

// Where a step may lead instead of to another one.
const (
	reject int32 = -1 // also where an empty list of steps starts
	accept int32 = -2
)

// kind is a test with all that can be settled before the request is known.
type kind uint8

const (
	hostExact           kind = iota // the host is value
	hostFolded                      // the host is value, in any letter case
	fieldPresent                    // field name is there
	fieldCompares                   // a line of field name compares to value
	cookieNonEmpty                  // cookie name has a value
	cookieCompares                  // a cookie name compares to value
	methodCompares                  // the method compares to value
	pathCompares                    // the path compares to value
	parameterPresent                // parameter name is there
	parameterCompares               // a parameter name compares to value
	clientWithin                    // the client lies in the networks of test
	nameCompares                    // the server name compares to value
	protocolCompares                // a protocol compares to value
	certificateVerified             // the client has a certificate
	subjectCompares                 // its subject compares to value
	namesCompare                    // one of its names compares to value
	rawHolds                        // the ACL of test holds
	programYields                   // the program of test yields true
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
		return c.addTest(&e.test, yes, no)
	}
}

func (c *Condition) addTest(t *test, yes, no int32) int32 {
	if t.negated {
		yes, no = no, yes
	}
	if t.subject == ofAgent {
		return c.addAgent(t, yes, no)
	}
	s := t.step()
	s.yes, s.no = yes, no
	return c.append(s)
}

// step returns the step that asks t, which is not of the user agent, without
// its negation.
func (t *test) step() step {
	s := step{match: t.match, name: t.name, value: t.value, test: t}
	switch t.subject {
	case ofHost, ofAgent:
		s.kind = hostFolded
		if namesPort(t.value) {
			s.kind = hostExact
		}
	case ofHeader:
		s.name = textproto.CanonicalMIMEHeaderKey(t.name)
		s.kind = presentOr(t.match, fieldPresent, fieldCompares)
	case ofCookie:
		s.kind = presentOr(t.match, cookieNonEmpty, cookieCompares)
	case ofQuery:
		s.kind = presentOr(t.match, parameterPresent, parameterCompares)
	case ofMethod:
		s.kind = methodCompares
	case ofPath:
		s.kind = pathCompares
	case ofClient:
		s.kind = clientWithin
	case ofServerName:
		s.nameStep()
	case ofProtocol:
		s.kind = protocolCompares
	case ofCertificate:
		s.kind = certificateVerified
	case ofSubject:
		s.kind = subjectCompares
	case ofNames:
		s.kind = namesCompare
	case ofRaw:
		s.kind = rawHolds
	case ofProgram:
		s.kind = programYields
	}
	return s
}

func presentOr(m match, is, compares kind) kind {
	if m == present {
		return is
	}
	return compares
}

// addAgent appends a test of the user agent: all parts of it must occur.
func (c *Condition) addAgent(t *test, yes, no int32) int32 {
	for _, part := range agentParts(t.value) {
		yes = c.append(step{yes: yes, no: no, kind: fieldCompares, match: contains, name: "User-Agent", value: part, test: t})
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
