// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
)

// unescape resolves the escapes in the texts of case files.
var unescape = strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\r`, "\r", `\f`, "\f", `\0`, "\x00")

var update = flag.Bool("update", false, "rewrite the expected results in testdata")

// TestParse reads testdata/parse.txt: a comment names what its texts show;
// below each text stands the canonical form, or the refusal.
func TestParse(t *testing.T) {
	runCases(t, "testdata/parse.txt", func(_ []string, text string) string {
		e, err := conditions.Parse(text)
		if err != nil {
			return refusal(t, text, err)
		}
		again, err := conditions.Parse(e.String())
		if err != nil || !again.Equal(e) {
			t.Errorf("Parse(%q) = %v, %v, want the tree of %q", e.String(), again, err, text)
		}
		return e.String()
	})
}

// refusal returns the message of err, checked for what every refusal has.
func refusal(t *testing.T, text string, err error) string {
	t.Helper()
	var syntax *conditions.SyntaxError
	if !errors.As(err, &syntax) {
		t.Fatalf("Parse(%q) error is a %T, want a *SyntaxError", text, err)
	}
	if syntax.Offset < 0 || syntax.Offset > len(text) || syntax.Problem == "" {
		t.Errorf("Parse(%q) = %+v, want an offset within the text and a problem", text, syntax)
	}
	return fmt.Sprintf("refused at byte %d: %v", syntax.Offset, err)
}

// runCases calls result for each text of a file and compares what it returns
// with the indented line below the text. Lines that start with "> " are handed
// on with the texts after them.
func runCases(t *testing.T, file string, result func(given []string, text string) string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var heading string
	var given []string
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		out.WriteString(line + "\n")
		switch {
		case line == "":
		case strings.HasPrefix(line, "# "):
			heading, given = line[2:], nil
		case strings.HasPrefix(line, "> "):
			given = append(given, line[2:])
		default:
			want := ""
			if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t") {
				i++
				want = lines[i][1:]
			}
			got := want
			t.Run(heading+"/"+line, func(t *testing.T) {
				got = result(given, unescape.Replace(line))
				if got != want && !*update {
					t.Errorf("%s:%d: %s\n got %s\nwant %s", file, i+1, line, got, want)
				}
			})
			out.WriteString("\t" + got + "\n")
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestParseBounds(t *testing.T) {
	or := func(n int) string { return strings.Repeat("host=a | ", n) + "host=b" }
	nested := func(n int) string { return strings.Repeat("(", n) + "host == a" + strings.Repeat(")", n) }
	for _, tt := range []struct {
		name, text, problem string
	}{
		{"a text of the longest length is read", "host == " + strings.Repeat("a", conditions.MaxTextBytes-8), ""},
		{"a longer text is refused", "host == " + strings.Repeat("a", conditions.MaxTextBytes-7), "too long"},
		{"a text that is too long only in canonical form is refused", or(800), "canonical"},
		{"hundreds of parts are read", or(500), ""},
		{"the deepest nesting is read", nested(conditions.MaxNesting), ""},
		{"a deeper nesting is refused", nested(conditions.MaxNesting + 1), "too deeply"},
		{"negations count as deep as their parentheses", strings.Repeat("!(", 101) + "host=a" + strings.Repeat(")", 101), "too deeply"},
		{"groups side by side are not deep", strings.Repeat("(host=a)|\n", 500) + "host=b", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := conditions.Compile(tt.text)
			switch {
			case tt.problem == "" && err != nil:
				t.Errorf("Compile() error = %v, want none", err)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("Compile() = %v, %v, want an error about %q", c, err, tt.problem)
			case tt.problem == "":
				if _, err := conditions.Compile(c.String()); err != nil {
					t.Errorf("canonical form is refused: %v", err)
				}
			}
		})
	}
}

// Texts that make a parser with backtracking try much again and again take as
// long as any other: not minutes. A busy machine may halt for a second.
func TestParseStaysFastOnHostileTexts(t *testing.T) {
	full := func(s string) string { return strings.Repeat(s, conditions.MaxTextBytes/len(s)) }
	for _, text := range []string{
		full("("), full(")"), full("!("), full("not ("), full("!"), full("not "), full("()"),
		strings.Repeat("(", 100) + full("host=a or ")[:8000],
		full("(host=a or "), full("'"), full(`"`), full(`host='a & `), full(`host='a''`), full("host=''a & "),
		full("has "), full("cookie "), full("host "), full("&"), full("| "), full("\t"), full("a"), full("<"),
		full("\xff"), full("cookie a=="), "cookie a" + full(" ")[:8000], full("user"), full("é"),
	} {
		start := time.Now()
		for range 10 {
			_, _ = conditions.Parse(text)
		}
		if took := time.Since(start) / 10; took > 2*time.Second {
			t.Errorf("Parse(%.20q...) took %v", text, took)
		}
	}
}

func TestEqual(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		want       bool
	}{
		{"spelling does not count", "HOST is a  &&\tuser.agent = b", `host == "a" and useragent has b`, true},
		{"needless parentheses do not count", "((host == a) or (host == b and host == c))", "host == a or host == b and host == c", true},
		{"grouping counts", "host == a or (host == b or host == c)", "host == a or host == b or host == c", false},
		{"the order of tests counts", "host == a or host == b", "host == b or host == a", false},
		{"the letter case of values counts", "host == a", "host == A", false},
		{"the form of a negation counts", "host != a", "not host == a", false},
		{"header and cookie differ", "has header a", "has cookie a", false},
		{"and differs from or", "host == a or host == b", "host == a and host == b", false},
		{"what is negated counts", "not (host == a or host == b)", "not (host == a or host == c)", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustParse(t, tt.a).Equal(mustParse(t, tt.b)); got != tt.want {
				t.Errorf("Expr.Equal = %v, want %v", got, tt.want)
			}
			if got := mustCompile(t, tt.a).Equal(mustCompile(t, tt.b)); got != tt.want {
				t.Errorf("Condition.Equal = %v, want %v", got, tt.want)
			}
		})
	}
	t.Run("nil equals only nil", func(t *testing.T) {
		var e *conditions.Expr
		var c *conditions.Condition
		if !e.Equal(nil) || e.Equal(mustParse(t, "host == a")) || mustParse(t, "host == a").Equal(e) {
			t.Error("Expr.Equal is wrong for nil")
		}
		if !c.Equal(nil) || c.Equal(mustCompile(t, "host == a")) || mustCompile(t, "host == a").Equal(c) {
			t.Error("Condition.Equal is wrong for nil")
		}
	})
}

func TestSyntaxErrorCountsCharacters(t *testing.T) {
	// A text is read up to its first fault, so only its length can lie behind
	// a character of several bytes.
	_, err := conditions.Parse(strings.Repeat("é", conditions.MaxTextBytes))
	var syntax *conditions.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset != 8192 || !strings.HasPrefix(syntax.Error(), "character 4097: ") {
		t.Errorf("error = %v, want character 4097 at byte 8192", err)
	}
	if got := (&conditions.SyntaxError{Problem: "p"}).Error(); got != "character 1: p" {
		t.Errorf("Error() = %q, want %q", got, "character 1: p")
	}
}

func mustParse(tb testing.TB, text string) *conditions.Expr {
	tb.Helper()
	e, err := conditions.Parse(text)
	if err != nil {
		tb.Fatalf("Parse(%q) error = %v", text, err)
	}
	return e
}

func mustCompile(tb testing.TB, text string) *conditions.Condition {
	tb.Helper()
	c, err := conditions.Compile(text)
	if err != nil {
		tb.Fatalf("Compile(%q) error = %v", text, err)
	}
	return c
}
