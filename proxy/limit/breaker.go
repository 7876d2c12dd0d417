// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Breaker keeps exchanges from a route of which too many fail, or take too
// long. It is closed at first, and lets all pass. It opens when, of the
// exchanges that ended in a time, too large a share failed or was slow; then all
// are refused for a while. After that it is half open: a few may try, and
// it closes once all of them went well, or opens anew with the first that did
// not.
//
// While it is closed, beginning takes one load; ending takes an addition, and
// one more for what failed or was slow. Whoever ends an exchange at least
// 100 ms after the last look judges all of them. It must not be copied.
type Breaker struct {
	asked routing.Breaker

	slice int64 // an eighth of the window

	_ [128]byte
	// state is 0 while the breaker is closed. Otherwise its lower bits say
	// until when it is open, in milliseconds, and those above them how many of
	// the trials behind that began and how many went well.
	state  atomic.Uint64
	opened atomic.Uint64 // how often it did
	_      [112]byte
	judged atomic.Int64 // when the counts were looked at last
	counts [slices + 2]counts
}

// counts are those of one slice of time. Who finds those of an older one
// begins them anew; what others add in that very moment may be lost.
type counts struct {
	slice               atomic.Int64 // since the beginning of the clock, and 1
	ended, failed, slow atomic.Uint64
}

func (c *counts) clear() {
	c.ended.Store(0)
	c.failed.Store(0)
	c.slow.Store(0)
}

const (
	judgeEvery = int64(100 * time.Millisecond)
	slices     = 8 // of a window

	untilBits = 40
	untilMask = 1<<untilBits - 1
	oneBegun  = 1 << untilBits
	oneWell   = 1 << (untilBits + trialBits)
	trialBits = 12
	trialMask = 1<<trialBits - 1
)

func until(state uint64) int64 { return int64(state&untilMask) * int64(time.Millisecond) }

func begun(state uint64) uint64 { return state >> untilBits & trialMask }

func well(state uint64) uint64 { return state >> (untilBits + trialBits) }

// NewBreaker returns a closed Breaker.
func NewBreaker(b routing.Breaker) *Breaker {
	return &Breaker{asked: b, slice: max(int64(b.Over)/slices, 1)}
}

// Asked returns what the breaker was made of.
func (b *Breaker) Asked() routing.Breaker { return b.asked }

// Pass is the right to begin an exchange. The zero Pass is that of a closed
// breaker.
type Pass struct{ state uint64 } // until when it had been open, of a trial

// Enter asks, at time now, to begin an exchange. If it may not, wait says after
// which time another may try. A Pass is handed back to Leave.
func (b *Breaker) Enter(now int64) (p Pass, wait time.Duration) {
	state := b.state.Load()
	if state == 0 {
		return Pass{}, 0
	}
	return b.try(state, now)
}

// try takes one of the trials of a half open breaker. If they have not come to
// an end for as long as it was open, such as downloads that go on and on, there
// are new ones.
func (b *Breaker) try(state uint64, now int64) (Pass, time.Duration) {
	for ; state != 0; state = b.state.Load() {
		rest := until(state) - now
		next := state + oneBegun
		switch {
		case rest > 0:
			return Pass{}, time.Duration(rest)
		case begun(state) < uint64(b.asked.Trials):
		case rest < -int64(b.asked.OpenFor):
			next = openUntil(now) + oneBegun
		default:
			return Pass{}, time.Duration(rest) + b.asked.OpenFor + time.Millisecond
		}
		if b.state.CompareAndSwap(state, next) {
			return Pass{state: next & untilMask}, 0
		}
	}
	return Pass{}, 0
}

// openUntil is the state of a breaker that is open until a time; never 0.
func openUntil(at int64) uint64 {
	return uint64(max((at+int64(time.Millisecond)-1)/int64(time.Millisecond), 1)) & untilMask
}

// Ending is how an exchange ended.
type Ending uint8

