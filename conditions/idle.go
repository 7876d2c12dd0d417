// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"regexp/syntax"
	"slices"
)

// IdlePatterns returns the tests of the condition, in written order and
// canonical form, of which a regular expression matches every text, such as
// .* or a|. They ask only whether there is something to look at.
func (c *Condition) IdlePatterns() []string {
	var idle []string
	if c.tree != nil {
		c.tree.eachTest(func(e *Expr) {
			if e.test.isIdle() {
				idle = append(idle, e.String())
			}
		})
	}
	return idle
}

// eachTest calls f for every test of a tree, in written order.
func (e *Expr) eachTest(f func(*Expr)) {
	switch e.op {
	case opNot:
		e.x.eachTest(f)
	case opAnd, opOr:
		e.x.eachTest(f)
		e.y.eachTest(f)
	default:
		f(e)
	}
}

func (t *test) isIdle() bool {
	switch t.subject {
	case ofRaw:
		return t.raw.isIdle()
	case ofProgram:
		for text := range t.program.patterns {
			if matchesAll(text, false) {
				return true
			}
		}
		return false
	default: // all but parameters, which are decoded, are of one line
		return t.match == matches && matchesAll(t.value, t.subject != ofQuery)
	}
}

// isIdle reports whether a regular expression among the values matches
// everything.
func (a *acl) isIdle() bool {
	for _, all := range a.any {
		for i := range all {
			for _, v := range all[i].test.values {
				if v.re != nil && matchesAll(v.re.String(), false) {
					return true
				}
			}
		}
	}
	return false
}

// matchesAll reports whether a regular expression is seen to match every
// text, with oneLine every text without line feeds.
func matchesAll(expression string, oneLine bool) bool {
	re, err := syntax.Parse(expression, syntax.Perl)
	return err == nil && (takesNothing(re) || atStart(re) || atEnd(re) || fromStartToEnd(re, oneLine))
}

// takesNothing reports whether re matches the empty text anywhere.
func takesNothing(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpRepeat:
		return re.Min == 0 || takesNothing(re.Sub[0])
	case syntax.OpPlus, syntax.OpCapture:
		return takesNothing(re.Sub[0])
	case syntax.OpConcat:
		return every(re.Sub, takesNothing)
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, takesNothing)
	default:
		return false
	}
}

func every(parts []*syntax.Regexp, f func(*syntax.Regexp) bool) bool {
	return !slices.ContainsFunc(parts, func(part *syntax.Regexp) bool { return !f(part) })
}

// atStart reports whether re matches the empty text at the start of all.
func atStart(re *syntax.Regexp) bool {
	return every(parts(re), func(part *syntax.Regexp) bool {
		return part.Op == syntax.OpBeginText || part.Op == syntax.OpBeginLine || takesNothing(part)
	})
}

// atEnd reports whether re matches the empty text at the end of all.
func atEnd(re *syntax.Regexp) bool {
	return every(parts(re), func(part *syntax.Regexp) bool {
		return part.Op == syntax.OpEndText || part.Op == syntax.OpEndLine || takesNothing(part)
	})
}

// fromStartToEnd reports whether re is like ^.*$.
func fromStartToEnd(re *syntax.Regexp, oneLine bool) bool {
	p := parts(re)
	if len(p) != 3 || p[0].Op != syntax.OpBeginText || p[2].Op != syntax.OpEndText {
		return false
	}
	for p[1].Op == syntax.OpCapture {
		p[1] = p[1].Sub[0]
	}
	if p[1].Op != syntax.OpStar {
		return false
	}
	character := p[1].Sub[0].Op
	return character == syntax.OpAnyChar || oneLine && character == syntax.OpAnyCharNotNL
}

// parts returns what re is made of, one after the other.
func parts(re *syntax.Regexp) []*syntax.Regexp {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op == syntax.OpConcat {
		return re.Sub
	}
	return []*syntax.Regexp{re}
}
