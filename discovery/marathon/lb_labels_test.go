// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// manual is where the labels are written down for people.
const manual = "../../docs/marathon.md"

var manualTable = regexp.MustCompile(`(?s)(<!-- labels: [^\n]*-->\n).*(<!-- end of labels -->)`)

func TestTheManualListsTheLabels(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	if !manualTable.Match(text) {
		t.Fatalf("%s has no place for the labels", manual)
	}
	var b strings.Builder
	b.WriteString("\n| label | | what becomes of it |\n| --- | --- | --- |\n")
	for _, row := range labelRows() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", row.written(), row.result, row.becomes)
	}
	want := manualTable.ReplaceAllFunc(text, func(old []byte) []byte {
		parts := manualTable.FindSubmatch(old)
		return slices.Concat(parts[1], []byte(b.String()+"\n"), parts[2])
	})
	if string(want) == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s lists other labels than are known; run go test ./discovery/marathon -update", manual)
	}
	if err := os.WriteFile(manual, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEachLabelHasOneRow(t *testing.T) {
	seen := make(map[string]bool)
	for _, row := range labelRows() {
		if seen[row.name] {
			t.Errorf("%s has two rows", row.name)
		}
		seen[row.name] = true
		if row.becomes == "" || strings.ContainsAny(row.becomes, "|\n") {
			t.Errorf("%s: what becomes of it is %q, which is no text for a table", row.name, row.becomes)
		}
		if row.result == Wrong {
			t.Errorf("%s is wrong, whatever its value", row.name)
		}
		if row.result == Translated && row.read == nil && row.ofAll == nil && !strings.HasPrefix(row.name, "DEPLOYMENT_") {
			t.Errorf("%s is translated, but nothing reads it", row.name)
		}
	}
}
