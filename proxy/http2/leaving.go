// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// leaving is how a connection comes to its end, and what is due of it. The
// mutex of the connection is held for all of it.
type leaving struct {
	born   int64
	retire int64 // when it is too old; 0: never

	began  bool   // no further streams begin here, or are asked for
	byPeer bool   // since the peer said so
	said   bool   // the last GOAWAY was sent
	why    Ending // that was our doing
	due    int64  // when the last GOAWAY is sent, whatever the answer to our PING
	cut    int64  // when the streams are; 0: never

	quiet int64      // since when there has been no stream; 0: there is one
	asked int64      // when a PING was sent that is not answered; 0: none
	fault *ConnError // what the peer said when it left

	settled bool // our settings were acknowledged
	told    bool // those of the peer came
	waking  bool // the reader is being woken for its end
}

// What is said, and expected, in PING frames.
var (
	pingLeaving = [8]byte{'l', 'e', 'a', 'v', 'i', 'n', 'g', '!'}
	pingThere   = [8]byte{'t', 'h', 'e', 'r', 'e', '?', 0, 0}
)

const (
	// goodbye is how long the answer to the PING behind the first GOAWAY is
	// waited for: streams that the peer began before it knew are served.
	goodbye = int64(time.Second)
	// laneRest is how long a lane waits for a stream.
	laneRest = int64(5 * time.Second)
)

// begin notes when the connection was made.
func (v *leaving) begin(o *Options) {
	v.born = socket.Now()
	v.quiet = v.born
	if o.MaxAge > 0 {
		// Connections that were made together do not all end together.
		age := float64(o.MaxAge) * (0.9 + 0.2*rand.Float64())
		v.retire = v.born + int64(age)
	}
}

// Drain has the connection end once its streams have: the peer is asked to
// begin no others. It may be called more than once.
func (s *Conn) Drain() {
	s.mu.Lock()
	s.leave(EndedDrain)
	// If this is the end, the reader says goodbye: it may wait, others not.
	write := (s.accept != nil || len(s.streams) > 0) && s.claim()
	s.mu.Unlock()
	if write {
		s.flush()
	}
	s.sock.Wake() // if nothing is under way, this is the end
}

// leave says that no further streams are wanted. The mutex is held.
func (s *Conn) leave(why Ending) {
	v := &s.leaving
	if v.why != EndedNot || s.err != nil {
		return
	}
	v.why = why
	if s.accept == nil {
		v.began = true
		if !v.said {
			v.said = true
			s.output.b = appendGoAway(s.output.buffer(), 0, NoError, "")
		}
		return
	}
	v.due = socket.Now() + goodbye
	b := appendGoAway(s.output.buffer(), largestID, NoError, "")
	s.output.b = appendPing(b, 0, pingLeaving)
}

// answered takes in the answer to a PING. The mutex is held.
func (v *leaving) answered(s *Conn, data [8]byte) {
	switch {
	case data == pingLeaving && v.due != 0:
		s.sayLast()
	case data == pingThere:
		v.asked = 0
	}
}

// sayLast says which stream is the last that is served. The mutex is held.
func (s *Conn) sayLast() {
	v := &s.leaving
	if v.said {
		return
	}
	v.said, v.due, v.began = true, 0, true
	s.output.b = appendGoAway(s.output.buffer(), s.lastID, NoError, "")
}

// sayGoodbye is sayLast of a connection that ends, whoever wanted that. The
// mutex is held.
func (s *Conn) sayGoodbye() {
	if s.accept != nil && s.leaving.why != EndedNot {
		s.sayLast()
	}
}

// over reports whether the connection has nothing left to do. The mutex is
// held.
func (v *leaving) over(s *Conn) bool {
	if len(s.streams) > 0 {
		return false
	}
	if s.accept == nil {
		return v.began
	}
	return v.said || v.byPeer
}

// leftOne looks, once a stream has ended, whether that was the last thing to
// do. The mutex is held.
func (s *Conn) leftOne() {
	v := &s.leaving
	if len(s.streams) > 0 {
		return
	}
	v.quiet = 0 // the next tick notes when
	if v.over(s) && !v.waking {
		v.waking = true
		s.sock.Wake()
	}
}

