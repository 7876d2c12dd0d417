// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"sync"
	"time"

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

// awaitFirst closes first when each namespace has a table, or says why it has
// none yet, of which nobody tells.
func (p *Plane) awaitFirst(ctx context.Context) error {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !isClosed(p.source.over) || !p.planned() {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
	close(p.first)
	<-ctx.Done()
	return nil
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

// First is closed when all sources have told what they have, and each
// namespace has a table or is held back: the API takes writes.
func (p *Plane) First() <-chan struct{} { return p.first }

// readiness returns what must hold before the API takes writes. What holds
// once holds for good: a namespace that begins later is no reason to wait.
func (p *Plane) readiness() []api.Readiness {
	sources := api.Readiness{Name: "sources", OK: isClosed(p.source.over)}
	if !sources.OK {
		sources.Detail = "not all have told what they have"
	}
	tables := api.Readiness{Name: "tables", OK: isClosed(p.first)}
	if !tables.OK {
		tables.Detail = "the first ones are being made"
	}
	all := []api.Readiness{sources, tables}
	// What is known of what is watched serves, however old it is.
	if p.cluster != nil {
		all = append(all, api.Readiness{Name: "kubernetes", OK: true, Detail: p.cluster.Stale()})
	}
	if p.marathon != nil {
		all = append(all, api.Readiness{Name: "marathon", OK: true, Detail: p.marathon.Stale()})
	}
	return all
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
