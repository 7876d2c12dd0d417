// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// checkKey is what is asked of which address, and in which way. Routes that
// ask the same share one check.
type checkKey struct {
	at  netip.AddrPort
	way Way
	ask routing.Health // without Panic, which is the routes' own affair
}

// checkState is what a check has found out.
type checkState uint32

const (
	checkUnknown checkState = iota
	checkHealthy
	checkUnhealthy
)

// check looks at one address again and again.
type check struct {
	key     checkKey
	request []byte // of HTTP or gRPC, as it is sent
	state   atomic.Uint32
	// passed and failed count the checks that were made.
	passed, failed atomic.Uint64

	// The rest is guarded by checker.mu.
	row   int // successes in a row, or failures below 0
	since time.Time
	why   string // the latest failure; of interest while it is not healthy
	due   time.Time
	place int // in the queue; -1 while it runs
	gone  bool
	// awaited says that somebody sends nothing there before the first success.
	awaited bool
	hurried int           // checks that came sooner for that
	tried   chan struct{} // closed by the first outcome; nil unless awaited
}

// unhealthy reports whether too many in a row failed.
func (k *check) unhealthy() bool { return checkState(k.state.Load()) == checkUnhealthy }

// answered reports whether it ever succeeded. The nil check did not.
func (k *check) answered() bool { return k != nil && k.passed.Load() > 0 }

// checker runs all checks from one goroutine: those that are due wait in a
// heap, and a goroutine each only while they are under way, of which there is
// a bounded number. What is late beyond that waits its turn, so many instances
// that do not answer make the checks rarer, not the load higher.
type checker struct {
	most  int
	raise func() // is told that a state changed
	log   *slog.Logger
	ask   func(context.Context, *check) error
	// caught takes note of faults; nil means that nobody does.
	caught func(during string, fault any)
	wake   chan struct{} // something is due earlier than was known

	mu     sync.Mutex // guards the fields below
	checks map[checkKey]*check
	queue  queue
}

func (c *checker) init(most int, raise func(), log *slog.Logger, ask func(context.Context, *check) error) {
	c.most, c.raise, c.log, c.ask = most, raise, log, ask
	c.wake = make(chan struct{}, 1)
	c.checks = make(map[checkKey]*check)
}

// firstWithin is the time in which the first check of an instance comes: soon,
// but those of many instances not at once.
const firstWithin = 2 * time.Second

// want returns the check of an instance, which it has begun. A fresh one knows
// what the one knew in whose place it comes, which may be nil. Of an awaited
// instance the first check comes at once.
func (c *checker) want(at netip.AddrPort, way Way, h routing.Health, before *check, awaited bool) *check {
	h.Panic = 0
	if h.Kind == routing.HealthGRPC && !way.Protocol.HTTP2() {
		way.Protocol = routing.ProtocolGRPC // which has no other form
	}
	key := checkKey{at, way, h}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.checks[key]
	if k != nil {
		if awaited && !k.answered() {
			c.await(k)
		}
		return k
	}
	k = &check{key: key, request: requestOf(at, &way, &h)}
	if before != nil {
		k.state.Store(before.state.Load())
		k.since, k.why = before.since, before.why
	}
	k.due = time.Now().Add(time.Duration(rand.Float64() * float64(min(h.Every, firstWithin))))
	c.checks[key] = k
	c.enqueue(k)
	if awaited {
		c.await(k)
	}
	return k
}

// await has a check made at once, and again soon, until it succeeds for the
// first time. c.mu is held.
func (c *checker) await(k *check) {
	if k.awaited {
		return
	}
	k.awaited, k.tried = true, make(chan struct{})
	if k.place < 0 {
		return // it is being made
	}
	k.due = time.Now()
	heap.Remove(&c.queue, k.place)
	c.enqueue(k)
}

// soonest is when an awaited instance is checked again after the first check
// failed. After each further one it takes twice as long, until it takes as long
// as anywhere.
const soonest = 250 * time.Millisecond

// pause returns the time from the beginning of the last check to that of the
// next one.
func (k *check) pause() time.Duration {
	if k.awaited && !k.answered() {
		return min(soonest<<min(max(k.hurried-1, 0), 20), k.key.ask.Every)
	}
	return k.key.ask.Every
}

// trial returns what is closed once an awaited instance was checked; nil if it
// is not awaited.
func (c *checker) trial(k *check) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.tried
}

// enqueue lets a check wait until it is due. c.mu is held.
func (c *checker) enqueue(k *check) {
	heap.Push(&c.queue, k)
	if c.queue[0] != k {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default: // it is being woken
	}
}

