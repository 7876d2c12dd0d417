// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// aclStep is a converter with its arguments.
type aclStep struct {
	do     aclConverter
	n, m   int64 // arguments in the order written, those not given at their defaults
	delims string
}

// aclConverter says what becomes of a sample.
type aclConverter uint8

const (
	convertLower aclConverter = iota
	convertUpper
	convertURLDec
	convertLength
	convertBytes
	convertField
	convertWord
	convertAdd
	convertSub
	convertMul
	convertDiv
	convertMod
	convertAnd
	convertOr
	convertXor
	convertCpl
	convertNeg
	convertOdd
	convertEven
	convertNot
	convertBool
)

// convert applies all converters; false if one of them fails.
func (t *aclTest) convert(s *aclSample, c *aclCursor) bool {
	for i := range t.steps {
		step := &t.steps[i]
		if step.do >= convertAdd {
			if !step.calculate(s) {
				return false
			}
		} else if text := s.asText(c); !step.convertText(s, text, c) {
			return false
		}
	}
	return true
}

func (p *aclStep) convertText(s *aclSample, text string, c *aclCursor) (ok bool) {
	s.kind = aclText
	switch p.do {
	case convertLower, convertUpper:
		s.text, ok = changeCase(text, p.do == convertUpper, c)
		return ok
	case convertURLDec:
		s.text, ok = decodeURL(text, p.n != 0, c)
		return ok
	case convertLength:
		*s = intSample(int64(len(text)))
	case convertBytes:
		s.kind = aclBytes
		text = text[min(p.n, int64(len(text))):]
		s.text = text[:min(p.m, int64(len(text)))]
	case convertField:
		s.text, ok = p.field(text)
		return ok
	default: // convertWord
		s.text = p.word(text)
	}
	return true
}

