// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"iter"

	"github.com/sluice-mesh/sluice/routing"
)

// What a watch reads at once, so that it holds no transaction and little
// memory while its reader works.
const (
	watchCommits = 64
	watchBytes   = 1 << 20 // of texts; one commit may have more
	watchEvents  = 256
)

func (s *boltStore) Watch(ctx context.Context, namespace string, from routing.Version) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		if err := checkFilter(namespace, ""); err != nil {
			yield(Commit{}, err)
			return
		}
		follow(ctx, s, yield, func() ([]Commit, bool, error) {
			var commits []Commit
			more := false
			err := s.view(ctx, func(l *ledger) (err error) {
				commits, more, err = s.commitsAfter(l, namespace, &from)
				return err
			})
			return commits, more, err
		})
	}
}

// follow yields what read returns, and calls it again after commits. read
// reports whether there is more already.
func follow[T any](ctx context.Context, s *boltStore, yield func(T, error) bool, read func() ([]T, bool, error)) {
	for {
		changed := s.next() // before reading, so that no commit is missed
		items, more, err := read()
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
		if more {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.closing:
			var none T
			yield(none, ErrClosed)
			return
		}
	}
}

// commitsAfter returns the next commits of a namespace and moves from beyond
// them.
func (s *boltStore) commitsAfter(l *ledger, namespace string, from *routing.Version) (commits []Commit, more bool, err error) {
	if from.Epoch != s.epoch || from.Revision < l.state.Floor || from.Revision > l.state.Revision {
		return nil, false, ErrCompacted
	}
	size := int64(0)
	for n := 0; from.Revision < l.state.Revision; n++ {
		if n == watchCommits || size > watchBytes {
			return commits, true, nil
		}
		c, bytes, err := s.readCommit(l, namespace, from.Revision+1)
		if err != nil {
			return nil, false, err
		}
		size += bytes
		from.Revision++
		if len(c.Changes) > 0 {
			commits = append(commits, c)
		}
	}
	return commits, false, nil
}

// readCommit returns a commit of the log, with its changes in a namespace,
// and the size of their texts.
func (s *boltStore) readCommit(l *ledger, namespace string, revision uint64) (Commit, int64, error) {
	var e entry
	if err := decode("log", l.get(logBucket, number(revision)), &e); err != nil {
		return Commit{}, 0, err
	}
	c := Commit{Version: s.version(revision), Author: e.Author, Time: e.Time}
	size := int64(0)
	for _, k := range e.Keys {
		if namespace != "" && k.Namespace != namespace {
			continue
		}
		a, err := l.artifact(k, revision)
		if err != nil {
			return Commit{}, 0, err
		}
		c.Changes = append(c.Changes, a)
		size += int64(len(a.Text))
	}
	return c, size, nil
}
