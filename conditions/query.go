// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"iter"
	"strings"
	"sync"
	"unsafe"
)

// This file reads the query of a request as browsers write forms: parameters
// between "&", name and value around the first "=", "+" for a blank, "%" and
// two hexadecimal digits for any byte. What is no such escape stands for
// itself.

// holdsInQuery reports whether a parameter is what s looks for.
func (s *step) holdsInQuery(query string) bool {
	for name, value := range parameters(query) {
		if equalDecoded(name, s.name) && (s.kind == parameterPresent || s.comparesDecoded(value)) {
			return true
		}
	}
	return false
}

// parameters returns the names and values in a query, not decoded. A
// parameter without "=" has no value; nothing between two "&" is none.
func parameters(query string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := query; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, "&")
			name, value, _ := strings.Cut(pair, "=")
			if pair != "" && !yield(name, value) {
				return
			}
		}
	}
}

// comparesDecoded reports whether a value, once decoded, is what s looks for.
func (s *step) comparesDecoded(value string) bool {
	switch {
	case !isEncoded(value):
		return s.compares(value)
	case s.match == equals:
		return equalDecoded(value, s.value)
	case s.match == startsWith:
		_, ok := cutDecoded(value, s.value)
		return ok
	}
	buffer := s.test.buffers.get()
	*buffer = appendDecoded((*buffer)[:0], value)
	held := s.compares(view(*buffer))
	s.test.buffers.put(buffer)
	return held
}

// buffers lends out memory to decode values into, so that they can be looked
// at as a whole without allocating.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	return new([]byte)
}

func (b *buffers) put(buffer *[]byte) { b.pool.Put(buffer) }

// view returns b as a string without copying it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// isEncoded reports whether decoding a text may change it.
func isEncoded(text string) bool {
	return strings.IndexByte(text, '%') >= 0 || strings.IndexByte(text, '+') >= 0
}

// equalDecoded reports whether a text, once decoded, is want.
func equalDecoded(text, want string) bool {
	rest, ok := cutDecoded(text, want)
	return ok && rest == ""
}

// cutDecoded returns what is left of text after a part that, once decoded, is
// prefix.
func cutDecoded(text, prefix string) (rest string, ok bool) {
	for i := range len(prefix) {
		if text == "" {
			return "", false
		}
		var c byte
		if c, text = decode(text); c != prefix[i] {
			return "", false
		}
	}
	return text, true
}

// decode returns the first byte that a text, which is not empty, stands for,
// and the text after it.
func decode(text string) (c byte, rest string) {
	switch {
	case text[0] == '+':
		return ' ', text[1:]
	case text[0] == '%' && len(text) > 2 && isHex(text[1]) && isHex(text[2]):
		return fromHex(text[1])<<4 | fromHex(text[2]), text[3:]
	default:
		return text[0], text[1:]
	}
}

// appendDecoded appends what a text stands for to b.
func appendDecoded(b []byte, text string) []byte {
	for text != "" {
		var c byte
		c, text = decode(text)
		b = append(b, c)
	}
	return b
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func fromHex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
