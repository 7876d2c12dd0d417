// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// patience bounds what a test waits for; only a fault ever waits so long.
const patience = time.Minute

// pair returns a connection under test and the plain connection of its peer.
func pair(tb testing.TB, s *socket.Sweeper) (*socket.Conn, *net.TCPConn) {
	tb.Helper()
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	peer, err := new(net.Dialer).DialContext(tb.Context(), "tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = peer.Close() })
	_ = peer.SetDeadline(time.Now().Add(patience))
	nc, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	c, err := s.Open(nc.(*net.TCPConn))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c, peer.(*net.TCPConn)
}

// script is a handler made of functions.
type script struct {
	buf   []byte
	data  func(b []byte) socket.Next
	woken func() socket.Next
	idle  func()
}

func (s *script) Buffer() []byte {
	if s.buf == nil {
		s.buf = make([]byte, 4<<10)
	}
	return s.buf
}

func (s *script) Data(n int) socket.Next { return s.data(s.buf[:n]) }

func (s *script) Idle() {
	if s.idle != nil {
		s.idle()
	}
}

func (s *script) Woken() socket.Next {
	if s.woken == nil {
		return socket.More
	}
	return s.woken()
}

// collect returns a handler that is done when want bytes have come, and
// otherwise wants next.
func collect(into *bytes.Buffer, want int, next socket.Next) *script {
	return &script{data: func(b []byte) socket.Next {
		into.Write(b)
		if into.Len() >= want {
			return socket.Done
		}
		return next
	}}
}

// start runs f in a goroutine and returns its result as a channel.
func start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// result waits for what start began.
func result(tb testing.TB, done <-chan error) error {
	tb.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		tb.Fatal("it does not return")
		return nil
	}
}

// eventually waits until a claim holds that only the kernel can make true.
func eventually(t *testing.T, what string, claim func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !claim(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func TestLoopData(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	for _, tt := range []struct {
		name   string
		buffer int
		next   socket.Next
		pieces []string
	}{
		{"one piece", 64, socket.Park, []string{"hello"}},
		{"pieces of one message are read on", 64, socket.More, []string{"he", "l", "lo"}},
		{"messages one after the other", 64, socket.Park, []string{"a", "b", "c", "d"}},
		{"more than the buffer holds, at once", 4, socket.Park, []string{"0123456789"}},
		{"exactly what the buffer holds", 5, socket.Park, []string{"hello", "again"}},
		{"much more than the buffer holds", 1 << 10, socket.More, []string{long}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t, new(socket.Sweeper))
			want := strings.Join(tt.pieces, "")
			var got bytes.Buffer
			told := make(chan int, len(want)+1)
			h := collect(&got, len(want), tt.next)
			h.buf = make([]byte, tt.buffer)
			data := h.data
			h.data = func(b []byte) socket.Next {
				next := data(b)
				told <- got.Len()
				return next
			}
			done := start(func() error { return c.Loop(h) })
			sent := 0
			for _, p := range tt.pieces {
				write(t, peer, p)
				sent += len(p)
				for n := 0; n < sent; { // the next piece only follows once this one was seen
					n = <-told
				}
			}
			if err := result(t, done); err != nil {
				t.Fatalf("Loop() = %v, want nil once the handler is done", err)
			}
			if got.String() != want {
				t.Errorf("got %d bytes, want the %d that were sent", got.Len(), len(want))
			}
		})
	}
}

func TestLoopEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *socket.Conn, peer *net.TCPConn)
		want error
	}{
		{"the peer closes", func(_ *socket.Conn, peer *net.TCPConn) { _ = peer.Close() }, io.EOF},
		{"the peer closes its half", func(_ *socket.Conn, peer *net.TCPConn) { _ = peer.CloseWrite() }, io.EOF},
		{"the peer resets", func(_ *socket.Conn, peer *net.TCPConn) { _ = peer.SetLinger(0); _ = peer.Close() }, syscall.ECONNRESET},
		{"it expires", func(c *socket.Conn, _ *net.TCPConn) { c.Expire() }, socket.ErrExpired},
		{"reading is stopped", func(c *socket.Conn, _ *net.TCPConn) { c.StopReading() }, socket.ErrExpired},
		{"it is closed", func(c *socket.Conn, _ *net.TCPConn) { c.Close() }, net.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t, new(socket.Sweeper))
			parked := make(chan struct{}, 1)
			h := &script{
				data: func([]byte) socket.Next { return socket.Park },
				idle: func() { parked <- struct{}{} },
			}
			done := start(func() error { return c.Loop(h) })
			write(t, peer, "x")
			<-parked // or about to: both must work
			tt.end(c, peer)
			if err := result(t, done); !errors.Is(err, tt.want) {
				t.Errorf("Loop() = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestHalfClosedPeerIsAnswered(t *testing.T) {
	c, peer := pair(t, new(socket.Sweeper))
	var got bytes.Buffer
	write(t, peer, "question")
	_ = peer.CloseWrite()
	h := collect(&got, 8, socket.More)
	data := h.data
	h.data = func(b []byte) socket.Next {
		next := data(b)
		if next == socket.Done {
			if _, err := c.Write([]byte("answer")); err != nil {
				t.Errorf("Write() inside the loop = %v", err)
			}
		}
		return next
	}
	if err := result(t, start(func() error { return c.Loop(h) })); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if b, err := io.ReadAll(peer); string(b) != "answer" || err != nil {
		t.Errorf("the peer got %q, %v; want the answer", b, err)
	}
}

// The bytes of all connections are there before any is accepted, so that
// their edges come with the accept.
func TestLoopAfterAStormOfConnects(t *testing.T) {
	const n = 500
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var s socket.Sweeper
	var served sync.WaitGroup
	defer served.Wait()
	peers := make([]net.Conn, n)
	accepted := 0
	for i := range n {
		if peers[i], err = new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer peers[i].Close()
		_ = peers[i].SetDeadline(time.Now().Add(patience))
		write(t, peers[i], "ping")
		for ; i-accepted >= 99 || i == n-1 && accepted < n; accepted++ { // stay below any backlog
			nc, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.Open(nc.(*net.TCPConn))
			if err != nil {
				t.Fatal(err)
			}
			served.Go(func() {
				defer c.Close()
				var got bytes.Buffer
				h := collect(&got, 8, socket.Park)
				answer := h.data
				h.data = func(b []byte) socket.Next {
					_, _ = c.Write(b)
					return answer(b)
				}
				if err := c.Loop(h); err != nil {
					t.Errorf("Loop() = %v", err)
				}
			})
		}
	}
	b := make([]byte, 4)
	for range 2 {
		for i, p := range peers {
			if _, err := io.ReadFull(p, b); err != nil || string(b) != "ping" {
				t.Fatalf("connection %d: got %q, %v", i, b, err)
			}
			_, _ = io.WriteString(p, "ping")
		}
	}
}

// The end comes in one edge with the data, before anyone reads: a goroutine
// that parks after the data is told by the sweep.
func TestEndTogetherWithData(t *testing.T) {
	var s socket.Sweeper
	c, peer := pair(t, &s)
	write(t, peer, "last words")
	_ = peer.Close()
	var got bytes.Buffer
	done := start(func() error { return c.Loop(collect(&got, 1<<20, socket.Park)) })
	var err error
	eventually(t, "the loop ends", func() bool {
		s.Sweep(socket.Now())
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	if !errors.Is(err, io.EOF) || got.String() != "last words" {
		t.Errorf("Loop() = %v after %q, want io.EOF after all data", err, got.String())
	}
}

func TestRoundTrip(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MB
	answer := strings.Repeat("answer", 1000)
	for _, tt := range []struct {
		name string
		out  []byte
		peer func(peer *net.TCPConn) // after it has read out
		got  string
		want error
	}{
		{"an answer in one piece", []byte("ping"), func(p *net.TCPConn) { _, _ = io.WriteString(p, answer) }, answer, nil},
		{"a request larger than the kernel takes", large, func(p *net.TCPConn) { _, _ = io.WriteString(p, answer) }, answer, nil},
		{"an answer in pieces", []byte("ping"), func(p *net.TCPConn) {
			for i := 0; i < len(answer); i += 600 {
				_, _ = io.WriteString(p, answer[i:i+600])
				runtime.Gosched()
			}
		}, answer, nil},
		{"an answer and the end at once", []byte("ping"), func(p *net.TCPConn) {
			_, _ = io.WriteString(p, answer)
			_ = p.Close()
		}, answer, nil},
		{"the end instead of an answer", []byte("ping"), func(p *net.TCPConn) { _ = p.Close() }, "", io.EOF},
		{"the end inside the answer", []byte("ping"), func(p *net.TCPConn) {
			_, _ = io.WriteString(p, "ans")
			_ = p.Close()
		}, "ans", io.EOF},
		{"a reset instead of an answer", []byte("ping"), func(p *net.TCPConn) {
			_ = p.SetLinger(0)
			_ = p.Close()
		}, "", syscall.ECONNRESET},
		{"nothing to send", nil, func(p *net.TCPConn) { _, _ = io.WriteString(p, answer) }, answer, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t, new(socket.Sweeper))
			_ = c.TCP().SetWriteBuffer(8 << 10)
			var got bytes.Buffer
			done := start(func() error { return c.RoundTrip(tt.out, collect(&got, len(answer), socket.More)) })
			received := make([]byte, len(tt.out))
			if _, err := io.ReadFull(peer, received); err != nil || !bytes.Equal(received, tt.out) {
				t.Fatalf("the peer did not get what was sent: %v", err)
			}
			tt.peer(peer)
			if err := result(t, done); !errors.Is(err, tt.want) {
				t.Errorf("RoundTrip() = %v, want %v", err, tt.want)
			}
			if got.String() != tt.got {
				t.Errorf("got %d bytes of answer, want %d", got.Len(), len(tt.got))
			}
		})
	}
}

func TestRoundTripCannotSend(t *testing.T) {
	for _, tt := range []struct {
		name string
		ruin func(c *socket.Conn, peer *net.TCPConn)
		want error
	}{
		{"the peer has reset", func(c *socket.Conn, peer *net.TCPConn) {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			eventually(t, "the reset is seen", func() bool { return !c.Alive() })
		}, syscall.EPIPE},
		{"it has expired", func(c *socket.Conn, _ *net.TCPConn) { c.Expire() }, socket.ErrExpired},
		{"it is closed", func(c *socket.Conn, _ *net.TCPConn) { c.Close() }, net.ErrClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t, new(socket.Sweeper))
			tt.ruin(c, peer)
			var got bytes.Buffer
			err := result(t, start(func() error { return c.RoundTrip([]byte("ping"), collect(&got, 1, socket.More)) }))
			var we *socket.WriteError
			if !errors.As(err, &we) || !we.Unsent || !errors.Is(err, tt.want) {
				t.Errorf("RoundTrip() = %v, want a WriteError of nothing sent around %v", err, tt.want)
			}
		})
	}
}

