// SPDX-License-Identifier: Apache-2.0

package watched

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestResourcesThatCannotBeWatchedAreNamed(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	watches := []Watch{
		{Resource: "pods", Objects: 3, Held: 1, Stale: at.Add(time.Minute)},
		{Resource: "services", Objects: 1},
		{Resource: "pods", Objects: 2, Stale: at},
		{Resource: "services"},
	}
	if got, want := stale(watches), "stale since 2026-11-21T12:00:00Z: pods"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := stale(watches[1:2]); got != "" {
		t.Errorf("nothing is stale, yet %q", got)
	}
	want := []metrics.Discovery{{Resource: "pods", Objects: 5, HeldBack: 1, Stale: 120}, {Resource: "services", Objects: 1}}
	if got := figures(watches, at.Add(2*time.Minute)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
