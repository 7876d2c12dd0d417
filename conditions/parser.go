// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"fmt"
	"strconv"
)

// Bounds of what is parsed.
const (
	// MaxTextBytes bounds the text of a condition, as written and in
	// canonical form.
	MaxTextBytes = 8 << 10
	// MaxNesting bounds how many parentheses may be open at a time.
	MaxNesting = 100
)

// Parse parses text; the grammar is that of the package comment. An error is
// a *SyntaxError. The empty text is no condition.
func Parse(text string) (*Expr, error) {
	e, _, err := parse(text)
	return e, err
}

// parse returns the tree of text and its canonical form.
func parse(text string) (*Expr, string, error) {
	if len(text) > MaxTextBytes {
		return nil, "", newSyntaxError(text, MaxTextBytes, "the text is too long", atMostBytes)
	}
	p := parser{lexer: lexer{text: text}}
	e, err := p.condition()
	if err != nil {
		return nil, "", err
	}
	canonical := e.String()
	if len(canonical) > MaxTextBytes {
		return nil, "", newSyntaxError(text, 0, "the text is too long in canonical form", atMostBytes)
	}
	return e, canonical, nil
}

var atMostBytes = "at most " + strconv.Itoa(MaxTextBytes) + " bytes are allowed"

// parser reads a condition by recursive descent. Wherever the grammar offers
// a choice, one look at the text settles it, or else every choice fails; so
// nothing is read twice, and the first fault found is the one to report.
type parser struct {
	lexer
	open int // parentheses open now
}

func (p *parser) condition() (*Expr, error) {
	if p.blank(); p.end() {
		return nil, p.fail(p.pos, "the condition is empty", allowedTests)
	}
	e, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.end() {
		return nil, p.unexpected()
	}
	return e, nil
}

// alternatives parses parts joined by "or".
func (p *parser) alternatives() (*Expr, error) {
	x, err := p.terms()
	for err == nil && p.joins("or", "||", "|") {
		var y *Expr
		if y, err = p.terms(); err == nil {
			x = &Expr{op: opOr, x: x, y: y}
		}
	}
	return x, err
}

// terms parses parts joined by "and".
func (p *parser) terms() (*Expr, error) {
	x, err := p.factor()
	for err == nil && p.joins("and", "&&", "&") {
		var y *Expr
		if y, err = p.factor(); err == nil {
			x = &Expr{op: opAnd, x: x, y: y}
		}
	}
	return x, err
}

// joins takes an operator with the white space that must follow it, or
// nothing. An operator without it is left for unexpected to explain.
func (p *parser) joins(operators ...string) bool {
	start := p.pos
	if p.takeAny(operators...) && p.blank() {
		return true
	}
	p.pos = start
	return false
}

// factor parses a part that may be negated, and the white space around it.
func (p *parser) factor() (*Expr, error) {
	p.blank()
	start := p.pos
	negated, err := p.negation()
	if err != nil {
		return nil, err
	}
	if negated && p.atNegation() {
		return nil, p.fail(start, "a negation cannot be negated at once", "use parentheses: not (not ...)")
	}
	x, err := p.primary()
	if err != nil {
		return nil, err
	}
	p.blank()
	if negated {
		return &Expr{op: opNot, x: x}, nil
	}
	return x, nil
}

// negation takes "!" or "not" if one is there.
func (p *parser) negation() (bool, error) {
	start := p.pos
	if p.take("!") {
		p.blank()
		return true, nil
	}
	if p.take("not") {
		if p.blank() {
			return true, nil
		}
		if p.end() || !isWord(p.text[p.pos]) {
			return false, p.fail(p.pos, `white space is missing after "not"`, "not TEST, not (...) and !(...) are allowed")
		}
		p.pos = start // a longer word
	}
	return false, nil
}

// atNegation reports whether a negation comes next.
func (p *parser) atNegation() bool {
	start := p.pos
	negated, err := p.negation()
	p.pos = start
	return negated || err != nil
}