// A peer that reads nothing blocks the write; the deadline ends it.
func TestRoundTripExpiresWhileSending(t *testing.T) {
	var s socket.Sweeper
	c, _ := pair(t, &s)
	c.Due(1)
	var got bytes.Buffer
	done := start(func() error { return c.RoundTrip(make([]byte, 64<<20), collect(&got, 1, socket.More)) })
	eventually(t, "some is sent", func() bool { return sent(t, c) > 0 })
	s.Sweep(socket.Now())
	err := result(t, done)
	var we *socket.WriteError
	if !errors.As(err, &we) || we.Unsent || !errors.Is(err, socket.ErrExpired) {
		t.Errorf("RoundTrip() = %v, want a WriteError of an expiry after some was sent", err)
	}
}

// sent returns a number that is above 0 once the kernel holds bytes for the
// peer of c, or 1 where that cannot be told.
func sent(t *testing.T, c *socket.Conn) int {
	t.Helper()
	raw, err := c.TCP().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 1
	_ = raw.Control(func(fd uintptr) { n = queued(fd) })
	return n
}

func TestDue(t *testing.T) {
	for _, tt := range []struct {
		name string
		wait func(c *socket.Conn) error
	}{
		{"Loop", func(c *socket.Conn) error { return c.Loop(&script{}) }},
		{"RoundTrip", func(c *socket.Conn) error { return c.RoundTrip([]byte("x"), &script{}) }},
		{"Read", func(c *socket.Conn) error {
			_, err := c.Read(make([]byte, 1))
			return err
		}},
	} {
		t.Run(tt.name+" ends when it is due, not before", func(t *testing.T) {
			var s socket.Sweeper
			c, _ := pair(t, &s)
			at := socket.Now() + int64(time.Hour)
			c.Due(at)
			done := start(func() error { return tt.wait(c) })
			s.Sweep(at - 1)
			if c.Expired() {
				t.Fatal("it expired before it was due")
			}
			c.Due(at + 1)
			s.Sweep(at)
			if c.Expired() {
				t.Fatal("it expired though its time was put off")
			}
			c.Due(0)
			s.Sweep(at + 2)
			if c.Expired() {
				t.Fatal("it expired though it is never due")
			}
			c.Due(at)
			s.Sweep(at)
			if err := result(t, done); !errors.Is(err, socket.ErrExpired) || !c.Expired() {
				t.Errorf("%s = %v, want ErrExpired", tt.name, err)
			}
			if c.Alive() {
				t.Error("an expired connection counts as alive")
			}
		})
	}
}

