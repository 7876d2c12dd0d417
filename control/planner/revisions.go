// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-mesh/sluice/control/store"
)

const (
	// revisionsValue is the name of the store's value that says which revisions
	// are reserved.
	revisionsValue = "planner/revisions"
	// revisionBlock is how many revisions are used until more are reserved.
	revisionBlock = 1000
	// revisionsAhead is how many are reserved then, so that tables go out for
	// long while the store takes nothing. Those that are left when the process
	// ends are never used; there are enough.
	revisionsAhead = 100 * revisionBlock
)

var errRevisions = errors.New("it does not have 8 bytes")

// StoreRevisions returns a function that hands out revisions, each higher than
// all before it in the store's epoch, also over ends of the process that
// nobody announced: they are reserved in the store before they are handed out. While the store takes no changes, what is reserved
// is used up, at least 99,000. The function is safe for concurrent use; one
// process at a time may use it with a store.
func StoreRevisions(s store.Store) func(context.Context) (uint64, error) {
	r := &revisions{store: s}
	return r.take
}

// revisions hands out what it has reserved.
type revisions struct {
	store store.Store

	mu       sync.Mutex // guards the fields below
	last     uint64     // the last one that was handed out
	reserved uint64     // the highest one that may be
	renew    uint64     // when it was handed out, more are reserved
}

func (r *revisions) take(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last >= r.renew {
		if err := r.reserve(ctx); err != nil && r.last >= r.reserved {
			return 0, fmt.Errorf("reserve revisions: %w", err)
		}
	}
	r.last++
	return r.last, nil
}

// reserve reserves further revisions. If that fails it is tried again for each
// one.
func (r *revisions) reserve(ctx context.Context) error {
	if r.reserved == 0 {
		v, err := r.store.Value(ctx, revisionsValue)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		case len(v.Data) != 8:
			return fmt.Errorf("value %s: %w", revisionsValue, errRevisions)
		default:
			r.last = binary.BigEndian.Uint64(v.Data)
		}
	}
	next := r.last + revisionsAhead
	data := binary.BigEndian.AppendUint64(nil, next)
	if _, err := r.store.SetValue(ctx, revisionsValue, data, store.Any); err != nil {
		return err
	}
	r.reserved, r.renew = next, r.last+revisionBlock
	return nil
}
