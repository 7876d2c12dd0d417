// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/limit"
)

func TestBudgetIsSpentAndGivenBack(t *testing.T) {
	var b limit.Budget
	for i, step := range []struct {
		most int64
		want bool
	}{{0, false}, {2, true}, {2, true}, {2, false}, {3, true}, {1, false}} {
		if got := b.Take(step.most); got != step.want {
			t.Fatalf("step %d: Take(%d) = %v with %d under way, want %v", i, step.most, got, b.InFlight(), step.want)
		}
	}
	b.Again()
	b.Give()
	if !b.Take(3) {
		t.Error("what was given back is not taken")
	}
	if b.InFlight() != 3 || b.Begun() != 5 || b.Spent() != 3 {
		t.Errorf("%d under way, %d begun, %d refused; want 3, 5 and 3", b.InFlight(), b.Begun(), b.Spent())
	}
}

// Never more are under way than may be, and never is one refused while there
// is room for it.
func TestBudgetIsExactUnderContention(t *testing.T) {
	const most, workers, each = 5, 16, 2000
	var b limit.Budget
	var inside, taken atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if !b.Take(most) {
					continue
				}
				taken.Add(1)
				if n := inside.Add(1); n > most {
					t.Errorf("%d retries under way, want %d at most", n, most)
				}
				inside.Add(-1)
				b.Give()
			}
		})
	}
	wg.Wait()
	if b.InFlight() != 0 || int64(b.Begun()) != taken.Load() || b.Begun()+b.Spent() != workers*each {
		t.Errorf("%d under way, %d begun, %d refused of %d; %d were allowed", b.InFlight(), b.Begun(), b.Spent(), workers*each, taken.Load())
	}
	var allowed atomic.Int64
	for range workers {
		wg.Go(func() {
			if b.Take(most) {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != most {
		t.Errorf("%d are under way of those that nobody gave back, want %d", n, most)
	}
}
