// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

func TestPeek(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the end behind bytes is seen on Linux only")
	}
	never := func([]byte) bool { return false }
	for _, tt := range []struct {
		name   string
		room   int
		pieces []string
		enough func([]byte) bool
		then   func(c *socket.Conn, peer *net.TCPConn) // after all pieces were seen
		seen   string
		want   error
	}{
		{"what is there is enough", 64, []string{"hello"}, func([]byte) bool { return true }, nil, "hello", nil},
		{"it waits for more", 64, []string{"he", "l", "lo"}, func(b []byte) bool { return len(b) >= 5 }, nil, "hello", nil},
		{"no more than there is room for", 4, []string{"he", "llo"}, never, nil, "hell", nil},
		{"the peer ends its half", 64, []string{"he", "llo"}, never, func(_ *socket.Conn, p *net.TCPConn) { _ = p.CloseWrite() }, "hello", io.EOF},
		{"the peer closes", 64, []string{"hello"}, never, func(_ *socket.Conn, p *net.TCPConn) { _ = p.Close() }, "hello", io.EOF},
		{"the peer ends without a word", 64, nil, never, func(_ *socket.Conn, p *net.TCPConn) { _ = p.Close() }, "", io.EOF},
		{"the peer resets", 64, nil, never, func(_ *socket.Conn, p *net.TCPConn) { _ = p.SetLinger(0); _ = p.Close() }, "", syscall.ECONNRESET},
		{"it expires", 64, []string{"hello"}, never, func(c *socket.Conn, _ *net.TCPConn) { c.Expire() }, "hello", socket.ErrExpired},
		{"it expires while nothing comes", 64, nil, never, func(c *socket.Conn, _ *net.TCPConn) { c.Expire() }, "", socket.ErrExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t, new(socket.Sweeper))
			b := make([]byte, tt.room)
			told := make(chan int, 100)
			n := 0
			done := start(func() (err error) {
				n, err = c.Peek(b, func(seen []byte) bool {
					told <- len(seen)
					return tt.enough(seen)
				})
				return err
			})
			c.Wake() // does no harm
			sent := 0
			for _, p := range tt.pieces {
				write(t, peer, p)
				sent += len(p)
				for n := 0; n < sent && sent < tt.room; {
					n = <-told
				}
			}
			if tt.then != nil {
				tt.then(c, peer)
			}
			if err := result(t, done); !errors.Is(err, tt.want) {
				t.Errorf("Peek() = %v, want %v", err, tt.want)
			}
			if string(b[:n]) != tt.seen {
				t.Errorf("it saw %q, want %q", b[:n], tt.seen)
			}
		})
	}
}

func TestPeekTakesNothing(t *testing.T) {
	c, peer := pair(t, new(socket.Sweeper))
	write(t, peer, "hello")
	_ = peer.CloseWrite()
	b := make([]byte, 5)
	for range 3 {
		if n, err := c.Peek(b, func(seen []byte) bool { return len(seen) == 5 }); n != 5 || err != nil {
			t.Fatalf("Peek() = %d, %v; want all 5 bytes", n, err)
		}
	}
	if got, err := io.ReadAll(readerOf(c)); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v; want all that was looked at", got, err)
	}
}

// What comes together with the end, before anyone looks, and is not enough.
func TestPeekSeesTheEndBehindBytes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the end behind bytes is seen on Linux only")
	}
	c, peer := pair(t, new(socket.Sweeper))
	write(t, peer, strings.Repeat("x", 10))
	_ = peer.CloseWrite()
	eventually(t, "the end is there", func() bool {
		n, err := c.Peek(make([]byte, 64), func([]byte) bool { return false })
		return n == 10 && errors.Is(err, io.EOF)
	})
}

// The bytes and the end behind them may come between two looks.
func TestPeekSeesWhatComesTogetherWithTheEnd(t *testing.T) {
	for range 300 {
		c, peer := pair(t, new(socket.Sweeper))
		said := make(chan error, 1)
		go func() {
			_, err := io.WriteString(peer, "word")
			said <- errors.Join(err, peer.CloseWrite())
		}()
		var b [10]byte
		n, err := c.Peek(b[:], func(seen []byte) bool { return len(seen) == 4 })
		if n != 4 || err != nil {
			t.Fatalf("Peek() = %d, %v; want 4 bytes", n, err)
		}
		if err := <-said; err != nil {
			t.Fatal(err)
		}
		c.Close()
		_ = peer.Close()
	}
}
