// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
)

// MaxCompared bounds how many different tests two conditions may have between
// them for Implies to look at what they say of each other.
const MaxCompared = 12

// Implies reports whether other is proven to hold wherever c does: a route
// with other after one with c is never reached by its condition. What is not
// proven may be true all the same. Nothing is decided about conditions that
// have more than MaxCompared different tests between them.
func (c *Condition) Implies(other *Condition) (implied, decided bool) {
	if c.Equal(other) || c.tree == nil {
		return true, true
	}
	var s statements
	first := s.add(c.tree)
	second := constant(false)
	if other.tree != nil {
		second = s.add(other.tree)
	}
	if len(s.tests) > MaxCompared {
		return false, false
	}
	return s.all(func(answers answers) bool { return !first.holds(answers) || second.holds(answers) }), true
}

// Always reports whether c is proven to hold for all requests (holds and
// proven) or for none (only proven).
func (c *Condition) Always() (holds, proven bool) {
	if c.tree == nil {
		return false, true
	}
	var s statements
	f := s.add(c.tree)
	switch {
	case len(s.tests) > MaxCompared:
		return false, false
	case s.all(f.holds):
		return true, true
	default:
		return false, s.all(func(answers answers) bool { return !f.holds(answers) })
	}
}

// answers has bit i set where test i is true.
type answers uint32

// statements is the different tests of some conditions, without their
// negations.
type statements struct {
	tests []*test
}

// formula is a tree over numbered tests.
type formula struct {
	op      op
	x, y    *formula
	test    answers // the bit of a test; 0 is a test that is always false
	negated bool
}

func constant(holds bool) *formula { return &formula{negated: holds} }

func (f *formula) holds(a answers) bool {
	switch f.op {
	case opNot:
		return !f.x.holds(a)
	case opAnd:
		return f.x.holds(a) && f.y.holds(a)
	case opOr:
		return f.x.holds(a) || f.y.holds(a)
	default:
		return a&f.test != 0 != f.negated
	}
}

// add numbers the tests of a tree. It gives up, with a formula that means
// nothing, once there are too many.
func (s *statements) add(e *Expr) *formula {
	switch e.op {
	case opNot:
		return &formula{op: opNot, x: s.add(e.x)}
	case opAnd, opOr:
		return &formula{op: e.op, x: s.add(e.x), y: s.add(e.y)}
	default:
		return s.addTest(&e.test)
	}
}

func (s *statements) addTest(added *test) *formula {
	for i, t := range s.tests {
		if t.asksAs(added) {
			return &formula{test: 1 << i, negated: added.negated}
		}
	}
	if len(s.tests) > MaxCompared {
		return constant(false)
	}
	s.tests = append(s.tests, added)
	return &formula{test: 1 << (len(s.tests) - 1), negated: added.negated}
}

// all reports whether f is true of all answers that one request may give.
func (s *statements) all(f func(answers) bool) bool {
	n := len(s.tests)
	forced, excluded := make([]answers, n), make([]answers, n)
	var always answers
	for i, a := range s.tests {
		if a.alwaysTrue() {
			always |= 1 << i
		}
		for j, b := range s.tests {
			switch {
			case i == j:
			case a.implies(b):
				forced[i] |= 1 << j
			case a.excludes(b):
				excluded[i] |= 1 << j
			}
		}
	}
	for a := range answers(1) << n {
		possible := always&^a == 0
		for i := range n {
			if a>>i&1 == 1 {
				possible = possible && forced[i]&^a == 0 && excluded[i]&a == 0
			}
		}
		if possible && !f(a) {
			return false
		}
	}
	return true
}

// alwaysTrue reports whether every request passes the test.
func (t *test) alwaysTrue() bool {
	if t.subject != ofPath && t.subject != ofMethod {
		return false
	}
	return t.value == "" && t.match != equals && t.match != matches || t.isIdle()
}

// implies reports whether b is true of every request of which t is; both
// without their negations.
func (t *test) implies(b *test) bool {
	for _, q := range b.claims() {
		if !slices.ContainsFunc(t.claims(), func(p claim) bool { return p.implies(q) }) {
			return false
		}
	}
	return true
}

