// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// trimLog drops the oldest commits above the bounds of the log.
func (s *boltStore) trimLog(l *ledger) error {
	for s.tooLong(l) {
		s.o.at("trim")
		revision := l.state.Floor + 1
		var e entry
		if err := decode("log", l.get(logBucket, number(revision)), &e); err != nil {
			return err
		}
		if err := l.remove(logBucket, number(revision)); err != nil {
			return err
		}
		l.state.Floor = revision
		l.state.LogBytes -= e.Bytes
		for _, k := range e.Keys {
			if err := s.leave(l, k, revision); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *boltStore) tooLong(l *ledger) bool {
	n := l.state.Revision - l.state.Floor
	return n > 1 && (n > uint64(s.o.KeepCommits) || l.state.LogBytes > s.o.KeepBytes)
}

// leave drops what only the log has kept of an artifact, whose version of
// revision has just left it: former versions, or everything if that version
// is the deletion of what did not come back.
func (s *boltStore) leave(l *ledger, k Key, revision uint64) error {
	p := path(k)
	if newest := l.versions(p, 1); l.present(p) == 0 && len(newest) == 1 && newest[0] == revision {
		return l.dropVersions(p, revision)
	}
	return s.trimVersions(l, p)
}

// trimVersions drops versions of an artifact that are not among the newest
// and not in the log: a watch may still ask for the texts of those.
func (s *boltStore) trimVersions(l *ledger, path []byte) error {
	newest := l.versions(path, s.o.KeepVersions)
	if len(newest) < s.o.KeepVersions {
		return nil
	}
	return l.dropVersions(path, min(newest[len(newest)-1]-1, l.state.Floor))
}

// dropVersions drops the versions of an artifact up to a revision.
func (l *ledger) dropVersions(path []byte, upTo uint64) error {
	var drop [][]byte // a cursor must not see its bucket change
	c := l.tx.Bucket(versionsBucket).Cursor()
	for key, _ := c.Seek(path); bytes.HasPrefix(key, path) && revisionOf(key) <= upTo; key, _ = c.Next() {
		drop = append(drop, bytes.Clone(key))
	}
	for _, key := range drop {
		if err := l.remove(versionsBucket, key); err != nil {
			return err
		}
	}
	return nil
}

// trimEvents drops the oldest events above their bounds.
func (s *boltStore) trimEvents(l *ledger) error {
	oldest := s.o.Now().Add(-s.o.EventAge)
	for l.state.events() > 0 {
		key, text := l.tx.Bucket(eventsBucket).Cursor().Seek(number(l.state.EventFloor + 1))
		if l.state.events() <= uint64(s.o.KeepEvents) {
			var e Event
			if err := decode("event", text, &e); err != nil {
				return err
			}
			if !e.Time.Before(oldest) {
				return nil
			}
		}
		if key == nil {
			return fmt.Errorf("%w: an event is not there", ErrCorrupt)
		}
		id := binary.BigEndian.Uint64(key)
		if err := l.remove(eventsBucket, number(id)); err != nil {
			return err
		}
		l.state.EventGap -= id - l.state.EventFloor - 1
		l.state.EventFloor = id
	}
	return nil
}
