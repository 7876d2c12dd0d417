// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseSelector parses the text of a selector. An error is a *SelectorError.
func ParseSelector(text string) (*Selector, error) {
	if len(text) > MaxSelectorBytes {
		return nil, &SelectorError{MaxSelectorBytes, "the text is too long", fmt.Sprintf("at most %d bytes are allowed", MaxSelectorBytes)}
	}
	p := selectorParser{text: text}
	if p.blank(); p.end() {
		return nil, p.fail("the selector is empty", operandsAllowed)
	}
	s, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.end() {
		return nil, p.unexpected()
	}
	if len(s.String()) > MaxSelectorBytes {
		return nil, &SelectorError{0, "the text is too long in canonical form", fmt.Sprintf("at most %d bytes are allowed", MaxSelectorBytes)}
	}
	return s, nil
}

const operandsAllowed = "label(NAME)(VALUE), name(...), kind(...), namespace(...), image(...), ip(...), port(N), port_index(N), true and false are allowed"

// selectorParser reads a selector by recursive descent. One look settles
// every choice, so nothing is read twice.
type selectorParser struct {
	text string
	pos  int // in bytes
	open int // parentheses around selectors that are open now
}

func (p *selectorParser) end() bool    { return p.pos == len(p.text) }
func (p *selectorParser) rest() string { return p.text[p.pos:] }

// blank takes white space and reports whether there was any.
func (p *selectorParser) blank() bool {
	start := p.pos
	for !p.end() && strings.IndexByte(" \t\r\n\f", p.text[p.pos]) >= 0 {
		p.pos++
	}
	return p.pos > start
}

