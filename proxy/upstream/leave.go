// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"time"
)

// ErrLeft reports that an instance began to drain while it was being connected
// to. Its address may be nobody's by then, where nothing is answered, not even
// that it is refused; whoever waits has others to ask.
var ErrLeft = errors.New("the instance left while it was being connected to")

// leaveGrace is how long a dial may take yet when the instance leaves.
const leaveGrace = 250 * time.Millisecond

// attempt is a dial under way.
type attempt struct {
	cancel       context.CancelCauseFunc
	next, before *attempt // of the instance, under its mutex
}

// attempt returns a context that ends some time after the instance has left,
// at once or while it is dialled. over must be called when the dial is over.
func (i *Instance) attempt(ctx context.Context) (_ context.Context, over func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attempt{cancel: cancel}
	i.listing.Lock()
	defer i.listing.Unlock()
	a.next = i.attempts
	if a.next != nil {
		a.next.before = a
	}
	i.attempts = a
	if i.gone.Load() { // else leave comes, and finds it
		time.AfterFunc(leaveGrace, func() { cancel(ErrLeft) })
	}
	return ctx, func() { i.attempted(a) }
}

func (i *Instance) attempted(a *attempt) {
	i.listing.Lock()
	defer i.listing.Unlock()
	a.cancel(nil)
	if a.before != nil {
		a.before.next = a.next
	} else {
		i.attempts = a.next
	}
	if a.next != nil {
		a.next.before = a.before
	}
}

// vanish notes that nothing leads to the instance any more, for good: one of
// its address that comes later is another one.
func (i *Instance) vanish() {
	i.gone.Store(true)
	i.leave()
}

// Leaves reports whether the instance drains: what fails there is no sign that
// it has too much to do.
func (i *Instance) Leaves() bool { return i.retired.Load() }

// leave ends the dials under way, if they take long: an instance that is only
// not ready any more answers them, and there may be no other.
func (i *Instance) leave() {
	i.listing.Lock()
	defer i.listing.Unlock()
	var all []context.CancelCauseFunc
	for a := i.attempts; a != nil; a = a.next {
		all = append(all, a.cancel)
	}
	if all == nil {
		return
	}
	time.AfterFunc(leaveGrace, func() {
		for _, cancel := range all {
			cancel(ErrLeft) // which does nothing if the dial is over
		}
	})
}
