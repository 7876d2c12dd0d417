// SPDX-License-Identifier: Apache-2.0

package events

import (
	"cmp"
	"context"
	"time"

	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/control/store"
)

// Recorder tells regularly how gateways and routes fare, as Vamp's workflows
// for health and metrics did. Health is told when it changes. The figures are
// only told if they are asked for: a store keeps some ten thousand events, and
// those of a busy day would drive out who changed what.
type Recorder struct {
	Book *book.Book
	Log  *Log
	// Namespaces are those to look at.
	Namespaces func() []string
	// Every is how often it looks. Zero means 60 s.
	Every time.Duration
	// Metrics is how many events with figures may be told each time; 0 none.
	Metrics int

	ill map[subject]bool // whose health is 0
}

// subject is what a number is of.
type subject struct{ namespace, gateway, route string }

// maxHealth bounds of how many gateways and routes it is known that they are
// not well, and so how many changes of that are told.
const maxHealth = 1000

// Run looks and tells until ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(cmp.Or(r.Every, time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.Log.Tell(r.Look()...)
		}
	}
}

// Look returns what is to be told now. It is not for concurrent use.
func (r *Recorder) Look() []store.Event {
	window := min(cmp.Or(r.Every, time.Minute), book.Long)
	ill := map[subject]bool{}
	var health, figures []store.Event
	for _, namespace := range r.Namespaces() {
		for _, gateway := range r.Book.Gateways(namespace) {
			g, _ := r.Book.Gateway(namespace, gateway, window)
			look := func(route string, f *book.Figures) {
				of := subject{namespace, gateway, route}
				now := f.Health()
				if now == 0 && (r.ill[of] || len(ill) < maxHealth) {
					ill[of] = true
				}
				if ill[of] != r.ill[of] {
					health = append(health, Health(namespace, gateway, route, now))
				}
				if len(figures)+2 <= r.Metrics {
					figures = append(figures,
						Metric(namespace, gateway, route, "rate", f.VampRate()),
						Metric(namespace, gateway, route, "responseTime", f.VampResponseTime()))
				}
			}
			look("", &g.Figures)
			for i := range g.Routes {
				look(g.Routes[i].Route, &g.Routes[i].Figures)
			}
		}
	}
	r.ill = ill
	return append(health, figures...)
}
