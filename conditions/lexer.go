// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"slices"
	"strings"
)

// lexer walks over the text of a condition. Which words count depends on the
// place (a value may be called "and"), so the parser asks for what it wants,
// and what it asks for is taken if it is there.
type lexer struct {
	text string
	pos  int // in bytes
	last literal
}

// literal is where the value that was read last stands. When the text goes on
// in a way that makes no sense, the value is often to blame.
type literal struct {
	start, end int
	quoted     bool
	fault      quoteFault // of a bare value that starts like a quoted one
}

// quoteFault says why a text that starts with a quote is no quoted value.
type quoteFault struct {
	kind quoteFaultKind
	at   int // of what is in the way
}

type quoteFaultKind uint8

const (
	quoteFine quoteFaultKind = iota
	quoteOpen
	quoteMixed
	quoteUnprintable
)

// end reports whether all of the text was read.
func (l *lexer) end() bool { return l.pos == len(l.text) }

// rest returns what was not read yet.
func (l *lexer) rest() string { return l.text[l.pos:] }

// blank takes white space and reports whether there was any.
func (l *lexer) blank() bool {
	start := l.pos
	for !l.end() && isBlank(l.text[l.pos]) {
		l.pos++
	}
	return l.pos > start
}

// take takes s, which is in lower case, written in any letter case.
func (l *lexer) take(s string) bool {
	if len(l.rest()) < len(s) || !strings.EqualFold(l.rest()[:len(s)], s) {
		return false
	}
	l.pos += len(s)
	return true
}

// takeAny takes the first of the alternatives that is there. It is an ordered
// choice: what was taken is not given back for the sake of a later one.
func (l *lexer) takeAny(alternatives ...string) bool {
	return slices.ContainsFunc(alternatives, l.take)
}

// value takes a value, quoted or bare. A text that starts with a quote but is
// no quoted value is a bare one, quote included: that is how these texts have
// always been read.
func (l *lexer) value() (string, bool) {
	l.last = literal{start: l.pos}
	if v, ok := l.quoted(); ok {
		l.last.end, l.last.quoted = l.pos, true
		return v, true
	}
	for !l.end() && isBare(l.text[l.pos]) {
		l.pos++
	}
	l.last.end = l.pos
	return l.text[l.last.start:l.pos], l.pos > l.last.start
}

// item takes an entry of a list.
func (l *lexer) item() string {
	l.last = literal{start: l.pos}
	for !l.end() && isBare(l.text[l.pos]) && l.text[l.pos] != ',' {
		l.pos++
	}
	l.last.end = l.pos
	return l.text[l.last.start:l.pos]
}

// quoted takes a value in single or double quotes. The quote is doubled to
// stand for itself; the other kind of quote may not occur.
func (l *lexer) quoted() (string, bool) {
	if l.end() || l.text[l.pos] != '\'' && l.text[l.pos] != '"' {
		return "", false
	}
	quote := l.text[l.pos]
	for i := l.pos + 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == quote && i+1 < len(l.text) && l.text[i+1] == quote:
			i++
		case c == quote:
			v := l.text[l.pos+1 : i]
			l.pos = i + 1
			return strings.ReplaceAll(v, string([]byte{quote, quote}), string(quote)), true
		case c == '\'' || c == '"':
			l.last.fault = quoteFault{quoteMixed, i}
			return "", false
		case !isPrintable(c):
			l.last.fault = quoteFault{quoteUnprintable, i}
			return "", false
		}
	}
	l.last.fault = quoteFault{quoteOpen, l.pos}
	return "", false
}

// word returns the letters, digits and joining marks at offset at.
func (l *lexer) word(at int) string {
	end := at
	for end < len(l.text) && isWord(l.text[end]) {
		end++
	}
	return l.text[at:end]
}

// blanks is all white space.
const blanks = " \t\r\n\f"

func isBlank(c byte) bool {
	return strings.IndexByte(blanks, c) >= 0
}

func isPrintable(c byte) bool { return ' ' <= c && c <= '~' }

// isBare reports whether c may occur in a value without quotes.
func isBare(c byte) bool { return ' ' < c && c <= '~' && c != '(' && c != ')' }

func isWord(c byte) bool {
	return isAlphanumeric(c) || c == '_' || c == '-' || c == '.'
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
