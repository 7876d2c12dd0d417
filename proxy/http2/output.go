// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"runtime"
	"sync"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// output gathers frames until somebody writes them out.
type output struct {
	b      []byte    // frames, complete; nil if there are none
	busy   bool      // somebody writes, or is about to
	free   sync.Cond // told when nobody writes any more
	err    error     // why writing failed
	begun  bool      // a header block was written: the table is gone
	wait   int       // lanes that wait for room
	sent   int       // frames of content, since the last look of the guard
	sender socket.Sender
}

const (
	// outputSize is what the buffer has room for as a rule, and outputMost what
	// content may fill: a lane that has more waits.
	outputSize = 32 << 10
	outputMost = 128 << 10
	// outputFull is more than a peer that reads leaves unread.
	outputFull = 2 << 20
)

var outputs = sync.Pool{New: func() any { return new([outputSize]byte) }}

// buffer returns where frames are appended.
func (o *output) buffer() []byte {
	if o.b == nil {
		o.b = outputs.Get().(*[outputSize]byte)[:0]
	}
	return o.b
}

func recycle(b []byte) {
	if cap(b) == outputSize {
		outputs.Put((*[outputSize]byte)(b[:outputSize]))
	}
}

// claim reports whether the caller has to flush: there is something, and
// nobody does. The mutex is held.
func (s *Conn) claim() bool {
	o := &s.output
	if len(o.b) == 0 || o.busy || o.err != nil {
		return false
	}
	o.busy = true
	return true
}

// kick has what was gathered written by another goroutine: the reader of a
// connection never waits for its peer to take something.
func (s *Conn) kick() {
	s.mu.Lock()
	write := s.claim()
	s.mu.Unlock()
	if write {
		go s.flush()
	}
}

// flush writes out what is there, and what comes meanwhile. The caller has
// claimed it.
func (s *Conn) flush() {
	s.mu.Lock()
	if len(s.streams) > 1 && len(s.output.b) < outputSize/2 {
		s.mu.Unlock()
		runtime.Gosched() // others may be about to add theirs
		s.mu.Lock()
	}
	o := &s.output
	for len(o.b) > 0 && o.err == nil {
		b := o.b
		o.b = nil
		s.mu.Unlock()
		_, err := o.sender.Send(b, s.o.WriteWait)
		recycle(b)
		s.mu.Lock()
		if err != nil {
			o.err = err
		}
		if o.wait > 0 {
			s.roomForAll()
		}
	}
	o.busy = false
	o.free.Broadcast()
	failed := o.err != nil
	s.mu.Unlock()
	if failed {
		s.sock.Expire() // whoever reads ends the rest
	}
}

// roomForAll has the lanes look again that wait for room. The mutex is held.
func (s *Conn) roomForAll() {
	if s.output.wait == 0 {
		return
	}
	for l := s.lanes; l != nil; l = l.next {
		l.roomy()
	}
}

// head begins a header block; the first one of a connection says that the
// table is not used. The mutex is held.
func (s *Conn) beginBlock() (b []byte, at int) {
	b, at = startBlock(s.output.buffer())
	if !s.output.begun {
		s.output.begun = true
		b = append(b, noTable)
	}
	return b, at
}
