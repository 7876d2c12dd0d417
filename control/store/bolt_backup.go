// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// backupMagic begins a backup; a file of bbolt and its SHA-256 follow.
const backupMagic = "sluice store backup 1\n"

func (s *boltStore) Backup(ctx context.Context, w io.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The copy is made beside the store first: a transaction that is open for
	// as long as w takes would keep every page from being used again.
	draft, err := os.CreateTemp(s.dir, draftPrefix)
	if err != nil {
		return fmt.Errorf("backup: %w", full(err))
	}
	defer func() { _ = errors.Join(draft.Close(), os.Remove(draft.Name())) }()
	err = s.db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(draft)
		return err
	})
	if err != nil {
		return fmt.Errorf("backup: %w", full(closed(err)))
	}
	s.o.at("backup")
	if _, err := draft.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	h := sha256.New()
	both := io.MultiWriter(w, h)
	if _, err := io.WriteString(both, backupMagic); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if _, err := io.Copy(both, &contextReader{ctx, draft}); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if _, err := w.Write(h.Sum(nil)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives for one call
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Restore puts a backup in the place of the store in dir, or makes the store
// from it. The whole backup is read and checked before anything is replaced;
// ErrCorrupt and ErrSchema report what is wrong with it. The restored store
// has the backup's revision, a new epoch, and no leases; its events, terms of
// leases and revisions of values go on above all that were ever handed out, also
// after the backup was made. Restore fails with a
// *LockedError while any process, this one included, has the store open.
func Restore(dir string, backup io.Reader) error {
	if err := restore(dir, backup); err != nil {
		return fmt.Errorf("restore store %s: %w", dir, full(err))
	}
	return nil
}

func restore(dir string, backup io.Reader) (err error) {
	lock, err := enter(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	draft, err := os.CreateTemp(dir, draftPrefix)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }() // not there any more if all went well
	if err := errors.Join(unpack(draft, backup), draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if _, err := verify(draft.Name()); err != nil {
		return err
	}
	taken := numbersOf(filepath.Join(dir, dataFile))
	err = begin(draft.Name(), func(l *ledger) error {
		l.state.leap(taken)
		return dropAllLeases(l)
	})
	if err != nil {
		return err
	}
	return settle(filepath.Clean(draft.Name()), dir)
}

// numbersOf returns a number that no event, term or value has which the store
// in a file, or any restored one before it, handed out. The microseconds since
// 1970 are: a life that begins at them never catches up with them, as it hands
// out fewer than a million a second. What the file itself tells counts as well,
// if it can be read, for clocks are set back. Readers of JSON that know no
// integers above 2^53 read it exactly until the year 2255.
func numbersOf(file string) uint64 {
	taken := uint64(max(time.Now().UnixMicro(), 0))
	if old, err := verify(file); err == nil {
		taken = max(taken, old.Event, old.Term, old.Counter)
	}
	return taken
}

// leap has everything that is handed out from now on be above taken: what the
// life that a backup is of did after it is unknown, and others remember the
// numbers that it gave.
func (s *state) leap(taken uint64) {
	s.Counter, s.Term = max(s.Counter, taken), max(s.Term, taken)
	if taken > s.Event {
		s.EventGap += taken - s.Event
		s.Event = taken
	}
}

// dropAllLeases forgets who held what in a former life.
func dropAllLeases(l *ledger) error {
	var drop [][]byte
	err := l.tx.Bucket(leasesBucket).ForEach(func(k, _ []byte) error {
		drop = append(drop, bytes.Clone(k))
		return nil
	})
	for _, k := range drop {
		err = errors.Join(err, l.remove(leasesBucket, k))
	}
	return err
}

// unpack writes the file that a backup holds, if the backup is whole.
func unpack(w io.Writer, backup io.Reader) error {
	magic := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(backup, magic); err != nil || string(magic) != backupMagic {
		return fmt.Errorf("%w: not a backup of a store", ErrCorrupt)
	}
	h := sha256.New()
	h.Write(magic)
	tail := &tail{w: w, h: h}
	if _, err := io.Copy(tail, backup); err != nil {
		return err
	}
	if !bytes.Equal(tail.held, h.Sum(nil)) {
		return fmt.Errorf("%w: the backup is incomplete or was changed", ErrCorrupt)
	}
	return nil
}

// tail passes on all but the last bytes, which are the sum of the others.
type tail struct {
	w    io.Writer
	h    hash.Hash
	held []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.held = append(t.held, p...)
	n := max(len(t.held)-sha256.Size, 0)
	t.h.Write(t.held[:n])
	if _, err := t.w.Write(t.held[:n]); err != nil {
		return 0, err
	}
	t.held = append(t.held[:0], t.held[n:]...)
	return len(p), nil
}
