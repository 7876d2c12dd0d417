// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a store. The zero Options are ready to use.
type Options struct {
	// KeepVersions is how many versions of an artifact History returns. Zero
	// means 50.
	KeepVersions int
	// KeepCommits is how many commits the log reaches back. Zero means
	// 10,000. What was deleted has a history for as long as its deletion is
	// in the log.
	KeepCommits int
	// KeepBytes bounds the texts in the log; the newest commit is always
	// kept. Zero means 256 MiB.
	KeepBytes int64
	// KeepEvents is how many events are kept. Zero means 50,000.
	KeepEvents int
	// EventAge is how long events are kept. Zero means 30 days; they are
	// dropped when new ones are added.
	EventAge time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// at, if set, is called at the named points of a write.
	at func(point string)
}

func (o Options) withDefaults() Options {
	o.KeepVersions = cmp.Or(o.KeepVersions, 50)
	o.KeepCommits = cmp.Or(o.KeepCommits, 10_000)
	o.KeepBytes = cmp.Or(o.KeepBytes, 256<<20)
	o.KeepEvents = cmp.Or(o.KeepEvents, 50_000)
	o.EventAge = cmp.Or(o.EventAge, 30*24*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.at == nil {
		o.at = func(string) {}
	}
	return o
}

// The names of the files in a store's directory.
const (
	dataFile = "store.db"
	lockFile = "store.lock"
	// draftPrefix begins the names of what was not finished; it means nothing.
	draftPrefix = "draft-"
)

// boltStore is a store in one file of bbolt.
type boltStore struct {
	dir  string
	o    Options
	db   *bolt.DB
	lock *os.File

	epoch uint64
	turn  chan struct{} // holds a token while somebody commits
	queue queue

	closing chan struct{} // closed by Close
	close   sync.Once

	// mu guards changed and broken.
	mu      sync.Mutex
	changed chan struct{} // closed by the next commit
	broken  error         // why nothing is written any more
}

// Open opens the store in dir, which it makes if there is none, with the mode
// 0700; files in it have the mode 0600. All that the store holds is read and
// checked first. It fails with a *LockedError while another process has the
// store open, ErrCorrupt if the file does not hold what was written to it,
// and ErrSchema if it was written by another generation of the program.
//
// The file grows with what is kept, and does not shrink: room that became
// free is used again.
func Open(dir string, o Options) (Store, error) {
	s, err := open(dir, o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, o Options) (_ *boltStore, err error) {
	lock, err := enter(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	path := filepath.Join(dir, dataFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(dir); err != nil {
			return nil, full(err)
		}
	}
	st, err := verify(path)
	if err != nil {
		return nil, err
	}
	db, err := openFile(path)
	if err != nil {
		return nil, full(err)
	}
	return &boltStore{
		dir: dir, o: o, db: db, lock: lock, epoch: st.Epoch,
		turn: make(chan struct{}, 1), closing: make(chan struct{}), changed: make(chan struct{}),
	}, nil
}

// enter makes and locks the directory, and clears away drafts.
func enter(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), draftPrefix) {
			_ = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
	return lock, nil
}

// openFile opens a file of bbolt that nobody else has open: the lock of the
// directory is ours.
func openFile(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoStatistics: true})
}

// create makes an empty store beside its place and moves it there when it is
// whole, so that a file which is there was once complete.
func create(dir string) error {
	draft, err := os.CreateTemp(dir, draftPrefix)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	if err := draft.Close(); err != nil {
		return err
	}
	if err := begin(draft.Name(), func(*ledger) error { return nil }); err != nil {
		return err
	}
	return settle(draft.Name(), dir)
}

// begin gives the store in a file a new epoch, after edit.
func begin(path string, edit func(*ledger) error) (err error) {
	db, err := openFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		l, err := openLedger(tx)
		if err != nil {
			return err
		}
		if err := edit(l); err != nil {
			return err
		}
		l.state.Schema = schema
		for old := l.state.Epoch; l.state.Epoch == old || l.state.Epoch == 0; {
			l.state.Epoch = newEpoch()
		}
		return l.save()
	})
}

// newEpoch returns a number that no other store has, but by a chance of one
// in 2^53. Readers of JSON that know no larger integers read it exactly.
func newEpoch() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:]) >> 11
}

// settle moves a draft to where the store's file is.
func settle(draft, dir string) error {
	if err := os.Rename(draft, filepath.Join(dir, dataFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable, where the system knows how.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *boltStore) Close() error {
	var err error
	s.close.Do(func() {
		close(s.closing)
		s.turn <- struct{}{} // the last commit has ended; the token stays, so none begins
		err = errors.Join(s.db.Close(), s.lock.Close())
	})
	return err
}

func (s *boltStore) Version(ctx context.Context) (routing.Version, error) {
	var v routing.Version
	err := s.view(ctx, func(l *ledger) error {
		v = s.version(l.state.Revision)
		return nil
	})
	return v, err
}

func (s *boltStore) version(revision uint64) routing.Version {
	return routing.Version{Epoch: s.epoch, Revision: revision}
}

// view reads one state of the store.
func (s *boltStore) view(ctx context.Context, read func(*ledger) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		l, err := openLedger(tx)
		if err != nil {
			return err
		}
		return read(l)
	})
	return closed(err)
}

// closed says ErrClosed where bbolt says that it was closed.
func closed(err error) error {
	if errors.Is(err, bolt.ErrDatabaseNotOpen) { //nolint:staticcheck // the new name lies in a package of its own
		return ErrClosed
	}
	return err
}
