// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// TestManual runs the examples of the manual.
func TestManual(t *testing.T) {
	block, seen, request := "", map[string]int{}, []string(nil)
	for line := range strings.Lines(manual(t)) {
		line = strings.TrimSuffix(line, "\n")
		if mark, ok := strings.CutPrefix(line, "```"); ok {
			block, request = mark, nil
			continue
		}
		if given, ok := strings.CutPrefix(line, "> "); ok && block == "holds" {
			request = append(request, given)
			continue
		}
		switch seen[block]++; block {
		case "yaml":
			if _, text, ok := strings.Cut(line, "condition: "); ok {
				mustParse(t, text)
			}
		case "condition":
			mustParse(t, line)
		case "holds":
			if c := mustCompile(t, line); !c.Holds(newRequest(request...)) {
				t.Errorf("%q does not hold for %q", c, request)
			}
		case "refused":
			if e, err := conditions.Parse(line); err == nil {
				t.Errorf("Parse(%q) = %q, want it refused", line, e)
			}
		}
	}
	if seen["condition"] < 20 || seen["holds"] < 60 || seen["refused"] < 20 {
		t.Errorf("found %v, want all examples of the manual", seen)
	}
}

// TestManualNamesEverything looks for all that the tables of raw ACLs and of
// programs know.
func TestManualNamesEverything(t *testing.T) {
	text := manual(t)
	for _, name := range slices.Concat(conditions.ACLNames(), conditions.ProgramNames()) {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(name) + "[`(]").MatchString(text) {
			t.Errorf("the manual does not name %q", name)
		}
	}
}

// TestManualHasTheGrammar compares the grammar of the manual with that of the
// package comment.
func TestManualHasTheGrammar(t *testing.T) {
	text := manual(t)
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	productions := 0
	for line := range strings.Lines(string(source)) {
		production, ok := strings.CutPrefix(line, "//\t")
		if ok && regexp.MustCompile(`^[A-Z][A-Za-z]+ += |^ {10}\|`).MatchString(production) {
			if productions++; !strings.Contains(text, "\n    "+production) {
				t.Errorf("the manual lacks %q", production)
			}
		}
	}
	if productions < 30 {
		t.Errorf("found %d lines of the grammar, want all", productions)
	}
}

func manual(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func ExampleCompile() {
	c, err := conditions.Compile(`HOST is shop.example && (user.agent = chrome | !has cookie "beta")`)
	fmt.Println(c, err)
	_, err = conditions.Compile("host == shop.example and cookie beta on")
	fmt.Println(err)
	// Output:
	// host == shop.example and (user-agent == chrome or not has cookie beta) <nil>
	// character 38: a comparison is missing; use: has cookie beta, cookie beta has VALUE, cookie beta == VALUE
}

func ExampleCondition_Explain() {
	c, err := conditions.Compile("path starts with /cart and cookie tier == gold and host == shop.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	holds, clauses := c.Explain(newRequest("GET /cart/7", "Host: shop.example", "Cookie: tier=silver"))
	fmt.Println(holds)
	for _, clause := range clauses {
		fmt.Printf("%s: %v (asked: %v), saw %s\n", clause.Text, clause.Holds, clause.Asked, clause.Saw)
	}
	// Output:
	// false
	// path starts with /cart: true (asked: true), saw "/cart/7"
	// cookie tier == gold: false (asked: true), saw "silver"
	// host == shop.example: true (asked: false), saw "shop.example"
}
