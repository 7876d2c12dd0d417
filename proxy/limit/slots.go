// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"sync"
	"sync/atomic"
	"time"
)

// Waiting bounds a queue. Comparable.
type Waiting struct {
	Most int           // who may wait at once; 0: nobody
	Time time.Duration // how long
}

// Slots bound how many exchanges are under way at once. It takes one
// compare-and-swap to get a slot and one to give it back, as long as not all
// are taken; who finds them taken may wait in line. It must not be copied.
type Slots struct {
	_     [128]byte // the state is written by every exchange
	state atomic.Uint64
	limit atomic.Uint32
	_     [112]byte

	mu      sync.Mutex // guards what follows, and changes of those who wait in state
	waiting Waiting
	line    line
}

// In the state, the lower half counts the slots that are taken, the upper one
// those who wait. A free slot and somebody who waits never stay beside each
// other: whoever joins does so in the same step in which all slots are found
// taken, and whoever gives one back sees in the same step that somebody waits.
const oneWaits = 1 << 32

func taken(state uint64) uint32 { return uint32(state) }

func waits(state uint64) uint32 { return uint32(state >> 32) }

// NewSlots returns a number of slots, at least 1.
func NewSlots(limit int, w Waiting) *Slots {
	s := &Slots{waiting: w}
	s.limit.Store(uint32(max(limit, 1)))
	return s
}

// Set changes the number of slots and the bounds of the queue. Who is under
// way, or waits, stays.
func (s *Slots) Set(limit int, w Waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = w
	s.limit.Store(uint32(max(limit, 1)))
	for {
		state := s.state.Load()
		if waits(state) == 0 || taken(state) >= s.limit.Load() {
			return
		}
		if s.state.CompareAndSwap(state, state+1-oneWaits) {
			one := s.line.first
			s.line.leave(one)
			one.turn <- Granted
		}
	}
}

// Taken counts the slots that are taken.
func (s *Slots) Taken() int { return int(taken(s.state.Load())) }

// Waiting counts those who wait for one.
func (s *Slots) Waiting() int { return int(waits(s.state.Load())) }

// Enter takes a slot if one is free, and reports whether it did.
func (s *Slots) Enter() bool {
	for {
		state := s.state.Load()
		if taken(state) >= s.limit.Load() || waits(state) > 0 {
			return false
		}
		if s.state.CompareAndSwap(state, state+1) {
			return true
		}
	}
}

// Wait takes a slot, at time now, and waits for it if it has to. With any other
// outcome than Granted there is no slot to give back.
func (s *Slots) Wait(now int64, c Client) Outcome {
	w, left, outcome := s.join(now)
	if w == nil {
		return outcome
	}
	for {
		pause := min(left, lookEvery)
		w.timer.Reset(pause)
		select {
		case outcome = <-w.turn:
			w.timer.Stop()
		case <-w.timer.C:
			left -= pause
			gone := c.Gone()
			if left > 0 && !gone {
				continue
			}
			outcome = s.giveUp(w, gone)
		}
		s.drop(w)
		if outcome == Granted && c.Gone() {
			s.Leave(now)
			return Gone
		}
		return outcome
	}
}

// lookEvery is how often those who wait look whether their client is still
// there.
const lookEvery = 25 * time.Millisecond

// join takes a slot that has become free, or stands in line; without a waiter
// the outcome is known.
func (s *Slots) join(now int64) (w *waiter, wait time.Duration, known Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		state := s.state.Load()
		switch {
		case taken(state) < s.limit.Load():
			if s.state.CompareAndSwap(state, state+1) {
				return nil, 0, Granted
			}
			continue
		case s.waiting.Most == 0:
			return nil, 0, Refused
		case s.line.n >= s.waiting.Most:
			if !s.line.overloaded(now, s.waiting.Time) {
				return nil, 0, Refused
			}
			oldest := s.line.first
			s.line.leave(oldest)
			s.state.Add(^uint64(oneWaits - 1))
			oldest.turn <- Refused
			continue
		}
		if s.state.CompareAndSwap(state, state+oneWaits) {
			w := s.line.waiter()
			s.line.join(w, now)
			return w, s.waiting.Time, Granted
		}
	}
}

func (s *Slots) drop(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line.drop(w)
}

// giveUp leaves the line, unless the turn has just come.
func (s *Slots) giveUp(w *waiter, gone bool) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.standing {
		return <-w.turn
	}
	s.line.leave(w)
	s.state.Add(^uint64(oneWaits - 1))
	if gone {
		return Gone
	}
	return TimedOut
}

// Leave gives a slot back at time now: to somebody who waits, if anybody does.
func (s *Slots) Leave(now int64) {
	for {
		state := s.state.Load()
		if waits(state) > 0 {
			s.pass(now)
			return
		}
		if s.state.CompareAndSwap(state, state-1) {
			return
		}
	}
}

// pass hands a slot on, or gives it back if there are more than there may be
// by now.
func (s *Slots) pass(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Taken() <= int(s.limit.Load()) {
		if w := s.line.call(now, s.waiting.Time); w != nil {
			s.state.Add(^uint64(oneWaits - 1))
			w.turn <- Granted
			return
		}
	}
	s.state.Add(^uint64(0))
}
