// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// write is one change that waits to be committed.
type write struct {
	// run checks and then writes. When it fails it has written nothing. It
	// may run more than once, the last time counts.
	run  func(*ledger) error
	err  error
	done chan struct{} // closed when err is final
}

// queue holds writes whose callers wait, so it is as long as there are
// callers.
type queue struct {
	mu     sync.Mutex // guards writes
	writes []*write
}

func (q *queue) add(w *write) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writes = append(q.writes, w)
}

// take returns all that wait.
func (q *queue) take() []*write {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.writes
	q.writes = nil
	return all
}

// withdraw reports whether w still waited, and takes it away then.
func (q *queue) withdraw(w *write) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.writes, w)
	if i < 0 {
		return false
	}
	q.writes = slices.Delete(q.writes, i, i+1)
	return true
}

// change commits run and returns its error. Whoever comes while a commit is
// under way waits, and the first of them commits for all who wait: bbolt
// syncs twice a commit, its pages and then the page that makes them count,
// and callers share both.
func (s *boltStore) change(ctx context.Context, run func(*ledger) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{run: run, done: make(chan struct{})}
	s.queue.add(w)
	s.o.at("queued")
	select {
	case <-w.done:
	case s.turn <- struct{}{}:
		s.commit(s.queue.take())
		<-s.turn
		<-w.done // by us, or by whoever had the turn before
	case <-ctx.Done():
		if s.queue.withdraw(w) {
			return ctx.Err()
		}
		<-w.done
	case <-s.closing:
		if s.queue.withdraw(w) {
			return ErrClosed
		}
		<-w.done
	}
	return w.err
}

// commit commits writes together. If there is no room for all of them, each
// is tried alone: a large one does not fail small ones.
func (s *boltStore) commit(writes []*write) {
	if len(writes) == 0 {
		return
	}
	err := s.transact(writes)
	if errors.Is(err, ErrFull) && len(writes) > 1 {
		for _, w := range writes {
			s.finish(s.transact([]*write{w}), w)
		}
		return
	}
	s.finish(err, writes...)
}

func (s *boltStore) finish(err error, writes ...*write) {
	for _, w := range writes {
		if err != nil {
			w.err = err
		}
		close(w.done)
	}
}

// transact runs writes in one transaction, each with an error of its own. An
// error that it returns is that of all, and nothing was written.
func (s *boltStore) transact(writes []*write) error {
	if err := s.writable(); err != nil {
		return err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return closed(err)
	}
	defer func() { _ = tx.Rollback() }() // nothing after a commit
	l, err := openLedger(tx)
	if err != nil {
		return err
	}
	for _, w := range writes {
		before, state := l.writes, l.state
		if w.err = w.run(l); w.err == nil {
			continue
		}
		if l.writes != before {
			return w.err
		}
		l.state = state // one that failed has changed nothing
	}
	if l.writes == 0 {
		return nil
	}
	if err := errors.Join(s.trimLog(l), s.trimEvents(l), l.save()); err != nil {
		return err
	}
	s.o.at("before write")
	id := tx.ID()
	if err := tx.Commit(); err != nil {
		return s.failed(id, err)
	}
	s.o.at("after sync")
	s.announce()
	return nil
}

func (s *boltStore) writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// failed judges a commit that failed. After a lack of room the store goes on,
// if readers see what was there before. After any other fault of the disk it
// is unknown what is durable (a second sync may succeed although the first
// one lost pages), so nothing more is acknowledged.
func (s *boltStore) failed(id int, err error) error {
	if full := full(err); errors.Is(full, ErrFull) {
		if now := s.transaction(); now != 0 && now < id {
			return full
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = fmt.Errorf("%w, until it is opened anew: %w", ErrReadOnly, err)
	return s.broken
}

// transaction returns the number of the newest transaction that readers see.
func (s *boltStore) transaction() int {
	id := 0
	_ = s.db.View(func(tx *bolt.Tx) error { id = tx.ID(); return nil })
	return id
}

// full says ErrFull where the system says that there is no room.
func full(err error) error {
	if err == nil || errors.Is(err, ErrFull) {
		return err
	}
	for _, no := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// bbolt has only the text of errors from when its file grows.
		if errors.Is(err, no) || strings.HasSuffix(err.Error(), ": "+no.Error()) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// announce wakes all watches.
func (s *boltStore) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// next returns a channel that the next commit closes.
func (s *boltStore) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