func changeCase(text string, upper bool, c *aclCursor) (string, bool) {
	b := c.buffer()
	if len(text) > len(b) {
		return "", false
	}
	b = b[:copy(b, text)]
	for i, ch := range b {
		switch {
		case upper && 'a' <= ch && ch <= 'z':
			b[i] = ch - 'a' + 'A'
		case !upper:
			b[i] = lowerByte(ch)
		}
	}
	return viewACL(b), true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// decodeURL resolves %XX, and "+" in a form or after "?". It fails where two
// hexadecimal digits do not follow "%".
func decodeURL(text string, form bool, c *aclCursor) (string, bool) {
	b := c.buffer()
	if len(text) > len(b) {
		return "", false
	}
	b = b[:copy(b, text)]
	n := 0
	for i := 0; i < len(b); i++ {
		ch := b[i]
		switch ch {
		case '?':
			form = true
		case '+':
			if form {
				ch = ' '
			}
		case '%':
			if i+2 >= len(b) {
				return "", false
			}
			high, low := hexDigit(b[i+1]), hexDigit(b[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			ch = byte(high<<4 | low)
			i += 2
		}
		b[n] = ch
		n++
	}
	return viewACL(b[:n]), true
}

func hexDigit(c byte) int {
	switch c = lowerByte(c); {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	default:
		return -1
	}
}

// field returns m fields from the n-th on, each delimited by any of delims; 0
// stands for all. Negative n counts from the end. It fails if there is no
// n-th.
func (p *aclStep) field(s string) (string, bool) {
	count := p.m
	if p.n > 0 {
		for n := p.n; n > 1; n-- {
			i := firstIndexAny(s, p.delims)
			if i < 0 {
				return "", false
			}
			s = s[i+1:]
		}
		for i := 0; count > 0 && i < len(s); i++ {
			if strings.IndexByte(p.delims, s[i]) >= 0 {
				if count--; count == 0 {
					return s[:i], true
				}
			}
		}
		return s, true
	}
	for n := p.n; n < -1; n++ {
		i := lastIndexAny(s, p.delims)
		if i < 0 {
			return "", false
		}
		s = s[:i]
	}
	for i := len(s) - 1; count > 0 && i >= 0; i-- {
		if strings.IndexByte(p.delims, s[i]) >= 0 {
			if count--; count == 0 {
				return s[i+1:], true
			}
		}
	}
	return s, true
}

// firstIndexAny and lastIndexAny look for bytes, where the functions of
// strings look for characters.
func firstIndexAny(s, bytes string) int {
	for i := range len(s) {
		if strings.IndexByte(bytes, s[i]) >= 0 {
			return i
		}
	}
	return -1
}

func lastIndexAny(s, bytes string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if strings.IndexByte(bytes, s[i]) >= 0 {
			return i
		}
	}
	return -1
}

// word returns m words from the n-th on, 0 standing for all, where words are
// what stands between any number of delims. Negative n counts from the end.
// It is empty if there is no n-th.
func (p *aclStep) word(s string) string {
	backwards := p.n < 0
	at := func(i int) byte {
		if backwards {
			return s[len(s)-1-i]
		}
		return s[i]
	}
	start, end := -1, len(s)
	within := false
	for i, words, left := 0, int64(0), p.m; i < len(s); i++ {
		isDelim := strings.IndexByte(p.delims, at(i)) >= 0
		switch {
		case !isDelim && !within:
			if words++; words == max(p.n, -p.n) {
				start = i
			}
		case isDelim && within && start >= 0:
			if left--; left == 0 {
				end = i
			}
		}
		if within = !isDelim; end == i {
			break
		}
	}
	switch {
	case start < 0:
		return ""
	case backwards:
		return s[len(s)-end : len(s)-start]
	default:
		return s[start:end]
	}
}

// calculate applies a converter of integers; false if the sample is none and
// does not become one. Results that do not fit are the closest that do.
func (p *aclStep) calculate(s *aclSample) bool {
	n, ok := s.asInt()
	if !ok {
		return false
	}
	switch p.do {
	case convertOdd:
		*s = boolSample(n&1 != 0)
		return true
	case convertEven:
		*s = boolSample(n&1 == 0)
		return true
	case convertNot:
		*s = boolSample(n == 0)
		return true
	case convertBool:
		*s = boolSample(n != 0)
		return true
	default:
		*s = intSample(p.do.apply(n, p.n))
		return true
	}
}

func (f aclConverter) apply(n, m int64) int64 {
	switch f {
	case convertAdd:
		return addSaturated(n, m)
	case convertSub:
		if m == math.MinInt64 {
			return addSaturated(addSaturated(n, math.MaxInt64), 1)
		}
		return addSaturated(n, -m)
	case convertMul:
		return multiplySaturated(n, m)
	case convertDiv:
		if m == 0 || n == math.MinInt64 && m == -1 {
			return math.MaxInt64
		}
		return n / m
	case convertMod:
		if m == 0 || m == -1 {
			return 0
		}
		return n % m
	case convertAnd:
		return n & m
	case convertOr:
		return n | m
	case convertXor:
		return n ^ m
	case convertCpl:
		return ^n
	default: // convertNeg
		return multiplySaturated(n, -1)
	}
}

// addSaturated adds. HAProxy 2.6 takes the sum of two negative numbers for the
// greatest one, which is not what its manual says.
func addSaturated(a, b int64) int64 {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return math.MinInt64
	default:
		return sum
	}
}

func multiplySaturated(a, b int64) int64 {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	negative := a < 0 != (b < 0)
	switch {
	case negative && (high > 0 || low > 1<<63):
		return math.MinInt64
	case negative:
		return -int64(low)
	case high > 0 || low > math.MaxInt64:
		return math.MaxInt64
	default:
		return int64(low)
	}
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// asText returns the sample as a text, the way HAProxy writes it.
func (s *aclSample) asText(c *aclCursor) string {
	switch s.kind {
	case aclInt, aclBool:
		return viewACL(strconv.AppendInt(c.buffer()[:0], s.number, 10))
	case aclIP:
		return viewACL(appendIP(c.buffer()[:0], s))
	default:
		return s.text
	}
}

// appendIP writes an address as inet_ntop does, which shows the last 32 bits
// of an address that has nothing but zeros before them in decimal.
func appendIP(b []byte, s *aclSample) []byte {
	a := s.addr
	if v4, ok := compatibleIPv4(a); ok && a.As16()[12]|a.As16()[13] != 0 {
		b = append(b, "::"...)
		a = v4
	}
	return a.AppendTo(b)
}

// asInt returns the sample as an integer; false if it is none at all. A text
// counts as far as it is one.
func (s *aclSample) asInt() (int64, bool) {
	switch s.kind {
	case aclInt, aclBool:
		return s.number, true
	case aclIP:
		if !s.addr.Is4() {
			return 0, false
		}
		return int64(ipv4Number(s.addr)), true
	case aclText:
		return saturatedInt(s.text), s.text != ""
	default:
		return 0, false
	}
}

// saturatedInt reads the number that s begins with, or the closest one that
// fits; 0 if there is none.
func saturatedInt(s string) int64 {
	negative := s != "" && s[0] == '-'
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	n := int64(0)
	for i := 0; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		n = multiplySaturated(n, 10)
		if digit := int64(s[i] - '0'); negative {
			n = addSaturated(n, -digit)
		} else {
			n = addSaturated(n, digit)
		}
	}
	return n
}
