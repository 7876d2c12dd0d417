// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"maps"
	"slices"
)

// maxAgain bounds how many gateways may have changed for a table to be
// compiled by what changed alone.
const maxAgain = 256

// again compiles a table that differs from the one of prev in few gateways,
// none of which is in the way of another or leads to one. The snapshot is the
// one that compiling everything makes; it takes what changed, and copies of
// the indexes. ok is false if the table differs in more.
func (c *compilation) again() (snapshot *Snapshot, ok bool) {
	prev, was := c.prev, c.prev.table
	if was == nil || !prev.settled || prev.options != c.options ||
		len(was.Gateways) != len(c.table.Gateways) || !slices.Equal(was.Broken, c.table.Broken) {
		return nil, false
	}
	var changed []*candidate
	for i, g := range c.table.Gateways {
		old := was.Gateways[i]
		if g == old {
			continue
		}
		if g.Name != old.Name || len(changed) == maxAgain || prev.warned[g.Name] {
			return nil, false
		}
		one := &candidate{name: g.Name, asked: g, prev: prev.byName[g.Name], form: g, changed: true}
		if one.prev == nil {
			return nil, false
		}
		if g.equal(one.prev.Asked) {
			continue
		}
		if !c.alone(one) {
			return nil, false
		}
		changed = append(changed, one)
	}
	c.replace(changed)
	return c.next, true
}

// alone reports whether a changed candidate compiles without a fault, and is
// to all others what it was.
func (c *compilation) alone(one *candidate) bool {
	g, was := one.form, one.prev.Asked
	one.slot, one.port = one.prev.Slot, one.prev.Port
	if g.Port.Number != was.Port.Number || g.Port.Type != was.Port.Type || g.chains() || was.chains() ||
		(g.TLS == nil) != (was.TLS == nil) ||
		!slices.Equal(hostsOf(g, c.options.VirtualHostsDomain), one.prev.Hosts) ||
		!one.check() {
		return false
	}
	if g.Port.Type == TCP && g.TLS == nil {
		one.sniffs = c.asksHello(one, 0)
	}
	return one.sniffs == one.prev.Sniffs
}

// replace makes the snapshot that has some gateways anew and all others as
// they were.
func (c *compilation) replace(changed []*candidate) {
	prev, next := c.prev, c.next
	next.gateways, next.slots = prev.gateways, prev.slots
	next.byName, next.byPort, next.hosts = prev.byName, prev.byPort, prev.hosts
	next.faults, next.warned = prev.faults, prev.warned
	if len(changed) == 0 {
		return
	}
	next.gateways, next.slots = slices.Clone(prev.gateways), slices.Clone(prev.slots)
	next.byName, next.byPort = maps.Clone(prev.byName), maps.Clone(prev.byPort)
	hosts := false
	made := make(map[*CompiledGateway]*CompiledGateway, len(changed))
	for _, one := range changed {
		g := c.compile(one)
		made[one.prev] = g
		next.slots[one.slot] = g
		next.byName[g.Name], next.byPort[g.Port] = g, g
		hosts = hosts || len(g.Hosts) > 0
	}
	for i, g := range next.gateways {
		next.gateways[i] = next.slots[g.Slot]
	}
	if hosts {
		next.hosts.exact, next.hosts.below = maps.Clone(prev.hosts.exact), maps.Clone(prev.hosts.below)
		for was, g := range made {
			for _, host := range g.Hosts {
				if next.hosts.get(host) == was {
					next.hosts.set(host, g)
				}
			}
		}
	}
	next.schedules.forget(next.gateways)
}

// note keeps what compiling again relies on.
func (c *compilation) note(faults []*Fault) {
	c.next.table, c.next.faults, c.next.settled = c.table, faults, true
	for _, f := range faults {
		if f.Severity == Refused {
			c.next.settled = false
		}
		if c.next.warned == nil {
			c.next.warned = make(map[string]bool)
		}
		c.next.warned[f.Name] = true
	}
}
