// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
	"testing"
)

// Whether counts are final cannot be seen from outside, only that they are
// right either way.
func TestRoutesThatNobodyHoldsAreAddedUp(t *testing.T) {
	r := New(Options{Linger: -1, Shards: 4, Reasons: []string{"none", "no_route"}})
	gw := r.Gateway("shop")
	o := Observation{Code: 200, Duration: 10, Upstream: 5, BytesIn: 1, BytesOut: 2}
	failed := Observation{Code: 503, Duration: 20, Reason: 1}
	var want Totals
	for range 10 {
		route := gw.Route("canary")
		route.Begin(0) // never ends
		for shard := range uint32(4) {
			route.Begin(shard)
			route.Begin(shard)
			route.End(shard, &o)
			r.Retain(map[string][]string{"shop": nil})
			route.End(shard, &failed)
			want.Requests[Class2xx]++
			want.Requests[Class5xx]++
			want.BytesIn++
			want.BytesOut += 2
			want.Duration.Sum += 30
			want.Duration.Counts[0] += 2
			want.Reasons[1]++
		}
	}
	open := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(gw.legacy.open)
	}
	for open() > 0 {
		runtime.GC() // cleanups run some time after the collection
	}
	var got Totals
	gw.Read(&got)
	if got != want {
		t.Errorf("gateway = %+v, want %+v", got, want)
	}
}
