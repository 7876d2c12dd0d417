// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Join returns a source that tells what all of several tell. Their keys must
// differ. Its first listing is complete when those of all are; it ends when
// one of them cannot go on. It is a Confirmer that asks all that are.
func Join(sources ...Source) Source { return joined(sources) }

type joined []Source

// Run implements Source.
func (j joined) Run(ctx context.Context, sink func(Batch)) error {
	var mu sync.Mutex // guards unlisted, and lets one call the sink at a time
	unlisted := len(j)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range j {
		g.Go(func() error {
			return s.Run(ctx, func(b Batch) {
				mu.Lock()
				defer mu.Unlock()
				if b.Listed {
					unlisted--
					b.Listed = unlisted == 0
				}
				if len(b.Updates) > 0 || b.Listed || len(b.Changes) > 0 {
					sink(b)
				}
			})
		})
	}
	return g.Wait()
}

// Confirm implements Confirmer.
func (j joined) Confirm() int {
	n := 0
	for _, s := range j {
		if c, ok := s.(Confirmer); ok {
			n += c.Confirm()
		}
	}
	return n
}
