// SPDX-License-Identifier: Apache-2.0

//go:build linux

package load_test

import (
	"runtime"
	"testing"

	"github.com/sluice-mesh/sluice/bench/load"
)

// TestNoAllocation does not run in parallel, since it counts what the whole
// process allocates.
func TestNoAllocation(t *testing.T) {
	s := listen(t, false, answerReads)
	for _, tt := range []struct {
		name string
		plan load.Plan
	}{
		{"closed loop", load.Plan{}},
		{"open loop", load.Plan{Rate: 100_000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			allocated := func(n int64) uint64 {
				p := tt.plan
				p.Address, p.Connections, p.Requests = s.address, 8, n
				p.Mix = []load.Request{{Weight: 3, Wire: get("/a")}, {Weight: 1, Wire: get("/b")}}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r, err := load.Run(t.Context(), p, nil)
				runtime.ReadMemStats(&after)
				if err != nil || r.Requests != n {
					t.Fatalf("%+v, %v; want %d answers", r, err, n)
				}
				return after.Mallocs - before.Mallocs
			}
			const more = 50_000
			few, many := allocated(1000), allocated(1000+more)
			if many > few+more/100 { // whatever else the process does meanwhile
				t.Errorf("%d more requests allocate %d times more", more, many-few)
			}
		})
	}
}
