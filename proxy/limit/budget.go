// SPDX-License-Identifier: Apache-2.0

package limit

import "sync/atomic"

// Budget bounds how many retries are under way, so that those who try again do
// not bring down what is left. Nobody who needs no retry touches it. It is
// safe for concurrent use; the zero Budget has none under way.
type Budget struct {
	inFlight atomic.Int64
	begun    atomic.Uint64
	spent    atomic.Uint64
}

// Take begins a retry unless as many are under way as may be. Give must follow
// if it does.
func (b *Budget) Take(most int64) bool {
	for {
		n := b.inFlight.Load()
		if n >= most {
			b.spent.Add(1)
			return false
		}
		if b.inFlight.CompareAndSwap(n, n+1) {
			b.begun.Add(1)
			return true
		}
	}
}

// Again counts one more retry of an exchange whose last one has ended, in its
// place.
func (b *Budget) Again() { b.begun.Add(1) }

// Give ends a retry.
func (b *Budget) Give() { b.inFlight.Add(-1) }

// InFlight counts the retries under way.
func (b *Budget) InFlight() int64 { return b.inFlight.Load() }

// Begun counts the retries so far.
func (b *Budget) Begun() uint64 { return b.begun.Load() }

// Spent counts those that were wanted and not allowed.
func (b *Budget) Spent() uint64 { return b.spent.Load() }
