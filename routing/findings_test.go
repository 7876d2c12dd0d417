// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// findingsCases calls do for each case of testdata/findings.txt, with the
// code that its file says. The file holds cases of the form
//
//	=== the behaviour that the case shows
//	YAML
//	--- found
//	CODE text of the warning
func findingsCases(tb testing.TB, do func(name, yaml, want string) (got string)) {
	tb.Helper()
	const file = "testdata/findings.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	intro, rest, _ := strings.Cut(string(text), "=== ")
	var updated strings.Builder
	updated.WriteString(intro)
	for one := range strings.SplitSeq(rest, "\n=== ") {
		name, body, _ := strings.Cut(one, "\n")
		yaml, want, found := strings.Cut(body, "--- found\n")
		if !found {
			tb.Fatalf("%s: nothing is said to be found", name)
		}
		got := do(name, yaml, strings.TrimSpace(want))
		if got != "" {
			got += "\n"
		}
		fmt.Fprintf(&updated, "=== %s\n%s--- found\n%s\n", name, yaml, got)
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimRight(updated.String(), "\n")+"\n"), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}

// find returns what is found in a text that is good.
func find(tb testing.TB, yaml string) []*routing.Fault {
	tb.Helper()
	docs, faults := routing.Read("case.yaml", []byte(yaml))
	table, more := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	s, most := routing.Compile(nil, table, routing.CompileOptions{})
	for _, f := range slices.Concat(faults, more, most) {
		if f.Severity == routing.Refused {
			tb.Fatal(f)
		}
	}
	return routing.Findings(s)
}

func TestFindingsCases(t *testing.T) {
	findingsCases(t, func(name, yaml, want string) string {
		var lines []string
		for _, f := range find(t, yaml) {
			if f.Severity != routing.Warning || f.Allowed == "" {
				t.Errorf("%s: %+v is no warning with a remedy", name, f)
			}
			lines = append(lines, f.Code+" "+f.Error())
		}
		got := strings.Join(lines, "\n")
		if got != want && !*update {
			t.Errorf("%s: found\n%s\nwant\n%s", name, got, want)
		}
		return got
	})
}

func TestFindingsSpareWeightsThatDoNotTellAll(t *testing.T) {
	g := gateway("shop", 9000, route("[a:1]", full), route("[b:1]", 0), when("[c:1]", 0, "has cookie beta", 0))
	s, faults := compile(table(1, g))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if got, want := codes(routing.Findings(s)), "(shop RouteWeightZero), (shop RouteStrengthZero)"; got != want {
		t.Errorf("where weights tell all, found %s, want %s", got, want)
	}
	for _, tt := range []struct {
		name   string
		change func(*routing.Gateway)
	}{
		{"sessions stay when a weight becomes 0", func(g *routing.Gateway) { g.Sticky = "route" }},
		{"a selector changes weights", func(g *routing.Gateway) { g.Selector = "label(app)(shop)" }},
	} {
		changing := *g
		tt.change(&changing)
		s, faults = compile(table(1, &changing))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		if got := codes(routing.Findings(s)); got != "" {
			t.Errorf("%s, and yet found %s", tt.name, got)
		}
	}
}

// TestFindingsAreExplained holds that docs/findings.md has the codes that are
// found, and no others.
func TestFindingsAreExplained(t *testing.T) {
	shown := map[string]bool{}
	findingsCases(t, func(_, _, want string) string {
		for line := range strings.Lines(want) {
			code, _, _ := strings.Cut(line, " ")
			shown[code] = true
		}
		return want
	})
	text, err := os.ReadFile("../docs/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		explained[m[1]] = true
	}
	// These are found by Compile, which has cases of its own.
	for _, code := range []string{"RouteTargetMissing", "VirtualHostTaken", "VirtualHostMixedTLS"} {
		shown[code] = true
	}
	for code := range shown {
		if !explained[code] {
			t.Errorf("docs/findings.md does not explain %s", code)
		}
	}
	for code := range explained {
		if !shown[code] {
			t.Errorf("docs/findings.md explains %s, which no case shows", code)
		}
	}
	source, err := os.ReadFile("findings.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\tcode\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		if !shown[m[1]] {
			t.Errorf("findings.go has the code %s, which no case shows", m[1])
		}
	}
}

// TestFindingsAreShown holds that docs/findings.md shows what it says.
func TestFindingsAreShown(t *testing.T) {
	text, err := os.ReadFile("../docs/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?m)^<!-- finding: (\\w+) -->\n```text\n((?s:.*?))^```$").FindAllStringSubmatch(string(text), -1)
	if len(shown) == 0 {
		t.Fatal("docs/findings.md shows nothing")
	}
	for _, m := range shown {
		if got, want := codes(find(t, m[2])), "(shop "+m[1]+")"; got != want {
			t.Errorf("in\n%s\nfound %s, want %s", m[2], got, want)
		}
	}
}

// TestExamplesHaveNoFindings holds that nothing is wrongly found in what is
// shown to users.
func TestExamplesHaveNoFindings(t *testing.T) {
	files, err := filepath.Glob("../deploy/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range find(t, string(text)) {
			t.Errorf("%s: %v", file, f)
		}
	}
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	// What is true of examples that show a form, not a use.
	meant := []string{
		"gateways.md a-map RouteWeightZero", "gateways.md a-list RouteWeightZero",
	}
	fence := regexp.MustCompile("(?m)^```yaml\n((?s:.*?))^```$")
	examples := 0
	for _, file := range append(documents, "../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
			docs, _ := routing.Read("example.yaml", []byte(m[1]))
			table, _ := routing.Resolve(docs)
			table.Version = routing.Version{Epoch: 1, Revision: 1}
			s, _ := routing.Compile(nil, table, routing.CompileOptions{})
			examples += len(s.Gateways())
			for _, f := range routing.Findings(s) {
				if !slices.Contains(meant, fmt.Sprintf("%s %s %s", filepath.Base(file), f.Name, f.Code)) {
					t.Errorf("%s: %v\n%s", file, f, m[1])
				}
			}
		}
	}
	if examples < 10 {
		t.Errorf("%d gateways stand in the documents, want all of them", examples)
	}
}
