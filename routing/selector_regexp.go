// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// newPattern makes a pattern of an argument that begins at offset at.
func newPattern(s subject, text string, at int) (pattern, error) {
	p := pattern{text: text}
	switch {
	case s == subjectNamespace && text == "$namespace":
		p.own = true
		return p, nil
	case strings.Contains(text, "${namespace}"):
		return p, &SelectorError{at + strings.Index(text, "${"), `"${namespace}" stands here`, "namespace($namespace) is allowed"}
	case text == "(.*)" || text == ".*":
		p.any = true
	case regexp.QuoteMeta(text) == text:
		p.literal, p.plain = true, text
		return p, nil
	}
	translated, err := translate(text)
	if err != nil {
		err.Offset += at
		return p, err
	}
	re, compileErr := regexp.Compile(`\A(?:` + translated + `)\z`)
	if compileErr != nil {
		problem := "the regular expression is wrong"
		if e, ok := errors.AsType[*syntax.Error](compileErr); ok {
			problem += ": " + e.Code.String()
		}
		return p, &SelectorError{at, problem, ""}
	}
	p.re = re
	p.plain, p.literal = literalOf(text, translated)
	return p, nil
}

// literalOf returns the only text that a pattern matches, if there is one, such
// as web-1.0 of web-1\.0: it is looked up instead of being compared with all.
func literalOf(java, translated string) (text string, ok bool) {
	if strings.ContainsAny(java, "()[]{}|*+?") {
		return "", false // it says more, nearly always
	}
	re, err := regexp.Compile(translated)
	if err != nil {
		return "", false
	}
	text, ok = re.LiteralPrefix()
	// A regular expression takes bytes that are no UTF-8 for U+FFFD.
	return text, ok && !strings.ContainsRune(text, utf8.RuneError)
}

