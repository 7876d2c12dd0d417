// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"errors"
	"time"
)

// Carrier moves the bytes of a Conn that has no socket of its own: it is a
// conversation inside another connection, such as a stream of HTTP/2. One
// goroutine reads (Take, Await) and one writes (Put, AwaitRoom, CloseWrite) at
// a time; the other methods may be called from any, some of them by a sweep,
// which holds locks of its own: a Carrier must hold none that these need while
// it calls a Sweeper or a Conn.
type Carrier interface {
	// Take reads what is there, without waiting: 0 and nil if nothing is. It is
	// io.EOF after the orderly end of what is sent, any other error after a reset
	// or the end of what carries it. It may return bytes after it was stopped. b
	// is not empty.
	Take(b []byte) (int, error)
	// Await waits until Take has something to say: nil. It is
	// os.ErrDeadlineExceeded while reading is stopped, also if there is something.
	Await() error
	// Put takes as much of b as it can without waiting for the peer; fewer
	// bytes than b has, and nil, mean that AwaitRoom will say when more can be
	// taken. A *WriteError whose Unsent is set says that nobody can have acted
	// on anything of the message; Take may return one, too.
	Put(b []byte) (int, error)
	// AwaitRoom waits until Put can take more, or has an error to return: nil.
	// It is os.ErrDeadlineExceeded while writing is stopped.
	AwaitRoom() error
	// Stop makes waits fail, those under way and those that follow, or ends
	// that: it sets both directions each time.
	Stop(reading, writing bool)
	// CloseWrite says that nothing more is written.
	CloseWrite() error
	// Close ends the conversation, once; aborted means that the peer must not
	// take what it got for complete. All waits end.
	Close(aborted bool)
	// Peer tells how the peer stands. The end of a message is not the end of
	// what a peer sends.
	Peer() Peer
	// Alive reports that the conversation has neither ended nor holds anything
	// to read, so that another message may be written.
	Alive() bool
	// Pending returns about how many bytes Take would return at once.
	Pending() int
	// Origin returns the Conn inside of which the conversation is; never nil.
	Origin() *Conn
}

// Peer is how the peer of a connection stands.
type Peer uint8

const (
	// PeerStays is a peer of which no end is known.
	PeerStays Peer = iota
	// PeerHalfClosed is one that has ended its own direction; nothing before that
	// is unread.
	PeerHalfClosed
	// PeerGone is one with whom both directions have ended.
	PeerGone
)

// Carry takes in a conversation as a Conn, which is closed by whoever uses it.
// It has no deadline yet.
func (s *Sweeper) Carry(by Carrier) *Conn {
	c := &Conn{by: by}
	s.adopt(c)
	return c
}

// Carried reports whether the connection is a conversation inside another one.
func (c *Conn) Carried() bool { return c.by != nil }

// Declined reports whether the peer of a carried connection takes nothing more,
// though it may have answered before.
func (c *Conn) Declined() bool { return c.by != nil && c.by.Peer() == PeerGone }

// Hangup tells whoever watches a carried connection that its peer is gone,
// rather than at the next sweep. It is called by the Carrier, from any
// goroutine, once Peer says so.
func (c *Conn) Hangup() {
	c.home.mu.Lock()
	w := c.watcher
	c.home.mu.Unlock()
	if w != nil {
		w.Deserted()
	}
}

// hold makes waits for the connection fail if the deadline is in the past, and
// ends that if it is zero. The mutex is held.
func (c *Conn) hold(deadline time.Time) {
	if c.by != nil {
		c.by.Stop(!deadline.IsZero(), !deadline.IsZero())
		return
	}
	// An error says that the connection is closed, which is as good.
	_ = c.tcp.SetDeadline(deadline)
}

// holdReading does so where reading waits.
func (c *Conn) holdReading(deadline time.Time) {
	if c.by != nil {
		c.by.Stop(!deadline.IsZero(), c.expired.Load())
		return
	}
	_ = c.tcp.SetReadDeadline(deadline)
}

// carriedLoop is Loop over a Carrier.
func (c *Conn) carriedLoop(h Handler) error {
	for {
		if c.expired.Load() {
			return ErrExpired
		}
		n, err := c.by.Take(h.Buffer())
		if n == 0 && err != nil {
			return c.translate(err)
		}
		if n > 0 {
			switch h.Data(n) {
			case Done:
				return nil
			case More:
				continue
			case Park:
			}
		}
		h.Idle()
		for err = c.by.Await(); err != nil; err = c.by.Await() {
			if !c.onlyWoken(err) {
				return c.translate(err)
			}
			if h.Woken() == Done {
				return nil
			}
		}
	}
}

// carriedTrip is RoundTrip over a Carrier. A peer that took only a part of what
// was sent may have answered all the same.
func (c *Conn) carriedTrip(out []byte, h Handler) error {
	if err := c.carriedRequest(out); err != nil {
		if we, ok := errors.AsType[*WriteError](err); !ok || we.Unsent || !c.Declined() {
			return err
		}
		if n, _ := c.by.Take(h.Buffer()); n == 0 {
			return err
		} else if h.Data(n) == Done {
			return nil
		}
	}
	for {
		n, err := c.carriedRead(h.Buffer())
		if n == 0 && err != nil {
			return err
		}
		if h.Data(n) == Done {
			return nil
		}
	}
}

// carriedRequest sends what a trip begins with, if that has not been done. Its
// errors are *WriteError.
func (c *Conn) carriedRequest(out []byte) error {
	if out == nil {
		return nil
	}
	n, err := c.carry(out, 0)
	if _, told := errors.AsType[*WriteError](err); err != nil && !told {
		err = &WriteError{Err: err, Unsent: n == 0}
	}
	return err
}

// carriedRead is Read over a Carrier.
func (c *Conn) carriedRead(b []byte) (int, error) {
	for {
		if c.expired.Load() {
			return 0, ErrExpired
		}
		if n, err := c.by.Take(b); n > 0 || err != nil {
			return n, c.translate(err)
		}
		if err := c.by.Await(); err != nil && !c.onlyWoken(err) {
			return 0, c.translate(err)
		}
	}
}

// carry writes all of b over a Carrier. A wait that is not 0 bounds how long
// the peer may take for it, from when no more can be taken at once.
func (c *Conn) carry(b []byte, wait time.Duration) (n int, err error) {
	if c.expired.Load() {
		return 0, ErrExpired
	}
	waited := false
	for n < len(b) {
		var m int
		m, err = c.by.Put(b[n:])
		if n += m; err != nil || n == len(b) {
			break
		}
		if wait != 0 && !waited {
			c.stuck.Store(Now() + int64(wait))
			waited = true
		}
		if err = c.by.AwaitRoom(); err != nil {
			break
		}
	}
	if waited {
		c.stuck.Store(0)
	}
	return n, c.translate(err)
}
