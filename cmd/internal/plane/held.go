// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"time"

	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
)

const (
	// heldEvery is how often it is looked whether anything is held back: often
	// enough to be told of before it is believed.
	heldEvery = 5 * time.Second
	// maxHeld bounds the events of one look.
	maxHeld = 100
)

// absence names what is held back, and since when.
type absence struct {
	namespace, key string
	since          time.Time
}

// watchHeld tells of absences that are held back until ctx ends.
func (p *Plane) watchHeld(ctx context.Context) error {
	tick := time.NewTicker(heldEvery)
	defer tick.Stop()
	seen, more := uint64(0), false
	var told map[absence]bool
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		stats := p.planner.Stats()
		if stats.HeldBack == seen && !more { // nothing new is
			continue
		}
		seen = stats.HeldBack
		var list []planner.Status
		for _, ns := range p.planner.Namespaces() {
			list = append(list, p.planner.Status(ns))
		}
		var fresh []store.Event
		fresh, told, more = heldBack(list, told)
		p.events.Tell(fresh...)
	}
}

// heldBack returns the events of absences that were not told, what is told
// then, and whether there are more, which the next look tells.
func heldBack(list []planner.Status, before map[absence]bool) (fresh []store.Event, told map[absence]bool, more bool) {
	told = make(map[absence]bool)
	tell := func(namespace, key string, h *planner.Held) {
		a := absence{namespace, key, h.Since}
		switch {
		case before[a]:
		case len(fresh) == maxHeld:
			more = true
			return
		default:
			fresh = append(fresh, events.HeldBack(namespace, key, h.Why))
		}
		told[a] = true
	}
	for _, s := range list {
		if s.Held != nil {
			tell(s.Namespace, s.Namespace, s.Held)
		}
		for i := range s.Objects {
			if o := &s.Objects[i]; o.Held != nil {
				tell(s.Namespace, o.Key, o.Held)
			}
		}
	}
	return fresh, told, more
}