func TestExpireEndsABlockedWrite(t *testing.T) {
	c, _ := pair(t, new(socket.Sweeper))
	done := start(func() error {
		_, err := c.Write(make([]byte, 64<<20))
		return err
	})
	eventually(t, "some is sent", func() bool { return sent(t, c) > 0 })
	c.Expire()
	if err := result(t, done); !errors.Is(err, socket.ErrExpired) {
		t.Errorf("Write() = %v, want ErrExpired", err)
	}
}

func TestRevive(t *testing.T) {
	c, peer := pair(t, new(socket.Sweeper))
	for _, tt := range []struct {
		name string
		end  func()
		down bool // writing has ended too
	}{
		{"after an expiry", c.Expire, true},
		{"after two", func() { c.Expire(); c.Expire() }, true},
		{"after reading was stopped", c.StopReading, false},
		{"after both", func() { c.StopReading(); c.Expire() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.end()
			write(t, peer, "x")
			b := make([]byte, 1)
			if _, err := c.Read(b); !errors.Is(err, socket.ErrExpired) {
				t.Errorf("Read() = %v, want ErrExpired", err)
			}
			if _, err := c.Write([]byte("y")); (err != nil) != tt.down {
				t.Errorf("Write() = %v", err)
			}
			c.Revive()
			if _, err := c.Read(b); err != nil || b[0] != 'x' {
				t.Errorf("Read() = %q, %v after Revive", b, err)
			}
			if _, err := c.Write([]byte("y")); err != nil {
				t.Errorf("Write() = %v after Revive", err)
			}
		})
	}
}

// Whatever the order, the flag and what reads do agree afterwards.
func TestExpireAgainstRevive(t *testing.T) {
	c, peer := pair(t, new(socket.Sweeper))
	b := make([]byte, 1)
	for range 500 {
		done := start(func() error { c.Expire(); return nil })
		c.Revive()
		_ = result(t, done)
		write(t, peer, "x")
		_, err := c.Read(b)
		if c.Expired() != errors.Is(err, socket.ErrExpired) {
			t.Fatalf("Read() = %v, but Expired() = %v", err, c.Expired())
		}
		c.Revive()
		if err != nil {
			if _, err := c.Read(b); err != nil {
				t.Fatalf("Read() = %v after Revive", err)
			}
		}
	}
}