// translate makes a regular expression of Go of one of Java
// (java.util.regex.Pattern), so that both match the same texts and capture
// the same parts of them. What Go cannot do is refused by name.
func translate(java string) (string, *SelectorError) {
	t := translator{in: java}
	for t.pos < len(t.in) {
		if err := t.step(); err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

// translator walks over a Java pattern.
type translator struct {
	in       string
	pos      int
	out      strings.Builder
	repeated bool // a quantifier came last, so that a + would be possessive
	dotAll   bool // the flag s is on
}

func (t *translator) rest() string { return t.in[t.pos:] }

func (t *translator) refuse(what, text string) *SelectorError {
	return &SelectorError{t.pos, fmt.Sprintf("%s (%s) is not supported in regular expressions", what, text), "write it without"}
}

// pass takes n bytes as they are.
func (t *translator) pass(n int) {
	t.out.WriteString(t.in[t.pos : t.pos+n])
	t.pos += n
}

// put takes n bytes and writes others.
func (t *translator) put(n int, with string) {
	t.out.WriteString(with)
	t.pos += n
}

func (t *translator) step() *SelectorError {
	repeated := t.repeated
	t.repeated = false
	switch c := t.in[t.pos]; c {
	case '\\':
		return t.escape(false)
	case '[':
		return t.class()
	case '(':
		return t.group()
	case '.':
		t.dot()
	case '*', '+', '?':
		if repeated && c == '+' {
			return t.refuse("a possessive quantifier", "+ after a quantifier")
		}
		t.repeated = !repeated
		t.pass(1)
	case '{':
		n := countLength(t.rest())
		if n == 0 {
			return &SelectorError{t.pos, "the brace begins no count", `{n}, {n,} and {n,m} are allowed, or \{`}
		}
		t.repeated = true
		t.pass(n)
	default:
		t.pass(1)
	}
	return nil
}

// dot writes what a dot matches: all but the ends of lines that Java knows.
func (t *translator) dot() {
	if t.dotAll {
		t.pass(1)
		return
	}
	t.put(1, `[^\n\r\x{85}\x{2028}\x{2029}]`)
}

// countLength returns the length of {n}, {n,} or {n,m} at the start of s; 0
// if there is none.
func countLength(s string) int {
	inner, _, closed := strings.Cut(s[1:], "}")
	from, to, ranged := strings.Cut(inner, ",")
	if !closed || !isDigits(from, 4) || ranged && to != "" && !isDigits(to, 4) {
		return 0
	}
	return len(inner) + 2
}

// group takes an opening parenthesis and what says of which kind it is.
func (t *translator) group() *SelectorError {
	for _, no := range []struct{ starts, what string }{
		{"(?=", "a lookahead"},
		{"(?!", "a negative lookahead"},
		{"(?<=", "a lookbehind"},
		{"(?<!", "a negative lookbehind"},
		{"(?>", "an atomic group"},
	} {
		if strings.HasPrefix(t.rest(), no.starts) {
			return t.refuse(no.what, no.starts)
		}
	}
	after, special := strings.CutPrefix(t.rest(), "(?")
	if !special || strings.HasPrefix(after, ":") || strings.HasPrefix(after, "<") {
		t.pass(1)
		if special {
			t.pass(2)
		}
		return nil
	}
	n := strings.IndexAny(after, ":)")
	if n < 0 {
		n = len(after)
	}
	on := true
	for i, c := range after[:n] {
		switch c {
		case '-':
			on = false
		case 'i', 'm':
		case 's':
			t.dotAll = on
		default:
			t.pos += 2 + i
			return t.refuse("the flag "+string(c), "(?"+string(c)+")")
		}
	}
	t.pass(2 + n)
	return nil
}

// class takes a character class in brackets.
func (t *translator) class() *SelectorError {
	t.pass(1)
	if strings.HasPrefix(t.rest(), "^") {
		t.pass(1)
	}
	for first := true; t.pos < len(t.in); first = false {
		switch c := t.in[t.pos]; {
		case c == ']' && !first:
			t.pass(1)
			return nil
		case c == '[':
			return t.refuse("a class within a class", "[")
		case strings.HasPrefix(t.rest(), "&&"):
			return t.refuse("an intersection of classes", "&&")
		case c == '\\':
			if err := t.escape(true); err != nil {
				return err
			}
		default:
			t.pass(1)
		}
	}
	return &SelectorError{t.pos - 1, "the character class is not closed", ""}
}

// foreignEscapes are those of Java that Go lacks or means otherwise.
var foreignEscapes = map[byte]string{
	'k': "a backreference", 'h': "a class of horizontal space", 'H': "a class of all but horizontal space",
	'v': "a class of vertical space", 'V': "a class of all but vertical space", 'R': "a line break", 'X': "a grapheme",
	'G': "the end of the match before", 'Z': "the end but for a line break", 'N': "a character by name",
	'c': "a control character", '0': "an octal character",
}

// escape takes a backslash and what belongs to it.
func (t *translator) escape(inClass bool) *SelectorError {
	if t.pos+1 == len(t.in) {
		return &SelectorError{t.pos, "the backslash is the last character", `\\ is allowed`}
	}
	c := t.in[t.pos+1]
	switch {
	case foreignEscapes[c] != "":
		return t.refuse(foreignEscapes[c], `\`+string(c))
	case '1' <= c && c <= '9':
		return t.refuse("a backreference", `\`+string(c))
	case strings.IndexByte("bBAz", c) >= 0 && (inClass || strings.HasPrefix(t.rest()[2:], "{")):
		return t.refuse("a boundary of this kind", t.rest()[:2])
	case c == 'p' || c == 'P':
		return t.property(inClass)
	case c == 'Q':
		return t.quoted(inClass)
	case c == 's' || c == 'S':
		t.put(2, posix("space", c == 'S', inClass))
	case c == 'e':
		t.put(2, `\x1B`)
	case c == 'u':
		if digits := t.rest()[2:]; len(digits) < 4 || !isHex(digits[:4]) {
			return &SelectorError{t.pos, `\u lacks its four hexadecimal digits`, ""}
		}
		t.put(6, `\x{`+t.rest()[2:6]+`}`)
	case strings.IndexByte("dDwWbBAzafnrtx", c) >= 0:
		t.pass(2)
	case isLetter(c):
		return t.refuse("the escape", `\`+string(c))
	default:
		t.put(2, `\x{`+fmt.Sprintf("%X", c)+`}`)
	}
	return nil
}

// quoted takes \Q...\E; without an end it goes on to the end of the text.
func (t *translator) quoted(inClass bool) *SelectorError {
	if inClass {
		return t.refuse("a quotation within a class", `\Q`)
	}
	inner, _, closed := strings.Cut(t.rest()[2:], `\E`)
	n := 2 + len(inner)
	if closed {
		n += 2
	}
	t.put(n, regexp.QuoteMeta(inner))
	return nil
}

// posixNames are the properties of Java that are sets of ASCII characters.
var posixNames = map[string]string{
	"Lower": "lower", "Upper": "upper", "ASCII": "ascii", "Alpha": "alpha", "Digit": "digit", "Alnum": "alnum",
	"Punct": "punct", "Graph": "graph", "Print": "print", "Blank": "blank", "Cntrl": "cntrl", "XDigit": "xdigit", "Space": "space",
}

// posix writes a set of ASCII characters.
func posix(name string, negated, inClass bool) string {
	if negated {
		name = "^" + name
	}
	if inClass {
		return "[:" + name + ":]"
	}
	return "[[:" + name + ":]]"
}

// property takes \p and \P: sets of ASCII characters and the categories of
// Unicode.
func (t *translator) property(inClass bool) *SelectorError {
	after := t.rest()[2:]
	name, n := after, 2+len(after)
	switch {
	case strings.HasPrefix(after, "{"):
		inner, _, closed := strings.Cut(after[1:], "}")
		if !closed {
			return &SelectorError{t.pos, "the brace is not closed", `\p{Lower} and \p{Lu} are allowed`}
		}
		name, n = inner, 4+len(inner)
	case after != "":
		name, n = after[:1], 3
	}
	negated := t.in[t.pos+1] == 'P'
	if set := posixNames[name]; set != "" {
		t.put(n, posix(set, negated, inClass))
		return nil
	}
	category := strings.TrimPrefix(name, "Is")
	if _, err := regexp.Compile(`\p{` + category + `}`); err != nil || len(category) == 0 || len(category) > 2 {
		return t.refuse("the property "+quote(shorten(name)), shorten(t.rest()[:n]))
	}
	t.put(n, `\`+t.in[t.pos+1:t.pos+2]+`{`+category+`}`)
	return nil
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdefABCDEF") == "" }
