// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// TestManual reads the examples of the manual.
func TestManual(t *testing.T) {
	data, err := os.ReadFile("../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	block, seen := "", map[string]int{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if mark, ok := strings.CutPrefix(line, "```"); ok {
			block = mark
			continue
		}
		switch seen[block]++; block {
		case "yaml":
			if _, text, ok := strings.Cut(line, "condition: "); ok {
				mustParse(t, text)
			}
		case "condition":
			mustParse(t, line)
		case "refused":
			if e, err := conditions.Parse(line); err == nil {
				t.Errorf("Parse(%q) = %q, want it refused", line, e)
			}
		}
	}
	if seen["condition"] < 20 || seen["refused"] < 10 {
		t.Errorf("found %d conditions and %d refused texts, want all of the manual", seen["condition"], seen["refused"])
	}
}

func ExampleCompile() {
	c, err := conditions.Compile(`HOST is shop.example && (user.agent = chrome | !has cookie "beta")`)
	fmt.Println(c, err)
	_, err = conditions.Compile("host == shop.example and cookie beta == on")
	fmt.Println(err)
	// Output:
	// host == shop.example and (user-agent == chrome or not has cookie beta) <nil>
	// character 38: comparing a cookie with "==" is not yet supported; use: cookie beta has on
}
