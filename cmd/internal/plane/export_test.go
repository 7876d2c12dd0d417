// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"testing"

	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// Differences is what is told between two tables.
var Differences = differences

// Events returns what the store knows of what happened.
func (p *Plane) Events(ctx context.Context, q store.EventQuery) ([]store.Event, error) {
	return p.store.Events(ctx, q)
}

// taking is a store that takes events alone.
type taking struct {
	store.Store

	list *[]store.Event
}

func (s taking) AppendEvents(_ context.Context, list ...store.Event) ([]store.Event, error) {
	*s.list = append(*s.list, list...)
	return list, nil
}

// Telling returns the hooks of a plane that does nothing but tell, and a
// function that ends the telling and returns what was told.
func Telling(t *testing.T) (stream.Hooks, func() []store.Event) {
	t.Helper()
	var list []store.Event
	log := events.New(taking{list: &list}, events.Options{})
	p := &Plane{events: log, served: make(map[string]*routing.Table)}
	return p.hooks(), func() []store.Event {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = log.Run(ctx) // writes what waits
		return list
	}
}
