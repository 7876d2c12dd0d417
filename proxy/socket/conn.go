// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Next says what a Handler wants after it was told of data.
type Next uint8

const (
	// More wants the rest of a message that is not complete: reading goes on
	// until nothing is there.
	More Next = iota
	// Park waits for the next message, releasing the buffer. No read is tried
	// first.
	Park
	// Done leaves the call.
	Done
)

// Handler is told of the bytes that a connection receives.
type Handler interface {
	// Buffer returns where to read to; its length is not 0.
	Buffer() []byte
	// Data is told that n bytes were read into the buffer.
	Data(n int) Next
	// Idle is called before the goroutine parks. Bytes that Data has not used
	// must be put aside if the buffer is given up.
	Idle()
	// Woken is called when Wake, and not data, ended the wait: Done leaves,
	// anything else waits on. It may be called without a Wake.
	Woken() Next
}

// Conn is a TCP connection, or a conversation inside of one (see Carry). One
// goroutine reads and one writes at a time; Due, Expire, StopReading, Wake and Close
// may be called from any.
type Conn struct {
	tcp   *net.TCPConn    // nil if it is carried
	raw   syscall.RawConn // nil if it is carried
	layer *layer          // nil without TLS
	by    Carrier         // nil unless it is carried

	due     atomic.Int64 // when it is overdue (see Now); 0: never
	end     atomic.Int64 // when it is, whatever due says; 0: never
	stuck   atomic.Int64 // when a write that waits is overdue; 0: none does
	suspect atomic.Bool  // parked after a short read: an end may have been missed
	expired atomic.Bool  // written under mu
	closed  atomic.Bool

	mu      sync.Mutex // guards the deadlines of tcp, stopped, and writing expired
	stopped bool       // by StopReading

	// The call that runs: of the reading goroutine.
	inside  bool    // the callback of Loop
	fd      uintptr // while inside
	handler Handler
	out     []byte
	err     error
	peeked  int
	pending int
	// Made when they are needed first: most connections need one of them.
	loopFn func(uintptr) bool
	tripFn func(uintptr) bool
	peekFn func(uintptr)
	pendFn func(uintptr)

	pace pace

	// Of the sweeper, under its shard's mutex.
	home       *shard
	next, prev *Conn
	sweepEnded bool
	sweepFn    func(uintptr)
	watcher    Watcher // nil if nobody is to be asked
	peer       Peer
	peerFn     func(uintptr)
}

// ErrExpired reports that a connection was given up since it was overdue or
// asked to end.
var ErrExpired = errors.New("connection expired")

// WriteError reports that RoundTrip could not send what it was given: nothing
// of an answer was received.
type WriteError struct {
	Err error
	// Unsent reports that the kernel took none of the bytes.
	Unsent bool
}

func (e *WriteError) Error() string { return "write: " + e.Err.Error() }
func (e *WriteError) Unwrap() error { return e.Err }

var epoch = time.Now()

// Now returns the time since the process started, in nanoseconds, on the
// monotonic clock.
func Now() int64 { return int64(time.Since(epoch)) }

// wall is Unix time in milliseconds less Now, in milliseconds too, as of the
// last sweep.
var wall = func() *atomic.Int64 {
	w := new(atomic.Int64)
	w.Store(wallNow())
	return w
}()

func wallNow() int64 { return time.Now().UnixMilli() - Now()/1e6 }

// UnixMilli returns the Unix time in milliseconds at a time that Now returned.
// It reads no clock: a step of the wall clock shows a moment later, once a
// Sweeper has run.
func UnixMilli(now int64) int64 { return wall.Load() + now/1e6 }

// Due makes the connection expire when Now passes at. 0 means never. It is
// called by whoever reads. A deadline that is moved in the moment at which it
// passes may be found passed all the same.
func (c *Conn) Due(at int64) { storeDue(&c.due, at) }

