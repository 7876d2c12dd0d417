// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"time"
)

// Run offers what the plan says and returns what came back. It opens all
// connections first, unless each carries one request only, and starts when
// they are open or when a target that refuses some has been tried for a second
// more. A target to which nothing could connect within that second is an
// error; one that refuses later makes requests fail, as many as attempts to
// connect are made: one each 100 ms at least, at first more often.
//
// If progress is not nil, it is called about each second, from the goroutine
// that called Run; on Linux nothing is sent meanwhile. When ctx ends early, the
// result so far is returned together with ctx's error. All that Run started has
// ended when it returns. Runs are independent of each other.
func Run(ctx context.Context, p Plan, progress func(Progress)) (*Result, error) {
	return runOn(ctx, p, progress, newEngine)
}

// runOn is Run on an engine of the given kind.
func runOn(ctx context.Context, p Plan, progress func(Progress), newEngine func(*run, target) (engine, error)) (*Result, error) {
	p, err := p.checked()
	if err != nil {
		return nil, err
	}
	t, err := resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	asks := asksOf(p.Mix)
	r, err := newRun(p, func() codec { return &http1{asks: asks} }, progress != nil)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(r, t)
	if err != nil {
		return nil, err
	}
	interrupted := e.drive(ctx, progress)
	return r.result(ctx, interrupted)
}

// engine moves the bytes of a run and tells it the time.
type engine interface {
	network
	// drive runs until the run is over, or ctx ends, which it reports.
	drive(ctx context.Context, progress func(Progress)) (interrupted bool)
}

// network is what a run asks of its engine. The engine tells the run what
// became of it by opened, openFailed, received and ended, which like turn are
// never called at the same time. All times are in nanoseconds since the run was
// made.
type network interface {
	// open begins to connect. It reports whether that was done at once; else it
	// will tell.
	open(c *conn) (done bool, err error)
	// send sends b, now or as soon as it can. What goes wrong shows when reading.
	send(c *conn, b []byte)
	// close ends the connection and what is being opened; nothing more is told
	// of it.
	close(c *conn)
}

// run is one run: it decides what is sent when, and counts what comes back.
type run struct {
	plan  Plan
	net   network
	clock func() int64
	mix   mix
	conns []conn
	tally tally
	gate  gate
	err   error // why there can be no result

	unopened []*conn // still to be opened before the start
	attempts int     // connections on their way
	opens    int64   // connections that are open
	reached  bool    // one was open at some time

	free   ring    // lanes that can take a request, the longest free first
	parked []*lane // those of them that wait for the gate

	phase    phase
	start    int64 // of the warm-up
	begin    int64 // of the measured time
	stop     int64 // of all
	boundary int64 // when the present phase ends
	from     int64 // requests that were due earlier are not counted

	gap   float64 // nanoseconds between requests, zero in a closed loop
	index int64   // of the next request of the open loop's schedule
	due   int64   // when that is due; never in a closed loop
	begun int64   // requests that are counted or will be
	bound int64   // of begun

	sweep    int64 // when the next sweep is due
	sweeping int64 // between sweeps
	tick     int64 // when progress is due
}

// phase is how far a run is.
type phase int

const (
	connecting phase = iota
	warming
	measuring
	over
)

const (
	never = int64(1<<63 - 1)
	// opensAtOnce bounds the connections on their way before the start, so that
	// the target's queue of new connections does not run over.
	opensAtOnce = 64
	// patience is how long a target that refuses is tried before the start.
	patience = int64(time.Second)
)

// newRun returns a run whose engine is still to be set.
func newRun(p Plan, newCodec func() codec, progress bool) (*run, error) {
	m, err := newMix(p.Mix)
	if err != nil {
		return nil, err
	}
	made := time.Now()
	r := &run{
		plan: p, mix: m, conns: make([]conn, p.Connections), tally: newTally(len(p.Mix), progress),
		clock: func() int64 { return int64(time.Since(made)) },
		bound: never, boundary: never, due: never, tick: never,
		sweeping: min(max(int64(p.Timeout)/10, int64(time.Millisecond)), int64(100*time.Millisecond)),
	}
	if p.Requests > 0 {
		r.bound = p.Requests
	}
	if p.Rate > 0 {
		r.gap = float64(time.Second) / p.Rate
	}
	var lanes int
	for i := range r.conns {
		c := &r.conns[i]
		c.index, c.codec = i, newCodec()
		c.lanes = make([]lane, c.codec.lanes())
		for j := range c.lanes {
			c.lanes[j] = lane{conn: c, index: j}
		}
		lanes += len(c.lanes)
		if p.PerConnection != 1 {
			r.unopened = append(r.unopened, c)
		}
	}
	r.free.lanes, r.parked = make([]*lane, lanes), make([]*lane, 0, lanes)
	return r, nil
}

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

// finish ends the run at the given time, and counts what is left.
func (r *run) finish(at int64) {
	switch {
	case r.phase != measuring:
		r.tally.restart(r.opens)
		r.begin = at
	case r.gap > 0:
		r.remainder(at)
	}
	r.phase, r.stop, r.boundary = over, at, never
}

// remainder counts what an open loop leaves without an answer, with the time
// that it has waited.
func (r *run) remainder(at int64) {
	for i := range r.conns {
		for j := range r.conns[i].lanes {
			if l := &r.conns[i].lanes[j]; l.busy && l.due >= r.from {
				r.tally.unanswered++
				r.tally.took(l.request, at-l.due)
			}
		}
	}
	first := r.indexAt(r.begin)
	last := max(r.indexAt(at), r.index)
	if last-first > r.bound {
		last = first + r.bound
	}
	r.tally.scheduled = last - first
	for k := max(first, r.index); k < last; k++ {
		r.tally.unsent++
		r.tally.took(r.mix.next(), at-r.dueAt(k))
	}
}

// indexAt returns the index of the first request that is due at the given time
// or later.
func (r *run) indexAt(at int64) int64 {
	k := int64(float64(at-r.start) / r.gap)
	for r.dueAt(k) < at {
		k++
	}
	for k > 0 && r.dueAt(k-1) >= at {
		k--
	}
	return k
}

// interrupt ends the run before its time, and reports whether it did.
func (r *run) interrupt(now int64) bool {
	if r.phase == over {
		return false
	}
	r.finish(now)
	return true
}

// report returns the progress if it is due.
func (r *run) report(now int64) (p Progress, due bool) {
	if now < r.tick || r.phase == over || r.tally.interval == nil {
		return Progress{}, false
	}
	r.tick = now + int64(time.Second)
	p = Progress{
		Elapsed: time.Duration(now - r.start), Total: r.plan.Warmup + r.plan.Duration, Warmup: r.phase == warming,
		Requests: r.tally.answered, Failed: r.tally.failed,
	}
	p.P50, p.P99 = r.tally.quantiles()
	return p, true
}

// result returns what was measured, and why it ended early if it did.
func (r *run) result(ctx context.Context, interrupted bool) (*Result, error) {
	if r.err != nil {
		return nil, r.err
	}
	result := r.tally.result(time.Duration(r.stop - r.begin))
	if interrupted {
		return result, context.Cause(ctx)
	}
	return result, nil
}
