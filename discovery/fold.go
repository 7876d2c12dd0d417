// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// foldInterval is the least time between two batches while changes keep
// coming.
const foldInterval = 50 * time.Millisecond

// Fold makes few batches of many updates: the newest of each key counts, the
// first change after quiet passes at once, and while changes keep coming at
// most one batch passes each interval. Urgent updates never wait, and take
// along whatever waits.
//
// What waits is bounded by the number of keys, so Put never blocks and
// nothing is ever dropped but what a newer update of its key replaces. A Fold
// is made by NewFold; all methods are safe for concurrent use.
type Fold struct {
	interval time.Duration
	wake     chan struct{} // holds a token when there is news for Run

	mu      sync.Mutex // guards the fields below
	pending map[string]Update
	listed  bool // Listed is to be passed on
	changes []Change
	urgent  bool
	closed  bool
}

// NewFold returns a Fold that passes a batch at most each interval. Zero
// means 50 ms.
func NewFold(interval time.Duration) *Fold {
	return &Fold{
		interval: cmp.Or(interval, foldInterval),
		wake:     make(chan struct{}, 1),
		pending:  make(map[string]Update),
	}
}

// Put adds the updates of b to what waits. It does not block.
func (f *Fold) Put(b Batch) {
	f.mu.Lock()
	for _, u := range b.Updates {
		f.pending[u.Key] = u
		f.urgent = f.urgent || u.Urgent
	}
	f.listed = f.listed || b.Listed
	f.changes = append(f.changes, b.Changes...)
	f.mu.Unlock()
	f.nudge()
}

// Close says that nothing will be put any more: Run passes what waits and
// returns.
func (f *Fold) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.nudge()
}

// Run passes batches, sorted by key, to sink until ctx ends or the Fold is
// closed. It calls sink from the calling goroutine only, and waits for it.
func (f *Fold) Run(ctx context.Context, sink func(Batch)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	last := time.Now().Add(-f.interval)
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-timer.C:
		}
		wait := max(0, f.interval-time.Since(last))
		b, closed := f.take(wait == 0)
		if len(b.Updates) > 0 || b.Listed || len(b.Changes) > 0 {
			last = time.Now()
			sink(b)
		}
		if closed {
			return
		}
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// take returns what may pass now, and whether the Fold is closed. due says
// that the interval is over.
func (f *Fold) take(due bool) (b Batch, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !due && !f.urgent && !f.closed {
		return b, false
	}
	b.Listed, b.Changes = f.listed, f.changes
	for _, key := range slices.Sorted(maps.Keys(f.pending)) {
		b.Updates = append(b.Updates, f.pending[key])
	}
	clear(f.pending)
	f.listed, f.urgent, f.changes = false, false, nil
	return b, f.closed
}

// nudge wakes Run. A token that is there already says the same.
func (f *Fold) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
