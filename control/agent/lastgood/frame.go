// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Table is a table as it is kept.
type Table struct {
	Version routing.Version
	// Saved is when it was received, by the clock of then, in nanoseconds
	// since 1970; times before 1678 and after 2262 do not survive.
	Saved time.Time
	// Payload is the table in whatever form the caller chose.
	Payload []byte
}

// Age returns how long ago the table was received, and 0 if the clock says
// that this lies ahead.
func (t Table) Age(now time.Time) time.Duration { return max(0, now.Sub(t.Saved)) }

// A file is magic, schema, number, epoch, revision, time and length of the
// payload, all big-endian, then the payload, then the SHA-256 of all before.
// The last byte of magic counts the forms that this frame has had.
const (
	magic    = "sluiceT\x01"
	headSize = len(magic) + 4 + 5*8
	sumSize  = sha256.Size
)

// frame is a file: a table, its place in the order of writing and what its
// payload is written in.
type frame struct {
	schema uint32
	number uint64
	table  Table
}

// head returns all that stands before the payload.
func (f frame) head() []byte {
	b := append(make([]byte, 0, headSize), magic...)
	b = binary.BigEndian.AppendUint32(b, f.schema)
	for _, n := range []uint64{
		f.number, f.table.Version.Epoch, f.table.Version.Revision,
		uint64(f.table.Saved.UnixNano()), uint64(len(f.table.Payload)),
	} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// parts returns the file as what is to be written behind each other: the payload
// of a large table is not copied to put a head before it.
func (f frame) parts() [][]byte {
	head := f.head()
	sum := sha256.New()
	for _, b := range [][]byte{head, f.table.Payload} {
		_, _ = sum.Write(b) // it never fails
	}
	return [][]byte{head, f.table.Payload, sum.Sum(nil)}
}

// size returns how many bytes the file has.
func (f frame) size() int { return headSize + len(f.table.Payload) + sumSize }

// decode reads a file. The payload is a view of b. Errors are ErrDamaged.
func decode(b []byte) (frame, error) {
	switch {
	case len(b) < headSize+sumSize:
		return frame{}, fmt.Errorf("%w: %d bytes are no file", ErrDamaged, len(b))
	case string(b[:len(magic)]) != magic:
		return frame{}, fmt.Errorf("%w: begins like no file of ours", ErrDamaged)
	}
	body := b[:len(b)-sumSize]
	n := func(i int) uint64 { return binary.BigEndian.Uint64(body[len(magic)+4+8*i:]) }
	payload := body[headSize:]
	if n(4) != uint64(len(payload)) {
		return frame{}, fmt.Errorf("%w: payload of %d bytes where %d were written", ErrDamaged, len(payload), n(4))
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b[len(body):]) {
		return frame{}, fmt.Errorf("%w: checksum differs", ErrDamaged)
	}
	return frame{
		schema: binary.BigEndian.Uint32(body[len(magic):]),
		number: n(0),
		table: Table{
			Version: routing.Version{Epoch: n(1), Revision: n(2)},
			Saved:   time.Unix(0, int64(n(3))),
			Payload: payload,
		},
	}, nil
}

// read returns the file at path, which is to have the number. Errors are
// ErrDamaged, ErrTooLarge or those of the file system.
func read(path string, number uint64, maxBytes int) (frame, error) {
	in, err := os.Open(path)
	if err != nil {
		return frame{}, err
	}
	defer in.Close()
	bound := min(int64(maxBytes), math.MaxInt64-4096) + int64(headSize+sumSize)
	b, err := io.ReadAll(io.LimitReader(in, bound+1))
	if err != nil {
		return frame{}, err
	}
	if int64(len(b)) > bound {
		return frame{}, fmt.Errorf("%w: payload above %d bytes", ErrTooLarge, maxBytes)
	}
	f, err := decode(b)
	if err == nil && f.number != number {
		err = fmt.Errorf("%w: written as number %d", ErrDamaged, f.number)
	}
	return f, err
}