// excludes reports whether t and b are never true of one request.
func (t *test) excludes(b *test) bool {
	for _, p := range t.claims() {
		if slices.ContainsFunc(b.claims(), p.excludes) {
			return true
		}
	}
	return false
}

// claim is a test of which the subject and the name say whether it is about
// the same as another.
type claim struct {
	step
	subject subject
}

// claims returns what a test comes to: all of them are true where it is.
func (t *test) claims() []claim {
	switch t.subject {
	case ofAgent:
		var all []claim
		for _, part := range agentParts(t.value) {
			all = append(all, claim{step{match: contains, name: "User-Agent", value: part, test: t}, ofHeader})
		}
		return all
	case ofHeader:
		return []claim{{step{match: t.match, name: textproto.CanonicalMIMEHeaderKey(t.name), value: t.value, test: t}, ofHeader}}
	default:
		return []claim{{t.step(), t.subject}}
	}
}

func (p *claim) implies(q claim) bool {
	if p.subject != q.subject || p.name != q.name {
		return false
	}
	switch p.subject {
	case ofRaw, ofProgram:
		return p.test.asksAs(q.test)
	case ofCertificate:
		return true
	case ofClient:
		return covered(p.test.networks, q.test.networks)
	case ofHost:
		return p.hostImplies(q)
	default:
		return p.textImplies(q)
	}
}

// textImplies is implies for what is compared as text. Of several headers,
// cookies or parameters of one name it is the one for which p is true that
// proves q.
func (p *claim) textImplies(q claim) bool {
	switch {
	case q.match == present:
		return p.match == present || p.subject != ofCookie || !p.mayBeEmpty()
	case q.match != equals && q.match != matches && q.value == "", q.test.isIdle():
		return true
	case p.match == equals:
		return q.compares(p.value)
	case p.match == q.match:
		return p.value == q.value ||
			p.match == contains && strings.Contains(p.value, q.value) ||
			p.match == startsWith && strings.HasPrefix(p.value, q.value) ||
			p.match == endsWith && strings.HasSuffix(p.value, q.value)
	default:
		return q.match == contains && (p.match == startsWith || p.match == endsWith) && strings.Contains(p.value, q.value)
	}
}

// mayBeEmpty reports whether an empty text is what p looks for.
func (p *claim) mayBeEmpty() bool { return p.compares("") }

func (p *claim) hostImplies(q claim) bool {
	if p.kind == hostFolded {
		return q.kind == hostFolded && equalFold(p.value, q.value)
	}
	return p.value == q.value
}

func (p *claim) excludes(q claim) bool {
	if p.subject != q.subject {
		return false
	}
	switch p.subject {
	case ofHost: // a host with a port differs from one without
		return p.value != q.value && (p.kind == hostExact || q.kind == hostExact || !equalFold(p.value, q.value))
	case ofClient:
		return !overlap(p.test.networks, q.test.networks)
	case ofMethod, ofPath, ofServerName, ofSubject:
	default: // there may be several, one for each
		return false
	}
	switch {
	case p.match == equals:
		return !q.compares(p.value)
	case q.match == equals:
		return !p.compares(q.value)
	case p.match == startsWith && q.match == startsWith:
		return !strings.HasPrefix(p.value, q.value) && !strings.HasPrefix(q.value, p.value)
	case p.match == endsWith && q.match == endsWith:
		return !strings.HasSuffix(p.value, q.value) && !strings.HasSuffix(q.value, p.value)
	default:
		return false
	}
}

// covered reports whether each of a network's addresses lies in one of others.
func covered(networks, others []netip.Prefix) bool {
	for _, n := range networks {
		if !slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) }) {
			return false
		}
	}
	return true
}

func overlap(networks, others []netip.Prefix) bool {
	for _, n := range networks {
		if slices.ContainsFunc(others, n.Overlaps) {
			return true
		}
	}
	return false
}
