// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// pipe is one end of a conversation in memory.
type pipe struct {
	origin *socket.Conn
	other  *pipe
	state  *pipes

	// Under state.mu:
	in       []byte // what the other end wrote
	end      error  // what Take returns when in is empty
	refused  error  // what Put returns
	reading  bool   // reads are stopped
	writing  bool   // writes are stopped
	closed   int
	aborted  bool
	shut     bool // CloseWrite
	gone     socket.Peer
	awaiting bool
	waits    int // of writes
}

// pipes are both ends.
type pipes struct {
	mu   sync.Mutex
	cond *sync.Cond
	room int // bytes that an end holds at most
}

// carried returns a Conn, its end of a conversation, and the other one.
func carried(t *testing.T, s *socket.Sweeper, room int) (c *socket.Conn, end, peer *pipe) {
	t.Helper()
	origin, _ := pair(t, s)
	both := &pipes{room: room}
	both.cond = sync.NewCond(&both.mu)
	end = &pipe{origin: origin, state: both}
	peer = &pipe{origin: origin, state: both, other: end}
	end.other = peer
	c = s.Carry(end)
	t.Cleanup(func() { c.Close() })
	return c, end, peer
}

func (p *pipe) Take(b []byte) (int, error) {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	if len(p.in) == 0 {
		return 0, p.end
	}
	n := copy(b, p.in)
	p.in = append(p.in[:0], p.in[n:]...)
	p.state.cond.Broadcast()
	return n, nil
}

