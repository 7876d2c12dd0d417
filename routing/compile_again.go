// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"maps"
	"slices"
	"strings"
)

// maxAgain bounds how many gateways may have changed for a table to be
// compiled by what changed alone.
const maxAgain = 256

// again compiles a table that differs from the one of prev in few gateways,
// none of which is in the way of another or leads to one. The snapshot is the
// one that compiling everything makes; it takes what changed, and copies of
// the indexes. ok is false if the table differs in more.
func (c *compilation) again() (snapshot *Snapshot, ok bool) {
	prev := c.prev
	if prev.table == nil || !prev.settled || prev.options != c.options || !slices.Equal(prev.table.Broken, c.table.Broken) {
		return nil, false
	}
	d := difference{gone: make(map[*CompiledGateway]bool)}
	if !d.find(c) || len(d.come)+len(d.gone) > 0 && !d.apart(c) {
		return nil, false
	}
	c.replace(&d)
	return c.next, true
}

// difference is in what a table differs from the one before it.
type difference struct {
	changed []*candidate
	come    []*candidate
	gone    map[*CompiledGateway]bool
	// gateways are those of the next snapshot, as far as they stay; nil where
	// one has come.
	gateways []*CompiledGateway
}

// find compares the tables, and reports whether they differ in little, with
// the gateways that stay in their order.
func (d *difference) find(c *compilation) bool {
	was, is := c.prev.table.Gateways, c.table.Gateways
	d.gateways = make([]*CompiledGateway, 0, len(is)+len(c.prev.gateways)-min(len(was), len(c.prev.gateways)))
	i := 0
	for _, g := range is {
		if c.prev.byName[g.Name] == nil {
			one := &candidate{name: g.Name, asked: g, form: g, changed: true}
			if len(d.come) == maxAgain || !c.fits(one) {
				return false
			}
			d.come, d.gateways = append(d.come, one), append(d.gateways, nil)
			continue
		}
		for ; i < len(was) && was[i] != g && was[i].Name != g.Name; i++ {
			if len(d.gone) == maxAgain || c.prev.warned[was[i].Name] {
				return false
			}
			d.gone[c.prev.gateways[i]] = true
		}
		if i == len(was) {
			return false
		}
		d.gateways = append(d.gateways, c.prev.gateways[i])
		if g != was[i] && !d.change(c, g, c.prev.gateways[i]) {
			return false
		}
		i++
	}
	for ; i < len(was); i++ {
		if len(d.gone) == maxAgain || c.prev.warned[was[i].Name] {
			return false
		}
		d.gone[c.prev.gateways[i]] = true
	}
	d.gateways = append(d.gateways, c.prev.gateways[len(was):]...)
	return true
}

// change takes in that a gateway is asked for in another way.
func (d *difference) change(c *compilation, g *Gateway, prev *CompiledGateway) bool {
	if len(d.changed) == maxAgain || c.prev.warned[g.Name] {
		return false
	}
	if g.equal(prev.Asked) {
		return true
	}
	one := &candidate{name: g.Name, asked: g, prev: prev, form: g, changed: true}
	d.changed = append(d.changed, one)
	return c.alone(one)
}

// apart reports whether those who have come and gone share nothing with
// others, and nobody leads to them.
func (d *difference) apart(c *compilation) bool {
	prev := c.prev
	if prev.hosts.longest > 0 {
		return false
	}
	for _, f := range prev.faults {
		switch f.Code {
		case codeTargetMissing, codeHostTaken, codeMixedHosts:
			return false
		}
	}
	if len(d.gone) > 0 {
		for _, g := range prev.gateways {
			for _, r := range g.Routes {
				if r.Target.Kind == TargetGateway && d.gone[prev.slots[r.Target.Slot]] {
					return false
				}
			}
		}
	}
	free := func(was *CompiledGateway) bool { return was == nil || d.gone[was] }
	names, ports, hosts := make(map[string]bool), make(map[int]bool), make(map[string]bool)
	for _, one := range d.come {
		if names[one.name] || one.port != 0 && (ports[one.port] || !free(prev.byPort[one.port])) {
			return false
		}
		names[one.name], ports[one.port] = true, true
		for _, host := range hostsOf(one.form, c.options.VirtualHostsDomain) {
			if hosts[host] || !free(prev.hosts.get(host)) || strings.Contains(host, "/") {
				return false
			}
			hosts[host] = true
		}
	}
	return true
}

// fits reports whether a new candidate compiles without a fault, leads to
// nobody and has a port of its own.
func (c *compilation) fits(one *candidate) bool {
	g := one.form
	one.port = g.Port.Number
	if one.port == 0 && !g.Portless || g.chains() || !one.check() {
		return false
	}
	if g.Port.Type == TCP && g.TLS == nil {
		one.sniffs = c.asksHello(one, 0)
	}
	return true
}

// alone reports whether a changed candidate compiles without a fault, and is
// to all others what it was.
func (c *compilation) alone(one *candidate) bool {
	g, was := one.form, one.prev.Asked
	one.slot, one.port = one.prev.Slot, one.prev.Port
	if g.Port.Number != was.Port.Number || g.Port.Type != was.Port.Type || g.Portless != was.Portless || g.chains() || was.chains() ||
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
func (c *compilation) replace(d *difference) {
	prev, next := c.prev, c.next
	next.gateways, next.slots = prev.gateways, prev.slots
	next.byName, next.byPort, next.hosts = prev.byName, prev.byPort, prev.hosts
	next.faults, next.warned = prev.faults, prev.warned
	if len(d.changed)+len(d.come)+len(d.gone) == 0 {
		return
	}
	next.gateways, next.slots = d.gateways, slices.Clone(prev.slots)
	next.byName, next.byPort = maps.Clone(prev.byName), maps.Clone(prev.byPort)
	next.hosts.exact, next.hosts.below = maps.Clone(prev.hosts.exact), maps.Clone(prev.hosts.below)
	for g := range d.gone {
		next.slots[g.Slot] = nil
		delete(next.byName, g.Name)
		delete(next.byPort, g.Port)
		for _, host := range g.Hosts {
			if m, key := next.hosts.at(host); m[key] == g {
				delete(m, key)
			}
		}
	}
	made := make(map[*CompiledGateway]*CompiledGateway, len(d.changed))
	for _, one := range d.changed {
		g := c.compile(one)
		made[one.prev] = g
		next.slots[one.slot] = g
		next.byName[g.Name] = g
		next.indexPort(g)
		for _, host := range g.Hosts {
			if next.hosts.get(host) == one.prev {
				next.hosts.set(host, g)
			}
		}
	}
	come, free := d.come, 0
	for i, g := range next.gateways {
		if n := made[g]; n != nil {
			next.gateways[i] = n
		}
		if g != nil {
			continue
		}
		for free < len(next.slots) && next.slots[free] != nil {
			free++
		}
		if free == len(next.slots) {
			next.slots = append(next.slots, nil)
		}
		come[0].slot = free
		n := c.compile(come[0])
		come = come[1:]
		next.gateways[i], next.slots[free] = n, n
		next.byName[n.Name] = n
		next.indexPort(n)
		for _, host := range n.Hosts {
			next.hosts.set(host, n)
		}
	}
	for n := len(next.slots); n > 0 && next.slots[n-1] == nil; n-- {
		next.slots = next.slots[:n-1]
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
