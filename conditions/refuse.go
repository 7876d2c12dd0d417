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
	allowedTests        = "a test starts with host, user-agent, header, cookie, method, path, query, ip, sni, alpn, client, expr, has, contains, misses, or is < ACL >"
	allowedComparisons  = "use one of == = != ! is not has contains misses, words with white space after them"
	allowedRelations    = "use one of == = != ! is, not, has, contains, misses, starts with, ends with, matches, words with white space around them"
	allowedCertificates = "use: client certificate, client subject == VALUE, client san == VALUE"
	allowedClients      = "use: ip == ADDRESS, ip != ADDRESS, ip in NETWORK, ip in (NETWORK, NETWORK)"
)

// called are the things that have names.
var called = [...]string{ofHeader: "header", ofCookie: "cookie", ofQuery: "parameter"}

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
	return p.last.end > 0 && p.last.end <= p.pos && strings.Trim(p.text[p.last.end:p.pos], blanks) == ""
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
	case c == '{':
		return p.fail(start, "an ACL in braces stands among other tests", "write it between < and >")
	case c == ')':
		return p.fail(start, `a test is missing before ")"`, allowedTests)
	case p.bareOperator() != "":
		return p.fail(start, "a test is missing before "+strconv.Quote(p.bareOperator()), allowedTests)
	}
	switch strings.ToLower(word) {
	case "true", "false":
		return p.fail(start, "there is no constant "+strconv.Quote(word), allowedTests)
	case "user", "user_agent":
		if word != "user" || strings.HasPrefix(strings.ToLower(strings.TrimLeft(after, " \t")), "agent") {
			return p.fail(start, "unknown test "+p.next(), "use: user-agent")
		}
	case "has", "contains", "misses":
		return p.fail(start+len(word), "white space is missing after "+strconv.Quote(word), "use: "+word+" header NAME, "+word+" cookie NAME")
	}
	if looksLikeACL(p.rest()) {
		return p.fail(start, "a raw ACL stands among other tests", "write it between < and >: < "+word+" ... >")
	}
	problem := "unknown test " + p.next()
	if p.pos += len(word); !p.atForeign() {
		p.pos = start
	}
	return p.failHere(problem, allowedTests)
}

// noComparison explains that subject is not compared with anything.
func (p *parser) noComparison(subject, allowed string) error {
	p.blank()
	if p.end() {
		return p.fail(p.pos, "a comparison is missing after "+strconv.Quote(subject), allowed)
	}
	return p.failHere(p.next()+" is no comparison", allowed)
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
	return p.failHere(noun+" must be followed by white space and a name", useNamed(noun, "NAME"))
}

// notCompared explains why the name of a header, cookie or parameter, which
// was read last, is not followed by a comparison.
func (p *parser) notCompared(t test) error {
	if err := p.lastToBlame(); err != nil {
		return err
	}
	noun, name, at := nouns[t.subject], t.name, p.last.start
	if i := strings.IndexAny(name, "=!"); i >= 0 && !p.last.quoted {
		operator := name[i:]
		operator = operator[:len(operator)-len(strings.TrimLeft(operator, "=!"))]
		if i == 0 {
			return p.fail(at, "the name of a "+called[t.subject]+" is missing", useNamed(noun, "NAME"))
		}
		return p.fail(at+i, "white space is missing around "+strconv.Quote(operator), useNamed(noun, name[:i]))
	}
	spaced := p.blank()
	switch word := strings.ToLower(p.word(p.pos)); word {
	case "has", "contains", "misses", "is", "not", "matches":
		if !spaced {
			return p.fail(p.pos, "white space is missing before "+strconv.Quote(word), useNamed(noun, name))
		}
		return p.fail(p.pos+len(word), "white space and a value are missing after "+strconv.Quote(word), useNamed(noun, name))
	case "starts", "ends":
		return p.fail(p.pos, strconv.Quote(word)+` must be followed by "with" and a value`, useNamed(noun, name))
	}
	switch word := strings.ToLower(name); word {
	case "has", "contains", "misses":
		pos := p.pos
		if value, ok := p.value(); ok {
			use := Expr{test: test{subject: t.subject, negated: word == "misses", name: value}}
			return p.fail(at, strconv.Quote(word)+" stands where the name of a "+called[t.subject]+" is expected", "use: "+use.String())
		}
		p.pos = pos
	}
	return p.failHere("a comparison is missing", useNamed(noun, name))
}

func useNamed(noun, name string) string {
	var b strings.Builder
	writeValue(&b, name)
	name = noun + " " + b.String()
	return "use: has " + name + ", " + name + " has VALUE, " + name + " == VALUE"
}

// noNetwork explains why a text, which was read last, is no address or no
// network.
func (p *parser) noNetwork(m match, text string) error {
	at := p.last.start
	what, allowed := "an address", "such as 10.0.0.1 or 2001:db8::1; networks stand behind in"
	if m == within {
		what, allowed = "a network", "such as 10.0.0.0/8, 2001:db8::/32 or 10.0.0.1; several stand in parentheses, with commas between them"
	}
	if text == "" {
		return p.failHere(what+" is missing", allowed)
	}
	const longest = 60
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return p.fail(at, strconv.Quote(text)+" is not "+what, allowed)
}
