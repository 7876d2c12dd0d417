// SPDX-License-Identifier: Apache-2.0

package conditions

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
	if e.op != other.op || e.test != other.test {
		return false
	}
	switch e.op {
	case opNot:
		return e.x.Equal(other.x)
	case opAnd, opOr:
		return e.x.Equal(other.x) && e.y.Equal(other.y)
	default:
		return true
	}
}

// test is an operand: one question about a request.
type test struct {
	subject subject
	negated bool   // asked with !=, misses and the like
	name    string // of the header or cookie, as written
	value   string // as written, quotes resolved; empty for presence
}

// subject says what a test looks at.
type subject uint8

const (
	hostIs        subject = iota // the host equals value
	agentHas                     // the User-Agent header contains value
	headerPresent                // header name is there
	cookiePresent                // cookie name is there and not empty
	headerHas                    // header name contains value
	cookieHas                    // cookie name contains value
)
