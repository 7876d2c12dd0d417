// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
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
	if p.Protocol == HTTP2 {
		return runHTTP2(ctx, p)
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
