// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package socket

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// take makes the callbacks of the connection those of TLS, so that a
// connection without it need not ask.
func (l *layer) take() {
	c := l.wire.conn
	c.loopFn, c.tripFn = l.loop, l.trip
}

// loop is the callback of Loop over TLS.
func (l *layer) loop(fd uintptr) bool {
	c, w := l.wire.conn, &l.wire
	c.inside, c.fd = true, fd
	w.inside, w.fd, w.spent = true, fd, false
	for {
		n, err := l.read(c.handler.Buffer())
		if n == 0 {
			return l.stop(err)
		}
		switch c.handler.Data(n) {
		case More:
			w.spent = false
		case Done:
			return true
		case Park:
			if w.spent && l.quiet() {
				return l.stop(errAgain)
			}
		}
	}
}

// stop leaves the callback of Loop since nothing can be read for now, or ever.
func (l *layer) stop(err error) bool {
	c := l.wire.conn
	if !errors.Is(err, errAgain) {
		c.err = err
		return true
	}
	c.handler.Idle()
	if !l.wire.dry && !c.suspect.Load() { // as on a connection without TLS
		c.suspect.Store(true)
	}
	return false
}

// trip is the callback of RoundTrip over TLS.
func (l *layer) trip(fd uintptr) bool {
	c, w := l.wire.conn, &l.wire
	w.inside, w.fd, w.spent = true, fd, false
	if out := c.out; out != nil {
		c.out = nil
		c.inside, c.fd = true, fd
		w.took = 0
		_, err := c.encrypt(out, 0)
		c.inside = false
		if err != nil {
			c.err = &WriteError{Err: err, Unsent: w.took == 0}
			return true
		}
		if l.quiet() {
			return false
		}
		w.spent = true
	}
	for {
		n, err := l.read(c.handler.Buffer())
		switch {
		case n > 0 && c.handler.Data(n) == Done:
			return true
		case n > 0:
			w.spent = false
		case errors.Is(err, errAgain):
			return false
		default:
			c.err = err
			return true
		}
	}
}

// encrypt writes all of b, without leaving the callback if it is called inside
// one, where nobody else writes.
func (c *Conn) encrypt(b []byte, wait time.Duration) (int, error) {
	if !c.inside {
		return c.layer.write(b, wait)
	}
	w := &c.layer.wire
	w.direct = true
	n, err := c.layer.write(b, wait)
	w.direct = false
	return n, err
}

// readInside reads what is there. A read that fills less than it could has
// emptied the socket: the next one is not tried, unless more is wanted or a
// record is cut short, for the end may have come with it.
func (w *wire) readInside(b []byte) (int, error) {
	if w.spent && w.whole() {
		return 0, errAgain
	}
	for {
		n, errno := readFD(w.fd, b)
		switch {
		case errno == syscall.EAGAIN:
			w.spent, w.dry = true, true
			return 0, errAgain
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return 0, os.NewSyscallError("read", errno)
		case n == 0:
			return 0, io.EOF
		}
		w.spent, w.dry = n < len(b), false
		return n, nil
	}
}