func (p *pipe) Await() error {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	p.awaiting = true
	defer func() { p.awaiting = false }()
	for !p.reading && len(p.in) == 0 && p.end == nil {
		p.state.cond.Wait()
	}
	if p.reading {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (p *pipe) Put(b []byte) (int, error) {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	if p.refused != nil {
		return 0, p.refused
	}
	n := min(len(b), p.state.room-len(p.other.in))
	p.other.in = append(p.other.in, b[:n]...)
	p.state.cond.Broadcast()
	return n, nil
}

func (p *pipe) AwaitRoom() error {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	p.waits++
	p.state.cond.Broadcast()
	for !p.writing && len(p.other.in) >= p.state.room && p.refused == nil {
		p.state.cond.Wait()
	}
	if p.writing {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (p *pipe) Stop(reading, writing bool) {
	p.change(func() { p.reading, p.writing = reading, writing })
}

func (p *pipe) CloseWrite() error {
	p.change(func() { p.shut, p.other.end = true, io.EOF })
	return nil
}

func (p *pipe) Close(aborted bool) {
	p.change(func() { p.closed, p.aborted, p.other.end = p.closed+1, aborted, io.EOF })
}

func (p *pipe) Peer() (gone socket.Peer) {
	p.change(func() { gone = p.gone })
	return gone
}

func (p *pipe) Alive() (alive bool) {
	p.change(func() { alive = p.end == nil && len(p.in) == 0 })
	return alive
}

func (p *pipe) Pending() (n int) {
	p.change(func() { n = len(p.in) })
	return n
}

func (p *pipe) Origin() *socket.Conn { return p.origin }

// change does something under the mutex, and wakes who waits.
func (p *pipe) change(do func()) {
	p.state.mu.Lock()
	defer p.state.mu.Unlock()
	do()
	p.state.cond.Broadcast()
}

// until waits until something holds under the mutex.
func (p *pipe) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	eventually(t, what, func() (ok bool) {
		p.change(func() { ok = holds() })
		return ok
	})
}

// lines is a Handler that is done after so many lines.
type lines struct {
	t      *testing.T
	buf    [8]byte
	got    bytes.Buffer
	left   int
	next   socket.Next // between lines
	idle   int
	woken  int
	onWake socket.Next
}

func (l *lines) Buffer() []byte { return l.buf[:] }
func (l *lines) Idle()          { l.idle++ }

func (l *lines) Woken() socket.Next {
	l.woken++
	return l.onWake
}

func (l *lines) Data(n int) socket.Next {
	l.got.Write(l.buf[:n])
	l.left -= bytes.Count(l.buf[:n], []byte{'\n'})
	switch {
	case l.left <= 0:
		return socket.Done
	case l.buf[n-1] == '\n':
		return l.next
	default:
		return socket.More
	}
}

func TestLoopOverACarrier(t *testing.T) {
	for _, tt := range []struct {
		name string
		next socket.Next
		end  func(c *socket.Conn, end, peer *pipe)
		want error
	}{
		{"until the handler is done", socket.Park, func(_ *socket.Conn, _, peer *pipe) { _, _ = peer.Put([]byte("three\n")) }, nil},
		{"until the handler that wants more is done", socket.More, func(_ *socket.Conn, _, peer *pipe) { _, _ = peer.Put([]byte("three\n")) }, nil},
		{"until the peer ends", socket.Park, func(_ *socket.Conn, _, peer *pipe) { peer.Close(false) }, io.EOF},
		{"until it is reset", socket.More, func(_ *socket.Conn, end, _ *pipe) { end.change(func() { end.end = errReset }) }, errReset},
		{"until it expires", socket.Park, func(c *socket.Conn, _, _ *pipe) { c.Expire() }, socket.ErrExpired},
		{"until reading is stopped", socket.Park, func(c *socket.Conn, _, _ *pipe) { c.StopReading() }, socket.ErrExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, end, peer := carried(t, new(socket.Sweeper), 1<<10)
			l := &lines{t: t, left: 3, next: tt.next}
			done := start(func() error { return c.Loop(l) })
			_, _ = peer.Put([]byte("the first line\nt"))
			end.until(t, "the first line is read", func() bool { return len(end.in) == 0 && end.awaiting })
			c.Wake()
			_, _ = peer.Put([]byte("wo\n"))
			end.until(t, "the second line is read", func() bool { return len(end.in) == 0 && end.awaiting })
			tt.end(c, end, peer)
			if err := result(t, done); !errors.Is(err, tt.want) {
				t.Errorf("Loop() = %v, want %v", err, tt.want)
			}
			if got := l.got.String(); !strings.HasPrefix(got, "the first line\ntwo\n") {
				t.Errorf("it was told of %q", got)
			}
			if l.idle == 0 {
				t.Error("it was never told that nothing is there")
			}
		})
	}
}

var errReset = errors.New("reset")

func TestAWakeEndsAWaitForACarrier(t *testing.T) {
	c, end, _ := carried(t, new(socket.Sweeper), 1<<10)
	l := &lines{t: t, left: 1, onWake: socket.Done}
	done := start(func() error { return c.Loop(l) })
	end.until(t, "it waits", func() bool { return end.awaiting })
	c.Wake()
	if err := result(t, done); err != nil || l.woken != 1 {
		t.Errorf("Loop() = %v after %d calls of Woken, want one", err, l.woken)
	}
}

func TestRoundTripOverACarrier(t *testing.T) {
	c, _, peer := carried(t, new(socket.Sweeper), 8)
	l := &lines{t: t, left: 2, next: socket.Park}
	done := start(func() error { return c.RoundTrip([]byte("more than there is room for\n"), l) })
	got := ""
	eventually(t, "the request is there", func() bool {
		b := make([]byte, 64)
		n, _ := peer.Take(b)
		got += string(b[:n])
		return strings.HasSuffix(got, "\n")
	})
	_, _ = peer.Put([]byte("one\n"))
	eventually(t, "the first line is read", func() bool { return peer.other.Pending() == 0 })
	_, _ = peer.Put([]byte("two\n"))
	if err := result(t, done); err != nil || l.got.String() != "one\ntwo\n" {
		t.Errorf("RoundTrip() = %v, and read %q", err, l.got.String())
	}
	if got != "more than there is room for\n" {
		t.Errorf("the peer got %q", got)
	}
}

func TestRoundTripTellsWhatACarrierRefused(t *testing.T) {
	refused := &socket.WriteError{Err: errReset, Unsent: true}
	for _, tt := range []struct {
		name    string
		prepare func(c *socket.Conn, end *pipe)
		unsent  bool
	}{
		{"refused at once", func(_ *socket.Conn, end *pipe) { end.refused = refused }, true},
		{"refused as something is read", func(_ *socket.Conn, end *pipe) { end.end = refused }, true},
		{"gone before anything was sent", func(_ *socket.Conn, end *pipe) { end.refused = errReset }, true},
		{"expired", func(c *socket.Conn, _ *pipe) { c.Expire() }, true},
		{"reset as something is read", func(_ *socket.Conn, end *pipe) { end.end = errReset }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, end, _ := carried(t, new(socket.Sweeper), 64)
			tt.prepare(c, end)
			err := c.RoundTrip([]byte("request\n"), &lines{t: t, left: 1})
			we, ok := errors.AsType[*socket.WriteError](err)
			if err == nil || tt.unsent != (ok && we.Unsent) {
				t.Errorf("RoundTrip() = %v; want it to say whether it was unsent: %v", err, tt.unsent)
			}
		})
	}
}

func TestACarriedPeerThatTakesNothingExpires(t *testing.T) {
	s := new(socket.Sweeper)
	c, end, peer := carried(t, s, 4)
	done := start(func() error {
		n, err := c.WriteWithin([]byte("too much"), time.Minute)
		if n != 4 {
			t.Errorf("WriteWithin() = %d, want 4 bytes", n)
		}
		return err
	})
	end.until(t, "the write waits", func() bool { return end.waits > 0 })
	eventually(t, "the write counts", c.Stuck)
	s.Sweep(socket.Now() + int64(30*time.Second))
	if c.Expired() {
		t.Error("it expired before its time")
	}
	s.Sweep(socket.Now() + int64(2*time.Minute))
	if err := result(t, done); !errors.Is(err, socket.ErrExpired) {
		t.Errorf("WriteWithin() = %v, want ErrExpired", err)
	}
	c.Revive()
	peer.change(func() { peer.in = nil })
	if n, err := c.Write([]byte("ok")); n != 2 || err != nil {
		t.Errorf("after Revive, Write() = %d, %v", n, err)
	}
}

func TestACarriedConnectionIsDue(t *testing.T) {
	s := new(socket.Sweeper)
	c, end, _ := carried(t, s, 64)
	done := start(func() error {
		_, err := c.Read(make([]byte, 8))
		return err
	})
	end.until(t, "it waits", func() bool { return end.awaiting })
	c.Due(socket.Now() + int64(time.Hour))
	s.Sweep(socket.Now() + int64(2*time.Hour))
	if err := result(t, done); !errors.Is(err, socket.ErrExpired) {
		t.Errorf("Read() = %v, want ErrExpired", err)
	}
}

func TestCopyBetweenCarriedAndOtherConnections(t *testing.T) {
	s := new(socket.Sweeper)
	from, _, source := carried(t, s, 1<<20)
	to, sink := pair(t, s)
	_, _ = source.Put([]byte("hello and more"))
	if n, err := to.Splice(from, 5, time.Minute); n != 5 || err != nil {
		t.Fatalf("Splice() = %d, %v", n, err)
	}
	if n, err := to.ReadFrom(from, 4); n != 4 || err != nil {
		t.Fatalf("ReadFrom() = %d, %v", n, err)
	}
	source.Close(false)
	if n, err := to.Splice(from, 100, time.Minute); n != 5 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Splice() = %d, %v; want 5 bytes and their end", n, err)
	}
	to.Close()
	if got, err := io.ReadAll(sink); string(got) != "hello and more" || err != nil {
		t.Errorf("the peer got %q, %v", got, err)
	}
}

