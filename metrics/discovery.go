// SPDX-License-Identifier: Apache-2.0

package metrics

import "slices"

// What is known of where a source watches, such as a cluster.
var (
	DiscoveryObjects = family(KindGauge, "sluice_discovery_objects",
		"Objects that are known of a cluster, by resource.", "resource")
	DiscoveryHeldBack = family(KindGauge, "sluice_discovery_held_back",
		"Objects of a cluster whose absence is not believed yet, by resource.", "resource")
	DiscoveryStale = family(KindGauge, "sluice_discovery_stale_seconds",
		"Time since anything was heard of a resource that cannot be watched; 0 while it is.", "resource")
)

// Discovery is what is known of the objects of a resource.
type Discovery struct {
	Resource          string
	Objects, HeldBack int
	Stale             float64 // seconds; 0 while it is watched
}

// Discovery adds what tells how the resources of a source fare, each once;
// resources of two sources differ. It is called whenever they are read, from
// any goroutine. Calls of Discovery do not overlap.
func (r *Registry) Discovery(each func(yield func(Discovery) bool)) {
	all := append(slices.Clip(r.discoveries), each)
	r.discoveries = all
	gauge := func(f Family, value func(Discovery) float64) {
		r.GaugeEach(f.Name, f.Help, func(yield func(float64, ...Label) bool) {
			for more, i := true, 0; more && i < len(all); i++ {
				all[i](func(d Discovery) bool {
					more = yield(value(d), Label{"resource", d.Resource})
					return more
				})
			}
		})
	}
	gauge(DiscoveryObjects, func(d Discovery) float64 { return float64(d.Objects) })
	gauge(DiscoveryHeldBack, func(d Discovery) float64 { return float64(d.HeldBack) })
	gauge(DiscoveryStale, func(d Discovery) float64 { return d.Stale })
}
