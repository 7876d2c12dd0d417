// SPDX-License-Identifier: Apache-2.0

package book

import (
	"math"
	"time"
)

// window is the shape of a ring.
type window struct {
	length, step time.Duration
}

// windows are those that are kept, the shortest first.
var windows = [...]window{
	{Short, 2 * time.Second},
	{Middle, 10 * time.Second},
	{Long, 60 * time.Second},
}

// maxSteps is how many steps a ring holds: those of its window, and the one
// that is not over.
const maxSteps = 7

// windowOf returns the shortest window that is not below a length, or the
// longest one. A length that is not above 0 means the longest one, too.
func windowOf(length time.Duration) int {
	for i, w := range windows {
		if length > 0 && length <= w.length {
			return i
		}
	}
	return len(windows) - 1
}

func (w window) steps() int64 { return int64(w.length/w.step) + 1 }

// ring holds what was counted in the last steps of a window.
type ring [maxSteps]step

type step struct {
	at      int64 // its number since the book began; others than the last few are over
	counted vector
}

// rings are those of a series, by window.
type rings [len(windows)]ring

// span is the time in which something was counted, for all numbers of one
// message: how much of them falls into which step.
type span [len(windows)][]part

// part is the share of a number up to the end of a step.
type part struct {
	at    int64
	upTo  float64 // 0 to 1
	share bool    // the step is in the ring
}

// spread returns how what was counted between two times, since the book began,
// falls into steps: evenly. Parts before the rings are in none.
func spread(from, to time.Duration) span {
	var s span
	for i, w := range windows {
		first, last := floor(from, w.step), floor(to, w.step)
		oldest := last - w.steps() + 1
		if first < oldest {
			first = oldest
			s[i] = append(s[i], part{at: oldest - 1, upTo: fraction(time.Duration(oldest)*w.step, from, to)})
		}
		for at := first; at <= last; at++ {
			s[i] = append(s[i], part{at: at, upTo: fraction(time.Duration(at+1)*w.step, from, to), share: true})
		}
		s[i][len(s[i])-1].upTo = 1
	}
	return s
}

func fraction(t, from, to time.Duration) float64 {
	if to <= from {
		return 1
	}
	return min(max(float64(t-from)/float64(to-from), 0), 1)
}

// floor returns the number of the step in which a time is. Times before the
// book began have steps below 0.
func floor(t, step time.Duration) int64 {
	return int64(math.Floor(float64(t) / float64(step)))
}

// add counts n in the field, spread over the steps of the span. Nothing of it
// is lost in rounding.
func (r *rings) add(s *span, f field, n uint64) {
	for i := range r {
		var before uint64
		for _, p := range s[i] {
			upTo := n
			if p.upTo < 1 {
				upTo = min(uint64(float64(n)*p.upTo), n)
			}
			if p.share && upTo > before {
				r[i].at(p.at, &windows[i]).add(f, upTo-before)
			}
			before = max(before, upTo)
		}
	}
}

// at returns the counts of a step, empty ones if it is a new one.
func (r *ring) at(at int64, w *window) *vector {
	n := w.steps()
	s := &r[(at%n+n)%n]
	if s.at != at || s.counted.fields == nil {
		s.at = at
		s.counted.reset()
	}
	return &s.counted
}

// within yields what was counted in the steps that are in the window at a time
// since the book began.
func (r *ring) within(now time.Duration, w *window) func(yield func(int, *vector) bool) {
	oldest, last := w.oldest(now), floor(now, w.step)
	return func(yield func(int, *vector) bool) {
		for i := range r {
			if s := &r[i]; s.at >= oldest && s.at <= last && !yield(i, &s.counted) {
				return
			}
		}
	}
}

// oldest returns the first step that is in the window at a time.
func (w window) oldest(now time.Duration) int64 { return floor(now, w.step) - w.steps() + 1 }
