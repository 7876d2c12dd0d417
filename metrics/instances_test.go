// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestRouteTellsOfItsInstances(t *testing.T) {
	r := metrics.New(metrics.Options{})
	route := r.Gateway("g").Route("r")
	if got := route.ReadInstances(); got != (metrics.Instances{}) {
		t.Errorf("ReadInstances() = %+v of a route of which nobody tells, want nothing", got)
	}
	want := metrics.Instances{Watched: true, States: [4]int{1, 2, 3, 4}, Panic: true}
	route.SetInstances(func() metrics.Instances { return want })
	r.Retain(map[string][]string{"g": {"r"}})
	if got := route.ReadInstances(); got != want {
		t.Errorf("ReadInstances() = %+v, want %+v", got, want)
	}
	r.Retain(map[string][]string{"g": {"other"}})
	if got := route.ReadInstances(); got != (metrics.Instances{}) {
		t.Errorf("ReadInstances() = %+v of a route that is gone, want nothing", got)
	}
	route.SetInstances(func() metrics.Instances { return want })
	route.SetInstances(nil)
	if got := route.ReadInstances(); got != (metrics.Instances{}) {
		t.Errorf("ReadInstances() = %+v once nobody tells any more, want nothing", got)
	}
}
