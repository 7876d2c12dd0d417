// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file words what is wrong with a text that is refused. It runs once, at
// the first fault, and may look around in the text as it likes.

const (
	allowedTests       = "a test starts with host, user-agent, header, cookie, has, contains or misses"
	allowedComparisons = "use one of == = != ! is not has contains misses, words with white space after them"
)

func (p *parser) fail(offset int, problem, allowed string) error {
	return newSyntaxError(p.text, offset, problem, allowed)
}

// failHere fails at the present position. A character that no condition may
// hold outdoes any other problem.
func (p *parser) failHere(problem, allowed string) error {
	if p.atForeign() {
		return p.fail(p.pos, p.next()+" is not allowed in a condition",
			"only printable ASCII and white space are (host names in punycode, xn--...)")
	}
	return p.fail(p.pos, problem, allowed)
}

// atForeign reports whether a character comes next that no condition may hold.
func (p *parser) atForeign() bool {
	return !p.end() && !isPrintable(p.text[p.pos]) && !isBlank(p.text[p.pos])
}

// next returns what comes next, quoted: a word or else a character.
func (p *parser) next() string {
	const longest = 40
	if p.end() {
		return "the end"
	}
	if word := p.word(p.pos); word != "" {
		if len(word) > longest {
			word = word[:longest] + "..."
		}
		return strconv.Quote(word)
	}
	_, size := utf8.DecodeRuneInString(p.rest())
	return strconv.Quote(p.rest()[:size])
}

// unexpected explains why the text cannot go on after a complete part.
func (p *parser) unexpected() error {
	if err := p.lastToBlame(); err != nil {
		return err
	}
	if p.text[p.pos] == ')' {
		return p.fail(p.pos, `")" closes nothing`, "remove it, or quote a value with parentheses")
	}
	if operator := p.bareOperator(); operator != "" {
		after := p.pos + len(operator)
		if after == len(p.text) {
			return p.fail(after, "nothing follows after "+strconv.Quote(operator), allowedTests)
		}
		return p.fail(after, "white space is missing after "+strconv.Quote(operator), "write: A "+operator+" B")
	}
	allowed := `"and", "or" or the end may follow`
	if p.open > 0 {
		allowed = `"and", "or" or ")" may follow`
	}
	if p.afterValue() {
		allowed += "; a value with white space must be quoted"
	}
	return p.failHere("unexpected "+p.next(), allowed)
}

// lastToBlame returns an error if the value that was read last is the likely
// reason why the text after it makes no sense, or else nil.
func (p *parser) lastToBlame() error {
	if !p.afterValue() {
		return nil
	}
	v := p.last
	switch v.fault.kind {
	case quoteOpen:
		return p.fail(v.start, "the quote is not closed", "a quote within quotes is written twice")
	case quoteMixed:
		return p.fail(v.fault.at, "a quoted value holds the other kind of quote", "only its own kind, written twice, may occur")
	case quoteUnprintable:
		p.pos = v.fault.at
		return p.fail(p.pos, "a quoted value holds "+p.next(), "only printable ASCII may occur")
	default:
	}
	switch {
	case v.quoted:
		return nil
	case p.pos == v.end && !p.end() && p.text[p.pos] == '(':
		return p.fail(p.pos, "a value without quotes holds a parenthesis", `quote it: "a(b)"`)
	case strings.EqualFold(p.text[v.start:v.end], "not") && p.pos > v.end:
		return p.fail(v.start, `"not" stands where a value is expected`, "use != VALUE")
	}
	return nil
}

// afterValue reports whether only white space lies between the value that was
// read last and the present position.
func (p *parser) afterValue() bool {
	return p.last.end > 0 && p.last.end <= p.pos && strings.Trim(p.text[p.last.end:p.pos], " \t\r\n\f") == ""
}

// bareOperator returns the operator that comes next, which lacks the white
// space that must follow it; empty if none does.
func (p *parser) bareOperator() string {
	start := p.pos
	defer func() { p.pos = start }()
	if p.takeAny("||", "|", "&&", "&") {
		return p.text[start:p.pos]
	}
	if word := p.word(start); strings.EqualFold(word, "and") || strings.EqualFold(word, "or") {
		return word
	}
	return ""
}

// unclosed explains a text that ends within the parenthesis at offset start.
func (p *parser) unclosed(start int) error {
	if err := p.lastToBlame(); err != nil {
		return err
	}
	return p.fail(start, `"(" is not closed`, `add ")"`)
}