// take takes s, which is in lower case, written in any letter case.
func (p *selectorParser) take(s string) bool {
	if len(p.rest()) < len(s) || !strings.EqualFold(p.rest()[:len(s)], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *selectorParser) takeAny(alternatives ...string) bool {
	return slices.ContainsFunc(alternatives, p.take)
}

// word returns the letters and marks of a name that come next.
func (p *selectorParser) word() string {
	end := p.pos
	for end < len(p.text) && (isLetter(p.text[end]) || p.text[end] == '_') {
		end++
	}
	return p.text[p.pos:end]
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func (p *selectorParser) fail(problem, allowed string) *SelectorError {
	return &SelectorError{p.pos, problem, allowed}
}

// unexpected explains what stands where the selector could have ended.
func (p *selectorParser) unexpected() *SelectorError {
	at := p.pos
	if p.takeAny("or", "||", "|", "and", "&&", "&") {
		return &SelectorError{p.pos, "white space is missing after " + quote(p.text[at:p.pos]), "write: label(a)(b) and label(c)(d)"}
	}
	if p.text[at] == ')' {
		return p.fail("this parenthesis closes none", "")
	}
	return p.fail(quote(shorten(p.rest()))+" stands where the selector could have ended", "join operands by and, or")
}

// alternatives parses parts joined by "or".
func (p *selectorParser) alternatives() (*Selector, error) {
	x, err := p.terms()
	for err == nil && p.joins("or", "||", "|") {
		var y *Selector
		if y, err = p.terms(); err == nil {
			x = &Selector{op: selectOr, x: x, y: y}
		}
	}
	return x, err
}

// terms parses parts joined by "and".
func (p *selectorParser) terms() (*Selector, error) {
	x, err := p.factor()
	for err == nil && p.joins("and", "&&", "&") {
		var y *Selector
		if y, err = p.factor(); err == nil {
			x = &Selector{op: selectAnd, x: x, y: y}
		}
	}
	return x, err
}

// joins takes an operator with the white space that must follow it, or
// nothing.
func (p *selectorParser) joins(operators ...string) bool {
	start := p.pos
	if p.takeAny(operators...) && p.blank() {
		return true
	}
	p.pos = start
	return false
}

// factor parses a part that may be negated, and the white space around it.
func (p *selectorParser) factor() (*Selector, error) {
	p.blank()
	negated := p.negation()
	if start := p.pos; negated && p.negation() {
		p.pos = start
		return nil, p.fail("a negation cannot be negated at once", "use parentheses: not (not ...)")
	}
	x, err := p.primary()
	if err != nil {
		return nil, err
	}
	p.blank()
	if negated {
		x = &Selector{op: selectNot, x: x}
	}
	return x, nil
}

// negation takes "!", or "not" with the white space that must follow it.
func (p *selectorParser) negation() bool {
	start := p.pos
	switch {
	case p.take("!"):
		p.blank()
		return true
	case strings.HasPrefix(p.rest(), "not") && p.take("not") && p.blank():
		return true
	}
	p.pos = start
	return false
}

func (p *selectorParser) primary() (*Selector, error) {
	start := p.pos
	if !p.take("(") {
		return p.operand()
	}
	if p.open == MaxSelectorNesting {
		return nil, &SelectorError{start, "parentheses are nested too deeply", fmt.Sprintf("at most %d may be open at a time", MaxSelectorNesting)}
	}
	p.open++
	x, err := p.alternatives()
	p.open--
	switch {
	case err != nil:
		return nil, err
	case p.end():
		return nil, &SelectorError{start, "the parenthesis is not closed", ""}
	case !p.take(")"):
		return nil, p.unexpected()
	}
	return x, nil
}

// operand parses a question or a constant.
func (p *selectorParser) operand() (*Selector, error) {
	word := p.word()
	for s, names := range subjectNames {
		if slices.Contains(names, word) {
			p.pos += len(word)
			return p.asked(subject(s), word)
		}
	}
	start := p.pos
	op := selectTrue
	if !p.takeAny("true", "t", "1") {
		if op = selectFalse; !p.takeAny("false", "f", "0") {
			return nil, p.unknown(word)
		}
	}
	if rest := p.word(); rest != "" && !slices.Contains([]string{"and", "or"}, strings.ToLower(rest)) {
		p.pos = start
		return nil, p.unknown(word)
	}
	return &Selector{op: op}, nil
}

// unknown explains what stands where an operand should.
func (p *selectorParser) unknown(word string) *SelectorError {
	switch {
	case word == "" && p.end():
		return p.fail("an operand is missing at the end", operandsAllowed)
	case word == "":
		return p.fail(quote(shorten(p.rest()))+" stands where an operand should", operandsAllowed)
	case strings.EqualFold(word, "not"):
		return p.fail("the negation "+quote(word)+" is not followed by white space, or not in lower case", "not OPERAND and not (...) are allowed")
	}
	allowed := operandsAllowed
	if best := suggest(word, slices.Concat(subjectNames[:]...)); best != "" {
		allowed = "did you mean " + best + "? " + allowed
	}
	return p.fail("the operand "+quote(word)+" is unknown", allowed)
}

// asked parses the arguments of an operand.
func (p *selectorParser) asked(s subject, word string) (*Selector, error) {
	t := selectorTest{subject: s}
	switch s {
	case subjectPort, subjectIndex:
		text, at, err := p.argument(word, 1)
		if err != nil {
			return nil, err
		}
		if !isDigits(text, 9) {
			return nil, &SelectorError{at, quote(shorten(text)) + " is no number", word + "(N) is allowed, with digits only"}
		}
		t.number, _ = strconv.Atoi(text)
		return &Selector{test: t}, nil
	default:
		n := 1
		if s == subjectLabel {
			n = 2
		}
		for i := range n {
			text, at, err := p.argument(word, i+1)
			if err == nil {
				t.args[i], err = newPattern(s, text, at)
			}
			if err != nil {
				return nil, err
			}
		}
		return &Selector{test: t}, nil
	}
}

// argument takes an argument with its parentheses, and returns where it
// begins.
func (p *selectorParser) argument(word string, nth int) (text string, at int, err error) {
	start := p.pos
	p.blank()
	if !p.take("(") {
		p.pos = start
		return "", 0, p.fail(ordinal(word, nth)+" lacks its argument in parentheses", usageOf(word))
	}
	at = p.pos
	depth, groups := 1, 0
	for ; p.pos < len(p.text); p.pos++ {
		switch c := p.text[p.pos]; {
		case c == '(':
			if depth, groups = depth+1, groups+1; groups > 1 {
				return "", 0, p.fail("the argument has a second parenthesis", "at most one parenthesised group is allowed in an argument")
			}
			if strings.HasPrefix(p.text[p.pos:], "()") {
				return "", 0, p.fail("the parenthesised group is empty", "")
			}
		case c == ')':
			if depth--; depth == 0 {
				return p.closed(word, at)
			}
		case c < ' ' || c > '~':
			return "", 0, p.fail("the argument has a character that is not printable ASCII", "")
		}
	}
	return "", 0, &SelectorError{at - 1, "the parenthesis is not closed", usageOf(word)}
}

// closed takes the parenthesis that ends an argument.
func (p *selectorParser) closed(word string, at int) (string, int, error) {
	text := p.text[at:p.pos]
	switch {
	case text == "":
		return "", 0, p.fail("the argument is empty", usageOf(word))
	case len(text) > MaxPatternBytes:
		return "", 0, &SelectorError{at, "the argument is too long", fmt.Sprintf("at most %d bytes are allowed", MaxPatternBytes)}
	}
	p.pos++
	return text, at, nil
}

func ordinal(word string, nth int) string {
	if nth == 2 {
		return "the second part of " + word
	}
	return word
}

func usageOf(word string) string {
	switch word {
	case "label":
		return "label(NAME)(VALUE) is allowed"
	case "port", "port_index", "index":
		return word + "(N) is allowed"
	default:
		return word + "(TEXT) is allowed"
	}
}
