// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"strconv"
	"strings"
)

// Bounds of an ACL. They keep what it costs to ask one within reason,
// whoever wrote it.
const (
	maxACLBytes      = 8 << 10 // the whole text
	maxACLValues     = 256     // values of one test
	maxValueBytes    = 1 << 10 // one value
	maxACLTests      = 64      // tests of one condition
	maxConverters    = 16      // converters of one test
	maxRegexpCost    = 1000    // instructions of one regular expression, about
	maxRegexpCosts   = 8000    // of all in one ACL
	maxRegexpClasses = 32      // Unicode classes (\p) in one ACL, which are large
	maxRegexpInput   = 8 << 10 // bytes that a regular expression looks at
	maxTraceBytes    = 200
)

// acl is a condition in the language of HAProxy's access control lists,
// compiled: a disjunction of conjunctions of tests. It is immutable and safe
// for concurrent use.
//
// It means what HAProxy 2.6 makes of it, where that is what its manual says.
// These differ:
//
//   - Regular expressions are those of Go (RE2). They see characters where
//     PCRE sees bytes, and maxRegexpInput bytes of a text.
//   - All tests of a request see the same random number.
//   - A byte of zero, which url_dec can make, does not end a text.
//   - The sum of two negative integers is what it is.
//   - The host of base keeps the default port, if an absolute target has it.
//   - Any fetch of texts may end in _beg, _end, _sub, _dir, _dom, _reg, _len
//     or _str; fhdr and fhdr_cnt are short for req.fhdr and req.fhdr_cnt.
//   - Refused are names of hosts for addresses, negative numbers and those
//     with a point, ranges after an order, values that look like operators
//     and are not quoted, and tests without the values that they need.
type acl struct {
	any  []aclAll
	text string // canonical
}

// aclAll holds if all of its terms do.
type aclAll []aclTerm

// aclTerm is a test, asked straight or the other way round.
type aclTerm struct {
	test    *aclTest
	negated bool
	name    string // of the predefined test; otherwise empty
}

// holds reports whether the ACL is true of r. It does not allocate.
func (a *acl) holds(r Request) bool {
	for _, all := range a.any {
		if all.holds(r) {
			return true
		}
	}
	return false
}

func (all aclAll) holds(r Request) bool {
	for i := range all {
		if all[i].test.holds(r) == all[i].negated {
			return false
		}
	}
	return true
}

// String returns the canonical form: one spelling for each fetch, flag and
// value, without braces around a test that stands alone. HAProxy reads it as
// we do.
func (a *acl) String() string { return a.text }

// equal reports whether both mean the same, written in the same order.
func (a *acl) equal(b *acl) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.text == b.text
}

// trace reports what holds does, and what the tests saw on the way, in at
// most maxTraceBytes.
func (a *acl) trace(r Request) (holds bool, saw string) {
	var b strings.Builder
	several := len(a.any) > 1 || len(a.any[0]) > 1
	for _, all := range a.any {
		holds = true
		for i := 0; i < len(all) && holds; i++ {
			t := &all[i]
			if b.Len() > 0 {
				b.WriteString("; ")
			}
			if several {
				b.WriteString(t.test.subject + " is ")
			}
			holds = t.test.trace(r, &b) != t.negated
		}
		if holds {
			break
		}
	}
	if saw = b.String(); len(saw) > maxTraceBytes {
		saw = saw[:maxTraceBytes-len("...")] + "..."
	}
	return holds, saw
}

// aclTest asks one question: does what a fetch yields, converted, match one
// of the values?
type aclTest struct {
	fetch     aclFetch
	arg       string // name of a field, cookie or parameter; a constant text
	number    int64  // occurrence, range or constant
	delimiter byte   // of parameters
	steps     []aclStep
	method    aclMethod
	fold      bool // letter case does not count
	values    []aclValue
	subject   string // the fetch and its converters, canonical
}

// holds walks over all that the fetch yields until something matches. A
// converter that fails ends the walk, as it does in HAProxy.
func (t *aclTest) holds(r Request) bool {
	var c aclCursor
	held := false
	for !held {
		s, ok := t.next(r, &c)
		if !ok || !t.convert(&s, &c) {
			break
		}
		held = t.matches(&s, &c)
	}
	c.release()
	return held
}

// trace does what holds does and writes down what was looked at.
func (t *aclTest) trace(r Request, b *strings.Builder) bool {
	var c aclCursor
	defer c.release()
	for first := true; ; first = false {
		s, ok := t.next(r, &c)
		if !ok || !t.convert(&s, &c) {
			if first {
				b.WriteString("not there")
			}
			return false
		}
		if !first {
			b.WriteString(", ")
		}
		if b.Len() <= maxTraceBytes {
			b.WriteString(s.show(&c))
		}
		if t.matches(&s, &c) {
			return true
		}
	}
}

// aclType is the type of a sample.
type aclType uint8

const (
	aclText aclType = iota
	aclBytes
	aclInt
	aclBool
	aclIP
	aclVerb // the method of a request: a text that is compared, not converted
)

var aclTypeNames = [...]string{"a text", "bytes", "an integer", "a boolean", "an address", "a method"}

func (t aclType) String() string { return aclTypeNames[t] }

// show writes a sample down for people.
func (s *aclSample) show(c *aclCursor) string {
	switch s.kind {
	case aclBool:
		return strconv.FormatBool(s.number != 0)
	case aclInt, aclIP:
		return strings.Clone(s.asText(c))
	default:
		return strconv.Quote(s.text[:min(len(s.text), maxTraceBytes)])
	}
}
