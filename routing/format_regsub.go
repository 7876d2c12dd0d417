// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"regexp"
	"regexp/syntax"
)

// Bounds of a regular expression. They keep what it costs to compile and to
// ask one within reason, whoever wrote it.
const (
	maxPattern      = 512
	maxInstructions = 1000
)

// substitution replaces what a regular expression matches.
type substitution struct {
	pattern *regexp.Regexp
	with    []substitute
	all     bool // not only the first match
}

// substitute is a text, or what a group of the match is.
type substitute struct {
	literal string
	group   int // -1 for a literal
}

// newSubstitution compiles a regular expression and what replaces its
// matches: a text in which \0 is the whole match and \1 to \9 are its groups.
// problem says what is wrong with which argument.
func newSubstitution(pattern, with, flags string) (s *substitution, problem string, arg int) {
	s = new(substitution)
	for _, c := range flags {
		switch c {
		case 'g':
			s.all = true
		case 'i':
			pattern = "(?i)" + pattern
		default:
			return nil, quote(flags) + " are no flags: g replaces all matches, i ignores letter case", 2
		}
	}
	if len(pattern) > maxPattern {
		return nil, "the regular expression is too long", 0
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err.Error(), 0
	}
	if program, err := syntax.Compile(tree.Simplify()); err != nil || len(program.Inst) > maxInstructions {
		return nil, "the regular expression is too complex", 0
	}
	if s.pattern, err = regexp.Compile(pattern); err != nil {
		return nil, err.Error(), 0
	}
	s.with = substitutes(with)
	for _, part := range s.with {
		if part.group > s.pattern.NumSubexp() {
			return nil, quote(with) + " names a group that the regular expression does not have", 1
		}
	}
	return s, "", 0
}

func substitutes(with string) (parts []substitute) {
	start := 0
	for i := 0; i+1 < len(with); i++ {
		if with[i] != '\\' || with[i+1] < '0' || with[i+1] > '9' {
			continue
		}
		if i > start {
			parts = append(parts, substitute{literal: with[start:i], group: -1})
		}
		parts = append(parts, substitute{group: int(with[i+1] - '0')})
		i++
		start = i + 1
	}
	if start < len(with) {
		parts = append(parts, substitute{literal: with[start:], group: -1})
	}
	return parts
}

// replace returns text with the matches replaced; false if it becomes too
// long.
func (s *substitution) replace(text []byte) ([]byte, bool) {
	n := 1
	if s.all {
		n = -1
	}
	var b []byte
	end := 0
	for _, match := range s.pattern.FindAllSubmatchIndex(text, n) {
		b = append(b, text[end:match[0]]...)
		for _, part := range s.with {
			if part.group < 0 {
				b = append(b, part.literal...)
			} else if from := match[2*part.group]; from >= 0 {
				b = append(b, text[from:match[2*part.group+1]]...)
			}
			if len(b) > maxFormatted {
				return nil, false
			}
		}
		end = match[1]
	}
	return append(b, text[end:]...), true
}
