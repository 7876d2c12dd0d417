// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// lane is a conversation of HTTP/1 inside a connection: a socket.Carrier.
// Each exchange of it has a stream of its own.
type lane struct {
	conn *Conn
	sock *socket.Conn

	// Made with the lane; each has room for one note.
	readable, writable chan struct{}

	// Under the mutex of the connection, like all below.
	next, prev *lane

	id     uint32 // of the stream; 0 between two
	remote bool   // the peer's message is complete
	local  bool   // ours is
	fresh  bool   // nothing of the peer's message was taken
	headed bool   // its final head has come
	toHead bool   // the request was HEAD

	in   []byte // text for whoever reads
	from int    // of it that was taken
	got  content
	owed int   // content in it that the windows lack
	back int   // that was taken, and not given back to the window of the stream yet
	err  error // what Take says behind it; nil: it goes on

	out    message
	outErr error // what Put says; nil: it goes on

	recvWindow, sendWindow int

	over                     bool // no further exchange follows
	closed                   bool
	resting                  bool  // in Conn.idle
	restedAt                 int64 // see socket.Now
	parked, waiting          bool  // in Await, in AwaitRoom
	stopReading, stopWriting bool
}

func newLane(s *Conn) *lane {
	l := &lane{conn: s, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
	l.out.beginRequest()
	return l
}

// begin makes the lane carry a stream, which is entered. The mutex is held.
func (l *lane) begin(id uint32) {
	l.id, l.remote, l.local, l.fresh, l.headed = id, false, false, true, false
	l.recvWindow, l.sendWindow = l.conn.o.StreamWindow, l.conn.peerWindow
	if !l.conn.leaving.settled { // the peer may not know of it yet
		l.recvWindow = max(l.recvWindow, usualWindow)
	}
	l.back = 0
	l.conn.streams[id] = l
}

// settle notes that one side of the stream is complete; when both are, the
// stream is closed. The mutex is held.
func (l *lane) settle() {
	if l.id != 0 && l.local && l.remote {
		l.forget(false)
	}
}

// forget takes the stream off the lane. reset says that we ended it before its
// time, so that frames of it may still come. The mutex is held.
func (l *lane) forget(reset bool) {
	s := l.conn
	delete(s.streams, l.id)
	s.past.add(l.id, reset)
	l.id = 0
	s.leftOne()
}

// lost ends the lane since its connection has ended. The mutex is held.
func (l *lane) lost(err error) {
	l.over, l.resting = true, false
	out, in := unsent(err), io.EOF
	if l.id != 0 {
		out, in = truncated(err), truncated(err)
		delete(l.conn.streams, l.id)
		l.id = 0
	}
	if l.outErr == nil {
		l.outErr = out
	}
	if l.err == nil {
		l.err = in
	}
	l.wake()
	l.roomy()
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unsent is the error of a message of which nobody can have acted on anything.
func unsent(err error) error { return &socket.WriteError{Err: err, Unsent: true} }

// refused is what a stream says that the peer did nothing about.
var refused = unsent(ErrRefused)

// wake and roomy have whoever waits look again. The mutex is held.
func (l *lane) wake() {
	if l.parked {
		note(l.readable)
	}
}

func (l *lane) roomy() {
	if l.waiting {
		note(l.writable)
	}
}

func note(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Sizes of the text of a lane: what is kept, and what is taken from a pool
// where that is not enough.
const (
	textKept = 2 << 10
	textSize = 32 << 10
)

var texts = sync.Pool{New: func() any { return new([textSize]byte) }}

// spare makes room for n bytes more of text. The mutex is held.
func (l *lane) spare(n int) {
	if l.from > 0 && len(l.in)+n > cap(l.in) {
		l.in = l.in[:copy(l.in, l.in[l.from:])]
		l.from = 0
	}
	if len(l.in)+n <= cap(l.in) {
		return
	}
	size := len(l.in) + n
	var larger []byte
	switch {
	case size <= textKept:
		larger = make([]byte, 0, textKept)
	case size <= textSize:
		larger = texts.Get().(*[textSize]byte)[:0]
	default:
		larger = make([]byte, 0, max(size, 2*cap(l.in)))
	}
	larger = append(larger, l.in...)
	l.dropText()
	l.in = larger
}

// dropText gives up the room of the text. The mutex is held.
func (l *lane) dropText() {
	if cap(l.in) == textSize {
		texts.Put((*[textSize]byte)(l.in[:textSize]))
	}
	l.in, l.from = nil, 0
}

// discard drops text that nobody will take. The mutex is held.
func (l *lane) discard() {
	l.taken(l.owed)
	l.dropText()
}

// emptied is called when all text was taken. The mutex is held.
func (l *lane) emptied() {
	if cap(l.in) > textKept {
		l.dropText()
		return
	}
	l.in, l.from = l.in[:0], 0
}

// Take implements socket.Carrier.
func (l *lane) Take(b []byte) (int, error) {
	s := l.conn
	s.mu.Lock()
	n := copy(b, l.in[l.from:])
	if n == 0 {
		err := l.err
		s.mu.Unlock()
		return 0, err
	}
	l.fresh = false
	l.from += n
	back := min(n, l.owed)
	if l.from == len(l.in) {
		back = l.owed
		l.emptied()
	}
	write := false
	if back > 0 {
		l.taken(back)
		l.widen(back)
		write = s.claim()
	}
	s.mu.Unlock()
	if write {
		s.flush()
	}
	return n, nil
}

// Await implements socket.Carrier.
func (l *lane) Await() error {
	s := l.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		some := l.from < len(l.in)
		switch {
		case some && l.fresh: // what came just before the stop is not lost
			return nil
		case l.stopReading:
			return os.ErrDeadlineExceeded
		case some || l.err != nil || l.closed:
			return nil
		}
		l.rest()
		l.parked = true
		s.mu.Unlock()
		<-l.readable
		s.mu.Lock()
		l.parked = false
	}
}

// rest makes the lane wait for a stream, if it carries none. The mutex is held.
func (l *lane) rest() {
	s := l.conn
	if s.accept == nil || l.id != 0 || l.over || l.resting || s.err != nil {
		return
	}
	l.resting = true
	l.restedAt = socket.Now()
	s.idle = append(s.idle, l)
}

// Put implements socket.Carrier.
func (l *lane) Put(b []byte) (int, error) {
	s := l.conn
	s.mu.Lock()
	n, err := l.put(b)
	write := s.claim()
	s.mu.Unlock()
	if write {
		s.flush()
	}
	return n, err
}

func (l *lane) put(b []byte) (n int, err error) {
	s := l.conn
	if s.accept == nil && l.id == 0 && l.out.done() && l.outErr == nil {
		l.out.beginRequest()
	}
	for n < len(b) {
		switch {
		case l.outErr != nil:
			return n, l.outErr
		case l.closed || l.id == 0 && s.accept != nil:
			return n, errOver
		}
		p, used, data, err := l.out.next(b[n:], l.room())
		n += used
		if err != nil {
			return n, err
		}
		switch p {
		case partNone:
			return n, nil
		case partHead:
			if err := l.sendHead(); err != nil {
				return 0, err
			}
		case partData:
			if len(data) == 0 {
				return n, nil
			}
			l.sendData(data, l.out.done())
		case partTrailers:
			l.sendTrailers()
		case partEnd:
			l.sendData(nil, true)
		}
	}
	return n, nil
}

// room returns how much content may be sent now. The mutex is held.
func (l *lane) room() int {
	s := l.conn
	return max(0, min(l.sendWindow, s.sendWindow, s.peerFrame, outputMost-len(s.output.b)))
}

// sendHead sends the head that was found. In the role of the client it begins
// a stream. The mutex is held.
func (l *lane) sendHead() error {
	s := l.conn
	if l.id == 0 {
		if !s.takes() || len(s.streams) >= s.peerStreams {
			l.over = true
			return refused
		}
		l.begin(s.nextID)
		l.toHead = l.out.isHead()
		if s.nextID += 2; s.nextID > largestID {
			s.leaving.began = true // there are no numbers left
		}
	}
	l.local = l.out.done()
	b, at := s.beginBlock()
	b = l.out.appendHead(b, s.secure)
	s.output.b = endBlock(b, at, l.id, l.local, s.peerFrame)
	l.sentEnd()
	return nil
}

func (l *lane) sendTrailers() {
	s := l.conn
	l.local = true
	b, at := s.beginBlock()
	b = l.out.appendTrailers(b)
	s.output.b = endBlock(b, at, l.id, true, s.peerFrame)
	l.sentEnd()
}

// sendData sends content that there is room for. The mutex is held.
func (l *lane) sendData(data []byte, ended bool) {
	s := l.conn
	flags := byte(0)
	if ended {
		flags, l.local = flagEndStream, true
	}
	s.output.b = appendFrame(s.output.buffer(), len(data), frameData, flags, l.id)
	s.output.b = append(s.output.b, data...)
	s.output.sent++
	l.sendWindow -= len(data)
	s.sendWindow -= len(data)
	l.sentEnd()
}

// sentEnd looks after the stream once our message is complete: what is left of
// a request that is answered is not wanted (RFC 9113 section 8.1). The mutex is
// held.
func (l *lane) sentEnd() {
	switch {
	case !l.local:
	case l.remote:
		l.settle()
	case l.conn.accept != nil:
		l.reset(NoError)
		l.err = errOver
		l.wake()
	}
}

// reset ends the stream before its time. The mutex is held.
func (l *lane) reset(code Code) {
	s := l.conn
	s.output.b = appendReset(s.output.buffer(), l.id, code)
	l.over = true
	l.forget(true)
}

// AwaitRoom implements socket.Carrier.
func (l *lane) AwaitRoom() error {
	s := l.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case l.stopWriting:
			return os.ErrDeadlineExceeded
		case l.outErr != nil || l.closed || l.id == 0 || l.room() > 0:
			return nil
		}
		l.waiting = true
		s.output.wait++
		s.mu.Unlock()
		<-l.writable
		s.mu.Lock()
		s.output.wait--
		l.waiting = false
	}
}