func TestPairOfACarriedConnectionAndAnother(t *testing.T) {
	s := new(socket.Sweeper)
	a, _, client := carried(t, s, 1<<20)
	b, instance := pair(t, s)
	p := &socket.Pair{A: a, B: b, Idle: time.Minute, FromA: func(int64) {}, FromB: func(int64) {}}
	done := start(p.Run)
	_, _ = client.Put([]byte("ping"))
	buf := make([]byte, 4)
	if _, err := io.ReadFull(instance, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("the instance got %q, %v", buf, err)
	}
	write(t, instance, "pong")
	eventually(t, "the answer is there", func() bool { return client.Pending() == 4 })
	_ = client.CloseWrite()
	_ = instance.CloseWrite()
	if err := result(t, done); err != nil {
		t.Errorf("Run() = %v", err)
	}
}

func TestCloseAndAbortOfACarriedConnection(t *testing.T) {
	for _, aborted := range []bool{false, true} {
		s := new(socket.Sweeper)
		c, end, _ := carried(t, s, 64)
		before := s.Swept()
		ends := c.Close
		if aborted {
			ends = c.Abort
		}
		if !ends() || ends() || c.Abort() || c.Close() {
			t.Error("it must be open once")
		}
		if end.closed != 1 || end.aborted != aborted {
			t.Errorf("the carrier was closed %d times, aborted: %v; want once, %v", end.closed, end.aborted, aborted)
		}
		if got := s.Swept(); got != before-1 {
			t.Errorf("%d connections are swept, want %d", got, before-1)
		}
		if _, err := c.TCP().Write([]byte("x")); err != nil {
			t.Errorf("what carried it was closed with it: %v", err)
		}
	}
}

