// SPDX-License-Identifier: Apache-2.0

package events_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/metrics"
)

// stuckStore keeps whoever appends until it is let go.
type stuckStore struct {
	store.Store

	entered chan struct{}
	let     chan struct{}
}

func (s *stuckStore) AppendEvents(ctx context.Context, list ...store.Event) ([]store.Event, error) {
	s.entered <- struct{}{}
	<-s.let
	return s.Store.AppendEvents(ctx, list...)
}

func open(t *testing.T) store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// counts returns what became of events.
func counts(r *metrics.Registry) (stored, dropped, failed int64) {
	return r.ControlEvents("stored").Value(), r.ControlEvents("dropped").Value(), r.ControlEvents("failed").Value()
}

func TestLogNeverHoldsUpWhoTells(t *testing.T) {
	s := &stuckStore{Store: open(t), entered: make(chan struct{}, 10), let: make(chan struct{})}
	registry := metrics.New(metrics.Options{Shards: 1})
	at := time.Now().UTC().Truncate(time.Second)
	l := events.New(s, events.Options{Queue: 5, Registry: registry, Now: func() time.Time { return at }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()

	tell := func(n int) {
		l.Tell(store.Event{Namespace: here, Type: events.TypeEvent, Tags: []string{strconv.Itoa(n)}})
	}
	tell(0)
	<-s.entered // it is written, and takes long
	for n := range 8 {
		tell(1 + n)
	}
	stop()
	close(s.let)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	list, err := s.Events(t.Context(), store.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 6 || list[0].Tags[0] != "5" || list[5].Tags[0] != "0" || !list[0].Time.Equal(at) {
		t.Errorf("stored are %v, want 0 and the 5 that could wait, newest first, with their time", list)
	}
	if stored, dropped, failed := counts(registry); stored != 6 || dropped != 3 || failed != 0 {
		t.Errorf("%d stored, %d dropped, %d failed, want 6, 3 and 0", stored, dropped, failed)
	}
}

func TestLogLosesNoOtherEventByABadOne(t *testing.T) {
	s, registry := open(t), metrics.New(metrics.Options{Shards: 1})
	l := events.New(s, events.Options{Registry: registry})
	l.Tell(
		store.Event{Namespace: here, Type: "a"},
		store.Event{Namespace: "nowhere", Type: "b"},
		store.Event{Namespace: here, Type: "c"},
	)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if stored, _, failed := counts(registry); stored != 2 || failed != 1 {
		t.Errorf("%d stored, %d failed, want 2 and 1", stored, failed)
	}
	var none *events.Log
	none.Tell(store.Event{}) // nobody takes it down
}

// hangingStore answers when the caller has had enough.
type hangingStore struct{ store.Store }

func (hangingStore) AppendEvents(ctx context.Context, _ ...store.Event) ([]store.Event, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestWhatIsLeftAtTheEndIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := metrics.New(metrics.Options{Shards: 1})
		l := events.New(hangingStore{}, events.Options{Registry: registry})
		const told = 1700
		l.Tell(slices.Repeat([]store.Event{{Namespace: here, Type: "a"}}, told-100)...)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		l.Tell(slices.Repeat([]store.Event{{Namespace: here, Type: "a"}}, 100)...)
		if stored, dropped, failed := counts(registry); stored != 0 || failed == 0 || dropped+failed != told {
			t.Errorf("%d stored, %d dropped, %d failed, want none and %d in all", stored, dropped, failed, told)
		}
	})
}
