// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCases runs the cases of a folder of testdata. A file holds, behind an
// introduction, cases of the form
//
//	=== the behaviour that the case shows
//	YAML
//	--- what is asked
//	what is asked, and what is expected
//
// run returns the last part as it should be; -update writes that.
func runCases(t *testing.T, dir string, run func(t *testing.T, yaml, asked string) string) {
	t.Helper()
	files, err := filepath.Glob("testdata/" + dir + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			intro, rest, _ := strings.Cut(string(text), "=== ")
			var updated strings.Builder
			updated.WriteString(intro)
			for one := range strings.SplitSeq(rest, "\n=== ") {
				name, body, _ := strings.Cut(one, "\n")
				yaml, asked, found := strings.Cut(body, "--- what is asked\n")
				if !found {
					t.Fatalf("%s: nothing is asked", name)
				}
				var got string
				t.Run(name, func(t *testing.T) {
					got = run(t, yaml, asked)
					if want := strings.TrimSpace(asked); got != want && !*update {
						t.Errorf("got\n%s\nwant\n%s", got, want)
					}
				})
				fmt.Fprintf(&updated, "=== %s\n%s--- what is asked\n%s\n\n", name, yaml, got)
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimRight(updated.String(), "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
