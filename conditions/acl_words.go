// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// aclWord is a word of an ACL, quotes and escapes resolved.
type aclWord struct {
	text   string
	start  int      // in bytes into the ACL
	at     []uint16 // where each byte of text stands there
	quoted bool     // or escaped, some of it
}

// offset returns where byte i of the word stands in the ACL. i may be one
// past the end.
func (w *aclWord) offset(i int) int {
	switch {
	case i < len(w.at):
		return int(w.at[i])
	case i > 0:
		return int(w.at[i-1]) + 1
	default:
		return w.start
	}
}

// splitACL cuts a text into words as HAProxy cuts a line of its
// configuration (section 2.2 of its manual). What would reach outside the
// line is refused: comments and variables of the environment.
func splitACL(text string) ([]aclWord, *SyntaxError) {
	var words []aclWord
	for i := 0; ; {
		for i < len(text) && isBlank(text[i]) {
			i++
		}
		if i == len(text) {
			return words, nil
		}
		w, end, err := readACLWord(text, i)
		if err != nil {
			return nil, err
		}
		if w.text == "" {
			return nil, newSyntaxError(text, i, "a word is empty", "HAProxy ends the list there; -m len 0 asks for an empty text, -m found for any")
		}
		words = append(words, w)
		i = end
	}
}

// readACLWord reads the word at offset start and returns where it ends.
func readACLWord(text string, start int) (aclWord, int, *SyntaxError) {
	w := aclWord{start: start}
	var b []byte
	quote, quoteAt := byte(0), 0
	i := start
	for ; i < len(text) && (quote != 0 || !isBlank(text[i])); i++ {
		c := text[i]
		at := uint16(i)
		switch {
		case !isPrintable(c) && !isBlank(c):
			return w, i, foreignByte(text, i)
		case quote != 0 && c == quote:
			quote = 0
			continue
		case quote == 0 && (c == '\'' || c == '"'):
			quote, quoteAt, w.quoted = c, i, true
			continue
		case quote == '\'':
		case quote == 0 && c == '#':
			return w, i, newSyntaxError(text, i, `"#" starts a comment`, `write \#, or quote it`)
		case quote == '"' && c == '$':
			return w, i, newSyntaxError(text, i, `"$" within double quotes stands for a variable of the environment, which conditions do not see`, `write \$, or use single quotes`)
		case c == '\\':
			var size int
			if c, size = unescapeACL(text[i:], quote); size == 0 {
				return w, i, newSyntaxError(text, i, `\x must be followed by two hexadecimal digits and must not be zero`, "")
			}
			w.quoted = w.quoted || size > 1
			i += size - 1
		}
		b, w.at = append(b, c), append(w.at, at)
	}
	if quote != 0 {
		return w, i, newSyntaxError(text, quoteAt, "the quote is not closed", "")
	}
	w.text = string(b)
	return w, i, nil
}

// unescapeACL returns the byte that an escape at the start of s stands for,
// and the length of the escape: 0 if it makes no sense, 1 if the backslash
// stands for itself, as it does before most characters.
func unescapeACL(s string, quote byte) (c byte, size int) {
	if len(s) < 2 {
		return '\\', 1
	}
	switch c := s[1]; c {
	case ' ', '\t', '\\', '#', '\'', '"':
		return c, 2
	case '$':
		if quote == '"' {
			return c, 2
		}
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'x':
		n, err := strconv.ParseUint(s[2:min(4, len(s))], 16, 8)
		if err != nil || len(s) < 4 || n == 0 {
			return 0, 0
		}
		return byte(n), 4
	}
	return '\\', 1
}

func foreignByte(text string, i int) *SyntaxError {
	r, size := utf8.DecodeRuneInString(text[i:])
	what := strconv.Quote(text[i : i+size])
	if r == utf8.RuneError && size == 1 {
		what = "a byte that is not UTF-8"
	}
	return newSyntaxError(text, i, what+" is not allowed in an ACL", `write it as \xNN, byte by byte`)
}

// aclArg is an argument of a fetch or converter.
type aclArg struct {
	text   string
	offset int // in bytes into the ACL
}

// aclArgs reads the arguments that begin at byte i of a word, after the
// parenthesis, and returns where the word goes on. Quotes and escapes are
// resolved once more here, as HAProxy does. ok is false if no parenthesis
// closes them.
func (w *aclWord) aclArgs(i int) (args []aclArg, next int, ok bool) {
	var b []byte
	quote, start := byte(0), i
	for ; i < len(w.text); i++ {
		switch c := w.text[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && (c == ',' || c == ')'):
			args = append(args, aclArg{string(b), w.offset(start)})
			if b, start = nil, i+1; c == ')' {
				return args, i + 1, true
			}
		case quote != '\'' && c == '\\' && i+1 < len(w.text) && strings.IndexByte(` \'"nrt`, w.text[i+1]) >= 0:
			c, _ = unescapeACL(w.text[i:], quote)
			b = append(b, c)
			i++
		default:
			b = append(b, c)
		}
	}
	return nil, i, false
}

// quoteACLWord writes a word so that it is read as the same one again. It
// never writes "<" or ">", so that an ACL may stand between these.
func quoteACLWord(s string) string {
	special, plainQuotes := s == "", true
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '<' || c == '>' || !isPrintable(c):
			special, plainQuotes = true, false
		case strings.IndexByte(`\"# {}`, c) >= 0:
			special = true
		}
	}
	switch {
	case !special && !isACLOperator(s):
		return s
	case plainQuotes:
		return "'" + s + "'"
	}
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case strings.IndexByte(`\'"# `, c) >= 0:
			b.WriteString(`\` + s[i:i+1])
		case c == '<' || c == '>' || !isPrintable(c):
			const hex = "0123456789abcdef"
			b.WriteString(`\x` + hex[c>>4:c>>4+1] + hex[c&15:c&15+1])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// quoteACLArg writes an argument so that aclArgs reads it again.
func quoteACLArg(s string) string {
	if !strings.ContainsAny(s, ` ,)'"\`+"\n\r\t") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
