// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"strconv"
	"unicode/utf8"
)

// SyntaxError says why a text is no condition, and where.
type SyntaxError struct {
	Offset  int    // of the offending part, in bytes into the text
	Problem string // what is wrong, lower case
	Allowed string // what is allowed instead; may be empty

	character int // Offset in characters, from 1
}

// newSyntaxError returns an error at a byte offset of text.
func newSyntaxError(text string, offset int, problem, allowed string) *SyntaxError {
	return &SyntaxError{
		Offset:    offset,
		Problem:   problem,
		Allowed:   allowed,
		character: utf8.RuneCountInString(text[:offset]) + 1,
	}
}

// Error returns "character N: problem; allowed", with N in characters from 1.
func (e *SyntaxError) Error() string {
	s := "character " + strconv.Itoa(max(e.character, 1)) + ": " + e.Problem
	if e.Allowed != "" {
		s += "; " + e.Allowed
	}
	return s
}
