// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"net/netip"
	"slices"
)

// Expr is a parsed condition: a test, a negation, or two parts joined by
// "and" or "or". It comes from Parse, is immutable and safe for concurrent
// use.
type Expr struct {
	op   op
	x, y *Expr // x of a negation, x and y of "and" and "or"
	test test  // of a test
}

// op says what an Expr is made of.
type op uint8

const (
	opTest op = iota
	opNot
	opAnd
	opOr
)

// Equal reports whether both are the same tree: the same tests, joined and
// grouped alike. Spelling, white space and needless parentheses do not
// count; the letter case of names and values does.
func (e *Expr) Equal(other *Expr) bool {
	if e == nil || other == nil {
		return e == other
	}
	if e.op != other.op {
		return false
	}
	switch e.op {
	case opNot:
		return e.x.Equal(other.x)
	case opAnd, opOr:
		return e.x.Equal(other.x) && e.y.Equal(other.y)
	default:
		return e.test.equal(&other.test)
	}
}

// test is an operand: one question about a request.
type test struct {
	subject subject
	match   match
	negated bool   // asked with !=, misses and the like
	name    string // of the header, cookie or parameter, as written
	value   string // as written, quotes resolved; the source of a program

	// What only some tests have.
	pattern  *pattern       // of matches
	buffers  *buffers       // of a parameter
	networks []netip.Prefix // of an address, as written but for host bits
	raw      *acl           // of a raw ACL
	program  *program       // of expr
}

func (t *test) equal(o *test) bool {
	return t.negated == o.negated && t.asksAs(o)
}

// asksAs reports whether two tests ask the same, negated or not. Patterns and
// programs follow from the value.
func (t *test) asksAs(o *test) bool {
	if (t.raw == nil) != (o.raw == nil) || t.raw != nil && !t.raw.equal(o.raw) {
		return false
	}
	return t.subject == o.subject && t.match == o.match && t.name == o.name && t.value == o.value &&
		slices.Equal(t.networks, o.networks)
}

// subject says what a test looks at.
type subject uint8

const (
	ofHost        subject = iota // the host
	ofAgent                      // the User-Agent header
	ofHeader                     // the header called name
	ofCookie                     // the cookie called name
	ofMethod                     // the method
	ofPath                       // the path
	ofQuery                      // the parameter of the query called name
	ofClient                     // the address of the client
	ofServerName                 // the name that a TLS client asks for
	ofProtocol                   // the protocol that was negotiated, or those offered
	ofCertificate                // the certificate of the client
	ofSubject                    // its subject
	ofNames                      // its alternative names
	ofRaw                        // whatever the raw ACL looks at
	ofProgram                    // whatever the program looks at
)

// match says how a test looks at its subject.
type match uint8

const (
	present    match = iota // it is there; a cookie must not be empty
	equals                  // it is value, or the address in networks
	contains                // it contains value
	startsWith              // it starts with value
	endsWith                // it ends with value
	matches                 // the pattern matches
	within                  // the address lies in one of networks
)
