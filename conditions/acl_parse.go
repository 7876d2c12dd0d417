// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"slices"
	"strconv"
	"strings"
)

// aclParser reads one ACL.
type aclParser struct {
	text    string
	words   []aclWord
	pos     int // in words
	tests   int
	costs   int // of regular expressions
	classes int // in them
}

// parseACL reads a complete ACL: one test, or a condition of predefined tests
// and tests in braces (section 7.2 of HAProxy's manual).
func parseACL(text string) (*acl, *SyntaxError) {
	if len(text) > maxACLBytes {
		return nil, newSyntaxError(text, 0, "the ACL is too long", "at most "+strconv.Itoa(maxACLBytes)+" bytes")
	}
	words, err := splitACL(text)
	if err != nil {
		return nil, err
	}
	p := &aclParser{text: text, words: words}
	a := new(acl)
	if p.atCondition() {
		a.any, err = p.condition()
	} else {
		a.any, err = p.single()
	}
	if err != nil {
		return nil, err
	}
	a.text = a.format()
	if len(a.text) > maxACLBytes {
		return nil, newSyntaxError(text, 0, "the ACL is too long in canonical form", "at most "+strconv.Itoa(maxACLBytes)+" bytes")
	}
	return a, nil
}

// atCondition reports whether the text is more than one test: then it starts
// with what no fetch is called.
func (p *aclParser) atCondition() bool {
	if len(p.words) == 0 {
		return false
	}
	first := p.words[0].text
	_, predefined := aclPredefined[first]
	return predefined || strings.IndexByte("!{}", first[0]) >= 0 || isOr(first) || isLikePredefined(first)
}

func isOr(word string) bool { return word == "||" || strings.EqualFold(word, "or") }

// single reads a test that stands alone: all words belong to it.
func (p *aclParser) single() ([]aclAll, *SyntaxError) {
	if len(p.words) == 0 {
		return nil, p.failAt(0, "an ACL is missing", allowedACLs)
	}
	t, err := p.test(p.words, len(p.text))
	if err != nil {
		return nil, err
	}
	return []aclAll{{{test: t}}}, nil
}

// condition reads terms, those of one alternative side by side.
func (p *aclParser) condition() (alternatives []aclAll, err *SyntaxError) {
	var all aclAll
	for p.pos < len(p.words) {
		w := &p.words[p.pos]
		if isOr(w.text) {
			if len(all) == 0 {
				return nil, p.fail(w, 0, "a test is missing before "+strconv.Quote(w.text), allowedACLTerms)
			}
			alternatives, all = append(alternatives, all), nil
			p.pos++
			continue
		}
		term, err := p.term()
		if err != nil {
			return nil, err
		}
		if p.tests++; p.tests > maxACLTests {
			return nil, p.fail(w, 0, "the ACL has too many tests", "at most "+strconv.Itoa(maxACLTests))
		}
		all = append(all, term)
	}
	if len(all) == 0 {
		return nil, p.failAt(len(p.text), "a test is missing at the end", allowedACLTerms)
	}
	return append(alternatives, all), nil
}

// term reads a predefined test or one in braces, and what negates it.
func (p *aclParser) term() (term aclTerm, err *SyntaxError) {
	w := p.words[p.pos]
	bangs := 0
	for {
		for bangs < len(w.text) && w.text[bangs] == '!' {
			term.negated = !term.negated
			bangs++
		}
		if bangs < len(w.text) {
			break
		}
		if p.pos++; p.pos == len(p.words) {
			return term, p.failAt(len(p.text), `a test is missing after "!"`, allowedACLTerms)
		}
		w, bangs = p.words[p.pos], 0
	}
	name := w.text[bangs:]
	if name == "{" {
		term.test, err = p.braced(&w)
		return term, err
	}
	text, ok := aclPredefined[name]
	if !ok || text == "" {
		return term, p.noTerm(&w, bangs)
	}
	p.pos++
	inner, err := parseACL(text)
	if err != nil {
		return term, p.fail(&w, bangs, err.Problem, err.Allowed)
	}
	term.test, term.name = inner.any[0][0].test, name
	return term, nil
}

// braced reads a test in braces; w has the opening one.
func (p *aclParser) braced(w *aclWord) (*aclTest, *SyntaxError) {
	rest := p.words[p.pos+1:]
	end := slices.IndexFunc(rest, func(w aclWord) bool { return w.text == "}" })
	for i := range rest {
		if inner := &rest[i]; i != end && !inner.quoted && (end < 0 || i < end) && strings.Trim(inner.text, "{}") != inner.text && !balanced(inner.text) {
			return nil, p.fail(inner, 0, "white space is missing around a brace in "+strconv.Quote(inner.text), "write: { TEST }, or quote a value")
		}
	}
	if end < 0 {
		return nil, p.fail(w, len(w.text)-1, `"{" is not closed`, `add "}", with white space before it`)
	}
	p.pos += end + 2
	return p.test(rest[:end], rest[end].start)
}

// balanced reports whether braces in a value open and close: regular
// expressions have such ones.
func balanced(s string) bool {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth < 0 {
				return false
			}
		}
	}
	return depth == 0
}

// test reads a test made of words: a fetch with converters, flags, values.
// What is missing is missing at offset end.
func (p *aclParser) test(words []aclWord, end int) (*aclTest, *SyntaxError) {
	if len(words) == 0 {
		return nil, p.failAt(end, "a test is missing", allowedACLs)
	}
	t := new(aclTest)
	x, err := p.expression(&words[0], t)
	if err != nil {
		return nil, err
	}
	n, err := p.flags(words[1:], end, t, x)
	if err != nil {
		return nil, err
	}
	if err := p.matchable(&words[0], t.method, x); err != nil {
		return nil, err
	}
	if err := p.values(words[1+n:], end, t, x); err != nil {
		return nil, err
	}
	return t, nil
}