// DueAt returns what Due was told last, 0 for never. It may be called from any
// goroutine.
func (c *Conn) DueAt() int64 { return c.due.Load() }

// Until makes the connection expire when Now passes at, whatever else it is
// due for meanwhile. 0 means never. It may be called from any goroutine.
func (c *Conn) Until(at int64) { c.end.Store(at) }

// Expired reports whether the connection was given up.
func (c *Conn) Expired() bool { return c.expired.Load() }

// Expire wakes whoever waits for the connection with ErrExpired.
func (c *Conn) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expired.Store(true)
	c.hold(past)
}

// expireIfDue expires the connection if one of its deadlines is still at that
// time, and then makes gone true unless it is nil.
func (c *Conn) expireIfDue(deadline *atomic.Int64, at int64, gone *atomic.Bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expired.Swap(true) {
		return
	}
	if !deadline.CompareAndSwap(at, 0) {
		c.expired.Store(false)
		return
	}
	if gone != nil {
		gone.Store(true)
	}
	c.hold(past)
}

// Revive makes a connection usable once more, until it is due, after it
// expired or was stopped.
func (c *Conn) Revive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expired.Store(false)
	c.stopped = false
	c.hold(time.Time{})
}

// StopReading wakes whoever reads from the connection with ErrExpired;
// writing goes on.
func (c *Conn) StopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.holdReading(past)
}

var past = time.Unix(1, 0)

// Read reads as net.Conn does. It must not be called inside Loop.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		n, err := c.receive(b)
		if err == nil || n > 0 || !c.onlyWoken(err) {
			return n, c.translate(err)
		}
	}
}

// receive reads once; a Wake ends the wait.
func (c *Conn) receive(b []byte) (int, error) {
	if c.layer == nil {
		if c.by != nil {
			return c.carriedRead(b)
		}
		return c.tcp.Read(b)
	}
	if err := c.ready(); err != nil {
		return 0, err
	}
	return c.layer.read(b)
}

// Write writes all of b.
func (c *Conn) Write(b []byte) (int, error) {
	if c.layer != nil {
		return c.encrypt(b, 0)
	}
	n, err := c.write(b)
	if err != nil || n == len(b) {
		return n, err
	}
	if c.by != nil {
		return c.carry(b, 0)
	}
	m, err := c.tcp.Write(b[n:])
	return n + m, c.translate(err)
}

// WriteWithin writes all of b. The connection expires if the peer has not
// taken it after a time. That counts from when the kernel takes no more, so that
// most writes need no clock, and beside what Due says.
func (c *Conn) WriteWithin(b []byte, wait time.Duration) (int, error) {
	if c.layer != nil {
		return c.encrypt(b, wait)
	}
	n, err := c.write(b)
	if err != nil || n == len(b) {
		return n, err
	}
	if c.by != nil {
		return c.carry(b, wait)
	}
	c.stuck.Store(Now() + int64(wait))
	m, err := c.tcp.Write(b[n:])
	c.stuck.Store(0)
	return n + m, c.translate(err)
}

// Wake ends the wait of a goroutine inside Loop, which asks its handler what
// to do. Other reads go on.
func (c *Conn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdReading(past)
}

// onlyWoken reports whether a read failed for no other reason than Wake,
// and makes the connection readable again. What is done because of a Wake
// must be looked at after this, so that a Wake in between is not lost.
func (c *Conn) onlyWoken(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expired.Load() || c.stopped {
		return false
	}
	c.holdReading(time.Time{})
	return true
}

// translate tells an expiry apart from what the network did.
func (c *Conn) translate(err error) error {
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrExpired
	}
	return err
}

