// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"time"
)

// Teller tells a sink what a source knows, whenever there is news.
type Teller struct {
	// Batch returns what is to be told now, and when to look again; the zero time
	// means when there is news. over says that the patience is. It is called by
	// one goroutine at a time.
	Batch func(now time.Time, over bool) (b Batch, next time.Time)
	// Wake holds a token when there is news.
	Wake <-chan struct{}
	// Patience is how long the first listing waits for whoever is asked.
	Patience time.Duration
	// Listed is called once the end of the first listing was told.
	Listed func()
}

// Tell calls sink until ctx ends.
func (t *Teller) Tell(ctx context.Context, sink func(Batch)) {
	patience := time.NewTimer(t.Patience)
	defer patience.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	over := false
	for {
		b, next := t.Batch(time.Now(), over)
		if len(b.Updates) > 0 || b.Listed {
			sink(b)
		}
		if b.Listed {
			t.Listed()
		}
		due.Stop()
		if !next.IsZero() {
			due.Reset(max(0, time.Until(next)))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.Wake:
		case <-due.C:
		case <-patience.C:
			over = true
		}
	}
}
