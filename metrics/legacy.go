// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
	"sync"
)

// legacy holds what the routes of a gateway counted that are gone, so that the
// counts of the gateway never fall.
//
// Exchanges that were given to a route before it went end there whenever they
// do, and some may only begin. That no more are in flight is therefore no sign
// that none will count: only that nobody holds the route any more is. Until
// the garbage collector finds that out, the route's counts stay open and are
// read like those of any other; then they are final, and are added up. Routes
// keep themselves alive for as long as they count.
//
// It does not lead to a route: the cleanup of a route holds it, and would
// otherwise keep that route alive for ever.
type legacy struct {
	mu    *sync.Mutex // of the registry; guards the fields below
	folds *[maxReasons]uint8
	open  map[*slot]slots // of routes that may still count, by their first slot
	final *Totals         // of all others; nil while there are none
	past  *past           // where it goes once nothing of a gateway that is gone may count; nil before that
}

// heir returns the legacy of the gateway. The registry is locked.
func (g *Gateway) heir() *legacy {
	if g.legacy == nil {
		g.legacy = &legacy{mu: &g.registry.mu, folds: &g.registry.folds}
	}
	return g.legacy
}

// inherit takes over what a route counted, and what it will. mu is held.
func (l *legacy) inherit(t *Route) {
	if l.open == nil {
		l.open = map[*slot]slots{}
	}
	l.open[&t.slots[0]] = t.slots
	runtime.AddCleanup(t, l.fold, t.slots)
}

// leave takes over what the gateway itself counted that is gone, and moves to
// the past what becomes final. mu is held.
func (l *legacy) leave(g *Gateway, to *past) {
	if l.open == nil {
		l.open = map[*slot]slots{}
	}
	l.open[&g.slots[0]] = g.slots
	runtime.AddCleanup(g, l.fold, g.slots)
	if to.open == nil {
		to.open = map[*legacy]bool{}
	}
	to.open[l], l.past = true, to
}

// fold adds up the counts of a route, or of a gateway that is gone, which
// nobody holds.
func (l *legacy) fold(s slots) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.final == nil {
		l.final = new(Totals)
	}
	s.addTo(l.final, l.folds)
	// An exchange that did not end by now was given up: nobody can end it.
	l.final.InFlight = 0
	delete(l.open, &s[0])
	if l.past != nil && len(l.open) == 0 {
		l.past.ended += l.ended()
		delete(l.past.open, l)
	}
}
