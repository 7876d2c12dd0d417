// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"math"
	"time"
)

// An instance drains when it is not wanted any more: nothing leads to it, or
// it is there but not ready. It gets nothing new, its idle connections are
// closed at once and the busy ones when they come back. What is still open when
// the drain time is over is cut.

// list and unlist keep account of the open connections.
func (i *Instance) list(c *Conn) {
	i.listing.Lock()
	defer i.listing.Unlock()
	c.next = i.first
	if c.next != nil {
		c.next.before = c
	}
	i.first = c
}

func (i *Instance) unlist(c *Conn) {
	i.listing.Lock()
	defer i.listing.Unlock()
	switch {
	case c.before != nil:
		c.before.next = c.next
	case i.first == c:
		i.first = c.next
	default:
		return // it never was listed
	}
	if c.next != nil {
		c.next.before = c.before
	}
	c.next, c.before = nil, nil
}

// retire closes the idle connections; busy ones are closed when they come
// back.
func (i *Instance) retire() {
	i.retired.Store(true)
	i.reap(math.MaxInt64)
	if s := i.special; s != nil {
		s.links.retire()
	}
}

// cut ends what is under way: whoever waits there is woken.
func (i *Instance) cut() {
	i.listing.Lock()
	defer i.listing.Unlock()
	for c := i.first; c != nil; c = c.next {
		c.Expire()
	}
}

// drain begins to drain an instance, unless it drains. p.mu is held.
func (p *Pool) drain(i *Instance) {
	if i.retired.Load() {
		return
	}
	i.retire()
	i.leave()
	p.draining[i] = time.Now().Add(p.options.Drain)
}

// want has an instance serve again that was drained since it was not ready.
// p.mu is held.
func (p *Pool) want(i *Instance) {
	if i.retired.Load() && !p.closed {
		delete(p.draining, i)
		i.retired.Store(false)
	}
}

// cutDrained cuts what drained for long enough, once, and forgets what has
// nothing open any more.
func (p *Pool) cutDrained(now time.Time) {
	p.mu.Lock()
	var late []*Instance
	for i, until := range p.draining {
		switch {
		case i.open.Load() == 0:
			delete(p.draining, i)
		case !now.Before(until):
			delete(p.draining, i)
			late = append(late, i)
		}
	}
	p.mu.Unlock()
	for _, i := range late {
		p.options.Log.Warn("connections to an instance that is gone are cut", "instance", i.String(), "connections", i.open.Load())
		i.cut()
	}
}
