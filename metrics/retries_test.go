// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestRouteTellsOfItsRetries(t *testing.T) {
	route := metrics.New(metrics.Options{}).Gateway("g").Route("r")
	if got, ever := route.ReadRetries(1); ever {
		t.Errorf("ReadRetries() = %+v of a route of which nobody tells, want nothing", got)
	}
	var now metrics.RouteRetries
	route.SetRetries(func(active uint64) metrics.RouteRetries {
		now.Budget = float64(active) / 10
		return now
	})
	if got, ever := route.ReadRetries(1); ever {
		t.Errorf("ReadRetries() = %+v of a route that has not retried, want nothing", got)
	}
	for _, now = range []metrics.RouteRetries{{Begun: 1}, {Spent: 2}} {
		want := now
		want.Budget = 0.5
		if got, ever := route.ReadRetries(5); !ever || got != want {
			t.Errorf("ReadRetries() = %+v, %v, want %+v", got, ever, want)
		}
	}
	route.SetRetries(nil)
	if _, ever := route.ReadRetries(5); ever {
		t.Error("a route tells of its retries though nobody does any more")
	}
}

func TestRouteCountsWhatIsUnderWay(t *testing.T) {
	route := metrics.New(metrics.Options{}).Gateway("g").Route("r")
	begins := []func(uint32){route.Begin, route.BeginTaken, route.BeginKept, route.Begin}
	for i, begin := range begins {
		begin(uint32(i))
		if got := route.InFlight(); got != uint64(i+1) {
			t.Errorf("InFlight() = %d after %d began", got, i+1)
		}
	}
	for i, code := range []int{200, 404, 503} {
		route.End(uint32(i), &metrics.Observation{Code: code})
		if got, want := route.InFlight(), uint64(len(begins)-i-1); got != want {
			t.Errorf("InFlight() = %d after %d of %d ended", got, i+1, len(begins))
		}
	}
}
