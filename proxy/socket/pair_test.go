// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// joined is a Pair that runs, and the peers of its sides.
type joined struct {
	socket.Pair
	atA, atB     *net.TCPConn
	fromA, fromB atomic.Int64
	done         <-chan error
}

// join runs a pair, shaped before it starts.
func join(t *testing.T, s *socket.Sweeper, shape func(*joined)) *joined {
	t.Helper()
	j := &joined{}
	j.A, j.atA = pair(t, s)
	j.B, j.atB = pair(t, s)
	j.Idle = time.Hour
	j.FromA = func(n int64) { j.fromA.Add(n) }
	j.FromB = func(n int64) { j.fromB.Add(n) }
	if shape != nil {
		shape(j)
	}
	j.done = start(j.Run)
	t.Cleanup(func() {
		j.A.Expire()
		j.B.Expire()
	})
	return j
}

func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("got %.40q, %v; want %.40q", b, err, want)
	}
}

func expectEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("Read() = %d, %v; want the end", n, err)
	}
}

func TestPairMovesBothWays(t *testing.T) {
	j := join(t, new(socket.Sweeper), func(j *joined) { j.Ahead = []byte("before ") })
	write(t, j.atA, "hello")
	expect(t, j.atB, "before hello")
	write(t, j.atB, "world")
	expect(t, j.atA, "world")
	eventually(t, "12 and 5 bytes are counted while it runs", func() bool { return j.fromA.Load() == 12 && j.fromB.Load() == 5 })
	// One half ends, the other one goes on.
	_ = j.atA.CloseWrite()
	expectEnd(t, j.atB)
	write(t, j.atB, "still here")
	expect(t, j.atA, "still here")
	_ = j.atB.CloseWrite()
	expectEnd(t, j.atA)
	if err := result(t, j.done); err != nil {
		t.Errorf("Run() = %v, want an orderly end", err)
	}
}

func TestPairMovesMuch(t *testing.T) {
	j := join(t, new(socket.Sweeper), nil)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB, more than buffers hold
	errs := make(chan error, 2)
	for _, nc := range []*net.TCPConn{j.atA, j.atB} {
		go func() {
			_, err := nc.Write(sent)
			errs <- errors.Join(err, nc.CloseWrite())
		}()
	}
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(j.atA) // what is missing shows
		got <- b
	}()
	if b, err := io.ReadAll(j.atB); err != nil || !bytes.Equal(b, sent) {
		t.Errorf("B got %d bytes, %v; want the %d that were sent", len(b), err, len(sent))
	}
	if b := <-got; !bytes.Equal(b, sent) {
		t.Errorf("A got %d bytes, want the %d that were sent", len(b), len(sent))
	}
	if err := errors.Join(<-errs, <-errs, result(t, j.done)); err != nil {
		t.Error(err)
	}
	if a, b := j.fromA.Load(), j.fromB.Load(); a != int64(len(sent)) || b != a {
		t.Errorf("%d and %d bytes are counted, want %d both times", a, b, len(sent))
	}
}

// converse has both sides say so much that they count as a conversation.
func (j *joined) converse(t *testing.T) {
	t.Helper()
	for range 10 {
		write(t, j.atA, "ping")
		expect(t, j.atB, "ping")
		write(t, j.atB, "pong")
		expect(t, j.atA, "pong")
	}
}

// The last words and the end come in one edge, or in two: nobody sweeps, so an
// end that is missed would never be found.
func TestPairOfAConversationFindsItsEnd(t *testing.T) {
	for range 100 {
		j := join(t, new(socket.Sweeper), nil)
		j.converse(t)
		write(t, j.atA, "last words")
		_ = j.atA.CloseWrite()
		expect(t, j.atB, "last words")
		expectEnd(t, j.atB)
		write(t, j.atB, "answer")
		_ = j.atB.CloseWrite()
		expect(t, j.atA, "answer")
		expectEnd(t, j.atA)
		if err := result(t, j.done); err != nil {
			t.Fatalf("Run() = %v, want an orderly end", err)
		}
	}
}

