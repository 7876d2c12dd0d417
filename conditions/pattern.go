// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// Bounds of regular expressions. Time is bounded by them alone: there is no
// backtracking, so that one match takes at most the product of both sizes.
const (
	// MaxPatternBytes bounds the text of a regular expression.
	MaxPatternBytes = 1 << 10
	// MaxPatternSize bounds it with its repetitions written out, in
	// characters and classes.
	MaxPatternSize = 1 << 10
	// MaxPatternClasses bounds its Unicode classes (\p), which are large.
	MaxPatternClasses = 32
	// MaxMatchedBytes bounds how much of a text is looked at.
	MaxMatchedBytes = 8 << 10
)

// pattern is a regular expression in the syntax of Go (RE2).
type pattern struct {
	regexp *regexp.Regexp
	size   int // number of instructions, roughly
}

// newPattern compiles text; a problem is empty if it can be.
func newPattern(text string) (p *pattern, problem, allowed string) {
	if len(text) > MaxPatternBytes {
		return nil, "the regular expression is too long", "at most " + strconv.Itoa(MaxPatternBytes) + " bytes are allowed"
	}
	if strings.Count(text, `\p`)+strings.Count(text, `\P`) > MaxPatternClasses {
		return nil, `the regular expression has too many classes \p`, "at most " + strconv.Itoa(MaxPatternClasses) + " are allowed"
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, "the regular expression is broken: " + reason(err), "it is written as for Go (RE2)"
	}
	size := patternSize(parsed)
	if size > MaxPatternSize {
		return nil, "the regular expression is too large with its repetitions written out",
			"at most " + strconv.Itoa(MaxPatternSize) + " characters and classes are allowed"
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, "the regular expression is broken: " + reason(err), "it is written as for Go (RE2)"
	}
	return &pattern{compiled, size}, "", ""
}

// matches reports whether the pattern matches the first MaxMatchedBytes of
// text.
func (p *pattern) matches(text string) bool {
	return p.regexp.MatchString(text[:min(len(text), MaxMatchedBytes)])
}

// reason returns what is wrong with a regular expression, without its text.
func reason(err error) string {
	if broken, ok := errors.AsType[*syntax.Error](err); ok {
		return broken.Code.String() + " " + quoteShort(broken.Expr)
	}
	return err.Error()
}

// patternSize counts what the compiled form of re is made of. It stops to
// count somewhere above MaxPatternSize, so that products do not overflow.
func patternSize(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += patternSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		n = (n - 1) * max(re.Min+1, re.Max)
	}
	return min(n, 2*MaxPatternSize)
}
