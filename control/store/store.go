// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Store holds artifacts by namespace, their former versions, and what the
// control plane remembers beside them. Every method is safe for concurrent
// use. Methods that change something are durable when they return nil; when
// they return the error of their context, nothing was changed. After Close
// all return ErrClosed.
type Store interface {
	// Version returns the epoch and the newest revision, 0 if there is none.
	Version(ctx context.Context) (routing.Version, error)

	// Get returns the present version of an artifact, or ErrNotFound.
	Get(ctx context.Context, k Key) (Artifact, error)
	// List returns the present artifacts of a namespace and kind; an empty
	// namespace or kind means all.
	List(ctx context.Context, namespace, kind string) (List, error)
	// History returns the newest versions of an artifact, newest first, at
	// most as many as the store keeps, deletions included. It returns
	// ErrNotFound if none is known.
	History(ctx context.Context, k Key) ([]Artifact, error)
	// Apply makes all changes, by one revision, or none. It fails with an
	// *InvalidError, ErrTooLarge, *ConflictError (for each change whose
	// Expect does not hold, joined in their order), ErrNotFound (for a
	// deletion with Any of what is not there), ErrFull or ErrReadOnly.
	Apply(ctx context.Context, author string, changes ...Change) (Commit, error)
	// Watch yields the commits after from that concern a namespace (empty:
	// any), in order, none twice and none left out, and waits for further
	// ones until ctx ends or the loop is left. A commit is yielded with those
	// of its changes that are in the namespace. The last pair has an error:
	// that of ctx, ErrClosed, or ErrCompacted if from is of another epoch,
	// of the future, or older than the log.
	Watch(ctx context.Context, namespace string, from routing.Version) iter.Seq2[Commit, error]

	// Value returns a small value by its name, or ErrNotFound.
	Value(ctx context.Context, name string) (Value, error)
	// Values returns all values whose names begin with prefix, by name.
	Values(ctx context.Context, prefix string) ([]Value, error)
	// SetValue writes a value if its present revision is as expected, and
	// returns it with its new revision; else a *ConflictError tells the
	// present revision.
	SetValue(ctx context.Context, name string, data []byte, expect Expect) (Value, error)
	// DeleteValue takes a value away if its present revision is as expected.
	// It returns ErrNotFound if there is none.
	DeleteValue(ctx context.Context, name string, expect Expect) error

	// Lease takes the lease of a name for holder, or renews it if holder has
	// it, until ttl from now (MinTTL to MaxTTL). It returns a *HeldError if
	// somebody else has it.
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (Lease, error)
	// Release ends a lease of holder; it is no error if holder has it no
	// more.
	Release(ctx context.Context, name, holder string) error

	// AppendEvents adds events, all or none, and returns them with their IDs
	// and, where they had none, times.
	AppendEvents(ctx context.Context, events ...Event) ([]Event, error)
	// Events returns the newest events that a query asks for, newest first.
	// It reads at most all events that are kept.
	Events(ctx context.Context, q EventQuery) ([]Event, error)
	// WatchEvents yields events with IDs above after, 0 meaning all that are
	// kept, in order, as Watch does for commits. Of the query only Namespace,
	// Types and Tags count.
	WatchEvents(ctx context.Context, after uint64, q EventQuery) iter.Seq2[Event, error]

	// Backup writes a consistent copy of the store, which Restore reads. The
	// store serves meanwhile; a slow w holds up nobody.
	Backup(ctx context.Context, w io.Writer) error
	// Close ends all watches and waits for what is under way.
	Close() error
}

// Put writes one artifact if its present revision is as expected.
func Put(ctx context.Context, s Store, k Key, text string, expect Expect, author string) (Artifact, error) {
	c, err := s.Apply(ctx, author, Change{Key: k, Text: text, Expect: expect})
	if err != nil {
		return Artifact{}, err
	}
	return c.Changes[0], nil
}

// Delete takes one artifact away if its present revision is as expected, and
// returns the version that this made.
func Delete(ctx context.Context, s Store, k Key, expect Expect, author string) (routing.Version, error) {
	c, err := s.Apply(ctx, author, Change{Key: k, Delete: true, Expect: expect})
	if err != nil {
		return routing.Version{}, err
	}
	return c.Version, nil
}
