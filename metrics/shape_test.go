// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

// Whoever keeps a list of what there is has to look again if, and only if, the
// shape is another one.
func TestShapeChangesWithWhatThereIs(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := metrics.New(metrics.Options{Now: func() time.Time { return now }})
	var gw *metrics.Gateway
	var route *metrics.Route
	keys := []metrics.ConditionKey{{Route: "a", Condition: "c"}}
	shares := func(asked float64) func() {
		return func() { gw.SetShares([]metrics.Share{{Route: route, Asked: asked}}) }
	}
	count := func() {
		route.BeginTaken(0)
		route.End(0, &metrics.Observation{Code: 200})
	}
	retain := func(names map[string][]string) func() { return func() { r.Retain(names) } }
	for _, step := range []struct {
		name              string
		do                func()
		registry, gateway bool // which of the two shapes changes
	}{
		{"a gateway comes", func() { gw = r.Gateway("shop") }, true, false},
		{"it is asked for again", func() { r.Gateway("shop") }, false, false},
		{"a route comes", func() { route = gw.Route("a") }, false, true},
		{"it counts", count, false, false},
		{"weights come", shares(0.5), false, true},
		{"the same weights", shares(0.5), false, false},
		{"other weights", shares(1), false, true},
		{"conditions come", func() { gw.SetConditions(keys) }, false, true},
		{"the same conditions", func() { gw.SetConditions(keys) }, false, false},
		{"all stay", retain(map[string][]string{"shop": {"a"}}), false, false},
		{"the gateway goes", retain(nil), false, true},
		{"it is still gone", retain(nil), false, false},
		{"it comes back", func() { r.Gateway("shop") }, false, true},
		{"it goes again", retain(nil), false, true},
		{"it is dropped", func() { now = now.Add(time.Hour); r.Gateways() }, true, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			shape, own := r.Shape(), uint64(0)
			if gw != nil {
				own = gw.Shape()
			}
			step.do()
			if got := r.Shape() != shape; got != step.registry {
				t.Errorf("the registry's shape changed: %v, want %v", got, step.registry)
			}
			if got := own != gw.Shape(); got != step.gateway {
				t.Errorf("the gateway's shape changed: %v, want %v", got, step.gateway)
			}
		})
	}
}

func TestBegunTellsHowExchangesCame(t *testing.T) {
	gw := metrics.New(metrics.Options{}).Gateway("shop")
	route := gw.Route("a")
	gw.Begin(0)
	for range 3 {
		route.Begin(1)
	}
	for range 2 {
		route.BeginTaken(2)
	}
	route.BeginKept(3)
	if got, want := route.Begun(), [metrics.Ways]uint64{3, 2, 1}; got != want {
		t.Errorf("Begun of the route = %v, want %v", got, want)
	}
	if got := gw.Begun(); got != 1 {
		t.Errorf("Begun of the gateway = %d, want the 1 that reached no route", got)
	}
}
