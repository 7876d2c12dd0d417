// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestRouteTellsItsLoad(t *testing.T) {
	route := metrics.New(metrics.Options{}).Gateway("g").Route("r")
	if got := route.ReadLoad(); got != (metrics.Load{}) {
		t.Errorf("ReadLoad() = %+v of a route of which nobody tells, want nothing", got)
	}
	n := 0
	route.SetLoad(func() metrics.Load { n++; return metrics.Load{Queues: true, Queued: n} })
	for want := 1; want < 3; want++ {
		if got := route.ReadLoad(); !got.Queues || got.Queued != want {
			t.Errorf("ReadLoad() = %+v, want %d queued", got, want)
		}
	}
	route.SetLoad(nil)
	if got := route.ReadLoad(); got != (metrics.Load{}) {
		t.Errorf("ReadLoad() = %+v after the limits went, want nothing", got)
	}
}