// any reports whether there are checks.
func (c *checker) any() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.checks) > 0
}

// retain ends the checks that are not wanted any more.
func (c *checker) retain(wanted map[*check]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, k := range c.checks {
		if wanted[k] {
			continue
		}
		delete(c.checks, key)
		k.gone = true
		if k.place >= 0 {
			heap.Remove(&c.queue, k.place)
		}
	}
}

// run makes the checks until ctx ends; no goroutine outlives it.
func (c *checker) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, c.most)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, wait := c.next()
		if next == nil {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			case <-c.wake:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		all.Go(func() {
			c.once(ctx, next)
			<-slots
		})
	}
}

// next takes the check that is due, or returns how long there is none.
func (c *checker) next() (k *check, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil, time.Hour
	}
	if wait = time.Until(c.queue[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&c.queue).(*check), 0
}

// jitter is by how much of its period a check may come early or late, so that
// those of many proxies do not come together.
const jitter = 0.1

// once makes one check and takes its outcome in.
func (c *checker) once(ctx context.Context, k *check) {
	began := time.Now()
	err := c.try(ctx, k)
	if ctx.Err() != nil {
		return // it says nothing of the instance
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.gone {
		return
	}
	now := time.Now()
	c.learn(k, err, now)
	every := float64(k.pause()) * (1 - jitter + 2*jitter*rand.Float64())
	if k.due = began.Add(time.Duration(every)); k.due.Before(now) {
		k.due = now
	}
	c.enqueue(k)
}

// try makes one check. A fault in it is a failure of the check alone.
func (c *checker) try(ctx context.Context, k *check) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			if c.caught != nil {
				c.caught("checking an instance", fault)
			}
			err = fmt.Errorf("a fault in the check: %v", fault)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, k.key.ask.Timeout)
	defer cancel()
	err = c.ask(ctx, k)
	if errors.Is(err, os.ErrDeadlineExceeded) || err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errCheckLate
	}
	return err
}

// errCheckLate reports a check that took longer than it may.
var errCheckLate = errors.New("no answer in time")

// learn takes the outcome of a check in. c.mu is held.
func (c *checker) learn(k *check, err error, now time.Time) {
	was := checkState(k.state.Load())
	var next checkState
	h := &k.key.ask
	begins := err == nil && k.awaited && !k.answered()
	if k.tried != nil {
		defer close(k.tried) // whoever waits sees the outcome
		k.tried = nil
	}
	if err == nil {
		k.passed.Add(1)
		k.row = max(k.row, 0) + 1
		next = checkHealthy
		if was == checkUnhealthy && k.row < h.Rise && !begins {
			return
		}
	} else {
		k.failed.Add(1)
		if k.pause() < h.Every {
			// It is only just starting, and was asked sooner than is usual.
			k.hurried++
			k.why = innermost(err)
			return
		}
		k.row = min(k.row, 0) - 1
		k.why = innermost(err)
		next = checkUnhealthy
		if was != checkUnhealthy && -k.row < h.Fall {
			return
		}
	}
	if next == was {
		return
	}
	k.state.Store(uint32(next))
	k.since = now
	switch {
	case begins:
		c.log.Debug("an instance answers", "instance", k.key.at.String())
	case next == checkUnhealthy:
		c.log.Warn("an instance is unhealthy", "instance", k.key.at.String(), "why", k.why)
	case was == checkUnhealthy:
		c.log.Info("an instance is healthy again", "instance", k.key.at.String())
	default:
		return // it served before, and goes on
	}
	c.raise()
}

// tell returns what is known of the instance, for people.
func (c *checker) tell(k *check) (state string, since time.Time, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch checkState(k.state.Load()) {
	case checkHealthy:
		if k.row < 0 {
			why = "the latest check failed: " + k.why
		}
		return routing.StateHealthy, k.since, why
	case checkUnhealthy:
		return routing.StateUnhealthy, k.since, k.why
	default:
		return routing.StateUnknown, k.since, k.why
	}
}

// queue is a heap of checks, the one that is due first on top.
type queue []*check

// Len implements heap.Interface.
func (q *queue) Len() int { return len(*q) }

// Less implements heap.Interface.
func (q *queue) Less(i, j int) bool { return (*q)[i].due.Before((*q)[j].due) }

// Swap implements heap.Interface.
func (q *queue) Swap(i, j int) {
	a, b := (*q)[i], (*q)[j]
	(*q)[i], (*q)[j] = b, a
	a.place, b.place = j, i
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	k := x.(*check)
	k.place = len(*q)
	*q = append(*q, k)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	k := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	k.place = -1
	return k
}
