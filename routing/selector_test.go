// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

func TestParseSelector(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a label", "label(app)(shop)", "label(app)(shop)"},
		{"the documented selector", "label(app)(shop) && label(version)((.*))", "label(app)(shop) and label(version)((.*))"},
		{"other names become the first one", "id(a) and type(b) and group(c) and host(d) and index(1)", "name(a) and kind(b) and namespace(c) and ip(d) and port_index(1)"},
		{"a group may stand anywhere in an argument", "name(a(b)c)", "name(a(b)c)"},
		{"blanks before parentheses do not count", "label (a)\t(b)", "label(a)(b)"},
		{"blanks within them do", "label( a )(b)", "label( a )(b)"},
		{"constants in any case", "TRUE or t or 1 and False or F and 0", "true or true or true and false or false and false"},
		{"and binds tighter than or", "true or false and true", "true or false and true"},
		{"parentheses group", "(true or false) and (((true)))", "(true or false) and true"},
		{"needless ones to the left go", "(true and false) and true", "true and false and true"},
		{"those to the right stay", "true and (false and true)", "true and (false and true)"},
		{"not with white space, ! without", "not true and !false and ! t", "not true and not false and not true"},
		{"not before parentheses", "not (true or false)", "not (true or false)"},
		{"a negation of one in parentheses", "!(!t)", "not (not true)"},
		{"operators in any letter case", "true AND false Or true", "true and false or true"},
		{"single marks", "true & false | true", "true and false or true"},
		{"no white space is needed before an operator", "name(a)&& name(b)or true", "name(a) and name(b) or true"},
		{"white space all around", " \t( true )\n", "true"},
		{"numbers without leading zeros", "port(0080) and port_index(00)", "port(80) and port_index(0)"},
		{"the own namespace", "namespace($namespace)", "namespace($namespace)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := routing.ParseSelector(tt.text)
			if err != nil {
				t.Fatalf("ParseSelector(%q): %v", tt.text, err)
			}
			if got := s.String(); got != tt.want {
				t.Errorf("ParseSelector(%q) = %s, want %s", tt.text, got, tt.want)
			}
		})
	}
}

func TestParseSelectorRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		offset     int
		want       string // in the problem
	}{
		{"nothing", "", 0, "empty"},
		{"white space", "  ", 2, "empty"},
		{"an operator without white space after it", "label(a)(b)&&label(c)(d)", 13, `white space is missing after "&&"`},
		{"the same with white space before it", "label(a)(b) &&label(c)(d)", 14, `white space is missing after "&&"`},
		{"an operator at the end", "true and ", 9, "missing at the end"},
		{"two operands side by side", "true false", 5, "could have ended"},
		{"names in upper case", "Label(a)(b)", 0, `"Label" is unknown`},
		{"an unknown name", "lable(a)(b)", 0, `"lable" is unknown`},
		{"a word that begins like a constant", "tru(a)", 0, `"tru" is unknown`},
		{"not in upper case", "NOT true", 0, "not in lower case"},
		{"not without white space", "not(true)", 0, "not followed by white space"},
		{"a double negation", "!!true", 1, "negated at once"},
		{"a label without a value", "label(a)", 8, "lacks its argument"},
		{"two groups in an argument", "name((a)(b))", 8, "second parenthesis"},
		{"nested groups", "name(((a)))", 6, "second parenthesis"},
		{"an empty argument", "name()", 5, "empty"},
		{"an empty group", "name(a())", 6, "empty"},
		{"an open argument", "name(a", 4, "not closed"},
		{"an open parenthesis", "(true", 0, "not closed"},
		{"a parenthesis too many", "true)", 4, "closes none"},
		{"a port that is no number", "port(http)", 5, "no number"},
		{"blanks around a number", "port( 80)", 5, "no number"},
		{"characters that are not ASCII", "name(ä)", 5, "printable ASCII"},
		{"the base selector's form of the namespace", "namespace(${namespace})", 10, "${namespace}"},
		{"a text that is too long", strings.Repeat(" ", 8193), 8192, "too long"},
		{"a canonical text that is too long", strings.Repeat("1|\n", 2000) + "1", 0, "canonical"},
		{"an argument that is too long", "name(" + strings.Repeat("a", 1025) + ")", 5, "too long"},
		{"too many parentheses", strings.Repeat("(", 101) + "true", 100, "nested too deeply"},

		{"a lookahead", "name(a(?=b))", 6, "a lookahead ((?=)"},
		{"a negative lookahead", "name((?!b))", 5, "a negative lookahead"},
		{"a lookbehind", "name((?<=b)c)", 5, "a lookbehind"},
		{"a negative lookbehind", "name((?<!b)c)", 5, "a negative lookbehind"},
		{"an atomic group", "name((?>b))", 5, "an atomic group"},
		{"a backreference", `name((a)\1)`, 8, `a backreference (\1)`},
		{"a backreference by name", `name((?<x>a)\k<x>)`, 12, `a backreference (\k)`},
		{"a possessive quantifier", "name(a*+)", 7, "a possessive quantifier"},
		{"a possessive count", "name(a{2}+)", 9, "a possessive quantifier"},
		{"an intersection of classes", "name([a-z&&b])", 9, "an intersection"},
		{"a class within a class", "name([a[b]])", 7, "a class within a class"},
		{"a property that Go lacks", `name(\p{javaLowerCase})`, 5, `"javaLowerCase"`},
		{"a flag that Go lacks", "name((?x)a)", 7, "the flag x"},
		{"a flag that Go means otherwise", "name((?U)a)", 7, "the flag U"},
		{"vertical space, which Go reads as one character", `name(\v)`, 5, `vertical space (\v)`},
		{"an escape that means nothing", `name(\y)`, 5, `the escape (\y)`},
		{"a brace that is no count", "name(a{x})", 6, "begins no count"},
		{"a class that is not closed", "name([a)", 6, "not closed"},
		{"what no language knows", "name(*a)", 5, "missing argument to repetition"},
		{"a lone backslash", `name(a\)`, 6, "last character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := routing.ParseSelector(tt.text)
			e, ok := errors.AsType[*routing.SelectorError](err)
			if !ok {
				t.Fatalf("ParseSelector(%.40q) = %v, want a *SelectorError", tt.text, err)
			}
			if e.Offset != tt.offset || !strings.Contains(e.Problem, tt.want) {
				t.Errorf("ParseSelector(%.40q): at %d %s, want at %d ... %s", tt.text, e.Offset, e.Problem, tt.offset, tt.want)
			}
		})
	}
}

// instance makes an instance on port 80 of an address; labels are name=value.
func instance(address string, labels ...string) *routing.Instance {
	i := &routing.Instance{Address: netip.MustParseAddr(address), Port: 80, Ready: true}
	for _, l := range labels {
		name, value, _ := strings.Cut(l, "=")
		i.Labels = append(i.Labels, routing.Label{Name: name, Value: value})
	}
	return i
}

// grouped returns groups as text: name=addresses, separated by blanks.
func grouped(t *testing.T, selector string, list ...*routing.Instance) string {
	t.Helper()
	s, err := routing.ParseSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, g := range s.Groups(routing.NewInstances(list), "shop") {
		var at []string
		for _, i := range g.Instances {
			at = append(at, fmt.Sprint(i.AddrPort()))
		}
		all = append(all, g.Name+"="+strings.Join(at, ","))
	}
	return strings.Join(all, " ")
}

