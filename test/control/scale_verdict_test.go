// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"slices"
	"testing"
)

func TestMissedGoalsAreNamed(t *testing.T) {
	var r report
	r.add("memory", 149.9, 150, "MB")
	r.add("most memory", 400, 0, "MB")
	r.add("requests that failed", 1, 1, "")
	r.add("p99", 250, 250, "ms")
	want := []string{"requests that failed: 1, want less than 1", "p99: 250 ms, want less than 250 ms"}
	if got := r.missed(); !slices.Equal(got, want) {
		t.Errorf("missed() = %q, want %q", got, want)
	}
}
