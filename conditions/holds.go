// SPDX-License-Identifier: Apache-2.0

package conditions

import "strings"

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
	case fieldContains:
		for value, next := r.Field(s.name, 0); next >= 0; value, next = r.Field(s.name, next) {
			if strings.Contains(value, s.value) {
				return true
			}
		}
	case cookieNonEmpty, cookieContains:
		for line, next := r.Field("Cookie", 0); next >= 0; line, next = r.Field("Cookie", next) {
			if s.holdsIn(line) {
				return true
			}
		}
	}
	return false
}

// holdsIn reports whether a cookie in one line of the Cookie field is what s
// looks for.
func (s *step) holdsIn(line string) bool {
	for rest := line; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, ";")
		name, value, ok := strings.Cut(pair, "=")
		if !ok || trim(name) != s.name {
			continue
		}
		value = trim(value)
		if s.kind == cookieContains && strings.Contains(value, s.value) ||
			s.kind == cookieNonEmpty && value != "" {
			return true
		}
	}
	return false
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
