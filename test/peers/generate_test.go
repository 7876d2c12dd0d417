// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator draws ACLs and requests. Both are made of the same pieces, so
// that they often meet.
type generator struct{ *rand.Rand }

func (g *generator) one(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// piece returns a part of a text.
func (g *generator) piece() string {
	return g.one("a", "b", "A", "images", "png", "example", "com", "WWW", "1", "12", "x=1", "f1", "f2", "logo", "_", "gold", "shop")
}

// text returns pieces with delimiters between them.
func (g *generator) text() string {
	var b strings.Builder
	if g.chance(30) {
		b.WriteString(g.one("/", ".", "_", ",", "?"))
	}
	for n := g.IntN(4); n >= 0; n-- {
		b.WriteString(g.piece())
		if n > 0 || g.chance(20) {
			b.WriteString(g.one("/", "/", ".", ".", "_", "__", ",", ", ", ":", "?", ";", " ", "-", "&", "="))
		}
	}
	return b.String()
}

// number returns what is a number, or nearly one.
func (g *generator) number() string {
	return g.one("0", "1", "5", "12", "012", "-5", "+5", "12abc", "5.5", "7 8", "1,2", "4294967297", "2147483648",
		"9223372036854775807", "9223372036854775808", "-9223372036854775809", "99999999999999999999", "-", "0x10", "1-2", "1_000", "1/2", "(1)")
}

// address returns what is an address, or nearly one.
func (g *generator) address() string {
	return g.one("10.0.0.1", "10.1.2.3", "192.168.1.1", "10.0.0.1:80", "10.0.0.1:99999", "10.0.0.1:", "010.000.00.1", "10.0.0.256", "10.0.0",
		"10.0.0.1.", "10..0.1", "10.0.0.1.5", "10.0.0.1x", "::1", "::ffff:10.0.0.1", "::10.0.0.1", "2002:a00:1::", "2002:a00:1::5", "fd00::1", "FD00:0::01",
		"[fd00::1]", "fd00::1%lo", "1:2:3:4:5:6:7:8", "1::2::3", "::", "fd00::1:80", "unknown", "_hidden", "10.0.0.1, fd00::1", "x, 10.1.2.3", "127.0.0.1")
}

// value returns the value of a header field.
func (g *generator) value() string {
	switch g.IntN(12) {
	case 0:
		return g.number()
	case 1:
		return g.address()
	case 2:
		return g.one("", "  ", ",", ",,", ", a", "a,", `"a,b",c`, `a"b,c`, `"a\",b",a`, `a,"b`, `\"a,b`, "'a,b',c", `"`, `"a" , "b"`, `""`, `a\,b`, `"\\",a`)
	case 3:
		return g.one("a%20b", "%41", "%4", "%", "%zz", "a+b?c+d", "%2Fimages%2fpng", "100%25", "a%2", "%e4", "?+", "a%2cb,a")
	case 4:
		return g.one("caf\xc3\xa9", "\xe4\xf6", "a\xffb", "a\tb", strings.Repeat("a", 3000), strings.Repeat("a,", 200), strings.Repeat("f1_", 300), "<script>", "{a}", "$HOME", "a#b", `a\b`)
	default:
		v := g.text()
		if g.chance(20) {
			v += g.one(",", ", ", " ,", ",\t") + g.text()
		}
		return v
	}
}

// cookies returns a line of the Cookie field.
func (g *generator) cookies() string {
	var b strings.Builder
	for n := g.IntN(4); n >= 0; n-- {
		b.WriteString(g.one("", "", "", " ", "\t"))
		b.WriteString(g.one("a", "a", "b", "A", "aa", "$a", "", "gold", `"a"`))
		b.WriteString(g.one("", "", "", " "))
		if !g.chance(10) {
			b.WriteString(g.one("=", "=", "=", "= ", "=="))
			b.WriteString(g.one("1", "12", "gold", "", "x=1", `"1"`, `"1;a=2"`, `"1`, `x"y`, "1 2", "5", "a", "%41", `"\";a=1"`, "-5", `1"2"`))
		}
		if n > 0 || g.chance(10) {
			b.WriteString(g.one(";", "; ", "; ", "; ", ",", " ;", ";;"))
		}
	}
	return b.String()
}

// query returns a query.
func (g *generator) query() string {
	var b strings.Builder
	for n := g.IntN(4); n >= 0; n-- {
		b.WriteString(g.one("a", "a", "b", "A", "aa", "xa", "", "gold"))
		if !g.chance(15) {
			b.WriteString(g.one("=", "=", "=", "=="))
			b.WriteString(g.one("1", "12", "gold", "", "x=1", "%41", "1/2", "-5", "a+b", "5?a=1", "a", "/images"))
		}
		if n > 0 || g.chance(10) {
			b.WriteString(g.one("&", "&", ";", "&&", "?"))
		}
	}
	return b.String()
}

func (g *generator) path() string {
	var b strings.Builder
	for n := g.IntN(4); n >= 0; n-- {
		b.WriteString(g.one("/", "/", "/", "//"))
		if n > 0 || !g.chance(20) {
			b.WriteString(g.one("a", "b", "images", "png", "logo.png", "A", "..", "a%20b", "a;a=1", "example.com", "1", "f1_f2", "a:b", "caf\xc3\xa9"))
		}
	}
	return b.String()
}

// request returns a request.
func (g *generator) request() *request {
	r := &request{method: g.one("GET", "GET", "GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "get"), target: g.path()}
	host := g.one("shop.example", "www.example.com", "WWW.Example.COM", "example.com:8080", "a", "10.0.0.1", "[fd00::1]:80", "a_b")
	if g.chance(60) {
		r.target += "?" + g.query()
	}
	if g.chance(8) {
		host = g.one("shop.example", "a", "www.example.com")
		r.target = g.one("http://", "HTTP://") + host + g.one(r.target, r.target, "", "?"+g.query(), "?a/b")
	}
	if r.method == "OPTIONS" && g.chance(50) {
		r.target = "*"
	}
	r.fields = []string{"Host: " + host, "Content-Length: 0"}
	for range g.IntN(5) {
		r.fields = append(r.fields, g.one("X", "x", "Y", "X-Stage")+":"+g.one(" ", "", "  ", "\t")+g.value()+g.one("", "", " ", "\t"))
	}
	if g.chance(40) {
		r.fields = append(r.fields, g.one("X", "Y", "X-Forwarded-For")+": "+g.address())
	}
	for range g.IntN(3) {
		r.fields = append(r.fields, g.one("Cookie", "cookie")+": "+g.cookies())
	}
	r.from = g.one("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.1.2.3")
	if g.chance(20) {
		r.serverName = "shop.example"
	}
	return r
}

// quote writes a value in one of the ways that HAProxy reads.
func (g *generator) quote(s string) string {
	plain := !strings.ContainsAny(s, " '\"\\#${}<>")
	switch {
	case s == "&" || s == "=": // operators, to us, unless quoted
		return "'" + s + "'"
	case plain && g.chance(60):
		return s
	case !strings.Contains(s, "'") && g.chance(60):
		return "'" + s + "'"
	case g.chance(50):
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(s) + `"`
	}
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case strings.IndexByte(` '"\#`, c) >= 0:
			b.WriteString(`\` + s[i:i+1])
		case strings.IndexByte("{}<>$", c) >= 0 || g.chance(5):
			fmt.Fprintf(&b, `\x%02X`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// acl returns a test in braces, or a condition of several.
func (g *generator) acl() aclPair {
	if g.chance(75) {
		p := g.test()
		return aclPair{g.one(p.ours, "{ "+p.ours+" }"), "{ " + p.peers + " }"}
	}
	var p aclPair
	for n := 1 + g.IntN(3); n >= 0; n-- {
		term := aclPair{}
		if g.chance(30) {
			term.ours = g.one("TRUE", "FALSE", "METH_GET", "METH_POST", "METH_HEAD", "METH_OPTIONS", "METH_PUT", "METH_DELETE", "METH_TRACE", "METH_CONNECT",
				"LOCALHOST", "HTTP", "HTTP_CONTENT", "HTTP_URL_ABS", "HTTP_URL_SLASH", "HTTP_URL_STAR", "WAIT_END")
			term.peers = term.ours
		} else {
			term = g.test()
			term.ours, term.peers = "{ "+term.ours+" }", "{ "+term.peers+" }"
		}
		not := g.one("", "", "", "!", "! ", "!!")
		p.ours, p.peers = p.ours+not+term.ours, p.peers+not+term.peers
		if n > 0 {
			join := g.one(" ", " or ", " || ", " OR ")
			p.ours, p.peers = p.ours+join, p.peers+join
		}
	}
	return p
}

// test returns one test.
func (g *generator) test() aclPair {
	f := g.fetch()
	var calls []string
	kind := f.kind
	for kind != "method" && kind != "bool" && g.chance(25) {
		var c string
		c, kind = g.converter(kind)
		calls = append(calls, ","+c)
	}
	converters := strings.Join(calls, "")
	method := ""
	p := aclPair{f.name, f.name}
	switch {
	case kind == "bytes":
		method = g.one("str", "beg", "end", "sub", "dir", "dom", "reg", "len", "bin", "found")
	case converters == "" && f.kind == "text" && f.derived && g.chance(40):
		method = g.one("beg", "end", "sub", "dir", "dom", "reg", "len")
		p = aclPair{f.name + "_" + method, f.name + "_" + method}
	case converters == "" && f.kind == "text" && g.chance(15): // ours alone
		method = g.one("beg", "end", "sub", "dir", "dom", "reg", "len", "str")
		p.ours = g.one(f.name, f.alias) + "_" + method
	case g.chance(45):
		method = g.methodFor(kind)
	}
	derived := p.ours != f.name
	word := p.ours + f.args + converters
	peersWord := p.peers + f.args + converters
	p.ours, p.peers = word, peersWord
	flags := ""
	if g.chance(30) {
		flags += " -i"
	}
	if g.chance(5) && method != "ip" && kind != "ip" {
		flags += " -n" // of addresses it refuses short forms
	}
	if method != "" && !derived {
		p.ours += " -m " + method
	}
	if method != "" && p.peers == f.name+f.args+converters {
		p.peers += " -m " + method
	}
	if method == "" {
		method = map[string]string{"int": "int", "bool": "bool", "ip": "ip"}[kind]
	}
	values := g.values(method, kind)
	if dashed := strings.TrimLeft(values, `"'`); strings.HasPrefix(dashed, "-") || strings.HasPrefix(dashed, `\x2D`) || g.chance(10) && method != "found" && method != "bool" {
		flags += " --"
	}
	tail := flags + " " + values
	p.ours += tail
	p.peers += tail
	return p
}

// fetch is what a test looks at.
type fetch struct {
	name, alias, args string
	kind              string
	derived           bool // HAProxy has endings for methods
}

func (g *generator) fetch() fetch {
	field := g.one("x", "X", "y", "x-stage", "x-none")
	occurrence := g.one("", "", "", ",1", ",2", ",3", ",-1", ",-2", ",-10", ",0")
	cookie := g.one("(a)", "(b)", "(aa)", "(gold)", "(A)", "()", "")
	param := g.one("(a)", "(a)", "(b)", "(aa)", "(A)", "", "()", "(a,;)", "(a,&)", "(b,/)", "(,;)")
	switch g.IntN(26) {
	case 0, 1, 2:
		return fetch{"hdr", "req.hdr", "(" + field + occurrence + ")", "text", true}
	case 3:
		return fetch{"hdr", "req.hdr", "(host)", "text", true}
	case 4, 5, 6:
		return fetch{"req.fhdr", "fhdr", "(" + field + occurrence + ")", "text", false}
	case 7:
		return fetch{g.one("hdr_cnt", "req.hdr_cnt", "req.fhdr_cnt"), "", "(" + field + ")", "int", false}
	case 8:
		return fetch{g.one("hdr_val", "req.hdr_val"), "", "(" + field + occurrence + ")", "int", false}
	case 9, 10:
		return fetch{g.one("hdr_ip", "req.hdr_ip"), "", "(" + g.one("x", "y", "x-forwarded-for") + occurrence + ")", "ip", false}
	case 11, 12:
		return fetch{"cook", "req.cook", cookie, "text", true}
	case 13:
		return fetch{g.one("cook_cnt", "req.cook_cnt", "cook_val", "req.cook_val"), "", cookie, "int", false}
	case 14, 15:
		return fetch{"urlp", "url_param", param, "text", true}
	case 16:
		return fetch{"urlp_val", "", param, "int", false}
	case 17, 18:
		return fetch{"path", "path", g.one("", "()"), "text", true}
	case 19:
		name := g.one("pathq", "query", "baseq")
		return fetch{name, name, "", "text", false}
	case 20:
		name := g.one("url", "base")
		return fetch{name, name, "", "text", true}
	case 21:
		return fetch{"method", "", "", "method", false}
	case 22:
		return fetch{g.one("src", "dst"), "", "", "ip", false}
	case 23:
		return fetch{g.one("src_port", "dst_port", "rand(1)", "int(5)", "int(-5)"), "", "", "int", false}
	case 24:
		return fetch{g.one("ssl_fc", "always_true", "always_false", "bool(true)", "bool(0)"), "", "", "bool", false}
	default:
		if g.chance(40) {
			return fetch{"str", "str", g.one("(a_b)", "(images/png)", "(12)", `(\"a,b\")`), "text", false}
		}
		name := g.one("ssl_fc_sni", "ssl_fc_alpn", "ssl_fc_protocol")
		return fetch{name, name, "", "text", false}
	}
}

// converter returns a converter for samples of a kind, and what it yields.
func (g *generator) converter(kind string) (string, string) {
	n := g.one("1", "2", "3", "-1", "-2", "-3")
	delims := g.one("_", "/", ".", "_.", `\",\"`, `\',\'`, `\" \"`, "f", ":")
	if strings.Contains(delims, " ") {
		delims = `\"\ \"`
	}
	count := g.one("", "", ",0", ",1", ",2", ",3")
	if kind == "int" && g.chance(80) {
		return g.arithmetic()
	}
	switch g.IntN(9) {
	case 0:
		return "lower", "text"
	case 1:
		return "upper", "text"
	case 2:
		return g.one("url_dec", "url_dec(1)", "url_dec(0)"), "text"
	case 3:
		return g.one("length", "length", "length,sub(3)"), "int"
	case 4:
		if kind == "text" || kind == "bytes" {
			return "bytes(" + g.one("0", "1", "3", "1,1", "0,3", "2,100", "5000", "1,0") + ")", "bytes"
		}
		return "lower", "text"
	case 5:
		if kind != "bytes" {
			return g.arithmetic()
		}
		return "upper", "text"
	case 6, 7:
		return "field(" + n + "," + delims + count + ")", "text"
	default:
		return "word(" + n + "," + delims + count + ")", "text"
	}
}

func (g *generator) arithmetic() (string, string) {
	n := g.one("0", "1", "2", "3", "-1", "-7", "9223372036854775807", "-9223372036854775807")
	switch g.IntN(11) {
	case 2, 3: // HAProxy 2.6 cannot add two negative numbers
		return g.one("add(", "sub(-") + g.one("0", "1", "5", "9223372036854775807") + ")", "int"
	case 0:
		return g.one("odd", "even", "not", "bool"), "bool"
	case 1:
		return g.one("neg", "cpl"), "int"
	default:
		return g.one("mul", "div", "mod", "and", "or", "xor") + "(" + n + ")", "int"
	}
}

func (g *generator) methodFor(kind string) string {
	switch kind {
	case "text":
		return g.one("str", "beg", "end", "sub", "dir", "dom", "reg", "len", "int", "ip", "bool", "found", "bin")
	case "int":
		return g.one("str", "beg", "sub", "len", "int", "bool", "found", "reg")
	case "bool":
		return g.one("str", "len", "int", "bool", "found")
	case "ip":
		return g.one("str", "beg", "end", "sub", "len", "int", "ip", "found", "reg", "dom")
	default: // method
		return g.one("str", "beg", "end", "sub", "len", "found", "reg")
	}
}

// values returns values for a method.
func (g *generator) values(method, kind string) string {
	switch method {
	case "found", "bool":
		return g.one("", "", "1")
	}
	n := 1 + g.IntN(3)
	var list []string
	for range n {
		list = append(list, g.valueFor(method, kind))
	}
	return strings.Join(list, " ")
}

func (g *generator) valueFor(method, kind string) string {
	switch method {
	case "int", "len":
		if g.chance(20) { // no number 0 after "lt": HAProxy takes all lengths to be less
			return "eq " + g.one("1:5", "0:0", "2:", ":12", "5:100")
		}
		if g.chance(10) {
			return g.one("eq", "le", "gt", "ge") + " 0"
		}
		return g.one("", "", "", "eq ", "lt ", "le ", "gt ", "ge ") + g.integer()
	case "ip":
		return g.one("10.0.0.1", "10.0.0.0/8", "10.1", "127.1/8", "127.0.0.1", "127.0.0.2/31", "192.168.0.0/255.255.0.0", "10.0.0.1/255.0.0.255", "0.0.0.0/0",
			"fd00::/8", "fd00::1", "::1", "::/0", "::ffff:10.0.0.1", "::ffff:0:0/96", "2002:a00::/24", "::10.0.0.1", "::/1", "0.0.0.1", "1:2::/32")
	case "reg":
		return g.quote(g.one(`^/images`, `a+b?`, `\.com$`, `(a|b)_`, `[0-9]+`, `^$`, `x=\d`, `^[^,]*$`, `EX.*`, `a{2,3}`, `\bb\b`, `^a\b`, `\s`, `(?i)www`, `[[:upper:]]`, `^(?:f1|f2)`, `,`, `^\w+$`, `\.|/`, `"`))
	case "bin":
		return g.one("61", "6162", "2F696D61676573", "31", "612f62", "66315f6632")
	case "dir", "dom":
		return g.quote(g.one("", "", "/", ".", "/") + g.piece() + g.one("", "", "/png", ".com", "/a", "/"))
	}
	if kind == "method" {
		return g.one("GET", "get", "POST", "HEAD", "PUT", "P", "E", "BREW", "brew", "Get")
	}
	if kind == "ip" || g.chance(5) {
		return g.one("10.0.0.1", "10.", "1", "127.0.0.1", "fd00::1", "::1", "::ffff:10.0.0.1", "::10.0.0.1", "2002:a00:1::")
	}
	switch g.IntN(8) {
	case 0:
		return g.one("0", "1", "5", "12", "-5", "TRUE", "true", "55")
	case 1:
		return g.quote(g.one("/", ".", "_", ",", "?", "&", ";", "=", " ", `"`, `\`, "'", "a,b", "a b", "x=1", `"a,b"`, "TLSv1.3", "http/1.1", "shop.example", "*", "http://a", "%41", "<", "{", "-i", "--"))
	case 2, 3:
		return g.quote(g.text())
	case 4:
		return g.quote("/" + g.one("", "/", "images", "png", "a/b", "images/png"))
	default:
		return g.quote(g.piece())
	}
}

func (g *generator) integer() string {
	return g.one("1", "1", "2", "3", "5", "12", "012", "100", "9223372036854775806", "4294967296")
}
