// SPDX-License-Identifier: Apache-2.0

package conditions_test

import "strings"

// This file reads conditions a second time, straight from the grammar in the
// package comment: a rule a production, ordered choice, and no thought for
// speed or messages. The parser must accept the same texts and mean the same.

// node is what the second reading makes of a text: a test if x is nil, a
// negation if y is nil, otherwise two parts joined by op.
type node struct {
	op          string
	x, y        *node
	words       string // host, agent, header, cookie, has header, has cookie
	negated     bool
	name, value string
}

// String returns the condition with every part in parentheses.
func (n *node) String() string {
	switch {
	case n.x == nil:
		return n.test()
	case n.y == nil:
		return "!(" + n.x.String() + ")"
	default:
		return "(" + n.x.String() + ") " + n.op + " (" + n.y.String() + ")"
	}
}

func (n *node) test() string {
	equals, has := "=", "contains "
	if n.negated {
		equals, has = "!", "misses "
	}
	switch n.words {
	case "host", "agent":
		return strings.Replace(n.words, "agent", "useragent", 1) + equals + quote(n.value)
	case "has header", "has cookie":
		return has + n.words[4:] + " " + quote(n.name)
	default:
		return n.words + " " + quote(n.name) + " " + has + quote(n.value)
	}
}

func quote(v string) string {
	switch single, double := strings.Contains(v, "'"), strings.Contains(v, `"`); {
	case single && double:
		return v
	case double:
		return `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
	default:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	}
}

// holds evaluates the tree as it stands, with everything looked up anew.
func (n *node) holds(r *staticRequest) bool {
	switch {
	case n.x == nil:
		return n.positive(r) != n.negated
	case n.y == nil:
		return !n.x.holds(r)
	case n.op == "and":
		x, y := n.x.holds(r), n.y.holds(r)
		return x && y
	default:
		x, y := n.x.holds(r), n.y.holds(r)
		return x || y
	}
}

func (n *node) positive(r *staticRequest) bool {
	switch n.words {
	case "host":
		bracket := strings.LastIndex(n.value, "]") + 1
		if strings.Contains(n.value[bracket:], ":") {
			return r.Host() == n.value
		}
		return asciiLower(r.Host()) == asciiLower(n.value)
	case "agent":
		browsers := map[string][]string{
			"chrome": {"Chrome"}, "firefox": {"Firefox"}, "safari": {"Safari", "Version"}, "edge": {"Edge"}, "ie": {"MSIE"},
		}
		parts, ok := browsers[asciiLower(n.value)]
		if !ok {
			parts = []string{n.value}
		}
		all := true
		for _, part := range parts {
			all = all && anyContains(values(r, "User-Agent"), part)
		}
		return all
	case "has header":
		return len(values(r, n.name)) > 0
	case "header":
		return anyContains(values(r, n.name), n.value)
	case "has cookie":
		return strings.Join(cookies(r, n.name), "") != ""
	default:
		return anyContains(cookies(r, n.name), n.value)
	}
}

func asciiLower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}, s)
}

func anyContains(in []string, part string) bool {
	for _, s := range in {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

func values(r *staticRequest, name string) []string {
	var found []string
	for _, f := range r.fields {
		if asciiLower(f.name) == asciiLower(name) {
			found = append(found, f.value)
		}
	}
	return found
}

func cookies(r *staticRequest, name string) []string {
	var found []string
	for _, line := range values(r, "Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if sides := strings.SplitN(pair, "=", 2); len(sides) == 2 && strings.Trim(sides[0], " \t") == name {
				found = append(found, strings.Trim(sides[1], " \t"))
			}
		}
	}
	return found
}

// peg is the state of the second reading. Rules push what they make on a
// stack; a rule that fails leaves everything as it was.
type peg struct {
	in    string
	at    int
	stack []any
}

type rule func(p *peg) bool

// readByGrammar returns the tree of a text, nil if the grammar has none.
func readByGrammar(text string) *node {
	p := &peg{in: text}
	if !condition(p) || p.at != len(text) {
		return nil
	}
	return p.stack[0].(*node)
}

func (p *peg) pop() any {
	top := p.stack[len(p.stack)-1]
	p.stack = p.stack[:len(p.stack)-1]
	return top
}

func seq(rules ...rule) rule {
	return func(p *peg) bool {
		at, height := p.at, len(p.stack)
		for _, r := range rules {
			if !r(p) {
				p.at, p.stack = at, p.stack[:height]
				return false
			}
		}
		return true
	}
}

func choice(rules ...rule) rule {
	return func(p *peg) bool {
		for _, r := range rules {
			if r(p) {
				return true
			}
		}
		return false
	}
}

func many(r rule) rule {
	return func(p *peg) bool {
		for r(p) {
			continue
		}
		return true
	}
}

func lit(s string) rule {
	return func(p *peg) bool {
		if len(p.in)-p.at < len(s) || asciiLower(p.in[p.at:p.at+len(s)]) != s {
			return false
		}
		p.at += len(s)
		return true
	}
}

func lits(s ...string) rule {
	rules := make([]rule, len(s))
	for i := range s {
		rules[i] = lit(s[i])
	}
	return choice(rules...)
}

func char(in func(c byte) bool) rule {
	return func(p *peg) bool {
		if p.at == len(p.in) || !in(p.in[p.at]) {
			return false
		}
		p.at++
		return true
	}
}

// push runs r and pushes what it read, edited.
func push(r rule, edit func(read string) any) rule {
	return func(p *peg) bool {
		start := p.at
		if !r(p) {
			return false
		}
		p.stack = append(p.stack, edit(p.in[start:p.at]))
		return true
	}
}

// act changes the stack after the rules before it have succeeded.
func act(f func(p *peg)) rule {
	return func(p *peg) bool {
		f(p)
		return true
	}
}

func join(op string) rule {
	return act(func(p *peg) {
		y, x := p.pop().(*node), p.pop().(*node)
		p.stack = append(p.stack, &node{op: op, x: x, y: y})
	})
}

func yes(string) any { return false }
func no(string) any  { return true }

var (
	blank = char(func(c byte) bool { return strings.IndexByte(" \t\r\n\f", c) >= 0 })
	ows   = many(blank)
	ws    = seq(blank, ows)
	inner = char(func(c byte) bool { return c >= 0x20 && c <= 0x7e && c != '\'' && c != '"' })

	single = push(seq(lit("'"), many(choice(inner, lit("''"))), lit("'")), unquote("'"))
	double = push(seq(lit(`"`), many(choice(inner, lit(`""`))), lit(`"`)), unquote(`"`))
	bare   = char(func(c byte) bool { return c > 0x20 && c <= 0x7e && c != '(' && c != ')' })
	run    = push(seq(bare, many(bare)), func(read string) any { return read })
	value  = choice(single, double, run)

	hasWord = push(seq(ows, lits("has", "contains"), ws), yes)
	misses  = push(seq(ows, lit("misses"), ws), no)
	has     = choice(hasWord, misses)
	equal   = push(seq(ows, lits("==", "="), ows), yes)
	differs = choice(push(seq(ows, lits("!=", "!"), ows), no), push(seq(ws, lit("not"), ws), no))
	is      = push(seq(ws, lit("is"), ws), yes)
	compare = choice(equal, differs, hasWord, is, misses)

	test = choice(
		seq(lit("host"), compare, value, compared("host")),
		seq(lit("user"), choice(lits("-", "."), lit("")), lit("agent"), compare, value, compared("agent")),
		seq(has, lit("header"), ws, value, present("has header")),
		seq(has, lit("cookie"), ws, value, present("has cookie")),
		seq(lit("cookie"), ws, value, ws, has, value, contained("cookie")),
		seq(lit("header"), ws, value, ws, has, value, contained("header")),
	)
)

func unquote(q string) func(string) any {
	return func(read string) any { return strings.ReplaceAll(read[1:len(read)-1], q+q, q) }
}

func compared(words string) rule {
	return act(func(p *peg) {
		v, negated := p.pop().(string), p.pop().(bool)
		p.stack = append(p.stack, &node{words: words, negated: negated, value: v})
	})
}

func present(words string) rule {
	return act(func(p *peg) {
		name, negated := p.pop().(string), p.pop().(bool)
		p.stack = append(p.stack, &node{words: words, negated: negated, name: name})
	})
}

func contained(words string) rule {
	return act(func(p *peg) {
		v, negated, name := p.pop().(string), p.pop().(bool), p.pop().(string)
		p.stack = append(p.stack, &node{words: words, negated: negated, name: name, value: v})
	})
}

// The rules that contain themselves are functions.

func condition(p *peg) bool {
	return seq(terms, many(seq(lits("or", "||", "|"), ws, terms, join("or"))))(p)
}

func terms(p *peg) bool {
	return seq(factor, many(seq(lits("and", "&&", "&"), ws, factor, join("and"))))(p)
}

func factor(p *peg) bool {
	return seq(ows, choice(negation, test, group), ows)(p)
}

func negation(p *peg) bool {
	negate := act(func(p *peg) { p.stack = append(p.stack, &node{x: p.pop().(*node)}) })
	return seq(choice(seq(lit("!"), ows), seq(lit("not"), ws)), choice(test, group), negate)(p)
}

func group(p *peg) bool { return seq(lit("("), condition, lit(")"))(p) }
