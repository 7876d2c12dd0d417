// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"iter"
	"strings"
)

// Holds reports whether the condition is true of r. It asks r only for what
// it needs, from left to right, and does not allocate.
func (c *Condition) Holds(r Request) bool {
	next := int32(len(c.steps) - 1)
	for next >= 0 {
		s := &c.steps[next]
		if s.holds(r) {
			next = s.yes
		} else {
			next = s.no
		}
	}
	return next == accept
}

func (s *step) holds(r Request) bool {
	switch s.kind {
	case hostExact:
		return r.Host() == s.value
	case hostFolded:
		return equalFold(r.Host(), s.value)
	case fieldPresent:
		_, next := r.Field(s.name, 0)
		return next >= 0
	case fieldCompares:
		for value, next := r.Field(s.name, 0); next >= 0; value, next = r.Field(s.name, next) {
			if s.compares(value) {
				return true
			}
		}
	case cookieNonEmpty, cookieCompares:
		for line, next := r.Field("Cookie", 0); next >= 0; line, next = r.Field("Cookie", next) {
			if s.holdsIn(line) {
				return true
			}
		}
	case methodCompares:
		return s.compares(r.Method())
	case pathCompares:
		return s.compares(r.Path())
	case parameterPresent, parameterCompares:
		return s.holdsInQuery(r.Query())
	case clientWithin:
		return s.test.covers(r.Conn().Client.Addr())
	case nameCompares:
		return s.holdsOfName(r.Conn())
	case protocolCompares:
		return s.holdsOfProtocol(r.Conn())
	case certificateVerified:
		return r.Conn().certificate() != nil
	case subjectCompares:
		return s.holdsOfSubject(r.Conn())
	case namesCompare:
		return s.holdsOfNames(r.Conn())
	case rawHolds:
		return s.test.raw.holds(r)
	case programYields:
		return s.test.program.holds(r)
	}
	return false
}

// compares reports whether a text is what s looks for.
func (s *step) compares(text string) bool {
	switch s.match {
	case equals:
		return text == s.value
	case contains:
		return strings.Contains(text, s.value)
	case startsWith:
		return strings.HasPrefix(text, s.value)
	case endsWith:
		return strings.HasSuffix(text, s.value)
	case matches:
		return s.test.pattern.matches(text)
	default:
		return false
	}
}

// holdsIn reports whether a cookie in one line of the Cookie field is what s
// looks for.
func (s *step) holdsIn(line string) bool {
	for name, value := range pairs(line) {
		if name == s.name && (s.kind == cookieNonEmpty && value != "" || s.kind == cookieCompares && s.compares(value)) {
			return true
		}
	}
	return false
}

// pairs returns the names and values of the cookies in one line of the Cookie
// field.
func pairs(line string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := line; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			name, value, ok := strings.Cut(pair, "=")
			if ok && !yield(trim(name), trim(value)) {
				return
			}
		}
	}
}

// trim cuts the white space off that may surround names and values of
// cookies. Quotes are a part of the value.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// equalFold reports whether a host is the ASCII text want in any letter case.
// Letters outside ASCII that fold to ASCII ones take more bytes than those, so
// that equal lengths exclude them.
func equalFold(host, want string) bool {
	return len(host) == len(want) && strings.EqualFold(host, want)
}