// aclExpression is what is known of the first word of a test while the rest
// is read.
type aclExpression struct {
	spec    *aclFetchSpec
	yields  aclType
	method  aclMethod // the default one
	decided bool      // there is a default method
	dashed  bool      // "--" ended the flags
}

// expression reads a fetch with its converters.
func (p *aclParser) expression(w *aclWord, t *aclTest) (x *aclExpression, err *SyntaxError) {
	name, args, next, err := p.call(w, 0)
	if err != nil {
		return nil, err
	}
	spec, suffix, found := findACLFetch(name)
	if !found {
		return nil, p.unknownFetch(w, name)
	}
	if err := p.fetchArgs(w, spec, args, t); err != nil {
		return nil, err
	}
	x = &aclExpression{spec: spec, yields: spec.yields}
	t.fetch = spec.fetch
	for next < len(w.text) {
		if w.text[next] != ',' {
			return nil, p.fail(w, next, "a comma is missing after "+strconv.Quote(w.text[:next]), "converters follow after commas")
		}
		if next, err = p.converter(w, next+1, t, x); err != nil {
			return nil, err
		}
	}
	x.method, x.decided = x.yields.method()
	if suffix != "" && len(t.steps) == 0 {
		x.method = methodNamed(suffix)
	}
	spec = t.spec()
	t.subject = spec.names[0] + t.formatCalls(spec)
	return x, nil
}

// call reads a name and its arguments at byte i of a word, and returns where
// the word goes on. Without parentheses args is nil.
func (p *aclParser) call(w *aclWord, i int) (name string, args []aclArg, next int, err *SyntaxError) {
	next = i
	for next < len(w.text) && w.text[next] != '(' && w.text[next] != ',' {
		next++
	}
	name = w.text[i:next]
	if next == len(w.text) || w.text[next] == ',' {
		return name, nil, next, nil
	}
	open := next
	args, next, ok := w.aclArgs(open + 1)
	if !ok {
		return "", nil, 0, p.fail(w, open, `"(" is not closed`, `add ")"; arguments with white space must be quoted together with all of the word`)
	}
	if len(args) == 1 && args[0].text == "" {
		args = args[:0]
	}
	return name, args, next, nil
}

// converter reads the converter at byte i of a word.
func (p *aclParser) converter(w *aclWord, i int, t *aclTest, x *aclExpression) (next int, err *SyntaxError) {
	name, args, next, err := p.call(w, i)
	if err != nil {
		return 0, err
	}
	if name == "" {
		return 0, p.fail(w, i, "a converter is missing after the comma", allowedConverters())
	}
	spec := findACLConverter(name)
	if spec == nil {
		return 0, p.unknownConverter(w, i, name)
	}
	if len(t.steps) == maxConverters {
		return 0, p.fail(w, i, "there are too many converters", "at most "+strconv.Itoa(maxConverters))
	}
	if !spec.takes(x.yields) {
		return 0, p.fail(w, i, strconv.Quote(name)+" cannot convert "+x.yields.String(), "")
	}
	step, err := p.converterArgs(w, i, spec, args)
	if err != nil {
		return 0, err
	}
	t.steps = append(t.steps, step)
	x.yields = spec.yields
	return next, nil
}

// flags reads flags and returns how many words they take.
func (p *aclParser) flags(words []aclWord, end int, t *aclTest, x *aclExpression) (n int, err *SyntaxError) {
	t.method = x.method
	for n < len(words) && words[n].text[0] == '-' {
		switch w := &words[n]; w.text {
		case "-i":
			t.fold = true
		case "-n": // names are never resolved
		case "-m":
			if n++; n == len(words) {
				return 0, p.failAt(end, "a method is missing after -m", allowedMethods())
			}
			i := slices.Index(aclMethodNames[:], words[n].text)
			if i < 0 {
				return 0, p.unknownMethod(&words[n])
			}
			t.method, x.decided = aclMethod(i), true
		case "--":
			x.dashed = true
			return n + 1, nil
		default:
			return 0, p.unknownFlag(w)
		}
		n++
	}
	return n, nil
}

// matchable fails if a method cannot match what a fetch yields.
func (p *aclParser) matchable(w *aclWord, m aclMethod, x *aclExpression) *SyntaxError {
	if !x.decided {
		return p.fail(w, 0, "bytes are matched in no way of their own", "add -m and a method: str, beg, end, sub, dir, dom, reg, bin, len or found")
	}
	if x.yields.matchable(m) {
		return nil
	}
	return p.fail(w, 0, "-m "+m.String()+" cannot match "+x.yields.String(), "")
}

func (p *aclParser) fail(w *aclWord, i int, problem, allowed string) *SyntaxError {
	return newSyntaxError(p.text, w.offset(i), problem, allowed)
}

func (p *aclParser) failAt(offset int, problem, allowed string) *SyntaxError {
	return newSyntaxError(p.text, offset, problem, allowed)
}

// format returns the canonical form of the condition.
func (a *acl) format() string {
	if len(a.any) == 1 && len(a.any[0]) == 1 {
		if term := &a.any[0][0]; !term.negated && term.name == "" {
			return term.test.formatTest()
		}
	}
	var b strings.Builder
	for i, all := range a.any {
		if i > 0 {
			b.WriteString(" or ")
		}
		for j := range all {
			if j > 0 {
				b.WriteByte(' ')
			}
			term := &all[j]
			if term.negated {
				b.WriteByte('!')
			}
			if term.name != "" {
				b.WriteString(term.name)
			} else {
				b.WriteString("{ " + term.test.formatTest() + " }")
			}
		}
	}
	return b.String()
}