// primary parses a test or a condition in parentheses.
func (p *parser) primary() (*Expr, error) {
	start := p.pos
	if !p.take("(") {
		return p.operand()
	}
	if p.open == MaxNesting {
		return nil, p.fail(start, "parentheses are nested too deeply", fmt.Sprintf("at most %d may be open at a time", MaxNesting))
	}
	p.open++
	x, err := p.alternatives()
	p.open--
	if err != nil {
		return nil, err
	}
	if p.end() {
		return nil, p.unclosed(start)
	}
	if !p.take(")") {
		return nil, p.unexpected()
	}
	return x, nil
}

// operand parses a test.
func (p *parser) operand() (*Expr, error) {
	start := p.pos
	switch {
	case p.take("host"):
		return p.compared(start, hostIs)
	case p.take("user"):
		p.takeAny("-", ".")
		if !p.take("agent") {
			return nil, p.unknown(start)
		}
		return p.compared(start, agentHas)
	case p.take("header"):
		return p.contained(start, "header", headerHas)
	case p.take("cookie"):
		return p.contained(start, "cookie", cookieHas)
	default:
		return p.present(start)
	}
}

// compared parses the comparison and value of a test of host or user agent.
func (p *parser) compared(start int, s subject) (*Expr, error) {
	if word := p.word(start); len(word) > p.pos-start && !p.atComparison() {
		return nil, p.unknown(start)
	}
	negated, ok := p.comparison()
	if !ok {
		return nil, p.noComparison(p.text[start:p.pos])
	}
	value, ok := p.value()
	if !ok {
		return nil, p.noValue("a value")
	}
	return &Expr{test: test{subject: s, negated: negated, value: value}}, nil
}

// comparison takes a comparison with the white space that it needs, or
// nothing.
func (p *parser) comparison() (negated, ok bool) {
	start := p.pos
	spaced := p.blank()
	switch {
	case p.takeAny("==", "="):
		p.blank()
		return false, true
	case p.takeAny("!=", "!"):
		p.blank()
		return true, true
	case spaced && p.take("not"), p.take("misses"):
		negated, ok = true, p.blank()
	case p.takeAny("has", "contains"), spaced && p.take("is"):
		ok = p.blank()
	}
	if !ok {
		p.pos = start
	}
	return negated, ok
}

// atComparison reports whether a comparison comes next.
func (p *parser) atComparison() bool {
	start := p.pos
	_, ok := p.comparison()
	p.pos = start
	return ok
}

// has takes "has", "contains" or "misses" with the white space that must
// follow it, or nothing.
func (p *parser) has() (negated, ok bool) {
	start := p.pos
	negated = p.take("misses")
	if (negated || p.takeAny("has", "contains")) && p.blank() {
		return negated, true
	}
	p.pos = start
	return false, false
}

// contained parses the rest of a test for a part of a header or cookie.
func (p *parser) contained(start int, noun string, s subject) (*Expr, error) {
	if !p.blank() {
		return nil, p.noName(start, noun)
	}
	name, ok := p.value()
	if !ok {
		return nil, p.noValue("the name of a " + noun)
	}
	if !p.blank() {
		return nil, p.notContained(noun, name, s)
	}
	negated, ok := p.has()
	if !ok {
		return nil, p.notContained(noun, name, s)
	}
	value, ok := p.value()
	if !ok {
		return nil, p.noValue("a value")
	}
	return &Expr{test: test{subject: s, negated: negated, name: name, value: value}}, nil
}

// present parses a test for the presence of a header or cookie.
func (p *parser) present(start int) (*Expr, error) {
	negated, ok := p.has()
	if !ok {
		return nil, p.unknown(start)
	}
	noun, s := "header", headerPresent
	if !p.take("header") {
		if noun, s = "cookie", cookiePresent; !p.take("cookie") {
			return nil, p.failHere(p.next()+" stands where header or cookie is expected", "use: has header NAME, has cookie NAME")
		}
	}
	if !p.blank() {
		return nil, p.failHere(noun+" must be followed by white space and a name", "use: has "+noun+" NAME")
	}
	name, ok := p.value()
	if !ok {
		return nil, p.noValue("the name of a " + noun)
	}
	return &Expr{test: test{subject: s, negated: negated, name: name}}, nil
}
