// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"errors"
	"strconv"
	"strings"
)

// Bounds of what is parsed.
const (
	// MaxTextBytes bounds the text of a condition, as written and in
	// canonical form.
	MaxTextBytes = 8 << 10
	// MaxNesting bounds how many parentheses may be open at a time.
	MaxNesting = 100
)

// Parse parses text; the grammar is that of the package comment. A text that
// the grammar does not have, but that is a raw ACL, is read as one. An error
// is a *SyntaxError. The empty text is no condition.
func Parse(text string) (*Expr, error) {
	e, _, err := parse(text)
	return e, err
}

// parse returns the tree of text and its canonical form.
func parse(text string) (*Expr, string, error) {
	if len(text) > MaxTextBytes {
		return nil, "", newSyntaxError(text, MaxTextBytes, "the text is too long", atMostBytes)
	}
	e, err := read(text)
	if err != nil {
		return nil, "", err
	}
	canonical := e.String()
	if len(canonical) > MaxTextBytes {
		return nil, "", newSyntaxError(text, 0, "the text is too long in canonical form", atMostBytes)
	}
	return e, canonical, nil
}

// read reads text by the grammar, or else as one raw ACL.
func read(text string) (*Expr, error) {
	p := parser{lexer: lexer{text: text}}
	e, err := p.condition()
	if err == nil {
		return e, nil
	}
	a, aclErr := parseACL(text)
	if aclErr == nil {
		return &Expr{test: test{subject: ofRaw, raw: a}}, nil
	}
	if looksLikeACL(text) && !gotFurther(text, err, aclErr) {
		return nil, aclErr
	}
	return nil, err
}

// gotFurther reports whether the grammar understood more of a text than its
// start, and as much as an ACL would have been understood of it.
func gotFurther(text string, err error, acl *SyntaxError) bool {
	start := len(text) - len(strings.TrimLeft(text, blanks+"!"))
	syntax, ok := errors.AsType[*SyntaxError](err)
	return ok && syntax.Offset > start && syntax.Offset >= acl.Offset
}

var (
	atMostBytes = "at most " + strconv.Itoa(MaxTextBytes) + " bytes are allowed"
	atMostOpen  = "at most " + strconv.Itoa(MaxNesting) + " may be open at a time"
)

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
		return nil, p.fail(start, "parentheses are nested too deeply", atMostOpen)
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

// operand parses a test. Those that Vamp has stand first; what is ours begins
// with other words, or goes on in a way that Vamp's tests do not.
func (p *parser) operand() (*Expr, error) {
	start := p.pos
	switch {
	case p.take("host"):
		return p.compared(start, ofHost, equals)
	case p.take("user"):
		p.takeAny("-", ".")
		if !p.take("agent") {
			return nil, p.unknown(start)
		}
		return p.compared(start, ofAgent, contains)
	case p.take("header"):
		return p.named(start, ofHeader)
	case p.take("cookie"):
		return p.named(start, ofCookie)
	case p.take("<"):
		return p.rawACL(start)
	case p.take("query"):
		return p.named(start, ofQuery)
	case p.take("method"):
		return p.unnamed(start, ofMethod)
	case p.take("path"):
		return p.unnamed(start, ofPath)
	case p.take("ip"):
		return p.client(start)
	case p.take("sni"):
		return p.unnamed(start, ofServerName)
	case p.take("alpn"):
		return p.unnamed(start, ofProtocol)
	case p.take("client"):
		return p.certificate(start)
	case p.take("expr"):
		return p.programTest(start)
	default:
		return p.present(start)
	}
}

// compared parses the comparison and value of a test of host or user agent.
func (p *parser) compared(start int, s subject, m match) (*Expr, error) {
	if word := p.word(start); len(word) > p.pos-start && !p.atComparison() {
		return nil, p.unknown(start)
	}
	negated, ok := p.comparison()
	if !ok {
		return nil, p.noComparison(p.text[start:p.pos], allowedComparisons)
	}
	return p.valued(test{subject: s, match: m, negated: negated})
}

