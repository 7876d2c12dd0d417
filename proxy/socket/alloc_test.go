// SPDX-License-Identifier: Apache-2.0

//go:build !race

package socket_test

import (
	"io"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

func TestLoopDoesNotAllocate(t *testing.T) {
	c, peer := pair(t, new(socket.Sweeper))
	h := &script{data: func(b []byte) socket.Next {
		_, _ = c.Write(b)
		return socket.Park
	}}
	done := start(func() error { return c.Loop(h) })
	message, answer := []byte("ping"), make([]byte, 4)
	echo := func() {
		_, _ = peer.Write(message)
		if _, err := io.ReadFull(peer, answer); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, echo); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
	_ = peer.Close()
	_ = result(t, done)
}

func TestRoundTripDoesNotAllocate(t *testing.T) {
	c, peer := pair(t, new(socket.Sweeper))
	done := start(func() error {
		b := make([]byte, 4)
		for {
			if _, err := io.ReadFull(peer, b); err != nil {
				return nil //nolint:nilerr // the end of the test
			}
			_, _ = peer.Write(b)
		}
	})
	h := &script{data: func([]byte) socket.Next { return socket.Done }}
	message := []byte("ping")
	trip := func() {
		c.Due(socket.Now() + 1e10)
		if err := c.RoundTrip(message, h); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, trip); n != 0 {
		t.Errorf("%v allocations a round trip, want 0", n)
	}
	c.Close()
	_ = result(t, done)
}

// crypto/tls makes one object of 24 bytes for each read of its transport, on
// our side and on the peer's; nothing else is to be made.
func TestExchangesOverTLSHardlyAllocate(t *testing.T) {
	const ofPeer = 1
	for name, open := range ways(t) {
		t.Run("Loop, "+name, func(t *testing.T) {
			c, peer, _ := open(t, new(socket.Sweeper))
			h := &script{data: func(b []byte) socket.Next {
				_, _ = c.WriteWithin(b, time.Minute)
				return socket.Park
			}}
			done := start(func() error { return c.Loop(h) })
			message, answer := []byte("ping"), make([]byte, 4)
			echo := func() {
				_, _ = peer.Write(message)
				if _, err := io.ReadFull(peer, answer); err != nil {
					t.Fatal(err)
				}
			}
			echo() // tickets come first
			if n := testing.AllocsPerRun(1000, echo); n > 1+ofPeer {
				t.Errorf("%v allocations a message, want 1 and that of the peer", n)
			}
			_ = peer.Close()
			_ = result(t, done)
		})
		t.Run("RoundTrip, "+name, func(t *testing.T) {
			c, peer, _ := open(t, new(socket.Sweeper))
			done := start(func() error {
				b := make([]byte, 4)
				for {
					if _, err := io.ReadFull(peer, b); err != nil {
						return nil //nolint:nilerr // the end of the test
					}
					_, _ = peer.Write(b)
				}
			})
			h := &script{data: func([]byte) socket.Next { return socket.Done }}
			message := []byte("ping")
			trip := func() {
				c.Due(socket.Now() + 1e10)
				if !c.Alive() {
					t.Fatal("it is not alive between two exchanges")
				}
				if err := c.RoundTrip(message, h); err != nil {
					t.Fatal(err)
				}
			}
			trip() // tickets come first
			if n := testing.AllocsPerRun(1000, trip); n > 1+ofPeer {
				t.Errorf("%v allocations a round trip, want 1 and that of the peer", n)
			}
			c.Close()
			_ = result(t, done)
		})
	}
}

func TestPairDoesNotAllocate(t *testing.T) {
	j := join(t, new(socket.Sweeper), nil)
	j.converse(t)
	message, answer := []byte("ping"), make([]byte, 4)
	pass := func(from, to io.ReadWriter) {
		_, _ = from.Write(message)
		if _, err := io.ReadFull(to, answer); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, func() {
		pass(j.atA, j.atB)
		pass(j.atB, j.atA)
	}); n != 0 {
		t.Errorf("%v allocations a round trip, want 0", n)
	}
}
