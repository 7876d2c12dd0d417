// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"sync"
	"sync/atomic"
	"time"
)

// Seeker is who waits in a Crowd.
type Seeker interface {
	Client
	// Found looks once more, and reports whether there is nothing left to wait
	// for: what was sought was found, or never will be.
	Found() bool
}

// Crowd is a queue in front of several things, each of which may be full: the
// instances of a route. It does not hand anything over; it tells one of those
// who wait to look again. Who comes in that moment may be faster, so that
// nothing is ever kept free for somebody who is asleep. It must not be copied.
type Crowd struct {
	_     [128]byte // looked at by every exchange that ends
	state atomic.Int64
	_     [120]byte

	mu      sync.Mutex // guards what follows
	waiting Waiting
	line    line
}

// NewCrowd returns an empty Crowd.
func NewCrowd(w Waiting) *Crowd { return &Crowd{waiting: w} }

// Set changes the bounds.
func (c *Crowd) Set(w Waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = w
}

// Waiting counts those who wait.
func (c *Crowd) Waiting() int { return int(c.state.Load()) }

// Tell says, at time now, that there is room again. It must follow the step
// that made the room.
func (c *Crowd) Tell(now int64) {
	if c.state.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(now)
}

func (c *Crowd) tell(now int64) {
	if w := c.line.call(now, c.waiting.Time); w != nil {
		w.turn <- Granted
	}
}

// Wait waits, from time now on, until s has found what it seeks.
func (c *Crowd) Wait(now int64, s Seeker) Outcome {
	w, left := c.join(now)
	if w == nil {
		return Refused
	}
	outcome := c.seek(w, left, now, s)
	c.part(w, now)
	return outcome
}

// seek looks once more each time that it is told to, and from time to time:
// what others than those of this crowd give back, nobody tells.
func (c *Crowd) seek(w *waiter, left time.Duration, now int64, s Seeker) Outcome {
	for {
		if s.Found() {
			return Granted
		}
		pause := min(left, seekEvery)
		w.timer.Reset(pause)
		select {
		case outcome := <-w.turn:
			w.timer.Stop()
			if outcome == Refused {
				return Refused
			}
			c.again(w, now)
		case <-w.timer.C:
			left -= pause
			switch {
			case s.Gone():
				return Gone
			case left <= 0 && s.Found():
				return Granted
			case left <= 0:
				return TimedOut
			}
		}
	}
}

// seekEvery is how often those who wait in a crowd look by themselves.
const seekEvery = 10 * time.Millisecond

// join stands in line; nil if it is full.
func (c *Crowd) join(now int64) (*waiter, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line.n >= c.waiting.Most {
		if c.waiting.Most == 0 || !c.line.overloaded(now, c.waiting.Time) {
			return nil, 0
		}
		oldest := c.line.first
		c.line.leave(oldest)
		oldest.turn <- Refused
	}
	w := c.line.waiter()
	c.line.join(w, now)
	c.state.Add(1)
	return w, c.waiting.Time
}

// again stands in line once more, before looking, so that nothing that becomes
// free meanwhile is missed.
func (c *Crowd) again(w *waiter, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.join(w, now)
}

// part leaves the line. What was told to one that no longer seeks is told to
// the next.
func (c *Crowd) part(w *waiter, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Add(-1)
	if w.standing {
		c.line.leave(w)
	} else {
		select {
		case <-w.turn:
			c.tell(now)
		default:
		}
	}
	c.line.drop(w)
}
