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

var (
	errRevisions  = errors.New("it does not have 8 bytes")
	errUnanswered = errors.New("the store does not answer, and what was reserved is used up")
)

// StoreRevisions returns a function that hands out revisions, each higher than
// all before it in the store's epoch, also over ends of the process that
// nobody announced: they are reserved in the store before they are handed out.
// Only the first one waits for that: further ones are reserved meanwhile, and
// while the store takes no changes, or does not answer, what is reserved is used
// up, at least 99,000. The function is safe for concurrent use; one process at a
// time may use it with a store. What it has begun to reserve ends with the store
// at the latest.
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
	renewing bool       // they are being reserved
}

func (r *revisions) take(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.last < r.renew || r.last < r.reserved && r.renewing:
	case r.renewing:
		return 0, fmt.Errorf("reserve revisions: %w", errUnanswered)
	case r.last < r.reserved:
		r.renewing = true
		go r.reserveAhead(context.WithoutCancel(ctx), r.last)
	default:
		if err := r.begin(ctx); err != nil {
			return 0, fmt.Errorf("reserve revisions: %w", err)
		}
	}
	r.last++
	return r.last, nil
}

// begin reserves the first revisions, or those that are needed at once.
func (r *revisions) begin(ctx context.Context) error {
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
	if err := r.write(ctx, r.last+revisionsAhead); err != nil {
		return err
	}
	r.reserved, r.renew = r.last+revisionsAhead, r.last+revisionBlock
	return nil
}

// reserveAhead reserves further revisions behind one that was handed out. If
// that fails it is tried again for each further one.
func (r *revisions) reserveAhead(ctx context.Context, behind uint64) {
	err := r.write(ctx, behind+revisionsAhead)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewing = false
	if err == nil {
		r.reserved, r.renew = behind+revisionsAhead, behind+revisionBlock
	}
}

func (r *revisions) write(ctx context.Context, reserved uint64) error {
	_, err := r.store.SetValue(ctx, revisionsValue, binary.BigEndian.AppendUint64(nil, reserved), store.Any)
	return err
}
