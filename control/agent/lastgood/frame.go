// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bufio"
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
	// Stream writes the payload in the place of Payload, so that a large one is
	// never in memory as a whole. Run calls it, again after a write that failed.
	// Nil means that Payload is all; tables that were loaded have none.
	Stream func(io.Writer) error
}

// Age returns how long ago the table was received, and 0 if the clock says
// that this lies ahead.
func (t Table) Age(now time.Time) time.Duration { return max(0, now.Sub(t.Saved)) }

// A file is magic, schema, number, epoch, revision and time, all big-endian,
// then the payload and its length, then the SHA-256 of all before. The last byte
// of magic counts the forms that this frame has had. In the first, which is read
// yet, the length stood before the payload.
const (
	magic      = "sluiceT\x02"
	firstMagic = "sluiceT\x01"
	headSize   = len(magic) + 4 + 4*8
	lengthSize = 8
	sumSize    = sha256.Size
	// writeSize is how much of a file is written at a time.
	writeSize = 64 << 10
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
	for _, n := range []uint64{f.number, f.table.Version.Epoch, f.table.Version.Revision, uint64(f.table.Saved.UnixNano())} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// write writes the file, whose payload may have so many bytes. Errors are
// ErrTooLarge, those of the table's Stream, or of the disk.
func (f frame) write(to io.Writer, maxBytes int) error {
	sum := sha256.New()
	file := bufio.NewWriterSize(io.MultiWriter(sum, to), writeSize)
	payload := &bounded{to: file, most: maxBytes}
	_, err := file.Write(f.head())
	if err == nil {
		if f.table.Stream != nil {
			err = f.table.Stream(payload)
		} else {
			_, err = payload.Write(f.table.Payload)
		}
	}
	if err == nil {
		_, err = file.Write(binary.BigEndian.AppendUint64(nil, uint64(payload.bytes)))
	}
	if err == nil {
		err = file.Flush()
	}
	if err == nil {
		_, err = to.Write(sum.Sum(nil))
	}
	return err
}

// bounded counts what is written, and refuses what is too much.
type bounded struct {
	to          io.Writer
	bytes, most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.most-b.bytes {
		return 0, fmt.Errorf("%w: payload above %d bytes", ErrTooLarge, b.most)
	}
	n, err := b.to.Write(p)
	b.bytes += n
	return n, err
}

// decode reads a file. The payload is a view of b. Errors are ErrDamaged.
func decode(b []byte) (frame, error) {
	if len(b) < headSize+lengthSize+sumSize {
		return frame{}, fmt.Errorf("%w: %d bytes are no file", ErrDamaged, len(b))
	}
	body := b[:len(b)-sumSize]
	n := func(i int) uint64 { return binary.BigEndian.Uint64(body[len(magic)+4+8*i:]) }
	var payload []byte
	var length uint64
	switch string(b[:len(magic)]) {
	case magic:
		end := len(body) - lengthSize
		payload, length = body[headSize:end], binary.BigEndian.Uint64(body[end:])
	case firstMagic:
		payload, length = body[headSize+lengthSize:], n(4)
	default:
		return frame{}, fmt.Errorf("%w: begins like no file of ours", ErrDamaged)
	}
	if length != uint64(len(payload)) {
		return frame{}, fmt.Errorf("%w: payload of %d bytes where %d were written", ErrDamaged, len(payload), length)
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
	bound := min(int64(maxBytes), math.MaxInt64-4096) + int64(headSize+lengthSize+sumSize)
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
