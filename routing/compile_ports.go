// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"slices"
	"strings"
)

// portTable says which candidate has which port.
type portTable [65536]*candidate

// settlePorts gives every form its port and reports whether one had to be
// given up. Of two that want one port, the one that had it before keeps it;
// else the first of the table gets it.
func (c *compilation) settlePorts() bool {
	var ports portTable
	moved := false
	for _, one := range c.candidates {
		moved = ports.claim(one) || moved
	}
	return c.assign(&ports) || moved
}

// claim enters a candidate with the port that it asks for or had before. If
// someone loses a port to another, claim goes on with the form that the loser
// falls back to, and returns true.
func (p *portTable) claim(one *candidate) (moved bool) {
	for one.form != nil {
		if one.form.Portless {
			one.port = 0
			return moved
		}
		one.port = one.form.Port.Number
		if one.port == 0 && one.prev != nil {
			one.port = one.prev.Port
		}
		if one.port == 0 {
			return moved // assigned once it is known what is free
		}
		loser, winner := p[one.port], one
		if loser == nil {
			p[one.port] = one
			return moved
		}
		if loser.outranks(winner) {
			loser, winner = winner, loser
		}
		p[one.port] = winner
		loser.refuse(Fault{
			Code:    "UnavailableGatewayPortError",
			Path:    "port",
			Problem: fmt.Sprintf("port %d is taken by gateway %s", one.port, winner.name),
			Allowed: "a port that no other gateway has, or none, to have one assigned",
		})
		moved, one = true, loser
	}
	return moved
}

// outranks reports whether c keeps a port that both claim.
func (c *candidate) outranks(o *candidate) bool {
	had := c.prev != nil && c.prev.Port == c.port
	if hadToo := o.prev != nil && o.prev.Port == c.port; had != hadToo {
		return had
	}
	return c.order < o.order
}

// assign gives a port to those that ask for none and had none. Each starts to
// look at a place that its name determines, so that it finds the same one
// after a restart, and passes over what others have or ask for.
func (c *compilation) assign(ports *portTable) (moved bool) {
	var wanting []*candidate
	for _, one := range c.candidates {
		if one.form != nil && one.port == 0 && !one.form.Portless {
			wanting = append(wanting, one)
		}
	}
	if len(wanting) == 0 {
		return false
	}
	// By name, since the order of a table is not that of the next start.
	slices.SortFunc(wanting, func(a, b *candidate) int { return strings.Compare(a.name, b.name) })

	low, high := c.options.PortMin, c.options.PortMax
	var busy [65536]bool
	for _, one := range c.candidates {
		if one.asked != nil && one.asked.Port.Number >= 0 && one.asked.Port.Number < len(busy) {
			busy[one.asked.Port.Number] = true
		}
	}
	for port, one := range ports {
		busy[port] = busy[port] || one != nil
	}
	for _, one := range wanting {
		port, ok := FreePort(one.name, low, high, func(port int) bool { return busy[port] })
		if !ok {
			one.refuse(Fault{
				Code:    "NoAvailablePortError",
				Path:    "port",
				Problem: fmt.Sprintf("every port from %d to %d is taken", low, high),
				Allowed: "a port of its own, or a wider range",
			})
			moved = true
			continue
		}
		one.port = port
		busy[one.port] = true
		ports[one.port] = one
	}
	return moved
}

// FreePort returns the first port from low to high that is not busy, from the
// place on that a name determines, so that the same name finds the same port
// again as long as others do not have it. It reports false if all are busy.
func FreePort(name string, low, high int, busy func(port int) bool) (port int, ok bool) {
	low, high = max(low, 1), min(high, 65535)
	span := high - low + 1
	if span <= 0 {
		return 0, false
	}
	at := int(mixText(0, name) % uint64(span))
	for range span {
		if !busy(low + at) {
			return low + at, true
		}
		at = (at + 1) % span
	}
	return 0, false
}