const (
	// Well is an exchange that the instances answered.
	Well Ending = iota
	// Badly is one that they failed.
	Badly
	// Untold is one that says nothing of them.
	Untold
)

// Leave tells, at time now, how the exchange of a Pass ended, and how long the
// instance took to answer, 0 if it did not.
func (b *Breaker) Leave(p Pass, now int64, how Ending, took time.Duration) {
	slow := b.asked.SlowerThan > 0 && took > b.asked.SlowerThan
	if p.state != 0 {
		b.tried(p, now, how, slow)
		return
	}
	if how == Untold {
		return
	}
	if c := b.countsOf(now); c != nil {
		c.ended.Add(1)
		if how == Badly {
			c.failed.Add(1)
		}
		if slow {
			c.slow.Add(1)
		}
	}
	if last := b.judged.Load(); now-last >= judgeEvery && b.judged.CompareAndSwap(last, now) {
		b.judge(now)
	}
}

// countsOf returns the counts of a time, nil if they are those of a later one.
func (b *Breaker) countsOf(now int64) *counts {
	slice := now/b.slice + 1
	c := &b.counts[slice%int64(len(b.counts))]
	if was := c.slice.Load(); was != slice {
		if was > slice {
			return nil
		}
		if c.slice.CompareAndSwap(was, slice) {
			c.clear()
		}
	}
	return c
}

// tried takes in how a trial ended.
func (b *Breaker) tried(p Pass, now int64, how Ending, slow bool) {
	for {
		state := b.state.Load()
		if state == 0 || state&untilMask != p.state {
			return // of trials before these
		}
		next := state + oneWell
		switch {
		case how == Untold:
			next = state - oneBegun
		case how == Badly && b.asked.Errors > 0 || slow:
			next = openUntil(now + int64(b.asked.OpenFor))
		case well(state)+1 >= uint64(b.asked.Trials):
			next = 0
			b.forget() // before it is closed, so that nobody judges what was
		}
		if !b.state.CompareAndSwap(state, next) {
			continue
		}
		if next != 0 && next&untilMask != p.state {
			b.opened.Add(1)
		}
		return
	}
}

// forget lets nothing count that has ended so far.
func (b *Breaker) forget() {
	for i := range b.counts {
		b.counts[i].clear()
	}
}

// judge opens the breaker if what ended in its window calls for it.
func (b *Breaker) judge(now int64) {
	if b.state.Load() != 0 || !b.tooBad(now) {
		return
	}
	if b.state.CompareAndSwap(0, openUntil(now+int64(b.asked.OpenFor))) {
		b.opened.Add(1)
	}
}

// tooBad compares what was counted in the present slice and in the eight
// before it with what is asked.
func (b *Breaker) tooBad(now int64) bool {
	var ended, failed, slow uint64
	present := now/b.slice + 1
	for i := range b.counts {
		c := &b.counts[i]
		if at := c.slice.Load(); at > present || at < present-slices {
			continue
		}
		ended += c.ended.Load()
		failed += c.failed.Load()
		slow += c.slow.Load()
	}
	if ended == 0 || ended < uint64(b.asked.AtLeast) {
		return false
	}
	const full = uint64(routing.FullWeight)
	return b.asked.Errors > 0 && failed*full >= ended*uint64(b.asked.Errors) ||
		b.asked.SlowerThan > 0 && slow*full > ended*uint64(b.asked.Slow)
}

// Mode is the state of a breaker.
type Mode uint8

// The modes; their numbers are those of the metric.
const (
	Closed Mode = iota
	Open
	HalfOpen
)

// String returns closed, open or half-open.
func (m Mode) String() string { return [...]string{"closed", "open", "half-open"}[m] }

// Mode returns the state at time now.
func (b *Breaker) Mode(now int64) Mode {
	switch state := b.state.Load(); {
	case state == 0:
		return Closed
	case until(state) > now:
		return Open
	}
	return HalfOpen
}

// Opened counts how often the breaker opened.
func (b *Breaker) Opened() uint64 { return b.opened.Load() }
