// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
)

// TestHostileTexts shows that what nobody would write is refused with a clear
// error, and soon.
func TestHostileTexts(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, conditions.MaxTextBytes/len(s)) }
	for _, tt := range []struct{ name, text, problem string }{
		{"64 KB", strings.Repeat("host == a or ", 5042), "the text is too long"},
		{"64 KB of one value", "host == " + strings.Repeat("a", 65528), "the text is too long"},
		{"a thousand parentheses", strings.Repeat("(", 1000) + "host == a" + strings.Repeat(")", 1000), "too deeply"},
		{"a thousand parentheses in a program", "expr(" + strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1001), "too deeply"},
		{"a thousand lists", "expr(" + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + ")", "too deeply"},
		{"bytes that are no UTF-8", "host == \xff\xfe", "not allowed in a condition"},
		{"bytes that are no UTF-8 in a program", "expr(path == \"\xff\")", "not allowed in a condition"},
		{"bytes that are no UTF-8 in a raw ACL", "< path_beg \xff >", "not UTF-8"},
		{"a control character", "host == a\x00b", "not allowed in a condition"},
		{"repeated repetitions", `path matches "((a{10}){10}){10}b{900}"`, "too large"},
		{"repeated classes", `path matches "` + strings.Repeat(`[^a]{900}`, 100) + `"`, "too large"},
		{"many classes", `path matches "` + strings.Repeat(`\pL`, 300) + `"`, "too many classes"},
		{"classes in a class", `path matches "(?i)[` + strings.Repeat(`\PN`, 300) + `]"`, "too many classes"},
		{"many groups", `path matches "` + strings.Repeat(`(`, 1000) + `"`, "missing closing"},
		{"a long regular expression", `path matches "` + strings.Repeat("a", 2000) + `"`, "too long"},
		{"a large regular expression in a program", `expr(path matches "(a{30}){1000}")`, "invalid repeat count"},
		{"a long program", "expr(" + strings.Repeat("true and ", 800) + "true)", "the program is too long"},
		{"many negations", "expr(" + strings.Repeat("!", 8000) + "true)", "the program is too long"},
		{"many signs", "expr(" + strings.Repeat("-", 8000) + "1 == 1)", "the program is too long"},
		{"many questions", "expr(" + strings.Repeat("true ? ", 1000) + "true)", ""},
		{"a long list", "expr(path in [" + strings.Repeat(`"a",`, 1900) + `"b"])`, "the program is too long"},
		{"a closure", "expr(all([1, 2], {# > 0}))", `unknown function "all"`},
		{"a range", "expr(1..1000000 == [])", `the operator ".." is not allowed`},
		{"a variable", "expr(let a = path; a == a)", "no variables"},
		{"a repetition", `expr(repeat("a", 1000000) == "")`, `unknown function "repeat"`},
		{"texts that grow", `expr(path + path == "")`, "texts are not joined"},
		{"many networks", "ip in (" + strings.Repeat("10.0.0.0/8,", 740) + "10.0.0.0/8)", "is too long"},
		{"open parentheses", fill("("), "too deeply"},
		{"open quotes", fill(`"'`), ""},
		{"open raw ACLs", fill("< "), ""},
		{"open programs", fill("expr("), "too deeply"},
		{"negations", fill("not "), "negated at once"},
		{"white space", fill(" "), "is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := conditions.Compile(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Fatalf("error = %.200v, want %q", err, tt.problem)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes: %.200v...", len(err.Error()), err)
			}
			refusal(t, tt.text, err)
			took := shortest(t, 10*time.Millisecond, func() { _, _ = conditions.Compile(tt.text) })
			t.Logf("refused in %v: %v", took, err)
		})
	}
}

// TestLargeConditionsCompile shows that what stays within the bounds is
// compiled soon as well.
func TestLargeConditionsCompile(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"the largest regular expression", `path matches "(a?){200}[^b]{200}"`},
		{"the most classes", `path matches "` + strings.Repeat(`(?i:\pL)`, conditions.MaxPatternClasses) + `"`},
		{"the longest program", "expr(" + strings.Repeat("true and ", 99) + "true)"},
		{"many regular expressions", strings.Repeat(`path matches "^/a[0-9]+/b" or `, 100) + "has cookie a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mustCompile(t, tt.text)
			took := shortest(t, 10*time.Millisecond, func() { _, _ = conditions.Compile(tt.text) })
			t.Logf("compiled in %v", took)
		})
	}
}