// Stop implements socket.Carrier.
func (l *lane) Stop(reading, writing bool) {
	s := l.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	l.stopReading, l.stopWriting = reading, writing
	if reading {
		s.unrest(l) // a stream that comes now would not be served
		l.wake()
	}
	if writing {
		l.roomy()
	}
}

// unrest takes a lane out of those that wait for a stream. The mutex is held.
func (s *Conn) unrest(l *lane) {
	if !l.resting {
		return
	}
	l.resting = false
	for i, other := range s.idle {
		if other == l {
			s.idle = append(s.idle[:i], s.idle[i+1:]...)
			return
		}
	}
}

// CloseWrite implements socket.Carrier.
func (l *lane) CloseWrite() error {
	s := l.conn
	s.mu.Lock()
	l.finish()
	l.over = true
	s.unrest(l)
	if l.err == nil && l.id == 0 {
		l.err = io.EOF
	}
	write := s.claim()
	s.mu.Unlock()
	if write {
		s.flush()
	}
	return nil
}

// finish ends a message that is complete where its text is. The mutex is held.
func (l *lane) finish() {
	if l.id != 0 && !l.local && l.outErr == nil && l.out.untilClose() {
		l.sendData(nil, true)
	}
}

// Close implements socket.Carrier.
func (l *lane) Close(aborted bool) {
	s := l.conn
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		return
	}
	l.closed, l.over = true, true
	s.unrest(l)
	if !aborted {
		l.finish()
	}
	if l.id != 0 {
		l.reset(l.closeCode())
	}
	if l.err == nil {
		l.err = io.EOF
	}
	s.remove(l)
	l.discard()
	l.wake()
	l.roomy()
	s.leftOne()
	write := s.claim()
	s.mu.Unlock()
	if write {
		s.flush()
	}
}

// closeCode says what a stream ends with that is given up. The mutex is held.
func (l *lane) closeCode() Code {
	switch {
	case l.conn.accept == nil && l.remote:
		return NoError // what it was asked is answered
	case l.conn.accept == nil:
		return Cancel
	case l.fresh && l.out.untouched():
		l.conn.o.Counters.refused(RefusedUntaken)
		return RefusedStream
	default:
		return InternalError
	}
}

// Peer implements socket.Carrier.
func (l *lane) Peer() socket.Peer {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if l.outErr != nil || l.conn.err != nil {
		return socket.PeerGone
	}
	return socket.PeerStays
}

// Alive implements socket.Carrier.
func (l *lane) Alive() bool {
	s := l.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	return !l.over && l.err == nil && l.outErr == nil && l.id == 0 && l.from == len(l.in) && s.err == nil &&
		(s.accept != nil || s.takes())
}

// Pending implements socket.Carrier.
func (l *lane) Pending() int {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return len(l.in) - l.from
}

// Origin implements socket.Carrier.
func (l *lane) Origin() *socket.Conn { return l.conn.sock }
