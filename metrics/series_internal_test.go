// SPDX-License-Identifier: Apache-2.0

package metrics

import "testing"

// own returns how many shards have a cell of their own.
func own(s *series) (n int) {
	for i := range s.cells {
		if s.cells[i].Load() != s.base {
			n++
		}
	}
	return n
}

// Where counts lie cannot be seen from outside, only how much they cost.
func TestBusySeriesSpread(t *testing.T) {
	for _, tt := range []struct {
		name          string
		shards, begun int
		spare         int64
		want          int
	}{
		{"an idle one keeps one cell", 4, spreadEvery - 1, 10, 0},
		{"a busy one takes more one by one", 4, spreadEvery, 10, 1},
		{"up to one for each shard", 4, 20 * spreadEvery, 10, 4},
		{"a single shard has its cell", 1, 2 * spreadEvery, 10, 0},
		{"none are left to take", 4, 20 * spreadEvery, 3, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := New(Options{Shards: tt.shards})
			r.spare.Store(tt.spare)
			route := r.Gateway("shop").Route("canary")
			for i := range tt.begun {
				// The shard changes after each whole round, so that every one
				// comes to the end of a round.
				route.Begin(uint32(i / spreadEvery))
			}
			if got := own(&route.series); got != tt.want {
				t.Errorf("%d shards have a cell of their own, want %d", got, tt.want)
			}
			if got := r.spare.Load(); got != tt.spare-int64(tt.want) {
				t.Errorf("%d cells are left, want %d", got, tt.spare-int64(tt.want))
			}
			var totals Totals
			route.Read(&totals)
			if totals.InFlight != uint64(tt.begun) {
				t.Errorf("in flight = %d, want %d", totals.InFlight, tt.begun)
			}
			r.o.Linger = -1
			r.Retain(nil)
			for i := range 20 * spreadEvery {
				route.Begin(uint32(i / spreadEvery))
			}
			if got := r.spare.Load(); got != tt.spare {
				t.Errorf("%d cells are left once the route is gone, want %d", got, tt.spare)
			}
		})
	}
}
