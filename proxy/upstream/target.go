// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"sync/atomic"

	"github.com/sluice-mesh/sluice/routing"
)

// Target is what one route leads to: the instances behind a name, and whose
// turn it is. It is safe for concurrent use.
type Target struct {
	name *name
	_    [56]byte // the counter is written by every request
	next atomic.Uint64
	_    [56]byte
}

// name is a host and port, and the instances found behind it. Targets of
// several routes share it.
type name struct {
	host      string
	port      uint16
	literal   bool   // host is an address: nothing to look up
	looking   bool   // a look-up is under way; guarded by Pool.mu
	fixed     *fixed // what it was made of; nil for a host
	instances atomic.Pointer[[]*Instance]
	lookup    atomic.Pointer[lookup]
	done      chan struct{} // closed when the first look-up has ended
}

// lookup is the outcome of the latest look-up.
type lookup struct {
	addrs []netip.Addr
	err   error
}

// Instances returns the present instances. The slice is not to be changed.
func (t *Target) Instances() []*Instance { return *t.name.instances.Load() }

// Usable reports whether there is an instance at all and, of fixed ones, one
// that is ready.
func (t *Target) Usable() bool {
	if f := t.name.fixed; f != nil {
		return f.ready
	}
	return len(t.Instances()) > 0
}

// Turn takes the next turn of the rotation, for Pick.
func (t *Target) Turn() uint64 { return t.next.Add(1) - 1 }

// Pick returns the instance of a turn, and for attempt 1 and up the ones after
// it; nil if there are no more than attempt.
func (t *Target) Pick(turn uint64, attempt int) *Instance {
	is := t.Instances()
	if attempt >= len(is) {
		return nil
	}
	return is[(turn+uint64(attempt))%uint64(len(is))]
}

// ByID returns the instance of that ID, nil if there is none.
func (t *Target) ByID(id string) *Instance {
	for _, i := range t.Instances() {
		if i.ID == id {
			return i
		}
	}
	return nil
}

// ForKey returns the instance that serves a client's key, nil if there is
// none.
func (t *Target) ForKey(key uint64) (best *Instance) {
	var top uint64
	for _, i := range t.Instances() {
		if score := routing.KeyScore(key, i.ID); best == nil || score > top {
			best, top = i, score
		}
	}
	return best
}

// LookupError returns why the latest look-up of the name failed, nil if it
// did not. The instances of the last good one stay.
func (t *Target) LookupError() error {
	if l := t.name.lookup.Load(); l != nil {
		return l.err
	}
	return nil
}
