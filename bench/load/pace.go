// SPDX-License-Identifier: Apache-2.0

package load

import (
	"time"
)

// turn does what is due by the clock and returns when it wants to be called
// again, at the latest.
func (r *run) turn(now int64) (wake int64) {
	if now >= r.sweep {
		r.expire(now)
		r.sweep = now + r.sweeping
	}
	if r.phase == connecting {
		r.connect(now)
	}
	if r.phase == connecting || r.phase == over {
		return min(r.sweep, r.gateOpens(now))
	}
	r.offer()
	wake = min(r.sweep, r.boundary, r.tick, r.gateOpens(now))
	if r.free.n > 0 && r.more() {
		wake = min(wake, r.due)
	}
	return wake
}

// gateOpens returns when the gate lets the next attempt pass that waits there.
func (r *run) gateOpens(now int64) int64 {
	if !r.gate.failing || r.gate.probe != nil || now >= r.gate.at || len(r.parked)+len(r.unopened) == 0 {
		return never
	}
	return r.gate.at
}

// connect opens the connections before the start, and starts.
func (r *run) connect(now int64) {
	for len(r.unopened) > 0 && r.attempts < opensAtOnce && r.gate.passes(now) {
		c := r.unopened[0]
		r.unopened = r.unopened[1:]
		r.open(c, now)
	}
	done := len(r.unopened)+r.attempts == 0
	tired := r.opens > 0 && r.gate.failing && now-r.gate.since >= patience
	if r.err != nil || !done && !tired {
		return
	}
	r.unopened = nil
	r.phase, r.start = warming, now
	r.begin = now + int64(r.plan.Warmup)
	r.stop = r.begin + int64(r.plan.Duration)
	r.boundary = r.begin
	if r.tally.interval != nil {
		r.tick = now + int64(time.Second)
	}
	r.index, r.due = 0, r.dueAt(0)
	for i := range r.conns {
		for j := range r.conns[i].lanes {
			r.release(&r.conns[i].lanes[j], now)
		}
	}
}

// dueAt returns when a request of the open loop is due.
func (r *run) dueAt(index int64) int64 {
	if r.gap == 0 {
		return never
	}
	return r.start + int64(float64(index)*r.gap)
}

// cross goes on to the next phase if it is time.
func (r *run) cross(now int64) {
	if r.phase == warming && now >= r.begin {
		r.phase, r.boundary = measuring, r.stop
		r.tally.restart(r.opens)
		r.begun = 0
		if r.gap > 0 {
			r.from = r.begin
			return
		}
		for i := range r.conns {
			r.begun += int64(r.conns[i].busy) // their answers will count
		}
	}
	if now >= r.stop {
		r.finish(r.stop)
	}
}

// more tells whether further requests may begin.
func (r *run) more() bool {
	return r.phase == warming || r.phase == measuring && r.begun < r.bound
}

// offer begins all requests that are due and find a free lane.
func (r *run) offer() {
	for {
		now := r.clock()
		if now >= r.boundary {
			r.cross(now)
		}
		if !r.more() {
			return
		}
		due := now
		if r.gap > 0 {
			if due = r.due; due > now {
				return
			}
		}
		l := r.take(now)
		if l == nil {
			return
		}
		if r.gap > 0 {
			r.index++
			r.due = r.dueAt(r.index)
			if due >= r.from {
				r.tally.behind = max(r.tally.behind, now-max(due, l.freed))
			}
		}
		r.ask(l, due, now)
	}
}

// take takes the lane that has been free for longest, nil if there is none.
func (r *run) take(now int64) *lane {
	passes := r.gate.passes(now)
	if n := len(r.parked); n > 0 && passes {
		l := r.parked[n-1]
		r.parked, l.queued = r.parked[:n-1], false
		return l
	}
	for l := r.free.pop(); l != nil; l = r.free.pop() {
		switch {
		case l.conn.retiring: // it comes back when the connection is shut
		case l.conn.state == shut && !passes:
			r.parked = append(r.parked, l)
			l.queued = true
		default:
			return l
		}
	}
	return nil
}

// ask begins a request on a free lane.
func (r *run) ask(l *lane, due, now int64) {
	c := l.conn
	l.request, l.busy, l.due, l.begun = r.mix.next(), true, due, now
	c.busy++
	if due >= r.from {
		r.begun++
	}
	switch c.state {
	case open:
		r.net.send(c, c.codec.ask(l.index, l.request))
	case shut:
		r.open(c, now)
	case opening:
	}
}
