// SPDX-License-Identifier: Apache-2.0

package events

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/metrics"
)

// Options shape a Log. The zero Options are ready to use.
type Options struct {
	// Queue is how many events may wait to be written. Zero means 8,192.
	Queue int
	// Registry counts what became of events. nil means that nobody does.
	Registry *metrics.Registry
	// Log is told that events could not be written, once a minute. nil means
	// that nobody is.
	Log *slog.Logger
	// Now is the clock, from which events have their time. nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	o.Queue = cmp.Or(o.Queue, 8192)
	if o.Registry == nil {
		o.Registry = metrics.New(metrics.Options{Shards: 1})
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

const (
	// maxBatch is how many events are written together.
	maxBatch = 500
	// lastWrites is how long what waits is written for at a time, and so at
	// the end.
	lastWrites = 5 * time.Second
)

// Log writes events to a store, off the path of whoever tells of them. It is
// made by [New] and safe for concurrent use.
type Log struct {
	store store.Store
	o     Options

	stored, dropped, failed *metrics.Counter
	complained              time.Time // of Run alone

	// mu guards queue and ended.
	mu    sync.Mutex
	queue []store.Event
	ended bool          // nothing is written any more
	wake  chan struct{} // holds a token if the queue is not empty
}

// New returns a log that writes once [Log.Run] does.
func New(s store.Store, o Options) *Log {
	o = o.withDefaults()
	return &Log{
		store: s, o: o, wake: make(chan struct{}, 1),
		stored:  o.Registry.ControlEvents("stored"),
		dropped: o.Registry.ControlEvents("dropped"),
		failed:  o.Registry.ControlEvents("failed"),
	}
}

// Tell hands events over to be written, and returns at once. When too many
// wait, those that come are dropped and counted: what waits may tell how it
// came to that. So are those that come when Run has ended. A nil Log drops all.
func (l *Log) Tell(list ...store.Event) {
	if l == nil || len(list) == 0 {
		return
	}
	now := l.o.Now()
	l.mu.Lock()
	room := min(len(list), l.o.Queue-len(l.queue))
	if l.ended {
		room = 0
	}
	for _, e := range list[:room] {
		if e.Time.IsZero() {
			e.Time = now // when it happened, not when it was written
		}
		l.queue = append(l.queue, e)
	}
	l.mu.Unlock()
	l.dropped.Add(0, int64(len(list)-room))
	l.call()
}

// Run writes what it is told until ctx ends, and then what is left, for at
// most 5 s. What is left or told after that is dropped, and counted.
func (l *Log) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.wake:
			l.drain(ctx)
		}
	}
	l.drain(ctx)
	l.end(ctx)
	return nil
}

// end drops what could not be written in time.
func (l *Log) end(ctx context.Context) {
	l.mu.Lock()
	left := len(l.queue)
	l.queue, l.ended = nil, true
	l.mu.Unlock()
	if left > 0 {
		l.dropped.Add(0, int64(left))
		l.o.Log.WarnContext(ctx, "events were not stored before the end", "events", left)
	}
}

// drain writes until nothing waits. What was begun is ended, also when ctx
// ends, within a time.
func (l *Log) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrites)
	defer cancel()
	for ctx.Err() == nil {
		batch := l.take()
		if len(batch) == 0 {
			return
		}
		if err := l.write(ctx, batch); err != nil {
			l.complain(ctx, err)
		}
	}
	l.call() // more may wait
}

// call has Run look at the queue.
func (l *Log) call() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take takes what is to be written next.
func (l *Log) take() []store.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.queue), maxBatch)
	batch := append([]store.Event(nil), l.queue[:n]...)
	l.queue = slices.Delete(l.queue, 0, n) // which clears what it leaves behind
	return batch
}

// write writes a batch, each event by itself if the store does not take one
// of them.
func (l *Log) write(ctx context.Context, batch []store.Event) error {
	_, err := l.store.AppendEvents(ctx, batch...)
	_, invalid := errors.AsType[*store.InvalidError](err)
	switch {
	case err == nil:
		l.stored.Add(0, int64(len(batch)))
		return nil
	case len(batch) == 1 || !invalid && !errors.Is(err, store.ErrTooLarge):
		l.failed.Add(0, int64(len(batch)))
		return err
	}
	var errs []error
	for _, e := range batch {
		errs = append(errs, l.write(ctx, []store.Event{e}))
	}
	return errors.Join(errs...)
}

// complain logs that events are lost, once a minute.
func (l *Log) complain(ctx context.Context, err error) {
	if now := l.o.Now(); now.Sub(l.complained) >= time.Minute {
		l.complained = now
		l.o.Log.WarnContext(ctx, "events are not stored", "error", err)
	}
}