func TestACarriedConnectionTellsHowItStands(t *testing.T) {
	s := new(socket.Sweeper)
	c, end, peer := carried(t, s, 64)
	if !c.Carried() || c.TCP() != end.origin.TCP() || c.TLS() || c.TLSState() != nil || end.origin.Carried() {
		t.Error("it does not tell what it is carried by")
	}
	if !c.Alive() || c.Ended() || c.HungUp() || c.Quiet() || c.Pending() != 0 {
		t.Error("it must be alive")
	}
	_, _ = peer.Put([]byte("abc"))
	if c.Alive() || c.Pending() != 3 {
		t.Errorf("alive: %v with %d bytes pending", c.Alive(), c.Pending())
	}
	end.change(func() { end.gone = socket.PeerHalfClosed })
	if !c.Ended() || c.HungUp() {
		t.Error("a peer that has ended its direction has not hung up")
	}
	end.change(func() { end.gone = socket.PeerGone })
	if !c.Ended() || !c.HungUp() {
		t.Error("a peer that is gone has hung up")
	}
	if _, err := c.Peek(make([]byte, 1), func([]byte) bool { return true }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Peek() = %v, want errors.ErrUnsupported", err)
	}
	if err := c.CloseWrite(); err != nil || !end.shut {
		t.Errorf("CloseWrite() = %v", err)
	}
	if n := c.Handshake(t.Context()); n != nil {
		t.Errorf("Handshake() = %v, want nil", n)
	}
	c.Pace(1<<20, time.Second)
	c.Receiving(true)
	c.Due(socket.Now() + int64(time.Hour))
	for range 20 {
		s.Sweep(socket.Now())
	}
	if c.Expired() {
		t.Error("it was held to a pace that cannot be measured")
	}
}

// told is a Watcher that counts.
type told struct{ vanished, half, hungUp int }

func (*told) Waiting() bool      { return true }
func (w *told) Vanished()        { w.vanished++ }
func (w *told) HalfClosed(int64) { w.half++ }
func (w *told) Deserted()        { w.hungUp++ }

func TestWatchersOfCarriedConnections(t *testing.T) {
	s := new(socket.Sweeper)
	c, end, _ := carried(t, s, 64)
	c.Hangup() // nobody is told
	w := new(told)
	c.Watch(w)
	s.Sweep(socket.Now())
	if *w != (told{}) {
		t.Errorf("%+v is told of a peer that stays", *w)
	}
	end.change(func() { end.gone = socket.PeerHalfClosed })
	s.Sweep(socket.Now())
	end.change(func() { end.gone = socket.PeerGone })
	s.Sweep(socket.Now())
	c.Hangup()
	if *w != (told{1, 1, 1}) {
		t.Errorf("it was told %+v, want once of each", *w)
	}
}

func TestCarriedExchangesDoNotAllocate(t *testing.T) {
	c, _, peer := carried(t, new(socket.Sweeper), 64)
	b := make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() {
		peer.change(func() { peer.other.in = append(peer.other.in[:0], "hello"...) })
		if n, err := c.Read(b); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := c.Write(b[:5]); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		peer.change(func() { peer.in = peer.in[:0] })
	}); n > 0 {
		t.Errorf("%v allocations an exchange, want none", n)
	}
}
