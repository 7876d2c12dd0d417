// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// This file reads conditions a second time, straight from the grammar in the
// package comment: a rule a production, ordered choice, and no thought for
// speed or messages. The parser must accept the same texts and mean the same.
// It reads them by the grammar that Vamp has, or by that with our additions:
// what the first accepts, the second must read alike.

// node is what the second reading makes of a text: a test if x is nil, a
// negation if y is nil, otherwise two parts joined by op.
type node struct {
	op          string
	x, y        *node
	words       string // host, agent, header, cookie, has header, query, ...
	how         string // of what has several forms: ==, has, starts with, ...
	negated     bool
	name, value string
	networks    []string              // of ip
	whole       *conditions.Condition // a raw ACL or a program
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
		return strings.Replace(n.words, "agent", "useragent", 1) + equals + " " + quote(n.value)
	case "has header", "has cookie", "has query":
		return has + n.words[4:] + " " + quote(n.name)
	case "ip":
		return n.client()
	case "client certificate":
		return n.words
	case "whole":
		return n.whole.String()
	}
	text := n.words + " "
	if slices.Contains([]string{"header", "cookie", "query"}, n.words) {
		text += quote(n.name) + " "
	}
	switch n.how {
	case "", "has":
		return text + has + quote(n.value)
	case "==":
		return text + equals + " " + quote(n.value)
	default:
		return text + n.how + " " + quote(n.value)
	}
}

func (n *node) client() string {
	not := map[bool]string{true: "not "}[n.negated]
	if n.how == "in" {
		return "ip " + not + "in (" + strings.Join(n.networks, ",") + ")"
	}
	return "ip " + map[bool]string{true: "!=", false: "=="}[n.negated] + " " + n.networks[0]
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
	case "has cookie":
		return strings.Join(cookies(r, n.name), "") != ""
	case "has query":
		return len(queries(r, n.name)) > 0
	case "ip":
		return n.covers(r.Conn().Client.Addr().Unmap().WithZone(""))
	case "whole":
		return n.whole.Holds(r)
	case "client certificate":
		return verified(r) != nil
	case "sni":
		return slices.ContainsFunc(serverNames(r), n.comparesName)
	}
	texts := map[string]func() []string{
		"header": func() []string { return values(r, n.name) },
		"cookie": func() []string { return cookies(r, n.name) },
		"query":  func() []string { return queries(r, n.name) },
		"alpn":   func() []string { return protocols(r) },
		"client subject": func() []string {
			if c := verified(r); c != nil {
				return []string{c.Subject}
			}
			return nil
		},
		"client san": func() []string {
			if c := verified(r); c != nil {
				return slices.Concat(c.DNSNames, c.Emails, c.URIs)
			}
			return nil
		},
		"method": func() []string { return []string{r.method} },
		"path":   func() []string { return []string{strings.SplitN(r.target, "?", 2)[0]} },
	}
	return slices.ContainsFunc(texts[n.words](), n.compares)
}

func (n *node) compares(text string) bool {
	switch n.how {
	case "==":
		return text == n.value
	case "starts with":
		return strings.Index(text, n.value) == 0
	case "ends with":
		return len(text) >= len(n.value) && text[len(text)-len(n.value):] == n.value
	case "matches":
		return regexp.MustCompile(n.value).MatchString(text)
	default:
		return strings.Contains(text, n.value)
	}
}

func (n *node) covers(client netip.Addr) bool {
	for _, text := range n.networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			a := netip.MustParseAddr(text)
			network = netip.PrefixFrom(a, a.BitLen())
		}
		if a := network.Addr(); a.Is4In6() && network.Bits() >= 96 {
			network = netip.PrefixFrom(a.Unmap(), network.Bits()-96)
		}
		if network.Contains(client) {
			return true
		}
	}
	return false
}

// comparesName compares the name of a server, which is in lower case.
func (n *node) comparesName(name string) bool {
	lower := *n
	if n.how == "matches" {
		return n.compares(name)
	}
	lower.value = asciiLower(n.value)
	if n.how == "==" && strings.HasPrefix(lower.value, "*.") {
		lower.how, lower.value = "ends with", lower.value[1:]
	}
	return lower.compares(name)
}

func serverNames(r *staticRequest) (names []string) {
	switch c := r.Conn(); {
	case c.TLS != nil && c.TLS.ServerName != "":
		names = append(names, c.TLS.ServerName)
	case c.TLS == nil && c.Hello != nil && c.Hello.ServerName != "":
		names = append(names, c.Hello.ServerName)
	}
	return names
}

