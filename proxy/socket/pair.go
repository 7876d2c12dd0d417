// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"
)

// Pair joins two connections: what one receives the other sends. It takes two
// goroutines, one of which is the caller's, and holds buffers only while there
// are bytes to move.
type Pair struct {
	// A and B are the connections. While Run runs, nobody else reads from them
	// or writes to them.
	A, B *Conn
	// Idle is how long both directions may stand still together.
	Idle time.Duration
	// Ahead was read from A before: B is sent it first. It may be nil.
	Ahead []byte
	// FromA and FromB are told of the bytes that were moved from A to B and
	// from B to A, while they are. Each is called by one goroutine at a time.
	FromA, FromB func(n int64)

	up, down half // from A, and from B
}

// BrokenError reports that one side of a Pair failed.
type BrokenError struct {
	Side *Conn
	Err  error
}

func (e *BrokenError) Error() string { return e.Err.Error() }
func (e *BrokenError) Unwrap() error { return e.Err }

const (
	// pieceSize is what is read and written at a time. Where more has come, the
	// rest is spliced.
	pieceSize = 16 << 10
	// spliceMost bounds what is spliced before both directions are given time
	// once more.
	spliceMost = 1 << 20
)

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// Run moves bytes both ways until both halves have ended: nil. The end of one
// half is passed on, and the other half goes on. If a side fails the other one
// expires, and a *BrokenError says which one it was; if either side expired,
// by time or since it was told to, it is ErrExpired. Closing both connections
// is left to the caller.
func (p *Pair) Run() error {
	p.up = half{pair: p, from: p.A, to: p.B, moved: p.FromA}
	p.down = half{pair: p, from: p.B, to: p.A, moved: p.FromB}
	p.moving()
	var wg sync.WaitGroup
	wg.Go(func() { p.up.run(p.Ahead) })
	p.down.run(nil)
	wg.Wait()
	for _, h := range [...]*half{&p.up, &p.down} {
		if h.fault != "" {
			panic(h.fault)
		}
	}
	return p.cause()
}

// cause returns what ended the pair before its time. Only one half holds it;
// the other one was ended because of it.
func (p *Pair) cause() error {
	for _, err := range [...]error{p.up.err, p.down.err} {
		if err != nil && !errors.Is(err, ErrExpired) {
			return err
		}
	}
	if p.up.err != nil || p.down.err != nil {
		return ErrExpired
	}
	return nil
}

// moving gives both directions time: one may be silent while the other moves.
func (p *Pair) moving() {
	due := Now() + int64(p.Idle)
	p.A.Due(due)
	p.B.Due(due)
}

// half is one direction: the Handler of what its connection receives.
type half struct {
	pair     *Pair
	from, to *Conn
	moved    func(n int64)
	buf      *[pieceSize]byte // nil while nothing is there
	waits    uint8            // how often it waited, up to informAfter
	informed bool             // what it receives from tells what is left, if it can
	out      putter
	err      error
	fault    string // a panic, to be passed on to who called Run
}

// run moves bytes until the half ends. If it does so before its time it takes
// the other half with it.
func (h *half) run(ahead []byte) {
	defer func() {
		if r := recover(); r != nil {
			h.fault = fmt.Sprintf("%v\n%s", r, debug.Stack())
		}
		h.Idle()
		if h.err != nil || h.fault != "" {
			h.pair.A.Expire()
			h.pair.B.Expire()
		}
	}()
	h.send(ahead)
	for h.err == nil {
		switch err := h.from.Loop(h); {
		case h.err != nil:
		case errors.Is(err, io.EOF):
			h.end()
			return
		case err != nil:
			h.err = &BrokenError{h.from, err}
		case h.waits == informAfter && !h.informed:
			h.informed = true
			h.from.inform()
		default: // more has come than fits a buffer
			h.Idle()
			h.splice()
		}
	}
}

// Buffer implements Handler.
func (h *half) Buffer() []byte {
	if h.buf == nil {
		h.buf = pieces.Get().(*[pieceSize]byte)
	}
	return h.buf[:]
}

// Data implements Handler.
func (h *half) Data(n int) Next {
	h.pair.moving()
	h.send(h.buf[:n])
	if h.err != nil || n == pieceSize && h.from.bare() && h.to.bare() {
		return Done
	}
	switch {
	case !h.from.bare():
		return Park // an orderly end is said in what was read, and never missed
	case h.waits == informAfter && !h.informed:
		return Done
	default:
		return More
	}
}

// informAfter is after how many waits a direction is one of a conversation,
// whose reads had better tell what is left. What asks once and is answered has
// ended by then.
const informAfter = 3

// Idle implements Handler: nothing of the buffer is unsent.
func (h *half) Idle() {
	if h.waits < informAfter {
		h.waits++
	}
	if h.buf != nil {
		pieces.Put(h.buf)
		h.buf = nil
	}
}

// Woken implements Handler: no Wake is meant for what is joined.
func (h *half) Woken() Next { return More }

// send writes past Conn.Write, which is for a connection whose reader writes:
// here another goroutine may be inside its Loop.
func (h *half) send(b []byte) {
	if len(b) == 0 {
		return
	}
	n, err := h.out.put(h.to, b)
	h.moved(int64(n))
	h.note(err)
}

func (h *half) note(err error) {
	if err != nil {
		h.err = &BrokenError{h.to, h.to.translate(err)}
	}
}

// splice moves what has come inside the kernel, as long as that is much: no
// more than is there, so that a direction that moves slowly is never taken for
// one that stands still. What is there can be read, so that an error is of the
// other side.
func (h *half) splice() {
	for h.err == nil {
		n := min(h.from.Pending(), spliceMost)
		if n < pieceSize {
			return
		}
		h.pair.moving()
		m, err := h.to.ReadFrom(h.from, int64(n))
		h.moved(m)
		h.note(err)
	}
}

// end passes the end of the half on. If that fails the peer is gone, and the
// other half must not wait for it.
func (h *half) end() {
	h.pair.moving()
	h.note(h.to.CloseWrite())
}
