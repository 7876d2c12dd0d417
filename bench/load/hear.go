// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
)

// open begins to connect c.
func (r *run) open(c *conn, now int64) {
	c.state, c.since, c.served, c.retiring = opening, now, 0, false
	r.attempts++
	r.gate.tries(c)
	done, err := r.net.open(c)
	switch {
	case err != nil:
		r.openFailed(c, err, now)
	case done:
		r.opened(c)
	}
}

// opened is told that c is connected.
func (r *run) opened(c *conn) {
	c.state = open
	r.attempts--
	r.opens++
	r.reached = true
	r.tally.connections++
	r.gate.succeeded()
	for _, l := range r.parked {
		r.free.push(l)
	}
	r.parked = r.parked[:0]
	if b := c.codec.reset(); len(b) > 0 {
		r.net.send(c, b)
	}
	for i := range c.lanes {
		if l := &c.lanes[i]; l.busy {
			r.net.send(c, c.codec.ask(l.index, l.request))
		}
	}
}

// openFailed is told that c could not be connected.
func (r *run) openFailed(c *conn, err error, now int64) {
	c.state = shut
	r.attempts--
	r.gate.failed(c, now)
	if !r.reached && now-r.gate.since >= patience {
		r.err = fmt.Errorf("load: nothing could connect to %s: %w", r.plan.Address, err)
		r.phase = over
		return
	}
	if r.phase == connecting {
		r.unopened = append(r.unopened, c)
		return
	}
	r.failAll(c, failedConnect, now)
	r.releaseAll(c, now)
}

// received is told that b arrived on c.
func (r *run) received(c *conn, b []byte, now int64) {
	r.tally.in += int64(len(b))
	for len(b) > 0 && c.state == open {
		n, a, done, err := c.codec.take(b)
		if err != nil {
			r.failAll(c, failedProtocol, now)
			r.shut(c, now)
			return
		}
		b = b[n:]
		if done {
			r.answered(c, a, now)
		}
	}
}

// ended is told that c was ended by the peer, in order if err is nil.
func (r *run) ended(c *conn, err error, now int64) {
	failed := failedReset
	if err == nil {
		failed = failedClosed
		if a, done := c.codec.end(); done {
			a.last = true
			r.answered(c, a, now)
		}
	}
	if c.state == open {
		r.failAll(c, failed, now)
		r.shut(c, now)
	}
}

// answered counts an answer and gives its lane the next request.
func (r *run) answered(c *conn, a answer, now int64) {
	if now >= r.boundary {
		r.cross(now)
	}
	l := &c.lanes[a.lane]
	if r.phase == over || !l.busy {
		return
	}
	l.busy = false
	c.busy--
	c.served++
	if l.due >= r.from {
		r.tally.answer(l.request, a.status, now-l.due)
		r.counted(now)
	}
	if a.last || c.served == r.plan.PerConnection {
		c.retiring = true
	}
	switch {
	case c.retiring && c.busy == 0:
		r.shut(c, now)
	case c.retiring:
	case r.gap > 0:
		r.release(l, now)
		if now >= r.due {
			r.offer()
		}
	case r.more():
		r.ask(l, now, now)
	default:
		r.release(l, now)
	}
}

// counted ends the run when the request that was just counted was the last.
func (r *run) counted(now int64) {
	if r.phase == measuring && r.tally.answered+r.tally.failed >= r.bound {
		r.finish(now)
	}
}

// failAll fails all requests that are out on c.
func (r *run) failAll(c *conn, k kind, now int64) {
	if now >= r.boundary {
		r.cross(now)
	}
	for i := range c.lanes {
		l := &c.lanes[i]
		if !l.busy || r.phase == over {
			continue
		}
		l.busy = false
		c.busy--
		if l.due >= r.from {
			r.tally.fail(k)
			r.counted(now)
		}
	}
}

// shut ends c and lets its lanes wait for the next request.
func (r *run) shut(c *conn, now int64) {
	r.net.close(c)
	c.state, c.retiring = shut, false
	r.opens--
	r.releaseAll(c, now)
}

// releaseAll puts the idle lanes of c in the ring.
func (r *run) releaseAll(c *conn, now int64) {
	for i := range c.lanes {
		if l := &c.lanes[i]; !l.busy {
			r.release(l, now)
		}
	}
}

// release puts an idle lane in the ring, unless it is there.
func (r *run) release(l *lane, now int64) {
	if !l.queued {
		l.freed = now
		r.free.push(l)
	}
}

// expire ends what takes longer than the plan allows.
func (r *run) expire(now int64) {
	limit := int64(r.plan.Timeout)
	for i := range r.conns {
		c := &r.conns[i]
		if c.state == opening && now-c.since >= limit {
			r.net.close(c)
			r.openFailed(c, context.DeadlineExceeded, now)
			continue
		}
		for j := range c.lanes {
			if l := &c.lanes[j]; l.busy && c.state == open && now-l.begun >= limit {
				r.failAll(c, failedTimeout, now)
				r.shut(c, now)
			}
		}
	}
}