// ReadFrom moves exactly n bytes from src to c, inside the kernel where it
// can, and returns how many it moved. io.ErrUnexpectedEOF means that src
// ended before.
func (c *Conn) ReadFrom(src *Conn, n int64) (int64, error) {
	if !c.bare() || !src.bare() {
		moved, err := c.copyFrom(src, n, 0)
		if s, ok := errors.AsType[*SpliceError](err); ok {
			err = s.Err
		}
		return moved, err
	}
	moved := int64(0)
	for moved < n {
		m, err := c.tcp.ReadFrom(&io.LimitedReader{R: src.tcp, N: n - moved})
		moved += m
		switch {
		case err == nil && moved < n:
			return moved, io.ErrUnexpectedEOF
		case err == nil:
			return moved, nil
		case c.expired.Load() || !src.onlyWoken(err):
			return moved, c.translate(err)
		}
	}
	return moved, nil
}

// SpliceError reports that Splice could not hand on what it had: the
// destination is to blame.
type SpliceError struct{ Err error }

func (e *SpliceError) Error() string { return "splice: " + e.Err.Error() }
func (e *SpliceError) Unwrap() error { return e.Err }

// TCP returns the connection itself, or the one that it is carried by.
func (c *Conn) TCP() *net.TCPConn {
	if c.by != nil {
		return c.by.Origin().TCP()
	}
	return c.tcp
}

// bare reports whether what is written and read is what the kernel moves.
func (c *Conn) bare() bool { return c.layer == nil && c.by == nil }

// CloseWrite ends the sending half. Over TLS the peer is told before.
func (c *Conn) CloseWrite() error {
	if c.by != nil {
		return c.translate(c.by.CloseWrite())
	}
	if c.layer != nil {
		if err := c.layer.closeWrite(); err != nil {
			return err
		}
	}
	return c.tcp.CloseWrite()
}

// Close closes the connection and reports whether it was open. Closing it
// again does nothing. Over TLS the peer is told, unless it takes nothing.
func (c *Conn) Close() bool {
	if c.closed.Swap(true) {
		return false
	}
	if c.layer != nil {
		c.layer.close()
	}
	c.shut(false)
	return true
}

func (c *Conn) shut(aborted bool) {
	c.home.remove(c)
	if c.by != nil {
		c.by.Close(aborted)
		return
	}
	_ = c.tcp.Close()
}

// Abort closes the connection with a reset, so that the peer cannot take what
// it has received for complete. It reports whether the connection was open.
func (c *Conn) Abort() bool {
	if c.by == nil {
		_ = c.tcp.SetLinger(0)
	}
	if c.closed.Swap(true) {
		return false
	}
	c.shut(true) // nor does TLS say that this is an orderly end
	return true
}

// Alive looks at an idle connection without reading from it: it is alive if
// it has neither expired nor ended nor received anything. Session tickets and
// new keys of TLS count as nothing. It is called by whoever would read.
func (c *Conn) Alive() bool {
	if c.expired.Load() {
		return false
	}
	if c.by != nil {
		return c.by.Alive()
	}
	if l := c.layer; l != nil && (!l.quiet() || !l.wire.whole()) {
		return l.alive()
	}
	if c.peekFn == nil {
		c.peekFn = func(fd uintptr) { c.peeked = peekFD(fd) }
	}
	c.peeked = peekEnded
	if err := c.raw.Control(c.peekFn); err != nil {
		return false
	}
	if c.peeked == peekData && c.layer != nil {
		return c.layer.alive()
	}
	return c.peeked == peekNothing
}

// Pending returns how many bytes can be read at once, 0 if that cannot be
// told. Over TLS it is about as many.
func (c *Conn) Pending() int {
	if c.by != nil {
		return c.by.Pending()
	}
	if c.pendFn == nil {
		c.pendFn = func(fd uintptr) { c.pending = pendingFD(fd) }
	}
	c.pending = 0
	if err := c.raw.Control(c.pendFn); err != nil {
		return 0
	}
	if c.layer != nil && !c.layer.quiet() {
		c.pending++
	}
	return c.pending
}

// What a look at a connection found.
const (
	peekNothing = iota // open, nothing received
	peekData
	peekEnded
)
