// SPDX-License-Identifier: Apache-2.0

package artifacts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// maxChanges bounds the changes that are told of a listing after the log was
// left behind: nobody waits for older ones.
const maxChanges = 10_000

var errEnded = errors.New("the watch ended")

// Options shape a source. The zero Options are ready to use.
type Options struct {
	// Hold is how long an absence is held back that only seems so: what a
	// listing lacks that is empty, or of another life of the store. Zero
	// means 1 min.
	Hold time.Duration
	// Retry is the time to the first attempt after the store could not be
	// read; it doubles up to 32 times that. Zero means 1 s.
	Retry time.Duration
	// Log is told when the store cannot be read. Nil discards it.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Hold = cmp.Or(o.Hold, time.Minute)
	o.Retry = cmp.Or(o.Retry, time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// Source returns a source of the artifacts of all namespaces of a store. It is
// a discovery.Confirmer.
//
// Each commit is told as one batch of what it changed. An artifact whose text
// cannot be read any more is told with its faults and keeps what it said
// before, which is looked for in its history where the source has not seen it.
// That the store cannot be read says nothing about what is in it: the source
// tells nothing then, and tries again. Its run ends with an error only if the
// store is closed or damaged.
func Source(s store.Store, o Options) discovery.Source {
	return &source{
		store: s, o: o.withDefaults(), wake: make(chan struct{}, 1),
		objects: make(map[string]*object), held: make(map[string]*discovery.Held),
	}
}

// source implements discovery.Source and discovery.Confirmer.
type source struct {
	store store.Store
	o     Options
	wake  chan struct{} // holds a token when Confirm was called

	// The following belong to Run's goroutine.
	at      routing.Version    // all commits up to it are told
	listed  bool               // the first listing was told
	objects map[string]*object // by key

	mu        sync.Mutex                 // guards the fields below
	held      map[string]*discovery.Held // absences, by key
	confirmed map[string]*discovery.Held // those of them to believe at once
}

// object is what was told of one artifact.
type object struct {
	key      store.Key
	revision uint64
	said     []*routing.Document // as of its last text that could be read
}

// Run implements discovery.Source.
func (s *source) Run(ctx context.Context, sink func(discovery.Batch)) error {
	wait := s.o.Retry
	for ctx.Err() == nil {
		err := s.list(ctx, sink)
		if err == nil {
			wait = s.o.Retry
			err = s.follow(ctx, sink)
		}
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrCorrupt):
			return fmt.Errorf("read the store: %w", err)
		case errors.Is(err, store.ErrCompacted):
			s.o.Log.WarnContext(ctx, "the log of the store was left behind; listing anew", "at", s.at.String())
		default:
			s.o.Log.ErrorContext(ctx, "the store cannot be read; what it said stays", "error", err, "again", wait.String())
			s.pause(ctx, wait, sink)
			wait = min(2*wait, 32*s.o.Retry)
		}
	}
	return nil
}

// Confirm implements discovery.Confirmer.
func (s *source) Confirm() int {
	s.mu.Lock()
	n := len(s.held)
	s.confirmed = maps.Clone(s.held)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return n
}

// pause waits before another attempt.
func (s *source) pause(ctx context.Context, wait time.Duration, sink func(discovery.Batch)) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		release := s.release()
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-release.C:
		case <-s.wake:
		}
		release.Stop()
		s.believe(ctx, sink)
	}
}

// follow tells commits until the watch ends, and returns why it did.
func (s *source) follow(ctx context.Context, sink func(discovery.Batch)) error {
	ctx, cancel := context.WithCancel(ctx)
	commits, ended := make(chan store.Commit), make(chan error, 1)
	go func() { ended <- s.watch(ctx, commits) }()
	var err error // never nil once the watch has ended
	for over := false; !over; {
		release := s.release()
		select {
		case c := <-commits:
			s.tell(ctx, c, sink)
		case <-release.C:
			s.believe(ctx, sink)
		case <-s.wake:
			s.believe(ctx, sink)
		case err = <-ended:
			over = true
		case <-ctx.Done():
			over = true
		}
		release.Stop()
	}
	cancel()
	if err == nil {
		err = <-ended
	}
	return err
}

// watch hands on commits from where the listing ended.
func (s *source) watch(ctx context.Context, commits chan<- store.Commit) error {
	for c, err := range s.store.Watch(ctx, "", s.at) {
		if err != nil {
			return err
		}
		select {
		case commits <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return cmp.Or(ctx.Err(), errEnded)
}

// tell tells what one commit did.
func (s *source) tell(ctx context.Context, c store.Commit, sink func(discovery.Batch)) {
	updates := make(map[string]discovery.Update, len(c.Changes))
	for _, a := range c.Changes {
		o, held := s.objects[Key(a.Key)], s.heldNow()[Key(a.Key)] != nil
		updates[Key(a.Key)] = s.take(a, func() []*routing.Document {
			if o != nil && !held { // what is held back is of another life
				return o.said
			}
			return s.written(ctx, nil, a)
		})
	}
	s.at = c.Version
	sink(discovery.Batch{
		Updates: sorted(updates),
		Changes: []discovery.Change{{ID: c.Version.Revision, Namespace: namespaceOf(c), At: c.Time, Kind: discovery.Config}},
	})
}

// namespaceOf returns that of all changes of a commit, empty if they are of
// several.
func namespaceOf(c store.Commit) string {
	for _, a := range c.Changes {
		if a.Namespace != c.Changes[0].Namespace {
			return ""
		}
	}
	if len(c.Changes) == 0 {
		return ""
	}
	return c.Changes[0].Namespace
}

// take takes over a version of an artifact and returns what there is to tell.
// before tells what it said by its last text that could be read.
func (s *source) take(a store.Artifact, before func() []*routing.Document) discovery.Update {
	key := Key(a.Key)
	s.hold(key, nil)
	if a.Deleted {
		delete(s.objects, key)
		return Removal(a.Key)
	}
	u := Update(a.Key, a.Text)
	if len(u.Documents) == 0 {
		u.Kept = before()
	}
	s.objects[key] = &object{key: a.Key, revision: a.Revision, said: slices.Concat(u.Documents, u.Kept)}
	return u
}

// written returns what an artifact said by its last text in its history that
// could be read, or else what was told of it, if that is of this life. What was
// told alone will not do: it may have been deleted since, and made anew.
func (s *source) written(ctx context.Context, o *object, a store.Artifact) []*routing.Document {
	former, err := s.store.History(ctx, a.Key)
	if err != nil && ctx.Err() == nil {
		s.o.Log.WarnContext(ctx, "what an unreadable artifact said before cannot be found", "artifact", a.String(), "error", err)
	}
	for _, f := range former {
		if f.Deleted {
			return nil // what came before that is another life of it
		}
		if u := Update(f.Key, f.Text); len(u.Documents) > 0 {
			return u.Documents
		}
	}
	if o != nil {
		return o.said // the history does not reach back that far
	}
	return nil
}

func sorted(updates map[string]discovery.Update) []discovery.Update {
	return slices.SortedFunc(maps.Values(updates), func(a, b discovery.Update) int { return cmp.Compare(a.Key, b.Key) })
}
