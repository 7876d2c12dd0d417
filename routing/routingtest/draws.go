// SPDX-License-Identifier: Apache-2.0

package routingtest

import "github.com/sluice-mesh/sluice/routing"

// Counters are draws as in service: the tickets of each split in turn. The
// zero Counters find everything usable. They are safe for concurrent use
// while Down is not changed.
type Counters struct {
	// Down holds the paths of the routes that are not usable.
	Down map[string]bool
	// Busy holds the open connections of routes, by path.
	Busy map[string]uint64
}

// Ticket takes the next ticket of the split.
func (c *Counters) Ticket(s *routing.Split) uint64 { return s.Next() }

// Usable reports whether the route is not down.
func (c *Counters) Usable(_ *routing.CompiledGateway, r *routing.CompiledRoute) bool {
	return !c.Down[r.Path]
}

// Open counts the connections that are open on a route.
func (c *Counters) Open(_ *routing.CompiledGateway, r *routing.CompiledRoute) uint64 {
	return c.Busy[r.Path]
}

// Tickets are draws that begin at 0 for each split, whatever its counter
// says, and leave the counter alone. The zero Tickets are ready to use. They
// are not safe for concurrent use.
type Tickets struct {
	// Down holds the paths of the routes that are not usable.
	Down map[string]bool
	// Busy holds the open connections of routes, by path.
	Busy map[string]uint64

	taken map[*routing.Split]uint64
}

// Ticket takes the next ticket of the split.
func (t *Tickets) Ticket(s *routing.Split) uint64 {
	if t.taken == nil {
		t.taken = map[*routing.Split]uint64{}
	}
	t.taken[s]++
	return t.taken[s] - 1
}

// Taken returns how many tickets of the split were taken.
func (t *Tickets) Taken(s *routing.Split) uint64 { return t.taken[s] }

// Usable reports whether the route is not down.
func (t *Tickets) Usable(_ *routing.CompiledGateway, r *routing.CompiledRoute) bool {
	return !t.Down[r.Path]
}

// Open counts the connections that are open on a route.
func (t *Tickets) Open(_ *routing.CompiledGateway, r *routing.CompiledRoute) uint64 {
	return t.Busy[r.Path]
}