// A sweep and an owner that puts its time off at the last moment agree on
// whether the connection may go on.
func TestDueAgainstTheSweep(t *testing.T) {
	var s socket.Sweeper
	c, peer := pair(t, &s)
	b := make([]byte, 1)
	for range 500 {
		c.Due(1)
		done := start(func() error { s.Sweep(2); return nil })
		c.Due(0)
		goesOn := !c.Expired()
		_ = result(t, done)
		if goesOn {
			write(t, peer, "x")
			if _, err := c.Read(b); err != nil {
				t.Fatalf("Read() = %v, though it had not expired when its time was put off", err)
			}
		}
		c.Revive()
	}
}

func TestWake(t *testing.T) {
	t.Run("Done leaves the loop", func(t *testing.T) {
		c, _ := pair(t, new(socket.Sweeper))
		done := start(func() error { return c.Loop(&script{woken: func() socket.Next { return socket.Done }}) })
		c.Wake()
		if err := result(t, done); err != nil {
			t.Errorf("Loop() = %v, want nil", err)
		}
	})
	t.Run("it is seen by a loop that begins later", func(t *testing.T) {
		c, _ := pair(t, new(socket.Sweeper))
		c.Wake()
		if err := result(t, start(func() error { return c.Loop(&script{woken: func() socket.Next { return socket.Done }}) })); err != nil {
			t.Errorf("Loop() = %v, want nil", err)
		}
	})
	t.Run("anything else waits on, and data comes", func(t *testing.T) {
		c, peer := pair(t, new(socket.Sweeper))
		woken := make(chan struct{}, 1)
		var got bytes.Buffer
		h := collect(&got, 2, socket.Park)
		h.woken = func() socket.Next {
			woken <- struct{}{}
			return socket.More
		}
		done := start(func() error { return c.Loop(h) })
		c.Wake()
		<-woken
		write(t, peer, "ok")
		if err := result(t, done); err != nil || got.String() != "ok" {
			t.Errorf("Loop() = %v after %q", err, got.String())
		}
	})
	t.Run("reads outside a loop go on", func(t *testing.T) {
		c, peer := pair(t, new(socket.Sweeper))
		b := make([]byte, 2)
		done := start(func() error {
			_, err := io.ReadFull(c, b)
			return err
		})
		write(t, peer, "o")
		c.Wake()
		write(t, peer, "k")
		if err := result(t, done); err != nil || string(b) != "ok" {
			t.Errorf("Read() = %q, %v", b, err)
		}
	})
	t.Run("a round trip goes on", func(t *testing.T) {
		c, peer := pair(t, new(socket.Sweeper))
		c.Wake()
		var got bytes.Buffer
		done := start(func() error { return c.RoundTrip([]byte("ping"), collect(&got, 4, socket.More)) })
		if _, err := io.ReadFull(peer, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		c.Wake()
		write(t, peer, "pong")
		if err := result(t, done); err != nil || got.String() != "pong" {
			t.Errorf("RoundTrip() = %v after %q", err, got.String())
		}
	})
	t.Run("an expired connection stays so", func(t *testing.T) {
		c, _ := pair(t, new(socket.Sweeper))
		c.Expire()
		c.Wake()
		if err := result(t, start(func() error { return c.Loop(&script{}) })); !errors.Is(err, socket.ErrExpired) {
			t.Errorf("Loop() = %v, want ErrExpired", err)
		}
	})
}

// Every Wake is followed by a look at what was set before it, however they
// come together with data and with each other.
func TestNoWakeIsLost(t *testing.T) {
	c, peer := pair(t, new(socket.Sweeper))
	const rounds = 300
	var asked, received atomic.Int64
	seen := make(chan int64, 10*rounds)
	h := &script{
		data: func(b []byte) socket.Next {
			received.Add(int64(len(b)))
			return socket.Park
		},
		woken: func() socket.Next {
			n := asked.Load()
			seen <- n
			if n > rounds {
				return socket.Done
			}
			return socket.More
		},
	}
	done := start(func() error { return c.Loop(h) })
	for i := range int64(rounds) {
		asked.Store(i + 1)
		var both sync.WaitGroup
		both.Go(c.Wake)
		both.Go(func() { _, _ = peer.Write([]byte("x")) })
		both.Go(c.Wake)
		for n := int64(0); n <= i; {
			select {
			case n = <-seen:
			case <-time.After(patience):
				t.Fatalf("wake %d was not followed by a look", i)
			}
		}
		both.Wait()
	}
	eventually(t, "all data is received", func() bool { return received.Load() == rounds })
	asked.Store(rounds + 1)
	c.Wake()
	if err := result(t, done); err != nil {
		t.Errorf("Loop() = %v", err)
	}
}

func TestAlive(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(c *socket.Conn, peer *net.TCPConn)
		alive bool
	}{
		{"an open one is", func(*socket.Conn, *net.TCPConn) {}, true},
		{"one that received something is not", func(_ *socket.Conn, p *net.TCPConn) { _, _ = p.Write([]byte("x")) }, false},
		{"one whose peer closed is not", func(_ *socket.Conn, p *net.TCPConn) { _ = p.Close() }, false},
		{"one that was reset is not", func(_ *socket.Conn, p *net.TCPConn) { _ = p.SetLinger(0); _ = p.Close() }, false},
		{"an expired one is not", func(c *socket.Conn, _ *net.TCPConn) { c.Expire() }, false},
		{"a closed one is not", func(c *socket.Conn, _ *net.TCPConn) { c.Close() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t, new(socket.Sweeper))
			tt.do(c, peer)
			eventually(t, tt.name, func() bool { return c.Alive() == tt.alive })
		})
	}
}