func TestSelectorGroups(t *testing.T) {
	v1 := instance("10.0.0.1", "app=shop", "version=1.0.3", "zone=eu")
	v2 := instance("10.0.0.2", "app=shop", "version=2.0.1", "zone=eu")
	other := instance("10.0.0.3", "app=cart")
	rich := &routing.Instance{
		Name: "shop/web", Address: netip.MustParseAddr("10.0.0.4"), Port: 8080, Declared: 80, Index: 1, Kind: "container",
		Namespace: "shop", Image: "shop:1.0", Labels: []routing.Label{{Name: "a", Value: "x"}, {Name: "b", Value: "x"}, {Name: "ab", Value: "y z"}},
	}
	app := &routing.Instance{
		Name: "web-1.0", ID: "/shop/eu/web-1.0", Namespace: "eu", Kind: "app", Address: netip.MustParseAddr("10.0.0.5"), Port: 31000, Declared: 80,
	}
	all := []*routing.Instance{v2, v1, other, rich, v1, app}
	for _, tt := range []struct{ name, selector, want string }{
		{"instances without a capture are one group", "label(app)(shop)", "()=10.0.0.1:80,10.0.0.2:80"},
		{"a capture makes groups", "label(app)(shop) && label(version)((.*))", "(1.0.3)=10.0.0.1:80 (2.0.1)=10.0.0.2:80"},
		{"values are sorted by text, not by selector", "label(zone)((.*)) and label(version)((.*))", "(1.0.3),(eu)=10.0.0.1:80 (2.0.1),(eu)=10.0.0.2:80"},
		{"equal values are one", "label(a)((.*)) and label(b)((.*))", "(x)=10.0.0.4:8080"},
		{"a capture of name and value joins both", "label((a).*)((x))", "(a=x)=10.0.0.4:8080"},
		{"a capture of the name alone", "label((a.*))(x)", "(a)=10.0.0.4:8080"},
		{"the first label that matches wins", "label(a|b)(x) and label((a|b))(.*)", "(a)=10.0.0.4:8080"},
		{"or unites the values of both sides", "label(a)((x)) or label(ab)(y.(z))", "(x),(z)=10.0.0.4:8080"},
		{"not contributes no values", "label(a)((x)) and not label(a)((y))", "(x)=10.0.0.4:8080"},
		{"a side that does not hold contributes none", "label(version)((1.*)) and label(app)(cart) or label(app)(shop)", "()=10.0.0.1:80,10.0.0.2:80"},
		{"a group that took no part contributes none", "label(version)(1.0.3|(2).*)", "()=10.0.0.1:80 (2)=10.0.0.2:80"},
		{"groups that capture nothing", "label(version)(1(?:.*))", "()=10.0.0.1:80"},
		{"the whole text is matched", "label(version)(1.0)", ""},
		{"a dot is any character", "label(version)(1.0.3)", "()=10.0.0.1:80"},
		{"letter case counts", "label(app)(SHOP)", ""},
		{"unless it is told not to", "label(app)((?i)SHOP)", "()=10.0.0.1:80,10.0.0.2:80"},
		{"an odd name becomes a sum", "label(ab)((.*))", "d56fec4564e0895e1696d0fce613963c7c6bdd390000=10.0.0.4:8080"},
		{"by name", "name((shop).web)", "(shop)=10.0.0.4:8080"},
		{"by image", "image(shop:.*)", "()=10.0.0.4:8080"},
		{"what has no image is of none", "image(.*)", "()=10.0.0.4:8080"},
		{"by kind", "kind(container)", "()=10.0.0.4:8080"},
		{"an ID by its last segment", "id(web-(.*))", "(1.0)=10.0.0.5:31000"},
		{"an ID as a whole", "id(/shop/(.*)/web-1.0)", "(eu)=10.0.0.5:31000"},
		{"an ID under the other name of the operand", `name(/shop/eu/web-1\.0)`, "()=10.0.0.5:31000"},
		{"not a part of an ID", "id(/shop/eu) or id(eu/.*) or id(shop/eu/web-1.0)", ""},
		{"the name before the ID, where both match", "kind(app) and id(.*(we|sh).*)", "(we)=10.0.0.5:31000"},
		{"the ID alone, where the name does not match", "id(.*(sh).*) and kind(app)", "(sh)=10.0.0.5:31000"},
		{"neither by a negation", "kind(app) and not id(/shop/.*)", ""},
		{"by the port that is declared", "port(80) and index(1)", "()=10.0.0.4:8080"},
		{"not by the port where it listens", "port(8080)", ""},
		{"by address", `ip(10\.0\.0\.[14])`, "()=10.0.0.1:80,10.0.0.4:8080"},
		{"by the own namespace", "namespace($namespace)", "()=10.0.0.4:8080"},
		{"by a namespace", "namespace(sh.*)", "()=10.0.0.4:8080"},
		{"nothing", "false and true", ""},
		{"all but some", "not label(app)(.*) and !false and not kind(app)", "()=10.0.0.4:8080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := grouped(t, tt.selector, all...); got != tt.want {
				t.Errorf("%s finds %q, want %q", tt.selector, got, tt.want)
			}
		})
	}
}

