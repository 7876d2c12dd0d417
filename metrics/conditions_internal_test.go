// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
	"testing"
)

// How many tallies there are cannot be seen from outside, only that counts
// are right with any number of them.
func TestCollectedViewsAreFolded(t *testing.T) {
	a, b := ConditionKey{Route: "a", Condition: "x"}, ConditionKey{Route: "b", Condition: "y"}
	gw := New(Options{}).Gateway("shop")
	for i := range 10 {
		keys := []ConditionKey{a, b}
		if i%2 == 1 {
			keys = []ConditionKey{b, a}
		}
		gw.SetConditions(keys)
		gw.Conditions().Asked(0, 1, true)
	}
	tallies := func() int {
		gw.registry.mu.Lock()
		defer gw.registry.mu.Unlock()
		return len(gw.ledger.tallies)
	}
	for tallies() > 1 {
		runtime.GC() // cleanups run some time after the collection
	}
	for _, c := range gw.ReadConditions() {
		want := ConditionTotals{c.ConditionKey, 10, 5, 5}
		if c != want {
			t.Errorf("counts = %+v, want %+v", c, want)
		}
	}
}
