// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// idleRegexp returns a test of c whose regular expression matches whatever it
// is shown, and that expression; empty if there is none.
func idleRegexp(c *conditions.Condition) (test, expression string) {
	_, clauses := c.Explain(&described{})
	for i := range clauses {
		for _, re := range expressions(clauses[i].Text) {
			if matchesAll(re) {
				return clauses[i].Text, re
			}
		}
	}
	return "", ""
}

// expressions returns the regular expressions of a test in canonical form.
func expressions(test string) []string {
	if acl, ok := strings.CutPrefix(test, "< "); ok {
		return aclExpressions(strings.Fields(strings.TrimSuffix(acl, " >")))
	}
	subject, value, found := strings.Cut(test, " matches ")
	switch noun, _, _ := strings.Cut(subject, " "); noun {
	case "header", "cookie", "query", "method", "path":
	default:
		return nil
	}
	if !found {
		return nil
	}
	for _, quote := range []string{`"`, "'"} {
		if inner, ok := strings.CutPrefix(value, quote); ok && strings.HasSuffix(inner, quote) {
			return []string{strings.ReplaceAll(strings.TrimSuffix(inner, quote), quote+quote, quote)}
		}
	}
	return []string{value}
}

// aclExpressions returns the patterns of a raw ACL that matches by regular
// expressions: path_reg, hdr_reg(name) and the like, or -m reg.
func aclExpressions(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	fetch, _, _ := strings.Cut(words[0], "(")
	byRegexp := strings.HasSuffix(fetch, "_reg")
	for i := 1; i < len(words); i++ {
		switch {
		case words[i] == "-m" && i+1 < len(words):
			i++
			byRegexp = words[i] == "reg"
		case strings.HasPrefix(words[i], "-"):
		case byRegexp:
			return words[i:]
		default:
			return nil
		}
	}
	return nil
}

// matchesAll reports whether a regular expression is certain to match every
// text without line feeds.
func matchesAll(text string) bool {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return false
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	begins := len(parts) > 0 && (parts[0].Op == syntax.OpBeginText || parts[0].Op == syntax.OpBeginLine)
	if begins {
		parts = parts[1:]
	}
	ends := len(parts) > 0 && (parts[len(parts)-1].Op == syntax.OpEndText || parts[len(parts)-1].Op == syntax.OpEndLine)
	if ends {
		parts = parts[:len(parts)-1]
	}
	// What may be empty is found at any place, thus at the one that is left by
	// one anchor; between two of them something must take the whole text.
	whole := !begins || !ends
	for _, part := range parts {
		if !mayBeEmpty(part) {
			return false
		}
		whole = whole || takesAll(part)
	}
	return whole
}

// mayBeEmpty reports whether an expression is certain to match the empty text
// at any place.
func mayBeEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpRepeat:
		return re.Min == 0
	case syntax.OpCapture:
		return mayBeEmpty(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !mayBeEmpty(sub) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, mayBeEmpty)
	default:
		return false
	}
}

// takesAll reports whether an expression is ".*" or the like.
func takesAll(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar:
		sub := re.Sub[0]
		return sub.Op == syntax.OpAnyChar || sub.Op == syntax.OpAnyCharNotNL
	case syntax.OpCapture:
		return takesAll(re.Sub[0])
	default:
		return false
	}
}
