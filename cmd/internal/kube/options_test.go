// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sluice-mesh/sluice/cmd/internal/kube"
)

// The table of flags in docs/kubernetes.md has each flag, and no other.
func TestFlagsAreDocumented(t *testing.T) {
	document, err := os.ReadFile("../../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(document), "\n## Flags\n")
	if !found {
		t.Fatal("docs/kubernetes.md has no section of flags")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	told := make(map[string]bool)
	for line := range strings.Lines(table) {
		row, ok := strings.CutPrefix(line, "| `--")
		if !ok {
			continue
		}
		flags, _, _ := strings.Cut(row, " | ")
		for _, m := range regexp.MustCompile("`(?:--)?([a-z-]+)").FindAllStringSubmatch("`"+flags, -1) {
			told[m[1]] = true
		}
	}
	flags := pflag.NewFlagSet("control", pflag.ContinueOnError)
	new(kube.Options).Flags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if !told[f.Name] {
			t.Errorf("docs/kubernetes.md does not tell of --%s", f.Name)
		}
		delete(told, f.Name)
	})
	for name := range told {
		t.Errorf("docs/kubernetes.md tells of --%s, which there is not", name)
	}
}
