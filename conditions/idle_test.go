// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

func TestIdlePatterns(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"anything", `path matches ".*"`, `[path matches .*]`},
		{"anything from the start", `path matches "^.*"`, `[path matches ^.*]`},
		{"anything to the end", `path matches ".*$"`, `[path matches .*$]`},
		{"anything between", `header a matches "^.*$"`, `[header a matches ^.*$]`},
		{"a group of anything", `header a matches "^(.*)$"`, `[header a matches "^(.*)$"]`},
		{"an end alone", `cookie a matches "$"`, `[cookie a matches $]`},
		{"nothing as an alternative", `path matches "a|b|"`, `[path matches "a|b|"]`},
		{"an optional part", `path matches "(abc)?"`, `[path matches "(abc)?"]`},
		{"something", `path matches ".+"`, "[]"},
		{"a letter", `path matches "^a*$"`, "[]"},
		{"an empty text", `path matches "^$"`, "[]"},
		{"a word", `path matches "\b"`, "[]"},
		{"something after the end", `path matches "$a?^b?"`, "[]"},
		{"parameters may have several lines", `query a matches "^.*$"`, "[]"},
		{"unless the dot takes them", `query a matches "(?s)^.*$"`, `[query a matches "(?s)^.*$"]`},
		{"all of them, in order", `path matches "a*" and not (has cookie a or header b matches "b*")`, "[path matches a* header b matches b*]"},
		{"in a raw ACL", "< path_reg a* > or < path_reg a+ >", "[< path_reg a* >]"},
		{"in a program", `expr(path matches "a*") or expr(path matches "a+")`, `[expr(path matches "a*")]`},
		{"other tests", "path has a and < path_beg / >", "[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmt.Sprint(mustCompile(t, tt.text).IdlePatterns()); got != tt.want {
				t.Errorf("IdlePatterns(%q) = %s, want %s", tt.text, got, tt.want)
			}
		})
	}
	if got := new(conditions.Condition).IdlePatterns(); got != nil {
		t.Errorf("the zero Condition has idle patterns: %q", got)
	}
}

// FuzzIdlePatterns looks for a text that is not matched by an expression that
// is said to match all.
func FuzzIdlePatterns(f *testing.F) {
	for _, expression := range []string{"^.*$", "(?m)^$", "a?$", "^(a|b|)", "$^", `\b|`, "(?s)^(.*)$", "(?i)k*", "a{0,3}"} {
		f.Add(expression, "ab\nc")
	}
	f.Fuzz(func(t *testing.T, expression, text string) {
		c, err := conditions.Compile("query a matches " + expression)
		if err != nil || len(c.IdlePatterns()) == 0 || !strings.HasPrefix(c.String(), "query a matches") {
			return
		}
		canonical := strings.TrimPrefix(c.String(), "query a matches ")
		if strings.Contains(canonical, " ") || strings.ContainsAny(canonical, `'"`) {
			return // quoted, or more than the one test
		}
		if re := regexp.MustCompile(canonical); !re.MatchString(text) || !re.MatchString("") {
			t.Errorf("%q is said to match all, but not %q", canonical, text)
		}
	})
}