func TestCloseAndAbort(t *testing.T) {
	t.Run("Close ends in order, once", func(t *testing.T) {
		var s socket.Sweeper
		c, peer := pair(t, &s)
		if !c.Close() || c.Close() || c.Abort() {
			t.Error("want true from the first of them alone")
		}
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the peer got %v, want io.EOF", err)
		}
		if s.Swept() != 0 {
			t.Error("a closed connection is still swept")
		}
	})
	t.Run("Abort resets, once", func(t *testing.T) {
		c, peer := pair(t, new(socket.Sweeper))
		if !c.Abort() || c.Abort() || c.Close() {
			t.Error("want true from the first of them alone")
		}
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer got %v, want a reset", err)
		}
	})
}

func TestReadFrom(t *testing.T) { testMoving(t, (*socket.Conn).ReadFrom) }

func TestSplice(t *testing.T) {
	testMoving(t, func(dst, src *socket.Conn, n int64) (int64, error) { return dst.Splice(src, n, time.Minute) })
	for _, tt := range []struct {
		name        string
		sent        int
		destination bool // is to blame
	}{
		{"a source that stands still expires", 1000, false},
		{"a destination that stands still expires", 64 << 20, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s socket.Sweeper
			sweep(t, &s)
			src, from := pair(t, &s)
			dst, to := pair(t, &s)
			fed := start(func() error {
				_, err := from.Write(make([]byte, tt.sent))
				return err
			})
			if !tt.destination {
				go func() { _, _ = io.Copy(io.Discard, to) }()
				eventually(t, "all that comes is there", func() bool { return runtime.GOOS != "linux" || src.Pending() == tt.sent })
			}
			_, err := dst.Splice(src, 64<<20, time.Second)
			_, blamed := errors.AsType[*socket.SpliceError](err)
			if !errors.Is(err, socket.ErrExpired) || blamed != tt.destination {
				t.Errorf("Splice() = %v, the destination is to blame: %v, want %v", err, blamed, tt.destination)
			}
			src.Abort()
			if err := result(t, fed); (err == nil) == tt.destination {
				t.Errorf("sending ended with %v", err)
			}
		})
	}
}

