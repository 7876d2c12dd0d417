// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// Conn is a connection of HTTP/2 (RFC 9113), as a server or as a client. New
// and Dial make one, Run serves it; the other methods may be called from any
// goroutine.
type Conn struct {
	sock    *socket.Conn
	sweeper *socket.Sweeper
	o       Options
	accept  func(*socket.Conn) // nil in the role of the client
	secure  bool               // it speaks TLS
	reader  reader
	done    chan struct{} // closed when Run returns
	ready   chan struct{} // closed when the first settings of an instance came
	heard   atomic.Int64  // when something came last, if PINGs are sent

	mu     sync.Mutex // guards all below
	output output

	streams map[uint32]*lane // that are not closed
	lanes   *lane            // all that are open
	open    int              // of them
	idle    []*lane          // that wait for a stream, the one used last at the end
	past    history

	lastID uint32 // the greatest that the peer opened
	nextID uint32 // that we open next

	// What the peer allows.
	peerWindow  int // of a new stream
	peerStreams int
	peerFrame   int
	sendWindow  int
	// What we allow.
	recvWindow int
	owed       int // taken, and not given back yet

	leaving leaving
	err     error // why the connection has ended; nil: it has not
}

// New returns a connection of a client, which speaks TLS if it has agreed to
// that and on HTTP/2 already. accept is called, by the goroutine of Run, with
// each new conversation: it must not block, and starts what reads it until its
// end, and then closes it.
func New(c *socket.Conn, sweeper *socket.Sweeper, o *Options, accept func(*socket.Conn)) *Conn {
	s := newConn(c, sweeper, o.withDefaults(256<<10))
	s.accept = accept
	s.output.b = appendSettings(s.output.buffer(),
		setting{settingStreams, uint32(s.o.Streams)},
		setting{settingWindow, uint32(s.o.StreamWindow)},
		setting{settingFrame, uint32(s.o.FrameSize)},
		setting{settingHeaderList, uint32(s.o.HeaderList)},
	)
	s.openWindow()
	s.reader.decoder = hpack.NewDecoder(tableSize, s.reader.request.add)
	s.reader.addList = s.reader.request.add
	return s
}

// Dial returns a connection to an instance that speaks HTTP/2, over TLS or not.
// It begins with the preface, and waits for no answer to it, nor until it is
// sent: Run tells what becomes of it.
func Dial(c *socket.Conn, sweeper *socket.Sweeper, o *Options) (*Conn, error) {
	s := newConn(c, sweeper, o.withDefaults(128<<10))
	s.nextID = 1
	b := append(s.output.buffer(), preface...)
	s.output.b = appendSettings(b,
		setting{settingPush, 0},
		setting{settingStreams, 0},
		setting{settingWindow, uint32(s.o.StreamWindow)},
		setting{settingFrame, uint32(s.o.FrameSize)},
		setting{settingHeaderList, uint32(s.o.HeaderList)},
	)
	s.openWindow()
	s.reader.decoder = hpack.NewDecoder(tableSize, s.reader.answer.add)
	s.reader.addList = s.reader.answer.add
	s.kick()
	return s, nil
}

// tableSize is that of the table of HPACK, as usual.
const tableSize = 4096

func newConn(c *socket.Conn, sweeper *socket.Sweeper, o Options) *Conn {
	s := &Conn{
		sock: c, sweeper: sweeper, o: o, secure: c.TLS(), done: make(chan struct{}),
		ready:   make(chan struct{}),
		streams: make(map[uint32]*lane), peerWindow: usualWindow, peerStreams: usualStreams, peerFrame: smallestFrame,
		sendWindow: usualWindow,
	}
	s.output.sender.Over(c)
	s.output.free.L = &s.mu
	s.reader.conn = s
	s.reader.addTrailer = s.reader.trailers.add
	s.heard.Store(socket.Now())
	s.leaving.begin(&s.o)
	return s
}

// usualStreams is what a peer is taken to allow until it says.
const usualStreams = 100

// openWindow widens the window of the connection from what it is as a rule.
func (s *Conn) openWindow() {
	s.recvWindow = s.o.ConnWindow
	if more := s.o.ConnWindow - usualWindow; more > 0 {
		s.output.b = appendWindow(s.output.b, 0, more)
	}
}

// Run serves the connection until it has ended, and closes it. pre is what was
// read of it before. It returns nil after an orderly end, and a *ConnError
// where one side found fault with the other.
func (s *Conn) Run(pre []byte) error {
	defer close(s.done)
	s.sock.Due(socket.Now() + int64(s.o.Greeting))
	s.sock.Watch((*clock)(s))
	s.kick()
	err := s.reader.begin(pre)
	if err == nil {
		err = s.sock.Loop(&s.reader)
	}
	if s.reader.err != nil {
		err = s.reader.err
	}
	return s.end(err)
}