// clock is the connection as a sweep sees it.
type clock Conn

// Waiting implements socket.Watcher: it has the reader look at the time, if
// something is due.
func (t *clock) Waiting() bool {
	s := (*Conn)(t)
	if s.mu.TryLock() { // if not, at the next sweep
		due := s.due(socket.Now())
		s.mu.Unlock()
		if due {
			s.sock.Wake()
		}
	}
	return false
}

// Vanished implements socket.Watcher: the reader finds out.
func (*clock) Vanished() {}

// Deserted implements socket.Watcher: nobody carries the connection.
func (*clock) Deserted() {}

// HalfClosed implements socket.Watcher: the reader finds out.
func (*clock) HalfClosed(int64) {}

// due reports whether tick has something to do. The mutex is held.
func (s *Conn) due(now int64) bool {
	v := &s.leaving
	if len(s.streams) > 0 {
		v.quiet = 0
	} else if v.quiet == 0 {
		v.quiet = now
	}
	return v.due != 0 && now >= v.due ||
		v.cut != 0 && now >= v.cut ||
		v.retire != 0 && now >= v.retire && v.why == EndedNot ||
		s.unsettled(now) || s.idled(now) || s.unsure(now) || s.unanswered(now) ||
		len(s.idle) > 0 && now-s.idle[0].restedAt >= laneRest ||
		v.over(s)
}

// unsettled reports whether the peer has not acknowledged our settings in time
// (RFC 9113 section 6.5.3). The mutex is held.
func (s *Conn) unsettled(now int64) bool {
	return !s.leaving.settled && now-s.leaving.born >= int64(s.o.Greeting)
}

// idled reports whether the connection was without streams for too long. The
// mutex is held.
func (s *Conn) idled(now int64) bool {
	v := &s.leaving
	return s.accept != nil && s.o.Idle > 0 && v.why == EndedNot && len(s.streams) == 0 &&
		v.quiet != 0 && now-v.quiet >= int64(s.o.Idle)
}

// unsure reports whether the peer is to be asked if it is there. The mutex is
// held.
func (s *Conn) unsure(now int64) bool {
	return s.o.Ping > 0 && s.leaving.asked == 0 && len(s.streams) > 0 && now-s.heard.Load() >= int64(s.o.Ping)
}

// unanswered reports whether it did not answer. The mutex is held.
func (s *Conn) unanswered(now int64) bool {
	return s.leaving.asked != 0 && now-s.leaving.asked >= int64(s.o.PingWait)
}

// tick does what is due, and reports whether the connection is over.
func (s *Conn) tick() (over bool, err error) {
	now := socket.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &s.leaving
	v.waking = false
	if s.unsettled(now) {
		return true, broken(SettingsTimeout, "no acknowledgement of settings")
	}
	if s.idled(now) {
		s.leave(EndedIdle)
	}
	if v.retire != 0 && now >= v.retire {
		v.retire = 0
		s.leave(EndedAge)
		v.cut = now + int64(s.o.MaxAgeGrace)
	}
	if v.due != 0 && now >= v.due {
		s.sayLast()
	}
	if s.unanswered(now) {
		v.why = EndedSilent
		return true, &ConnError{Code: NoError, Text: "no answer to a PING", ending: EndedSilent}
	}
	if s.unsure(now) {
		v.asked = now
		s.output.b = appendPing(s.output.buffer(), 0, pingThere)
	}
	s.endIdle(now)
	return v.over(s) || v.cut != 0 && now >= v.cut, nil
}

// endIdle ends lanes that have waited for a stream for long: each is a
// goroutine. The mutex is held.
func (s *Conn) endIdle(now int64) {
	n := 0
	for n < len(s.idle) && now-s.idle[n].restedAt >= laneRest {
		l := s.idle[n]
		l.resting, l.over, l.err = false, true, io.EOF
		l.wake()
		n++
	}
	s.idle = slices.Delete(s.idle, 0, n)
}
