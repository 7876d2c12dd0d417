// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"
)

// entry is a commit in the log: which versions it made, not their texts.
type entry struct {
	Author string    `json:"author"`
	Time   time.Time `json:"time"`
	Bytes  int64     `json:"bytes"` // of texts
	Keys   []Key     `json:"keys"`  // in the order of Apply
}

func (s *boltStore) Get(ctx context.Context, k Key) (Artifact, error) {
	if err := k.Check(); err != nil {
		return Artifact{}, err
	}
	var a Artifact
	err := s.view(ctx, func(l *ledger) error {
		revision := l.present(path(k))
		if revision == 0 {
			return ErrNotFound
		}
		var err error
		a, err = l.artifact(k, revision)
		return err
	})
	return a, err
}

// present returns the revision of an artifact, 0 if there is none.
func (l *ledger) present(path []byte) uint64 {
	b := l.get(presentBucket, path)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// artifact returns one version.
func (l *ledger) artifact(k Key, revision uint64) (Artifact, error) {
	var a Artifact
	err := decode(k.String(), l.get(versionsBucket, versionKey(path(k), revision)), &a)
	return a, err
}

func (s *boltStore) List(ctx context.Context, namespace, kind string) (List, error) {
	if err := checkFilter(namespace, kind); err != nil {
		return List{}, err
	}
	var list List
	err := s.view(ctx, func(l *ledger) error {
		list = List{Version: s.version(l.state.Revision)}
		return l.each(namespace, func(k Key, revision uint64) error {
			if kind != "" && k.Kind != kind {
				return nil
			}
			a, err := l.artifact(k, revision)
			list.Artifacts = append(list.Artifacts, a)
			return err
		})
	})
	if err != nil {
		return List{}, err
	}
	return list, nil
}

func checkFilter(namespace, kind string) error {
	if namespace != "" {
		if err := CheckNamespace(namespace); err != nil {
			return err
		}
	}
	if kind != "" {
		return Key{Namespace: DefaultNamespace, Kind: kind, Name: "any"}.Check()
	}
	return nil
}

// each calls do for every present artifact of a namespace, or of all, in
// order.
func (l *ledger) each(namespace string, do func(k Key, revision uint64) error) error {
	var prefix []byte
	if namespace != "" {
		prefix = []byte(namespace + "\x00")
	}
	c := l.tx.Bucket(presentBucket).Cursor()
	for p, v := c.Seek(prefix); p != nil && bytes.HasPrefix(p, prefix); p, v = c.Next() {
		parts := bytes.Split(p, []byte{0})
		k := Key{string(parts[0]), string(parts[1]), string(parts[2])}
		if err := do(k, binary.BigEndian.Uint64(v)); err != nil {
			return err
		}
	}
	return nil
}

func (s *boltStore) History(ctx context.Context, k Key) ([]Artifact, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	var history []Artifact
	err := s.view(ctx, func(l *ledger) error {
		history = nil
		for _, revision := range l.versions(path(k), s.o.KeepVersions) {
			a, err := l.artifact(k, revision)
			if err != nil {
				return err
			}
			history = append(history, a)
		}
		return nil
	})
	if err == nil && len(history) == 0 {
		err = ErrNotFound
	}
	return history, err
}

// versions returns the revisions of the newest versions of an artifact, at
// most n, newest first.
func (l *ledger) versions(path []byte, n int) []uint64 {
	var revisions []uint64
	c := l.tx.Bucket(versionsBucket).Cursor()
	for key, _ := before(c, versionKey(path, math.MaxUint64)); bytes.HasPrefix(key, path) && len(revisions) < n; key, _ = c.Prev() {
		revisions = append(revisions, revisionOf(key))
	}
	return revisions
}

// before moves to the last record before key and returns it, nil if there is
// none. Prev leads on from there.
func before(c *bolt.Cursor, key []byte) (k, v []byte) {
	if k, _ := c.Seek(key); k == nil {
		return c.Last()
	}
	return c.Prev()
}

func (s *boltStore) Apply(ctx context.Context, author string, changes ...Change) (Commit, error) {
	if err := checkChanges(author, changes); err != nil {
		return Commit{}, err
	}
	var commit Commit
	err := s.change(ctx, func(l *ledger) error {
		if err := l.accepts(changes); err != nil {
			return err
		}
		var err error
		commit, err = s.apply(l, author, changes)
		return err
	})
	if err != nil {
		return Commit{}, err
	}
	return commit, nil
}

// accepts returns why changes cannot be made.
func (l *ledger) accepts(changes []Change) error {
	var faults []error
	for _, c := range changes {
		present := l.present(path(c.Key))
		switch {
		case !c.Expect.holds(present):
			conflict := &ConflictError{Name: c.String(), Expect: c.Expect, Present: present}
			if present != 0 {
				var err error
				if conflict.Artifact, err = l.artifact(c.Key, present); err != nil {
					return err
				}
			}
			faults = append(faults, conflict)
		case c.Delete && present == 0:
			faults = append(faults, fmt.Errorf("%s: %w", c.Key, ErrNotFound))
		}
	}
	return errors.Join(faults...)
}

func (s *boltStore) apply(l *ledger, author string, changes []Change) (Commit, error) {
	l.state.Revision++
	now := s.o.Now().UTC()
	commit := Commit{Version: s.version(l.state.Revision), Author: author, Time: now}
	e := entry{Author: author, Time: now}
	for _, c := range changes {
		a := Artifact{Key: c.Key, Text: c.Text, Revision: l.state.Revision, Author: author, Time: now}
		if c.Delete {
			a.Text, a.Deleted = "", true
		}
		if err := s.store(l, a); err != nil {
			return Commit{}, err
		}
		commit.Changes = append(commit.Changes, a)
		e.Keys = append(e.Keys, a.Key)
		e.Bytes += int64(len(a.Text))
	}
	l.state.LogBytes += e.Bytes
	return commit, l.putJSON(logBucket, number(l.state.Revision), e)
}

// store writes one version, and drops those that neither History nor the log
// has any more.
func (s *boltStore) store(l *ledger, a Artifact) error {
	p := path(a.Key)
	if err := l.putJSON(versionsBucket, versionKey(p, a.Revision), a); err != nil {
		return err
	}
	if err := s.trimVersions(l, p); err != nil {
		return err
	}
	if a.Deleted {
		return l.remove(presentBucket, p)
	}
	return l.put(presentBucket, p, number(a.Revision))
}