func protocols(r *staticRequest) []string {
	switch c := r.Conn(); {
	case c.TLS != nil && c.TLS.ALPN != "":
		return []string{c.TLS.ALPN}
	case c.TLS == nil && c.Hello != nil:
		return c.Hello.ALPN
	}
	return nil
}

func verified(r *staticRequest) *conditions.ClientCertificate {
	if t := r.Conn().TLS; t != nil && t.Client != nil && t.Client.Verified {
		return t.Client
	}
	return nil
}

// queries returns the values of a parameter, decoded.
func queries(r *staticRequest, name string) []string {
	sides := strings.SplitN(r.target, "?", 2)
	if len(sides) == 1 {
		return nil
	}
	var found []string
	for pair := range strings.SplitSeq(sides[1], "&") {
		n, v, _ := strings.Cut(pair, "=")
		if pair != "" && decoded(n) == name {
			found = append(found, decoded(v))
		}
	}
	return found
}

var escape = regexp.MustCompile("%[0-9a-fA-F]{2}")

func decoded(text string) string {
	text = strings.ReplaceAll(text, "+", " ")
	return escape.ReplaceAllStringFunc(text, func(e string) string {
		const digits = "0123456789abcdef"
		e = strings.ToLower(e)
		return string([]byte{byte(strings.IndexByte(digits, e[1])<<4 | strings.IndexByte(digits, e[2]))})
	})
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
	ours  bool // with our additions
	stack []any
}

type rule func(p *peg) bool

// readByGrammar returns the tree of a text, nil if Vamp's grammar has none.
func readByGrammar(text string) *node { return readBy(&peg{in: text}) }

// readWithAdditions returns the tree of a text, nil if Vamp's grammar has none
// with our additions either.
func readWithAdditions(text string) *node { return readBy(&peg{in: text, ours: true}) }

