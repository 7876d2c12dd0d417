// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"sync/atomic"
	"time"
)

// pace is how slow a peer may be, and what a connection must tell of itself so
// that a sweep can judge it. Nothing is counted where bytes move: the kernel
// has done so.
type pace struct {
	bound     atomic.Uint64 // bytes a second, then the window in milliseconds; 0: any
	receiving atomic.Uint32 // odd while a message is being received

	// Of the sweeper, under its shard's mutex.
	measureFn func(uintptr)
	measured  measure
	valid     bool // measured is
	in, out   window
	turn      uint32 // receiving, when in was begun
}

// window is what a peer did while it was waited for.
type window struct {
	waited time.Duration
	base   uint64 // bytes moved, when the window began
}

// measure is what the kernel knows of a connection.
type measure struct {
	received, acked uint64 // bytes, since the connection was opened
	unread          bool   // something was received and not taken
	unsent          bool   // something was sent and not acknowledged
}

// Pace makes the connection expire if its peer is slower than bytes a second
// in a window of time in which nothing else is waited for: where WriteWithin
// or Splice wait until it takes something, or a message is Receiving. 0 bytes
// allow any pace. The kernel counts; where it does not tell, nobody is too
// slow. Nor is a carried connection, whose bytes the kernel does not tell from
// others.
func (c *Conn) Pace(bytes int64, window time.Duration) {
	if bytes <= 0 || c.by != nil {
		c.pace.bound.Store(0)
		return
	}
	c.pace.bound.Store(uint64(bytes)<<32 | uint64(window/time.Millisecond)&(1<<32-1))
}

// Receiving says whether a message is being received: from then on until it
// no longer is, its sender is waited for whenever the connection is Due and
// nothing has come. It is called by whoever reads.
func (c *Conn) Receiving(on bool) {
	if is := c.pace.receiving.Load()&1 == 1; is != on {
		c.pace.receiving.Add(1)
	}
}

// judge expires a connection whose peer is too slow. It is called at each
// sweep.
func (c *Conn) judge() {
	p := &c.pace
	bound := p.bound.Load()
	turn := p.receiving.Load()
	if turn != p.turn {
		p.turn, p.in = turn, window{}
	}
	sending := c.stuck.Load() != 0
	receiving := turn&1 == 1 && c.due.Load() != 0
	if bound == 0 || !sending && !receiving {
		return
	}
	if p.measureFn == nil {
		p.measureFn = func(fd uintptr) { p.measured, p.valid = measureFD(fd) }
	}
	p.valid = false
	if c.raw.Control(p.measureFn) != nil || !p.valid {
		return
	}
	m := &p.measured
	slow := receiving && !m.unread && p.in.tooSlow(m.received, bound)
	slow = sending && m.unsent && p.out.tooSlow(m.acked, bound) || slow
	if slow {
		c.Expire()
	}
}

// tooSlow takes in that a peer that has moved so many bytes is waited for,
// and reports whether it moved too few in a window that is over.
func (w *window) tooSlow(moved, bound uint64) bool {
	if w.waited == 0 {
		w.base = moved
	}
	w.waited += sweepPeriod
	over := time.Duration(bound&(1<<32-1)) * time.Millisecond
	if w.waited <= over {
		return false
	}
	least := (bound >> 32) * uint64(over/time.Millisecond) / 1000
	slow := moved-w.base < least
	*w = window{}
	return slow
}
