// SPDX-License-Identifier: Apache-2.0

package limit

import "time"

// Client is on whose behalf somebody waits.
type Client interface {
	// Gone reports that the client does not want the answer any more. It is
	// called again and again while somebody waits, outside of all locks.
	Gone() bool
}

// Outcome says how a wait ended.
type Outcome uint8

const (
	// Granted lets the exchange begin.
	Granted Outcome = iota
	// Refused says that too many wait already, or that one that came later was
	// served better.
	Refused
	// TimedOut says that the turn did not come in time.
	TimedOut
	// Gone says that the client left.
	Gone
)

// waiter is one that waits. It belongs to one goroutine and to the line that
// it stands in.
type waiter struct {
	next, prev *waiter
	standing   bool         // in a line
	turn       chan Outcome // what became of it; room for one
	timer      *time.Timer
}

// line is a bounded queue. Its owner's mutex guards it.
//
// Who is next depends on how busy it is. As long as the line is empty from
// time to time, everybody's turn comes, and the first come are first served. A
// line in which somebody has stood for longer than anybody may wait drains
// slower than it fills: first come would then mean that all of those served
// have waited for as long as their clients put up with it. So the newest are
// served first, with hardly a wait, and the oldest, whose time is all but up,
// make room for them. The same number is served either way. B. Maurer, Fail at
// Scale, ACM Queue 13(8), 2015, calls this adaptive LIFO.
type line struct {
	first, last *waiter // the oldest, the newest
	spare       *waiter // those that are used again, by next
	n           int
	since       int64 // when it last began to hold somebody
}

// overloaded reports whether the line has not been empty for a time.
func (l *line) overloaded(now int64, wait time.Duration) bool {
	return l.n > 0 && now-l.since > int64(wait)
}

// waiter returns one that stands in no line. There are never more than waited
// at once.
func (l *line) waiter() *waiter {
	w := l.spare
	if w == nil {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return &waiter{turn: make(chan Outcome, 1), timer: t}
	}
	l.spare, w.next = w.next, nil
	return w
}

// drop takes back a waiter that stands in no line and whose turn was taken.
func (l *line) drop(w *waiter) { l.spare, w.next = w, l.spare }

// join puts w at the end.
func (l *line) join(w *waiter, now int64) {
	if l.n == 0 {
		l.since = now
	}
	w.prev, w.next, w.standing = l.last, nil, true
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
	}
	l.last = w
	l.n++
}

// leave takes w out of the line.
func (l *line) leave(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
	w.prev, w.next, w.standing = nil, nil, false
	l.n--
}

// call takes out the one whose turn it is; nil if nobody waits.
func (l *line) call(now int64, wait time.Duration) *waiter {
	w := l.first
	if l.overloaded(now, wait) {
		w = l.last
	}
	if w != nil {
		l.leave(w)
	}
	return w
}
