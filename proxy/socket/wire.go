// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// wire is the transport below TLS. crypto/tls keeps what it was given of a
// record when a read fails for now, so that it can be told that nothing is
// there instead of waiting; but it never forgives a failed write. So an
// expiry keeps from it what the kernel did not take.
type wire struct {
	conn *Conn

	// Of the reading goroutine.
	shaking   bool    // the handshake runs: a Wake must not fail it
	impatient bool    // read without waiting, outside a callback
	inside    bool    // a callback of the raw connection: read from fd
	fd        uintptr // while inside
	spent     bool    // the last read took all there was: not worth another
	dry       bool    // it found nothing
	ended     bool    // the peer's stream has, at whatever place
	// How the bytes read last divide into records.
	header  [5]byte
	got     int // of the header of the record that is not complete
	left    int // of its content
	records int // that were completed by the last read

	// Of whoever writes, one at a time by the lock of crypto/tls.
	direct bool   // the writer is inside a callback of the raw connection
	unsent []byte // what the kernel did not take before an expiry
	took   int    // bytes that the kernel took

	late    atomic.Bool  // there is something in unsent
	wait    atomic.Int64 // how long a peer may take nothing; 0: as Due says
	busy    atomic.Bool  // a write may wait
	closing atomic.Bool
}

// errAgain tells crypto/tls that nothing is there at present.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing to be read" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read implements net.Conn. It is called when TLS has used up what it has.
func (w *wire) Read(b []byte) (n int, err error) {
	w.records = 0
	switch {
	case w.impatient:
		n, err = w.conn.readNow(b)
	case w.inside:
		n, err = w.readInside(b)
	default:
		n, err = w.readWaiting(b)
	}
	if errors.Is(err, io.EOF) {
		w.ended = true
	}
	w.divide(b[:n])
	return n, err
}

func (w *wire) readWaiting(b []byte) (int, error) {
	for {
		n, err := w.conn.tcp.Read(b)
		if n > 0 || err == nil || !w.shaking || !w.conn.onlyWoken(err) {
			return n, err
		}
	}
}

// divide notes where records end in what was read (RFC 8446 section 5.1).
func (w *wire) divide(b []byte) {
	for len(b) > 0 {
		if w.got < len(w.header) {
			n := copy(w.header[w.got:], b)
			w.got += n
			b = b[n:]
			if w.got < len(w.header) {
				return
			}
			w.left = int(w.header[3])<<8 | int(w.header[4])
		}
		n := min(w.left, len(b))
		w.left -= n
		b = b[n:]
		if w.left == 0 {
			w.got = 0
			w.records++
		}
	}
}

// whole reports whether no record is incomplete.
func (w *wire) whole() bool { return w.got == 0 }

// Write implements net.Conn. It takes all of b unless the connection failed.
func (w *wire) Write(b []byte) (int, error) {
	c := w.conn
	rest := b
	if len(w.unsent) > 0 {
		w.unsent = append(w.unsent, b...)
		rest, w.unsent = w.unsent, nil
	}
	if w.closing.Load() {
		return w.writeLast(rest, len(b))
	}
	if w.direct {
		n, err := c.write(rest)
		w.took += n
		rest = rest[n:]
		if err != nil {
			return 0, err
		}
	}
	if len(rest) > 0 {
		n, err := w.writeWaiting(rest)
		w.took += n
		rest = rest[n:]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
	}
	if len(rest) > 0 {
		w.unsent = bytes.Clone(rest)
	}
	if late := len(rest) > 0; w.late.Load() != late {
		w.late.Store(late)
	}
	return len(b), nil
}

// writeWaiting waits until the kernel takes b or the connection expires.
func (w *wire) writeWaiting(b []byte) (int, error) {
	c := w.conn
	w.busy.Store(true)
	defer w.busy.Store(false)
	if w.closing.Load() {
		return 0, net.ErrClosed
	}
	if wait := w.wait.Load(); wait != 0 {
		c.stuck.Store(Now() + wait)
		defer c.stuck.Store(0)
	}
	return c.tcp.Write(b)
}

// writeLast writes what fits: the connection is about to be closed.
func (w *wire) writeLast(b []byte, size int) (int, error) {
	if n := w.conn.writeNow(b); n < len(b) {
		return 0, net.ErrClosed
	}
	return size, nil
}

// Close implements net.Conn: the context of a handshake has ended.
func (w *wire) Close() error {
	w.conn.Expire()
	return nil
}

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return w.conn.tcp.LocalAddr() }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return w.conn.tcp.RemoteAddr() }

// SetDeadline implements net.Conn: deadlines are the sweep's.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn: deadlines are the sweep's.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn: deadlines are the sweep's.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
