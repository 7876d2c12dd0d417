// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"time"
)

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
