// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// sweepsOf is how many sweeps a window of a second takes, and one more.
const sweepsOf = 5

// sweepWindow looks so often that a window of a second is over.
func sweepWindow(s *socket.Sweeper) {
	for range sweepsOf {
		s.Sweep(socket.Now())
	}
}

func TestPaceOfASender(t *testing.T) {
	for _, tt := range []struct {
		name      string
		rate      int64
		receiving bool
		due       bool
		sent      int // in the window
		read      bool
		want      bool
	}{
		{"who sends nothing is too slow", 100, true, true, 0, true, true},
		{"who sends less than the rate is too slow", 100, true, true, 99, true, true},
		{"who sends as much as the rate is not", 100, true, true, 100, true, false},
		{"any pace will do", 0, true, true, 0, true, false},
		{"outside a message nobody is waited for", 100, false, true, 0, true, false},
		{"what is not due is not waited for", 100, true, false, 0, true, false},
		{"who has sent what is not read is not waited for", 100, true, true, 50, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(socket.Sweeper)
			c, peer := pair(t, s)
			c.Pace(tt.rate, time.Second)
			c.Receiving(tt.receiving)
			if tt.due {
				c.Due(socket.Now() + int64(time.Hour))
			}
			s.Sweep(socket.Now()) // the window begins
			write(t, peer, strings.Repeat("x", tt.sent))
			if tt.read {
				if _, err := io.ReadFull(c.TCP(), make([]byte, tt.sent)); err != nil {
					t.Fatal(err)
				}
			} else {
				eventually(t, "it arrives", func() bool { return c.Pending() == tt.sent })
			}
			sweepWindow(s)
			if got := c.Expired(); got != tt.want {
				t.Errorf("expired: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPaceBeginsAnewWithEachMessage(t *testing.T) {
	s := new(socket.Sweeper)
	c, _ := pair(t, s)
	c.Pace(100, time.Second)
	for range 10 {
		c.Receiving(true)
		c.Due(socket.Now() + int64(time.Hour))
		for range sweepsOf - 1 {
			s.Sweep(socket.Now())
		}
		c.Receiving(false)
	}
	if c.Expired() {
		t.Error("ten messages that each took less than a window were one slow one")
	}
}

func TestPaceOfAReceiver(t *testing.T) {
	s := new(socket.Sweeper)
	c, peer := pair(t, s)
	// What is read was written just before: buffers hold little of it.
	_ = peer.SetReadBuffer(64 << 10)
	_ = c.TCP().SetWriteBuffer(64 << 10)
	c.Pace(100, time.Second)
	done := start(func() error {
		_, err := c.WriteWithin(make([]byte, 64<<20), time.Hour)
		return err
	})
	taken := make([]byte, 1<<20)
	eventually(t, "the window opens for one who takes enough", func() bool {
		if _, err := io.ReadFull(peer, taken); err != nil {
			t.Fatal(err)
		}
		s.Sweep(socket.Now())
		return c.Stuck()
	})
	for range 3 { // the windows in which it takes much
		for range sweepsOf {
			if _, err := io.ReadFull(peer, taken); err != nil {
				t.Fatal(err)
			}
			s.Sweep(socket.Now())
		}
	}
	if c.Expired() {
		t.Fatal("a receiver that takes enough was too slow")
	}
	eventually(t, "one that takes nothing expires", func() bool {
		s.Sweep(socket.Now())
		return c.Expired()
	})
	if err := result(t, done); !errors.Is(err, socket.ErrExpired) {
		t.Errorf("WriteWithin() = %v, want ErrExpired", err)
	}
}

func TestUntil(t *testing.T) {
	s := new(socket.Sweeper)
	c, _ := pair(t, s)
	now := socket.Now()
	c.Until(now + 10)
	c.Due(now + int64(time.Hour))
	s.Sweep(now + 9)
	if c.Expired() {
		t.Fatal("it expired before its end")
	}
	s.Sweep(now + 10)
	if !c.Expired() {
		t.Fatal("it did not expire at its end")
	}
	c.Revive()
	s.Sweep(now + 20)
	if c.Expired() {
		t.Error("it expired twice of the same end")
	}
	c.Until(now + 30)
	c.Until(0)
	s.Sweep(now + 40)
	if c.Expired() {
		t.Error("it expired though its end was taken back")
	}
}
