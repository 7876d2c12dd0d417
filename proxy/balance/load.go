// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// Load is what an instance has to do at present. Every exchange writes it, so
// whoever holds it keeps what others read out of its pair of cache lines: lines
// are fetched in pairs. The zero Load is idle and unknown. It is safe for
// concurrent use.
type Load struct {
	inFlight atomic.Int64
	// latency holds the average in nanoseconds, as the bits of a float32 above
	// 0, in its upper half, and when it was noted, in milliseconds, in the
	// lower; 0 while nothing is known.
	latency atomic.Uint64
}

// InFlight counts the exchanges that began and have not ended.
func (l *Load) InFlight() int64 { return l.inFlight.Load() }

const (
	// memory is the time in which an old latency loses 63 % of its influence:
	// the one of Finagle's peak EWMA.
	memory = 10 * time.Second
	// failed is what a failure counts as at least, so that an instance that
	// fails fast is not taken for a fast one.
	failed = time.Second
	// unknown is what an instance costs that has not answered yet but has
	// exchanges in flight: it is tried by one at a time.
	unknown = float64(time.Second)
)

// Observe takes a latency in at time now, in nanoseconds on the clock that
// Begin uses. What is slower than the average counts at once, what is faster
// only by and by: the peak EWMA of Twitter's Finagle
// (com.twitter.finagle.loadbalancer.PeakEwma).
//
// Of two that come at the same moment one may be lost.
func (l *Load) Observe(now int64, took time.Duration) {
	old := l.latency.Load()
	next := max(float64(took), 1)
	if average, at := unpack(old); old != 0 && next < average {
		keep := decay(now, at)
		next = average*keep + next*(1-keep)
	}
	l.latency.CompareAndSwap(old, pack(next, now))
}

// Latency returns the average at time now; 0 if nothing is known. While
// nothing is observed it fades, so that an instance that was slow once is
// tried again.
func (l *Load) Latency(now int64) time.Duration { return time.Duration(l.average(now)) }

func (l *Load) average(now int64) float64 {
	v := l.latency.Load()
	if v == 0 {
		return 0
	}
	average, at := unpack(v)
	return average * decay(now, at)
}

// cost is what one exchange more would meet.
func (l *Load) cost(now int64) float64 {
	busy := l.inFlight.Load()
	if l.latency.Load() == 0 {
		if busy == 0 {
			return 0
		}
		return unknown * float64(busy+1)
	}
	return l.average(now) * float64(busy+1)
}

func pack(average float64, now int64) uint64 {
	return uint64(math.Float32bits(float32(average)))<<32 | uint64(uint32(now/int64(time.Millisecond)))
}

func unpack(v uint64) (average float64, at uint32) {
	return float64(math.Float32frombits(uint32(v >> 32))), uint32(v)
}

// decay returns what is left of something noted at a time: 1 at once, towards
// 0 later. A clock that is behind counts as no time.
func decay(now int64, at uint32) float64 {
	passed := max(int32(uint32(now/int64(time.Millisecond))-at), 0)
	if passed == 0 {
		return 1
	}
	return math.Exp(-float64(passed) / float64(memory/time.Millisecond))
}