func TestSelectorPatternsAreJava(t *testing.T) {
	for _, tt := range []struct {
		name, pattern string
		yes, no       []string
	}{
		{"a quotation", `\Qa.b*\Ec`, []string{"a.b*c"}, []string{"axbbc"}},
		{"white space knows the vertical tab", `a\sb`, []string{"a b", "a\vb"}, []string{"ab"}},
		{"all but white space", `a\Sb`, []string{"a-b"}, []string{"a b", "a\vb"}},
		{"white space in a class", `[\sx]`, []string{"\v", "x"}, []string{"y"}},
		{"sets of ASCII characters", `\p{Lower}[\p{Digit}_]\P{Alpha}`, []string{"a1-", "z_9"}, []string{"ä1-", "a1b"}},
		{"categories of Unicode", `\p{Lu}\pL\p{IsL}`, []string{"Äbc"}, []string{"ä12"}},
		{"a dot is no end of a line", `a.b`, []string{"axb"}, []string{"a\rb", "a\u2028b", "a\nb"}},
		{"unless it is told to be", `(?s)a.b`, []string{"a\rb", "a\nb"}, []string{"ab"}},
		{"a character by number", `\x41\u0042`, []string{"AB"}, []string{"ab"}},
		{"marks that are escaped", `\-\.\_\ \{`, []string{"-._ {"}, []string{"-x_ {"}},
		{"counts", `a{2}b{1,}c{0,1}`, []string{"aab", "aabbc"}, []string{"ab", "aabcc"}},
		{"lazy quantifiers", `a+?b*?`, []string{"a", "aab"}, []string{"b"}},
		{"a class that begins with its end", `[]a]+`, []string{"]a"}, []string{"b"}},
		{"alternatives are matched whole", `ab|a`, []string{"ab", "a"}, []string{"abc", "xa"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, text := range tt.yes {
				if grouped(t, "label(x)("+tt.pattern+")", instance("10.0.0.1", "x="+text)) == "" {
					t.Errorf("%s does not match %q", tt.pattern, text)
				}
			}
			for _, text := range tt.no {
				if grouped(t, "label(x)("+tt.pattern+")", instance("10.0.0.1", "x="+text)) != "" {
					t.Errorf("%s matches %q", tt.pattern, text)
				}
			}
		})
	}
}

// FuzzParseSelector checks that what a selector is formatted to is the same
// selector, and finds the same.
func FuzzParseSelector(f *testing.F) {
	for _, text := range []string{
		"label(app)(shop) && label(version)((.*))", "not (name(a) or ! kind(b)) and port(80)", "1|t&f or 0", `label( a(\p{Lower}) )([^x\s]+?)`,
		"namespace($namespace) and index(3)", `ip(10\.0\.0\.\d{1,3})`, "image((?i)shop:.*)",
		`id(/b/(.*)) or name(a\.b) and id(\Q/b/a\E)`,
	} {
		f.Add(text)
	}
	list := routing.NewInstances([]*routing.Instance{
		instance("10.0.0.1", "app=shop", "version=1.0.3"), instance("10.0.0.2", "app=shop", "version=2.0.1"),
		{Name: "a", Kind: "b", Namespace: "shop", Image: "shop:1", Address: netip.MustParseAddr("10.0.0.3"), Port: 80, Index: 3},
		{Name: "a", ID: "/b/a", Kind: "app", Address: netip.MustParseAddr("10.0.0.4"), Port: 80},
	})
	f.Fuzz(func(t *testing.T, text string) {
		s, err := routing.ParseSelector(text)
		if err != nil {
			if e, ok := errors.AsType[*routing.SelectorError](err); !ok || e.Offset < 0 || e.Offset > len(text) || e.Problem == "" {
				t.Fatalf("ParseSelector(%q) = %v", text, err)
			}
			return
		}
		again, err := routing.ParseSelector(s.String())
		if err != nil || !again.Equal(s) || again.String() != s.String() {
			t.Fatalf("%q is formatted to %q, which is read as %q (%v)", text, s, again, err)
		}
		if a, b := fmt.Sprint(s.Groups(list, "shop")), fmt.Sprint(again.Groups(list, "shop")); a != b {
			t.Fatalf("%q finds %s, formatted %s", text, a, b)
		}
	})
}
