// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/bench/scenario"
)

// TestBenchManual runs what docs/benchmarking.md tells a reader to run,
// shortened by the environment variables of flags that the manual leaves at
// their defaults.
func TestBenchManual(t *testing.T) {
	t.Setenv("SLUICE_DURATION", "400ms")
	tell(t, "docs/benchmarking.md")
}

// TestBenchManualHasAllKeys holds the manual's tables against what scenarios
// know.
func TestBenchManualHasAllKeys(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(repository, "docs/benchmarking.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"x: 1\n", "mix: [{x: 1}]\n"} {
		_, err := scenario.Parse("x.yaml", strings.NewReader(wrong))
		if err == nil {
			t.Fatalf("%q is accepted", wrong)
		}
		_, known, found := strings.Cut(err.Error(), "known are ")
		if !found {
			t.Fatalf("error = %v, want the known keys in it", err)
		}
		for key := range strings.SplitSeq(known, ", ") {
			if !bytes.Contains(manual, []byte("`"+key+"`")) {
				t.Errorf("docs/benchmarking.md does not tell of the key %s", key)
			}
		}
	}
}