// valued parses the value of a test.
func (p *parser) valued(t test) (*Expr, error) {
	value, ok := p.value()
	if !ok {
		return nil, p.noValue("a value")
	}
	t.value = value
	if t.match == matches {
		var problem, allowed string
		if t.pattern, problem, allowed = newPattern(value); problem != "" {
			return nil, p.fail(p.last.start, problem, allowed)
		}
	}
	if t.subject == ofQuery {
		t.buffers = new(buffers)
	}
	return &Expr{test: t}, nil
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

// named parses the rest of a test of a header, cookie or parameter.
func (p *parser) named(start int, s subject) (*Expr, error) {
	if !p.blank() {
		return nil, p.noName(start, nouns[s])
	}
	name, ok := p.value()
	if !ok {
		return nil, p.noValue("the name of a " + called[s])
	}
	t := test{subject: s, name: name}
	if t.match, t.negated, ok = p.relation(); !ok {
		return nil, p.notCompared(t)
	}
	return p.valued(t)
}

// unnamed parses the rest of a test of what there is one of, or what has no
// names.
func (p *parser) unnamed(start int, s subject) (*Expr, error) {
	t := test{subject: s}
	var ok bool
	t.match, t.negated, ok = p.relation()
	if ok && s == ofMethod && t.match != equals {
		return nil, p.fail(start, "a method is compared as a whole", "use: method == VALUE, method != VALUE")
	}
	if ok {
		return p.valued(t)
	}
	if len(p.word(start)) > p.pos-start {
		return nil, p.unknown(start)
	}
	return nil, p.noComparison(p.text[start:p.pos], allowedRelations)
}

// certificate parses the rest of a test of the client's certificate.
func (p *parser) certificate(start int) (*Expr, error) {
	end := p.pos
	if !p.blank() {
		if len(p.word(start)) > end-start {
			return nil, p.unknown(start)
		}
		return nil, p.failHere(`"client" must be followed by white space and what is asked of it`, allowedCertificates)
	}
	at := p.pos
	switch {
	case p.take("certificate"):
		return &Expr{test: test{subject: ofCertificate, match: present}}, nil
	case p.take("subject"):
		if len(p.word(at)) == p.pos-at {
			return p.unnamed(start, ofSubject)
		}
	case p.take("san"):
		if len(p.word(at)) == p.pos-at {
			return p.unnamed(start, ofNames)
		}
	}
	p.pos = at
	return nil, p.failHere(p.next()+" stands where certificate, subject or san is expected", allowedCertificates)
}

// relation takes how a text is compared, with the white space that it needs,
// or nothing.
func (p *parser) relation() (m match, negated, ok bool) {
	start := p.pos
	spaced := p.blank()
	switch {
	case p.takeAny("==", "="):
		p.blank()
		return equals, false, true
	case p.takeAny("!=", "!"):
		p.blank()
		return equals, true, true
	case !spaced:
	case p.take("not"):
		m, negated, ok = equals, true, p.blank()
	case p.take("is"):
		m, ok = equals, p.blank()
	case p.take("misses"):
		m, negated, ok = contains, true, p.blank()
	case p.takeAny("has", "contains"):
		m, ok = contains, p.blank()
	case p.take("starts"):
		m, ok = startsWith, p.blank() && p.take("with") && p.blank()
	case p.take("ends"):
		m, ok = endsWith, p.blank() && p.take("with") && p.blank()
	case p.take("matches"):
		m, ok = matches, p.blank()
	}
	if !ok {
		p.pos = start
	}
	return m, negated, ok
}

// present parses a test for the presence of a header, cookie or parameter.
func (p *parser) present(start int) (*Expr, error) {
	negated, ok := p.has()
	if !ok {
		return nil, p.unknown(start)
	}
	t := test{subject: ofHeader, match: present, negated: negated}
	switch {
	case p.take("header"):
	case p.take("cookie"):
		t.subject = ofCookie
	case p.take("query"):
		t.subject = ofQuery
	default:
		return nil, p.failHere(p.next()+" stands where header, cookie or query is expected", "use: has header NAME, has cookie NAME, has query NAME")
	}
	noun := nouns[t.subject]
	if !p.blank() {
		return nil, p.failHere(noun+" must be followed by white space and a name", "use: has "+noun+" NAME")
	}
	if t.name, ok = p.value(); !ok {
		return nil, p.noValue("the name of a " + called[t.subject])
	}
	return &Expr{test: t}, nil
}

// client parses the rest of a test of the client's address.
func (p *parser) client(start int) (*Expr, error) {
	t := test{subject: ofClient, match: equals}
	end := p.pos
	spaced := p.blank()
	ok := true
	switch {
	case p.takeAny("==", "="):
		p.blank()
	case p.takeAny("!=", "!"):
		t.negated = true
		p.blank()
	case spaced && p.take("is"):
		ok = p.blank()
	case spaced && p.take("in"):
		t.match, ok = within, p.blank()
	case spaced && p.take("not"):
		t.negated, ok = true, p.blank()
		if word := p.word(p.pos); strings.EqualFold(word, "in") {
			t.match, ok = within, p.take("in") && p.blank()
		}
	default:
		ok = false
	}
	if !ok {
		if p.pos = end; len(p.word(start)) > end-start {
			return nil, p.unknown(start)
		}
		return nil, p.noComparison(p.text[start:end], allowedClients)
	}
	if err := p.networks(&t); err != nil {
		return nil, err
	}
	return &Expr{test: t}, nil
}

// networks parses an address, or with "in" a network or a list of them.
func (p *parser) networks(t *test) error {
	open := p.pos
	if t.match != within || !p.take("(") {
		text, _ := p.value()
		return p.addNetwork(t, text)
	}
	for {
		p.blank()
		if err := p.addNetwork(t, p.item()); err != nil {
			return err
		}
		p.blank()
		switch {
		case p.take(")"):
			return nil
		case p.end():
			return p.unclosed(open)
		case !p.take(","):
			return p.failHere(p.next()+" is in the way", `"," or ")" may follow`)
		}
	}
}

func (p *parser) addNetwork(t *test, text string) error {
	n, ok := parseNetwork(text)
	if !ok || t.match == equals && strings.Contains(text, "/") {
		return p.noNetwork(t.match, text)
	}
	t.networks = append(t.networks, n)
	return nil
}

// rawACL parses a raw ACL, from after "<" at offset start.
func (p *parser) rawACL(start int) (*Expr, error) {
	n := strings.IndexAny(p.rest(), "<>")
	if n < 0 {
		return nil, p.fail(start, `"<" is not closed`, `add ">"`)
	}
	if p.text[p.pos+n] == '<' {
		return nil, p.fail(p.pos+n, `a raw ACL within "<" and ">" holds neither`, `write an ACL that holds one alone, without "<" and ">"`)
	}
	inner := p.text[p.pos : p.pos+n]
	text := strings.TrimLeft(inner, blanks)
	at := p.pos + len(inner) - len(text)
	text = strings.TrimRight(text, blanks)
	if text == "" {
		return nil, p.fail(start, "the raw ACL is empty", "write: < FETCH VALUE >, such as < path_beg /api >")
	}
	a, err := parseACL(text)
	if err != nil {
		return nil, newSyntaxError(p.text, at+min(err.Offset, len(text)), err.Problem, err.Allowed)
	}
	p.pos += n + 1
	return &Expr{test: test{subject: ofRaw, raw: a}}, nil
}

// programTest parses the rest of expr( ).
func (p *parser) programTest(start int) (*Expr, error) {
	end := p.pos
	p.blank()
	open := p.pos
	if !p.take("(") {
		if p.pos = end; len(p.word(start)) > end-start {
			return nil, p.unknown(start)
		}
		return nil, p.failHere(`"(" is missing after "expr"`, `write: expr(header("x-tier") == "gold")`)
	}
	if err := p.program(open); err != nil {
		return nil, err
	}
	inner := p.text[open+1 : p.pos-1]
	source := strings.TrimLeft(inner, blanks)
	at := open + 1 + len(inner) - len(source)
	source = strings.TrimRight(source, blanks)
	if source == "" {
		return nil, p.fail(open, "the program is empty", `write: expr(header("x-tier") == "gold")`)
	}
	program, err := newProgram(source)
	if err != nil {
		return nil, newSyntaxError(p.text, at+err.Offset, err.Problem, err.Allowed)
	}
	return &Expr{test: test{subject: ofProgram, value: source, program: program}}, nil
}

// program takes the source of a program up to the parenthesis that closes the
// one at offset open. Within quotes parentheses do not count.
func (p *parser) program(open int) error {
	for depth := 1; depth > 0; p.pos++ {
		switch {
		case p.end():
			return p.fail(open, `"(" is not closed`, `add ")"`)
		case p.atForeign():
			return p.failHere("", "")
		}
		switch c := p.text[p.pos]; c {
		case '(', '[', '{':
			if depth++; depth > MaxNesting {
				return p.fail(p.pos, "parentheses are nested too deeply", atMostOpen)
			}
		case ')', ']', '}':
			if depth--; depth == 0 && c != ')' {
				return p.fail(p.pos, strconv.Quote(string(c))+" closes nothing", "")
			}
		case '"', '\'', '`':
			if err := p.programString(c); err != nil {
				return err
			}
		case '/':
			if next := p.text[p.pos+1:]; strings.HasPrefix(next, "/") || strings.HasPrefix(next, "*") {
				return p.fail(p.pos, "comments are not allowed in expr", "")
			}
		}
	}
	return nil
}

// programString takes a quoted text of a program but for its last quote.
func (p *parser) programString(quote byte) error {
	start, escaped := p.pos, false
	for p.pos++; !p.end(); p.pos++ {
		c := p.text[p.pos]
		switch {
		case p.atForeign():
			return p.failHere("", "")
		case escaped:
			escaped = false
		case c == quote:
			return nil
		default:
			escaped = c == '\\' && quote != '`'
		}
	}
	return p.fail(start, "the quote is not closed", "a quote within quotes is written after a backslash")
}
