// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// verify reads all that a file holds and returns its state if it is what was
// written. bbolt trusts its pages, so they are checked in an order in which
// no step follows what a former one has not looked at: the size of the file,
// how pages hang together, every record against the sum, and then whether
// bbolt itself has something to say.
func verify(path string) (state, error) {
	var file, all *os.File
	var st state
	err := guarded(func() error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() == 0 {
			return errors.New("the file is empty")
		}
		db, err := bolt.Open(path, 0o600, &bolt.Options{
			Timeout: time.Second, ReadOnly: true, FreelistType: bolt.FreelistMapType, NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				file = f
				return f, err
			},
		})
		if err != nil {
			return err
		}
		all, file = file, nil // db closes it
		return errors.Join(guarded(func() error { return verifyFile(db, all, info.Size(), &st) }), db.Close())
	})
	if file != nil {
		_ = file.Close() // bbolt gave up on it; with it goes bbolt's lock
	}
	switch {
	case err == nil || errors.Is(err, ErrSchema) || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist):
		return st, err
	case errors.Is(err, ErrCorrupt):
		return st, err
	}
	return st, fmt.Errorf("%w: %w: restore a backup", ErrCorrupt, err)
}

// guarded calls f and returns its panic as an error: bbolt panics at pages
// that make no sense, and the memory of a file that is too short faults.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("unreadable: %v", fault)
		}
	}()
	return f()
}

func verifyFile(db *bolt.DB, file io.ReaderAt, size int64, st *state) error {
	return db.View(func(tx *bolt.Tx) error {
		if size < tx.Size() {
			return fmt.Errorf("the file has %d bytes instead of %d", size, tx.Size())
		}
		if err := verifyPages(tx, file); err != nil {
			return err
		}
		if err := verifyRecords(tx); err != nil {
			return err
		}
		if err := verifyOrder(tx); err != nil {
			return err
		}
		l, err := openLedger(tx)
		if err != nil {
			return err
		}
		if l.state.Schema != schema {
			return fmt.Errorf("%w: the file has %d, this program knows %d", ErrSchema, l.state.Schema, schema)
		}
		*st = l.state
		return nil
	})
}

// verifyRecords holds all records against the sum.
func verifyRecords(tx *bolt.Tx) error {
	var names [][]byte
	sum := uint64(0)
	err := tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		names = append(names, slices.Clone(name))
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return errors.New("a bucket where a record belongs")
			}
			if string(name) != string(headBucket) || string(k) != string(sumKey) {
				sum += digest(name, k, v)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, name := range buckets {
		if !slices.ContainsFunc(names, func(n []byte) bool { return string(n) == string(name) }) {
			return fmt.Errorf("no bucket %s", name)
		}
	}
	l, err := openLedger(tx)
	if err != nil {
		return err
	}
	if sum != l.sum {
		return fmt.Errorf("records sum up to %x instead of %x", sum, l.sum)
	}
	return nil
}

// verifyOrder has bbolt look at itself. Keys of branches are in no sum, and if
// they lie, records are there and are not found.
func verifyOrder(tx *bolt.Tx) error {
	var first error
	for err := range tx.Check() { // to the end, so that its goroutine ends
		if first == nil {
			first = err
		}
	}
	return first
}