// unknown explains a part, from offset start, that is no test.
func (p *parser) unknown(start int) error {
	p.pos = start
	if p.end() {
		return p.fail(start, "a test is missing at the end", allowedTests)
	}
	word := p.word(start)
	after := p.text[start+len(word):]
	switch c := p.text[start]; {
	case c == '<':
		return p.fail(start, "raw ACLs (< ... >) are not yet supported", allowedTests)
	case c == '{':
		return p.fail(start, "raw ACLs ({ ... }) are not yet supported", allowedTests)
	case c == ')':
		return p.fail(start, `a test is missing before ")"`, allowedTests)
	case p.bareOperator() != "":
		return p.fail(start, "a test is missing before "+strconv.Quote(p.bareOperator()), allowedTests)
	}
	switch strings.ToLower(word) {
	case "method", "path", "query", "ip", "expr":
		return p.fail(start, "the test "+strconv.Quote(word)+" is not yet supported", allowedTests)
	case "true", "false":
		return p.fail(start, "there is no constant "+strconv.Quote(word), allowedTests)
	case "user", "user_agent":
		if word != "user" || strings.HasPrefix(strings.ToLower(strings.TrimLeft(after, " \t")), "agent") {
			return p.fail(start, "unknown test "+p.next(), "use: user-agent")
		}
	case "has", "contains", "misses":
		return p.fail(start+len(word), "white space is missing after "+strconv.Quote(word), "use: "+word+" header NAME, "+word+" cookie NAME")
	}
	if isRawACL(word, after) {
		return p.fail(start, "raw ACLs ("+p.next()+") are not yet supported", allowedTests)
	}
	problem := "unknown test " + p.next()
	if p.pos += len(word); !p.atForeign() {
		p.pos = start
	}
	return p.failHere(problem, allowedTests)
}

// isRawACL reports whether a word, followed by after, looks like the fetch of
// a raw ACL, such as path_beg or hdr(host).
func isRawACL(word, after string) bool {
	switch strings.ToLower(word) {
	case "":
		return false
	case "hdr", "fhdr", "cook", "url", "urlp", "base", "src", "dst":
		return true
	}
	return strings.HasPrefix(after, "(") || strings.Contains(word, "_")
}

// noComparison explains that subject is not compared with anything.
func (p *parser) noComparison(subject string) error {
	p.blank()
	if p.end() {
		return p.fail(p.pos, "a comparison is missing after "+strconv.Quote(subject), allowedComparisons)
	}
	return p.failHere(p.next()+" is no comparison", allowedComparisons)
}

// noValue explains that what, a value or a name, is missing.
func (p *parser) noValue(what string) error {
	allowed := "values are printable ASCII; with white space or parentheses they must be quoted"
	if !p.end() && p.text[p.pos] == '(' {
		return p.fail(p.pos, what+` cannot start with "("`, allowed)
	}
	return p.failHere(what+" is missing", allowed)
}

// noName explains why noun, at offset start, is not followed by a name.
func (p *parser) noName(start int, noun string) error {
	if p.word(p.pos) != "" {
		return p.unknown(start)
	}
	return p.failHere(noun+" must be followed by white space and a name", useContained(noun, "NAME"))
}

// notContained explains why the name of a header or cookie is not followed by
// has, contains or misses.
func (p *parser) notContained(noun, name string, s subject) error {
	if err := p.lastToBlame(); err != nil {
		return err
	}
	if i := strings.IndexAny(name, "=!"); i >= 0 && !p.last.quoted {
		if name, p.pos = name[:i], p.last.start+i; i == 0 {
			return p.fail(p.pos, "the name of a "+noun+" is missing", useContained(noun, "NAME"))
		}
	}
	start := p.pos
	if strings.EqualFold(p.word(start), "matches") {
		return p.fail(start, `"matches" is not yet supported`, useContained(noun, name))
	}
	if isBlank(p.text[start-1]) {
		p.pos-- // "is" and "not" are taken with the white space before them
	}
	negated, ok := p.comparison()
	if !ok {
		return p.nothingContained(start, noun, name, s)
	}
	comparison := strings.Trim(p.text[start:p.pos], " \t\r\n\f")
	if p.take("not") && p.blank() {
		negated = true // is not
	}
	value, ok := p.value()
	if !ok {
		value = "VALUE"
	}
	use := Expr{test: test{subject: s, negated: negated, name: name, value: value}}
	return p.fail(start, "comparing a "+noun+" with "+strconv.Quote(comparison)+" is not yet supported", "use: "+use.String())
}

// nothingContained explains why at offset start, after the name, there is not
// even a comparison.
func (p *parser) nothingContained(start int, noun, name string, s subject) error {
	p.pos = start
	switch word := p.word(start); strings.ToLower(word) {
	case "has", "contains", "misses":
		return p.fail(start+len(word), "white space and a value are missing after "+strconv.Quote(word), useContained(noun, name))
	}
	switch word := strings.ToLower(name); word {
	case "has", "contains", "misses":
		at := p.last.start
		value, ok := p.value()
		if !ok {
			break
		}
		use := Expr{test: test{subject: headerPresent, negated: word == "misses", name: value}}
		if s == cookieHas {
			use.test.subject = cookiePresent
		}
		return p.fail(at, strconv.Quote(word)+" stands where the name of a "+noun+" is expected", "use: "+use.String())
	}
	return p.failHere("has, contains or misses is missing", useContained(noun, name))
}

func useContained(noun, name string) string {
	var b strings.Builder
	b.WriteString("use: has " + noun + " ")
	writeValue(&b, name)
	b.WriteString(", " + noun + " ")
	writePair(&b, name, "has ", "VALUE")
	return b.String()
}
