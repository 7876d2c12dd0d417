// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"maps"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// ports remembers which ports were assigned to gateways that ask for none of
// their own.
type ports struct {
	low, high int
	byName    map[string]pin
	byPort    map[int]string
	forms     map[string]ported
	touched   map[string]bool // of assign
}

// pin is a port that was assigned.
type pin struct {
	port int
	gone time.Time // since when nobody asks for it; zero while somebody does
}

// ported is a gateway with the port that it was assigned.
type ported struct{ asked, form *routing.Gateway }

func newPorts(low, high int) ports {
	return ports{low: low, high: high, byName: make(map[string]pin), byPort: make(map[int]string), forms: make(map[string]ported)}
}

// recall pins a port that was assigned in a former life.
func (p *ports) recall(name string, one pin) {
	if one.port < p.low || one.port > p.high || p.byPort[one.port] != "" {
		return
	}
	p.byName[name], p.byPort[one.port] = one, name
}

// assign returns the gateways of a table with a port each, as far as there are
// any left. A gateway keeps the port that it was given, also while it is
// refused, and for an hour after it is asked for no more. Those whose ports
// changed are noted in touched.
func (p *ports) assign(t *routing.Table, touched map[string]bool, now time.Time) []*routing.Gateway {
	p.touched = touched
	asked := make(map[int]bool)
	wants := make(map[string]bool)
	var wanting []string
	for _, g := range t.Gateways {
		if g.Port.Number != 0 {
			asked[g.Port.Number] = true
			continue
		}
		wants[g.Name] = true
		if one, ok := p.byName[g.Name]; !ok || !one.gone.IsZero() {
			wanting = append(wanting, g.Name)
		}
	}
	for _, name := range t.Broken {
		wants[name] = true // it may be what it was before
	}
	p.sweep(wants, now)
	slices.Sort(wanting) // the order of a table is not that of the next start
	for _, name := range wanting {
		p.give(name, asked)
	}
	out := make([]*routing.Gateway, len(t.Gateways))
	for i, g := range t.Gateways {
		out[i] = p.form(g)
	}
	maps.DeleteFunc(p.forms, func(name string, _ ported) bool { return !wants[name] })
	return out
}

// form returns a gateway with its port: itself, or the same copy as long as
// both stay as they are.
func (p *ports) form(g *routing.Gateway) *routing.Gateway {
	if g.Port.Number != 0 {
		return g
	}
	port := p.byName[g.Name].port
	if port == 0 {
		return g // none is left, which compiling refuses
	}
	if f := p.forms[g.Name]; f.asked == g && f.form.Port.Number == port {
		return f.form
	}
	c := *g
	c.Port.Number = port
	p.forms[g.Name] = ported{g, &c}
	return &c
}

// sweep notes which ports nobody asks for, and lets go of those that nobody
// has asked for in a long time.
func (p *ports) sweep(wants map[string]bool, now time.Time) {
	for name, one := range p.byName {
		switch {
		case wants[name]:
		case one.gone.IsZero():
			one.gone = now
			p.byName[name], p.touched[name] = one, true
		case now.Sub(one.gone) >= portGrace:
			p.drop(name)
		}
	}
}

func (p *ports) drop(name string) {
	p.touched[name] = true
	delete(p.byPort, p.byName[name].port)
	delete(p.byName, name)
}

// give gives a gateway the port that was kept for it unless somebody asks for
// that one, or else a free one; if there is none, the one that was kept for
// longest for another.
func (p *ports) give(name string, asked map[int]bool) {
	p.touched[name] = true
	if one, ok := p.byName[name]; ok {
		if !asked[one.port] {
			p.byName[name] = pin{port: one.port}
			return
		}
		p.drop(name)
	}
	busy := func(port int) bool { return asked[port] || p.byPort[port] != "" }
	port, ok := routing.FreePort(name, p.low, p.high, busy)
	if !ok {
		if port, ok = p.reclaim(asked); !ok {
			return
		}
	}
	p.byName[name], p.byPort[port] = pin{port: port}, name
}

// reclaim frees the port that nobody has asked for in the longest time.
func (p *ports) reclaim(asked map[int]bool) (port int, ok bool) {
	oldest := ""
	for name, one := range p.byName {
		if one.gone.IsZero() || asked[one.port] {
			continue
		}
		was := p.byName[oldest]
		if oldest == "" || one.gone.Before(was.gone) || one.gone.Equal(was.gone) && name < oldest {
			oldest = name
		}
	}
	if oldest == "" {
		return 0, false
	}
	port = p.byName[oldest].port
	p.drop(oldest)
	return port, true
}
