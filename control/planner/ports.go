// SPDX-License-Identifier: Apache-2.0

package planner

import (
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
	asks      map[string]int  // the ports that gateways ask for, by name
	asked     map[int]int     // how many ask for a port
	vanished  map[string]bool // those with pins that nobody asks for
	unserved  map[string]bool // those that found no port
}

// pin is a port that was assigned.
type pin struct {
	port int
	gone time.Time // since when nobody asks for it; zero while somebody does
}

func newPorts(low, high int) ports {
	return ports{
		low: low, high: high, byName: make(map[string]pin), byPort: make(map[int]string),
		asks: make(map[string]int), asked: make(map[int]int),
		vanished: make(map[string]bool), unserved: make(map[string]bool),
	}
}

// recall pins a port that was assigned in a former life.
func (p *ports) recall(name string, one pin) {
	if one.port < p.low || one.port > p.high || p.byPort[one.port] != "" {
		return
	}
	p.byName[name], p.byPort[one.port] = one, name
	if !one.gone.IsZero() {
		p.vanished[name] = true
	}
}

// assign gives a port to every gateway that asks for none, as far as there are
// any left. A gateway keeps the port that it was given, also while it is
// refused, and for an hour after it is asked for no more.
func (s *space) assign(now time.Time) {
	p := &s.ports
	for name := range p.unserved {
		s.stale[name] = true
	}
	clear(p.unserved)
	for name := range s.stale {
		p.ask(name, s.entries[name].number())
	}
	var wanting []string
	for name := range s.stale {
		e := s.entries[name]
		one, pinned := p.byName[name]
		switch {
		case e != nil && e.selected.Gateway != nil && e.number() == 0 && !e.selected.Gateway.Portless:
			if !pinned || !one.gone.IsZero() {
				wanting = append(wanting, name)
			}
		case e != nil && e.selected.Gateway == nil:
			// It is refused, and keeps what it has.
		case pinned && one.gone.IsZero():
			p.byName[name] = pin{one.port, now}
			p.vanished[name], s.memory.touched[name] = true, true
		}
	}
	s.sweep(now)
	slices.Sort(wanting) // so that it does not matter who is heard of first
	for _, name := range wanting {
		s.give(name)
	}
	for name := range s.stale {
		if e := s.entries[name]; e != nil {
			s.form(e)
		}
	}
	clear(s.stale)
}

// number returns the port that a gateway asks for, 0 if it asks for none.
func (e *entry) number() int {
	if e == nil || e.selected.Gateway == nil {
		return 0
	}
	return e.selected.Gateway.Port.Number
}

// ask notes the port that a gateway asks for.
func (p *ports) ask(name string, port int) {
	was := p.asks[name]
	if was == port {
		return
	}
	if was != 0 {
		if p.asked[was]--; p.asked[was] == 0 {
			delete(p.asked, was)
		}
		delete(p.asks, name)
	}
	if port != 0 {
		p.asks[name] = port
		p.asked[port]++
	}
}

// form gives a gateway its port: it is itself, or the same copy as long as
// both stay as they are.
func (s *space) form(e *entry) {
	g := e.selected.Gateway
	port := s.ports.byName[e.name].port
	next := g
	switch {
	case g == nil || g.Port.Number != 0 || g.Portless || port == 0: // if none is left, compiling refuses it
	case e.portless == g && e.form.Port.Number == port:
		return
	default:
		c := *g
		c.Port.Number = port
		next = &c
	}
	s.keep(e)
	e.portless, e.form = g, next
	if g != nil && g.Port.Number == 0 && port == 0 && !g.Portless {
		s.ports.unserved[e.name] = true
	}
}

// sweep lets go of ports that nobody has asked for in a long time.
func (s *space) sweep(now time.Time) {
	for name := range s.ports.vanished {
		if now.Sub(s.ports.byName[name].gone) >= portGrace {
			s.unpin(name)
		}
	}
}

func (s *space) unpin(name string) {
	p := &s.ports
	s.memory.touched[name] = true
	delete(p.byPort, p.byName[name].port)
	delete(p.byName, name)
	delete(p.vanished, name)
}

// give gives a gateway the port that was kept for it unless somebody asks for
// that one, or else a free one; if there is none, the one that was kept for
// longest for another.
func (s *space) give(name string) {
	p := &s.ports
	s.memory.touched[name] = true
	if one, ok := p.byName[name]; ok {
		if p.asked[one.port] == 0 {
			p.byName[name] = pin{port: one.port}
			delete(p.vanished, name)
			return
		}
		s.unpin(name)
	}
	busy := func(port int) bool { return p.asked[port] > 0 || p.byPort[port] != "" }
	port, ok := routing.FreePort(name, p.low, p.high, busy)
	if !ok {
		if port, ok = s.reclaim(); !ok {
			return
		}
	}
	p.byName[name], p.byPort[port] = pin{port: port}, name
}

// reclaim frees the port that nobody has asked for in the longest time.
func (s *space) reclaim() (port int, ok bool) {
	p := &s.ports
	oldest := ""
	for name := range p.vanished {
		one, was := p.byName[name], p.byName[oldest]
		if p.asked[one.port] > 0 {
			continue
		}
		if oldest == "" || one.gone.Before(was.gone) || one.gone.Equal(was.gone) && name < oldest {
			oldest = name
		}
	}
	if oldest == "" {
		return 0, false
	}
	port = p.byName[oldest].port
	s.unpin(oldest)
	return port, true
}
