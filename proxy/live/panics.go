// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

// Panics takes note of faults of ours that were caught: each ends what it
// happened in, and no more. All are counted; one a minute is logged with its
// stack, and how many were not logged since the one before, so that a request
// that can be repeated does not fill a disk. It is safe for concurrent use. A nil
// Panics takes no note.
type Panics struct {
	count *metrics.Counter
	log   *slog.Logger

	mu     sync.Mutex // guards what follows
	told   time.Time  // when one was logged last; zero if none was
	untold int        // how many were not since
}

// NewPanics returns Panics that count, and log to log; nil means no log.
func NewPanics(count *metrics.Counter, log *slog.Logger) *Panics {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Panics{count: count, log: log}
}

// panicsEvery is how often a panic is logged.
const panicsEvery = time.Minute

// Caught takes note of what recover returned, while something was done: such
// as "serving a connection". It is called by the function that recovered, whose
// stack still has the place. shard spreads the counters.
func (p *Panics) Caught(shard uint32, during string, fault any) {
	if p == nil {
		return
	}
	p.count.Add(shard, 1)
	untold, tell := p.turn()
	if !tell {
		return
	}
	p.log.Error("a fault in the proxy ended what it happened in; the process goes on",
		"during", during, "panic", fmt.Sprint(fault), "stack", string(debug.Stack()), "not_logged_before", untold)
}

// turn reports whether a panic is to be logged, and how many were not.
func (p *Panics) turn() (untold int, tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.told.IsZero() && now.Sub(p.told) < panicsEvery {
		p.untold++
		return 0, false
	}
	untold = p.untold
	p.told, p.untold = now, 0
	return untold, true
}

// Steady runs what is to run until ctx ends, and runs it again should it
// panic: what depends on it would stand still for good otherwise.
func (p *Panics) Steady(ctx context.Context, during string, run func(context.Context)) {
	for p.attempt(ctx, during, run) {
		again := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			// It is run once more: the end is part of what it does.
		case <-again.C:
		}
		again.Stop()
	}
}

// attempt reports whether a panic ended run.
func (p *Panics) attempt(ctx context.Context, during string, run func(context.Context)) (failed bool) {
	defer func() {
		if fault := recover(); fault != nil {
			p.Caught(0, during, fault)
			failed = ctx.Err() == nil
		}
	}()
	run(ctx)
	return false
}
