// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"sync"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/discovery"
)

// listing is a source that notes when its first listing is over. It asks
// another one to confirm, if that can.
type listing struct {
	source discovery.Source
	over   chan struct{} // closed when it is
	once   sync.Once     // closes over
}

// Run implements discovery.Source.
func (l *listing) Run(ctx context.Context, sink func(discovery.Batch)) error {
	return l.source.Run(ctx, func(b discovery.Batch) {
		sink(b)
		if b.Listed {
			l.once.Do(func() { close(l.over) })
		}
	})
}

// Confirm implements discovery.Confirmer.
func (l *listing) Confirm() int {
	if c, ok := l.source.(discovery.Confirmer); ok {
		return c.Confirm()
	}
	return 0
}

// readiness returns what must hold before the API takes writes: that all
// sources have told what they have, and that each namespace has a table, or
// says why it has none yet. What holds once holds for good.
func (p *Plane) readiness() []api.Readiness {
	sources := api.Readiness{Name: "sources", Detail: "not all have told what they have"}
	tables := api.Readiness{Name: "tables", Detail: "the first ones are being made"}
	if p.ready.Load() || p.listed() {
		sources.OK, sources.Detail = true, ""
	}
	if p.ready.Load() || sources.OK && p.planned() {
		p.ready.Store(true)
		tables.OK, tables.Detail = true, ""
	}
	return []api.Readiness{sources, tables}
}

func (p *Plane) listed() bool {
	select {
	case <-p.source.over:
		return true
	default:
		return false
	}
}

// planned reports whether each namespace has a table, or is held back.
func (p *Plane) planned() bool {
	for _, ns := range p.planner.Namespaces() {
		if _, ok := p.planner.Last(ns); !ok && p.planner.Status(ns).Held == nil {
			return false
		}
	}
	return true
}