func TestPairOfAConversationFindsAReset(t *testing.T) {
	for range 10 {
		s := new(socket.Sweeper)
		sweep(t, s)
		j := join(t, s, nil)
		j.converse(t)
		write(t, j.atA, "last words")
		_ = j.atA.SetLinger(0)
		_ = j.atA.Close()
		if broken, ok := errors.AsType[*socket.BrokenError](result(t, j.done)); !ok || broken.Side != j.A {
			t.Fatalf("Run() = %v, want a BrokenError of A", broken)
		}
	}
}

// A conversation turns into a transfer, and back.
func TestPairOfAConversationMovesMuch(t *testing.T) {
	j := join(t, new(socket.Sweeper), nil)
	much := strings.Repeat("0123456789abcdef", 1<<16)
	for range 3 {
		j.converse(t)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(j.atA, much)
			sent <- err
		}()
		expect(t, j.atB, much)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// The peer takes nothing more, and whoever writes to it waits.
func TestPairExpiresWhileItWrites(t *testing.T) {
	j := join(t, new(socket.Sweeper), nil)
	j.converse(t)
	_ = j.atA.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for b := make([]byte, 1000); ; {
		if _, err := j.atA.Write(b); err != nil {
			break // all buffers on the way are full
		}
	}
	j.B.Expire()
	if err := result(t, j.done); !errors.Is(err, socket.ErrExpired) {
		t.Errorf("Run() = %v, want %v", err, socket.ErrExpired)
	}
}

func TestPairEndsBeforeItsTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape func(*joined)
		act   func(*testing.T, *socket.Sweeper, *joined)
		side  func(*joined) *socket.Conn // nil for an expiry
	}{
		{"a reset by A", nil, func(_ *testing.T, _ *socket.Sweeper, j *joined) {
			_ = j.atA.SetLinger(0)
			_ = j.atA.Close()
		}, func(j *joined) *socket.Conn { return j.A }},
		{"a reset by B", nil, func(_ *testing.T, _ *socket.Sweeper, j *joined) {
			_ = j.atB.SetLinger(0)
			_ = j.atB.Close()
		}, func(j *joined) *socket.Conn { return j.B }},
		{"B expires", nil, func(_ *testing.T, _ *socket.Sweeper, j *joined) { j.B.Expire() }, nil},
		{
			"both stand still for too long",
			func(j *joined) { j.Idle = time.Nanosecond },
			func(t *testing.T, s *socket.Sweeper, _ *joined) {
				t.Helper()
				sweep(t, s)
			},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(socket.Sweeper)
			j := join(t, s, tt.shape)
			tt.act(t, s, j)
			err := result(t, j.done)
			if tt.side == nil {
				if !errors.Is(err, socket.ErrExpired) {
					t.Errorf("Run() = %v, want %v", err, socket.ErrExpired)
				}
				return
			}
			if broken, ok := errors.AsType[*socket.BrokenError](err); !ok || broken.Side != tt.side(j) {
				t.Errorf("Run() = %v, want a BrokenError of the side that was reset", err)
			}
		})
	}
}

func TestPairIsWokenForNothing(t *testing.T) {
	j := join(t, new(socket.Sweeper), nil)
	for range 100 {
		j.A.Wake()
		j.B.Wake()
	}
	write(t, j.atA, "x")
	expect(t, j.atB, "x")
}

func TestPairPassesAPanicOn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape func(*joined)
		speak func(*joined) *net.TCPConn
	}{
		{"of the half from A", func(j *joined) { j.FromA = func(int64) { panic("boom") } }, func(j *joined) *net.TCPConn { return j.atA }},
		{"of the half from B", func(j *joined) { j.FromB = func(int64) { panic("boom") } }, func(j *joined) *net.TCPConn { return j.atB }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := &joined{}
			j.A, j.atA = pair(t, new(socket.Sweeper))
			j.B, j.atB = pair(t, new(socket.Sweeper))
			j.Idle, j.FromA, j.FromB = time.Hour, func(int64) {}, func(int64) {}
			tt.shape(j)
			write(t, tt.speak(j), "x")
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "boom\n") || !strings.Contains(s, "pair_test.go") {
					t.Errorf("recovered %.80q, want the panic with its stack", s)
				}
			}()
			t.Errorf("Run() = %v, want a panic", j.Run())
		})
	}
}
