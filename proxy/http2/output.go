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
	sent   int       // frames of messages
	sender socket.Sender
}

const (
	// outputSize is what the buffer has room for as a rule, and outputMost what
	// content may fill: a lane that has more waits.
	outputSize = 64 << 10
	outputMost = 48 << 10
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
		go s.write(nil, 0)
	}
}

// tries bounds how often a lane writes what others add meanwhile.
const tries = 4

// flush writes out what is there, on behalf of a lane, which must not wait for
// the peer, nor work for other lanes without end: what is left is another
// goroutine's. The caller has claimed it.
func (s *Conn) flush() {
	o := &s.output
	s.mu.Lock()
	if len(s.streams) > 1 && len(o.b) < outputSize/2 {
		s.mu.Unlock()
		runtime.Gosched() // others may be about to add theirs
		s.mu.Lock()
	}
	for range tries {
		b := o.b
		o.b = nil
		s.mu.Unlock()
		n, err := o.sender.Try(b)
		if err == nil && n < len(b) {
			go s.write(b, n)
			return
		}
		if s.wrote(b, err) {
			return
		}
	}
	s.mu.Unlock()
	go s.write(nil, 0)
}

// wrote notes that b was written, or why not, and reports whether there is
// nothing more to write: then the claim is given up. Otherwise the mutex is
// held when it returns.
func (s *Conn) wrote(b []byte, err error) (all bool) {
	recycle(b)
	s.mu.Lock()
	o := &s.output
	if err != nil {
		o.err = err
	}
	s.roomForAll()
	if len(o.b) > 0 && o.err == nil {
		return false
	}
	o.busy = false
	o.free.Broadcast()
	failed := o.err != nil
	s.mu.Unlock()
	if failed {
		s.sock.Expire() // whoever reads ends the rest
	}
	return true
}

// write writes out b, of which n bytes were written, and then what else there
// is. The caller has claimed it.
func (s *Conn) write(b []byte, n int) {
	o := &s.output
	for {
		if b == nil {
			s.mu.Lock()
			b, o.b = o.b, nil
			s.mu.Unlock()
		}
		_, err := o.sender.Send(b[n:], s.o.WriteWait)
		if s.wrote(b, err) {
			return
		}
		b, n, o.b = o.b, 0, nil
		s.mu.Unlock()
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

// beginBlock begins a header block; the first one of a connection says that the
// table is not used. The mutex is held.
func (s *Conn) beginBlock() (b []byte, at int) {
	s.output.sent++
	b, at = startBlock(s.output.buffer())
	if !s.output.begun {
		s.output.begun = true
		b = append(b, noTable)
	}
	return b, at
}
