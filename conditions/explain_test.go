// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// TestExplain reads testdata/explain.txt: below each condition stands whether
// it holds, and each of its clauses with a sign: + holds, - does not, in
// parentheses if it was not asked.
func TestExplain(t *testing.T) {
	runCases(t, "testdata/explain.txt", func(given []string, text string) string {
		c, r := mustCompile(t, text), newRequest(given...)
		explainedRightly(t, c, r, c.Holds(r))
		holds, clauses := c.Explain(r)
		lines := []string{strconv.FormatBool(holds)}
		for _, clause := range clauses {
			sign := map[bool]string{true: "+", false: "-"}[clause.Holds]
			if !clause.Asked {
				sign = "(" + sign + ")"
			}
			lines = append(lines, sign+" "+clause.Text+" saw "+clause.Saw)
		}
		return strings.Join(lines, " | ")
	})
}

// explainedRightly checks that Explain comes to the same as Holds, that its
// clauses alone give that verdict, and that what it shows is bounded.
func explainedRightly(t *testing.T, c *conditions.Condition, r *staticRequest, want bool) {
	t.Helper()
	faults := c.Faults()
	got, clauses := c.Explain(r)
	if got != want {
		t.Errorf("Explain(%q) = %v, but Holds = %v", c, got, want)
	}
	if c.Faults() != faults {
		t.Errorf("Explain(%q) counts faults", c)
	}
	if len(clauses) == 0 || !clauses[0].Asked {
		t.Errorf("Explain(%q) does not ask its first clause: %+v", c, clauses)
	}
	for _, clause := range clauses {
		one := mustCompile(t, clause.Text)
		if one.Holds(r) != clause.Holds {
			t.Errorf("Explain(%q): clause %q holds: %v, but alone it does not", c, clause.Text, clause.Holds)
		}
		if len(clause.Saw) > conditions.MaxSawBytes+10 || clause.Saw == "" {
			t.Errorf("Explain(%q): clause %q saw %d bytes", c, clause.Text, len(clause.Saw))
		}
	}
}

func TestExplainOfTheZeroCondition(t *testing.T) {
	var c conditions.Condition
	if holds, clauses := c.Explain(newRequest()); holds || clauses != nil {
		t.Errorf("Explain() = %v, %v, want false and no clauses", holds, clauses)
	}
}

// What Explain returns is kept after the request is gone, and its memory used
// for another.
func TestExplainKeepsNothingOfTheRequest(t *testing.T) {
	buffer := []byte("canary/a?q=b")
	view := viewOf(buffer)
	r := &staticRequest{method: view[:6], target: view, fields: []field{{"Host", view}, {"X-Stage", view[:6]}, {"Cookie", "a=" + view}}}
	c := mustCompile(t, `method == x or path == x or host == x or header x-stage == x or cookie a == x or query q == x or expr(path == header("x-stage"))`)
	_, clauses := c.Explain(r)
	before := fmt.Sprint(clauses)
	for i := range buffer {
		buffer[i] = '#'
	}
	if after := fmt.Sprint(clauses); after != before {
		t.Errorf("clauses were %s and are %s", before, after)
	}
}