// end tells the peer what is wrong with it, if anything is, ends all streams
// and closes the connection.
func (s *Conn) end(err error) error {
	fault, faulty := errors.AsType[*ConnError](err)
	s.mu.Lock()
	switch {
	case faulty:
		s.leaving.why = fault.ending
		s.output.b = appendGoAway(s.output.buffer(), s.lastID, fault.Code, fault.Text)
	case err == nil:
		s.sayGoodbye()
		if s.leaving.fault != nil {
			err = s.leaving.fault
		}
	case s.output.err != nil:
		err = s.output.err // which is why it expired
	}
	why := s.leaving.why
	talking := faulty || err == nil && s.accept != nil && s.leaving.byPeer
	s.fail(err)
	socks := s.socks()
	s.mu.Unlock()
	s.o.Counters.ended(why)
	for _, c := range socks {
		c.Hangup()
	}
	if heard := err == nil || faulty; heard {
		s.sock.Due(socket.Now() + lastWords)
		s.writeLast(heard)
		s.linger(talking)
	} else {
		s.sock.Expire()
		s.writeLast(heard)
	}
	s.sock.Close()
	s.reader.release()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// lastWords bounds how long a peer may take for what it is told at the end.
const lastWords = int64(5 * time.Second)

// writeLast waits until nobody else writes, and writes out what is left if the
// peer may hear of it.
func (s *Conn) writeLast(heard bool) {
	s.mu.Lock()
	for s.output.busy {
		s.output.free.Wait()
	}
	write := heard && s.claim()
	s.mu.Unlock()
	if write {
		s.write(nil, 0)
	}
}

// Time and bytes that a peer has to read why its connection ended, while it
// may still be sending, be it that it is at fault or that it leaves: a close with
// bytes unread would reset it.
const (
	lingerTime = int64(time.Second)
	lingerSize = 1 << 20
)

func (s *Conn) linger(talking bool) {
	if !talking || s.sock.CloseWrite() != nil {
		return
	}
	s.sock.Due(socket.Now() + lingerTime)
	var b [4 << 10]byte
	for total := 0; total < lingerSize; {
		n, err := s.sock.Read(b[:])
		if err != nil {
			return
		}
		total += n
	}
}

// fail ends all that the connection carries. The mutex is held.
func (s *Conn) fail(err error) {
	if s.err != nil {
		return
	}
	if err == nil {
		err = ErrGone
	}
	s.err = err
	s.idle = nil
	for l := s.lanes; l != nil; l = l.next {
		l.lost(err)
	}
}

// socks returns what the open lanes are shown as. The mutex is held.
func (s *Conn) socks() []*socket.Conn {
	all := make([]*socket.Conn, 0, s.open)
	for l := s.lanes; l != nil; l = l.next {
		if l.sock != nil {
			all = append(all, l.sock)
		}
	}
	return all
}

// Abort ends the connection at once, and all its streams with it.
func (s *Conn) Abort() {
	s.mu.Lock()
	s.fail(ErrGone)
	socks := s.socks()
	s.mu.Unlock()
	for _, c := range socks {
		c.Hangup()
	}
	s.sock.Expire()
}

// Done returns a channel that is closed when Run has returned.
func (s *Conn) Done() <-chan struct{} { return s.done }

// Ready returns a channel that is closed when an instance has said what it
// allows, which it does before anything else (RFC 9113 section 3.4).
func (s *Conn) Ready() <-chan struct{} { return s.ready }

// Allowed returns how many streams the peer allows at a time: 100 before it
// has said so.
func (s *Conn) Allowed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peerStreams
}

// Streams counts the streams that are open.
func (s *Conn) Streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Quiet returns since when there has been no stream (see socket.Now), as a sweep
// noticed it at the latest; 0 if there is one.
func (s *Conn) Quiet() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.streams) > 0:
		return 0
	case s.leaving.quiet == 0:
		return socket.Now()
	default:
		return s.leaving.quiet
	}
}

// Lanes counts the conversations that are open, those that rest included.
func (s *Conn) Lanes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Open reports whether the connection takes further streams.
func (s *Conn) Open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takes()
}

// takes reports whether further streams may begin. The mutex is held.
func (s *Conn) takes() bool {
	return s.err == nil && s.output.err == nil && !s.leaving.began && s.nextID <= largestID
}

// Lane returns a new conversation with an instance, and whether there is one:
// there is none beyond the streams that the instance allows, nor on a
// connection that ends. It has room for one stream at a time until it is
// closed.
func (s *Conn) Lane() (*socket.Conn, bool) {
	s.mu.Lock()
	if !s.takes() || s.open >= s.peerStreams {
		s.mu.Unlock()
		return nil, false
	}
	l := newLane(s)
	s.add(l)
	s.mu.Unlock()
	return s.show(l), true
}

// show makes the conversation that others see. It is done outside the mutex,
// for a sweep may hold the locks that this takes.
func (s *Conn) show(l *lane) *socket.Conn {
	c := s.sweeper.Carry(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.sock = c
	return c
}

// add and remove keep account of the open lanes. The mutex is held.
func (s *Conn) add(l *lane) {
	if l.next = s.lanes; l.next != nil {
		l.next.prev = l
	}
	s.lanes = l
	s.open++
}

func (s *Conn) remove(l *lane) {
	switch {
	case l.prev != nil:
		l.prev.next = l.next
	case s.lanes == l:
		s.lanes = l.next
	default:
		return
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	l.next, l.prev = nil, nil
	s.open--
}
