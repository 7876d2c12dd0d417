// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// schema is the generation of what the buckets hold.
const schema = 1

// The buckets of the file.
var (
	headBucket     = []byte("head")     // state and sum
	presentBucket  = []byte("present")  // path of an artifact: its revision
	versionsBucket = []byte("versions") // path, revision: Artifact
	logBucket      = []byte("log")      // revision: entry
	valuesBucket   = []byte("values")   // name: Value
	leasesBucket   = []byte("leases")   // name: Lease
	eventsBucket   = []byte("events")   // ID: Event

	buckets = [][]byte{headBucket, presentBucket, versionsBucket, logBucket, valuesBucket, leasesBucket, eventsBucket}

	stateKey = []byte("state")
	sumKey   = []byte("sum")
)

// state is the numbers of a store.
type state struct {
	Schema   int    `json:"schema"`
	Epoch    uint64 `json:"epoch"`
	Revision uint64 `json:"revision"` // the newest
	Floor    uint64 `json:"floor"`    // the newest that the log has no more
	LogBytes int64  `json:"log_bytes"`
	Counter  uint64 `json:"counter"` // the last revision of a value
	Term     uint64 `json:"term"`    // the last term of a lease
	Event    uint64 `json:"event"`   // the newest ID
	// EventFloor is the newest ID that was dropped.
	EventFloor uint64 `json:"event_floor"`
	// EventGap is how many numbers above the floor no event has, since
	// restorations went past them.
	EventGap uint64 `json:"event_gap,omitempty"`
}

// events returns how many events are kept.
func (s *state) events() uint64 { return s.Event - s.EventFloor - s.EventGap }

// ledger is a transaction that keeps a sum over all records beside them. Pages
// of bbolt have no checksums: by the sum a store is known to hold what was
// written, no record more, less or other.
type ledger struct {
	tx     *bolt.Tx
	state  state
	sum    uint64
	writes int // records written so far
}

func openLedger(tx *bolt.Tx) (*ledger, error) {
	l := &ledger{tx: tx}
	head := tx.Bucket(headBucket)
	if head == nil {
		return nil, fmt.Errorf("%w: not a store", ErrCorrupt)
	}
	sum := head.Get(sumKey)
	if sum == nil { // begin has not written it yet
		return l, nil
	}
	if len(sum) != 8 {
		return nil, fmt.Errorf("%w: no sum", ErrCorrupt)
	}
	l.sum = binary.BigEndian.Uint64(sum)
	if err := json.Unmarshal(head.Get(stateKey), &l.state); err != nil {
		return nil, fmt.Errorf("%w: state: %w", ErrCorrupt, err)
	}
	return l, nil
}

// save ends what a transaction writes.
func (l *ledger) save() error {
	if err := l.putJSON(headBucket, stateKey, l.state); err != nil {
		return err
	}
	return l.tx.Bucket(headBucket).Put(sumKey, number(l.sum))
}

func (l *ledger) get(bucket, key []byte) []byte { return l.tx.Bucket(bucket).Get(key) }

func (l *ledger) put(bucket, key, value []byte) error {
	b := l.tx.Bucket(bucket)
	if old := b.Get(key); old != nil {
		l.sum -= digest(bucket, key, old)
	}
	l.sum += digest(bucket, key, value)
	l.writes++
	return b.Put(key, value)
}

func (l *ledger) putJSON(bucket, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return l.put(bucket, key, text)
}

func (l *ledger) remove(bucket, key []byte) error {
	b := l.tx.Bucket(bucket)
	old := b.Get(key)
	if old == nil {
		return nil
	}
	l.sum -= digest(bucket, key, old)
	l.writes++
	return b.Delete(key)
}

// digest is the part of one record in the sum. Parts are added modulo 2^64:
// the order in which records were written does not matter.
func digest(bucket, key, value []byte) uint64 {
	h := sha256.New()
	var n [12]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(bucket)))
	binary.BigEndian.PutUint32(n[4:], uint32(len(key)))
	binary.BigEndian.PutUint32(n[8:], uint32(len(value)))
	h.Write(n[:])
	h.Write(bucket)
	h.Write(key)
	h.Write(value)
	var sum [sha256.Size]byte
	return binary.BigEndian.Uint64(h.Sum(sum[:0]))
}

// number is how a number is a key: so that keys have its order.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// path is the key of an artifact. No part has zero bytes, so the order is
// that of the parts, and no path begins another one.
func path(k Key) []byte { return []byte(k.Namespace + "\x00" + k.Kind + "\x00" + k.Name + "\x00") }

// versionKey is the key of one version of an artifact.
func versionKey(path []byte, revision uint64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(path), revision)
}

// revisionOf is the inverse of versionKey, for keys that begin with path.
func revisionOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// decode reads a record. Records that were read when the store was opened and
// do not read now were changed under our feet.
func decode(what string, text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
	}
	return nil
}