// sweep runs a sweeper until the test ends.
func sweep(t *testing.T, s *socket.Sweeper) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// testMoving tests what moves bytes from one connection to another.
func testMoving(t *testing.T, move func(dst, src *socket.Conn, n int64) (int64, error)) {
	t.Helper()
	payload := strings.Repeat("0123456789abcdef", 64<<10) // 1 MB
	for _, tt := range []struct {
		name  string
		sent  string
		n     int64
		moved int64
		want  error
	}{
		{"exactly what is asked for", payload, int64(len(payload)), int64(len(payload)), nil},
		{"no more than is asked for", payload + "rest", int64(len(payload)), int64(len(payload)), nil},
		{"one byte", "x", 1, 1, nil},
		{"nothing", "", 0, 0, nil},
		{"a source that ends before", payload, int64(len(payload)) + 1, int64(len(payload)), io.ErrUnexpectedEOF},
		{"a source that is empty", "", 1, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s socket.Sweeper
			src, from := pair(t, &s)
			dst, to := pair(t, &s)
			fed := start(func() error {
				_, err := io.WriteString(from, tt.sent)
				_ = from.CloseWrite()
				return err
			})
			received := make(chan string, 1)
			go func() {
				b, _ := io.ReadAll(to)
				received <- string(b)
			}()
			src.Wake() // does no harm
			n, err := move(dst, src, tt.n)
			if n != tt.moved || !errors.Is(err, tt.want) {
				t.Errorf("moved %d, %v; want %d, %v", n, err, tt.moved, tt.want)
			}
			rest, err := io.ReadAll(readerOf(src))
			if err != nil || string(rest) != tt.sent[tt.moved:] {
				t.Errorf("%d bytes stay in the source, %v; want %d", len(rest), err, len(tt.sent)-int(tt.moved))
			}
			dst.Close()
			if got := <-received; got != tt.sent[:tt.moved] {
				t.Errorf("%d bytes arrived, want %d", len(got), tt.moved)
			}
			if err := result(t, fed); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a source that expires ends it", func(t *testing.T) {
		var s socket.Sweeper
		src, _ := pair(t, &s)
		dst, _ := pair(t, &s)
		done := start(func() error {
			_, err := move(dst, src, 1<<20)
			return err
		})
		src.Expire()
		if err := result(t, done); !errors.Is(err, socket.ErrExpired) {
			t.Errorf("moved %v, want ErrExpired", err)
		}
	})
	t.Run("a destination that expires ends it", func(t *testing.T) {
		var s socket.Sweeper
		src, from := pair(t, &s)
		dst, _ := pair(t, &s)
		fed := start(func() error {
			_, err := from.Write(make([]byte, 64<<20))
			return err
		})
		done := start(func() error {
			_, err := move(dst, src, 64<<20)
			return err
		})
		eventually(t, "some is moved", func() bool { return sent(t, dst) > 0 })
		dst.Expire()
		if err := result(t, done); !errors.Is(err, socket.ErrExpired) {
			t.Errorf("moved %v, want ErrExpired", err)
		}
		src.Abort()
		if result(t, fed) == nil {
			t.Error("the source was read to its end")
		}
	})
}

// readerOf hides all but Read.
func readerOf(c *socket.Conn) io.Reader { return struct{ io.Reader }{c} }

func TestPending(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel is asked on Linux only")
	}
	c, peer := pair(t, new(socket.Sweeper))
	if n := c.Pending(); n != 0 {
		t.Errorf("Pending() = %d before anything was sent", n)
	}
	write(t, peer, "0123456789")
	eventually(t, "10 bytes are pending", func() bool { return c.Pending() == 10 })
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if n := c.Pending(); n != 6 {
		t.Errorf("Pending() = %d after 4 of 10 were read", n)
	}
	c.Close()
	if n := c.Pending(); n != 0 {
		t.Errorf("Pending() = %d of a closed connection", n)
	}
}

func TestNoDescriptorIsLeaked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are counted in /proc")
	}
	_, _ = pair(t, new(socket.Sweeper)) // with it comes what all connections share
	var s socket.Sweeper
	before := descriptors(t)
	for i := range 60 {
		c, peer := pair(t, &s)
		_ = peer.Close()
		switch i % 3 {
		case 0:
			_ = c.Loop(&script{})
		case 1:
			_ = c.RoundTrip([]byte("x"), &script{})
		case 2:
			c.Expire()
			_, _ = c.Read(make([]byte, 1))
		}
		if i%2 == 0 {
			c.Close()
		} else {
			c.Abort()
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
	if s.Swept() != 0 {
		t.Errorf("%d closed connections are still swept", s.Swept())
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