func readBy(p *peg) *node {
	if !condition(p) || p.at != len(p.in) {
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

	vamps = choice(
		seq(lit("host"), compare, value, compared("host")),
		seq(lit("user"), choice(lits("-", "."), lit("")), lit("agent"), compare, value, compared("agent")),
		seq(has, lit("header"), ws, value, present("has header")),
		seq(has, lit("cookie"), ws, value, present("has cookie")),
		seq(lit("cookie"), ws, value, ws, has, value, contained("cookie")),
		seq(lit("header"), ws, value, ws, has, value, contained("header")),
		raw,
	)

	// What is ours pushes a name, if there is one, whether the test is negated,
	// how it compares, and a value.
	sign  = seq(ows, choice(push(seq(lits("==", "="), ows), yes), push(seq(lits("!=", "!"), ows), no)), how("=="))
	words = seq(choice(push(seq(lit("is"), ws), yes), push(seq(lit("not"), ws), no)), how("=="))
	same  = choice(sign, seq(ws, words))
	part  = choice(
		seq(choice(push(seq(lits("has", "contains"), ws), yes), push(seq(lit("misses"), ws), no)), how("has")),
		seq(push(seq(lit("starts"), ws, lit("with"), ws), yes), how("starts with")),
		seq(push(seq(lit("ends"), ws, lit("with"), ws), yes), how("ends with")),
	)
	expression = seq(push(seq(lit("matches"), ws), yes), how("matches"), value, that(isExpression))
	text       = choice(seq(same, value), seq(ws, part, value), seq(ws, expression))
	entry      = push(seq(plain, many(plain)), func(read string) any { return read })
	plain      = char(func(c byte) bool { return c > 0x20 && c <= 0x7e && c != '(' && c != ')' && c != ',' })
	list       = seq(lit("("), push(lit(""), none), ows, entry, also,
		many(seq(ows, lit(","), ows, entry, also)), ows, lit(")"))
	lone = seq(push(lit(""), none), value, also)

	ours = choice(
		seq(lit("method"), same, value, compares("method")),
		seq(lit("path"), text, compares("path")),
		seq(lit("sni"), text, compares("sni")),
		seq(lit("alpn"), text, compares("alpn")),
		seq(lit("client"), ws, lit("certificate"), act(func(p *peg) { p.stack = append(p.stack, &node{words: "client certificate"}) })),
		seq(lit("client"), ws, lit("subject"), text, compares("client subject")),
		seq(lit("client"), ws, lit("san"), text, compares("client san")),
		seq(has, lit("query"), ws, value, present("has query")),
		seq(lit("query"), ws, value, text, comparesNamed("query")),
		seq(lit("header"), ws, value, text, comparesNamed("header")),
		seq(lit("cookie"), ws, value, text, comparesNamed("cookie")),
		seq(lit("ip"), same, lone, that(isAddress), client),
		seq(lit("ip"), ws, choice(push(seq(lit("not"), ws), no), push(lit(""), yes)),
			lit("in"), ws, how("in"), choice(list, lone), that(areNetworks), client),
		program,
	)

	// A raw ACL and a program are read on their own.
	raw     = push(seq(lit("<"), acls, many(acls), lit(">")), alone)
	acls    = char(func(c byte) bool { return c != '<' && c != '>' })
	program = seq(lit("expr"), ows, push(brackets("(", ")"), func(read string) any { return alone("expr" + read) }))
)

func none(string) any { return []string(nil) }

// alone reads a text that is a condition of one test.
func alone(read string) any {
	c, err := conditions.Compile(read)
	if err != nil {
		return (*node)(nil)
	}
	return &node{words: "whole", whole: c}
}

func how(form string) rule {
	return push(lit(""), func(string) any { return form })
}

// that is a rule that reads nothing and looks at what was pushed last.
func that(f func(top any) bool) rule {
	return func(p *peg) bool { return f(p.stack[len(p.stack)-1]) }
}

func isExpression(top any) bool {
	_, err := regexp.Compile(top.(string))
	return err == nil
}

func isAddress(top any) bool {
	a, err := netip.ParseAddr(top.([]string)[0])
	return err == nil && a.Zone() == ""
}

func areNetworks(top any) bool {
	for _, text := range top.([]string) {
		if _, err := netip.ParsePrefix(text); err != nil && !isAddress([]string{text}) {
			return false
		}
	}
	return true
}

// also adds an entry to the list below it.
var also = act(func(p *peg) {
	text, all := p.pop().(string), p.pop().([]string)
	p.stack = append(p.stack, append(slices.Clip(all), text))
})

func compares(words string) rule {
	return act(func(p *peg) {
		v, form, negated := p.pop().(string), p.pop().(string), p.pop().(bool)
		p.stack = append(p.stack, &node{words: words, how: form, negated: negated, value: v})
	})
}

func comparesNamed(words string) rule {
	return seq(compares(words), act(func(p *peg) {
		n, name := p.pop().(*node), p.pop().(string)
		n.name = name
		p.stack = append(p.stack, n)
	}))
}

var client = act(func(p *peg) {
	networks, form, negated := p.pop().([]string), p.pop().(string), p.pop().(bool)
	p.stack = append(p.stack, &node{words: "ip", how: form, negated: negated, networks: networks})
})

// brackets is a part of a program in brackets, quoted texts in it as they are.
func brackets(opens, closes string) rule {
	return func(p *peg) bool {
		quoted := func(q string) rule {
			return seq(lit(q), many(choice(seq(lit("\\"), printable), charBut(q+"\\"))), lit(q))
		}
		content := choice(
			brackets("(", ")"), brackets("[", "]"), brackets("{", "}"),
			quoted(`"`), quoted("'"), seq(lit("`"), many(charBut("`")), lit("`")),
			charBut("()[]{}\"'`"),
		)
		return seq(lit(opens), many(content), lit(closes))(p)
	}
}

func charBut(not string) rule {
	return char(func(c byte) bool { return strings.IndexByte(not, c) < 0 && isProgram(c) })
}

var printable = char(isProgram)

func isProgram(c byte) bool { return c >= 0x20 && c <= 0x7e || strings.IndexByte(" \t\r\n\f", c) >= 0 }

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
	return seq(ows, choice(negation, test, group, addition), ows)(p)
}

func negation(p *peg) bool {
	negate := act(func(p *peg) { p.stack = append(p.stack, &node{x: p.pop().(*node)}) })
	return seq(choice(seq(lit("!"), ows), seq(lit("not"), ws)), choice(test, group, addition), negate)(p)
}

// test is an operand that Vamp has, addition one of ours: it comes last.
func test(p *peg) bool { return seq(vamps, that(wasRead))(p) }

func addition(p *peg) bool { return p.ours && seq(ours, that(wasRead))(p) }

func wasRead(top any) bool { return top.(*node) != nil }

func group(p *peg) bool { return seq(lit("("), condition, lit(")"))(p) }
