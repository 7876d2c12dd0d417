// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// watcher notes what the sweep tells it.
type watcher struct {
	waiting  bool
	vanished int
	half     []int64 // the times at which it was told of a half-closed peer
	hungUp   int
}

func (w *watcher) Waiting() bool        { return w.waiting }
func (w *watcher) Vanished()            { w.vanished++ }
func (w *watcher) Deserted()            { w.hungUp++ }
func (w *watcher) HalfClosed(now int64) { w.half = append(w.half, now) }

func TestTheSweepTellsWhichDirectionsHaveEnded(t *testing.T) {
	for _, tt := range []struct {
		name       string
		end        func(*net.TCPConn)
		gone, half bool
	}{
		{"a peer that ended its direction", func(c *net.TCPConn) { _ = c.CloseWrite() }, false, true},
		{"a peer that closed the connection", func(c *net.TCPConn) { _ = c.Close() }, false, true},
		{"a peer that reset the connection", func(c *net.TCPConn) {
			_ = c.SetLinger(0)
			_ = c.Close()
		}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s socket.Sweeper
			c, peer := pair(t, &s)
			w := &watcher{waiting: true}
			c.Watch(w)
			s.Sweep(socket.Now())
			if c.HungUp() || w.vanished != 0 || w.half != nil {
				t.Error("a peer that is there has ended something")
			}
			tt.end(peer)
			eventually(t, "the end arrives", c.Ended)
			if got := c.HungUp(); got != tt.gone {
				t.Errorf("HungUp() = %v, want %v", got, tt.gone)
			}
			w.waiting = false
			s.Sweep(socket.Now())
			if w.vanished != 0 || w.half != nil {
				t.Error("the watcher is told though it does not wait")
			}
			w.waiting = true
			now := socket.Now()
			s.Sweep(now)
			s.Sweep(now + 1)
			if got := w.vanished == 2; got != tt.gone {
				t.Errorf("the watcher is told %d times that the peer is gone, want it to be told each time: %v", w.vanished, tt.gone)
			}
			var want []int64
			if tt.half {
				want = []int64{now, now + 1}
			}
			if !slices.Equal(w.half, want) {
				t.Errorf("the watcher is told of a half-closed peer at %v, want %v", w.half, want)
			}
		})
	}
}

func TestAnEndBehindUnreadBytesIsNotTold(t *testing.T) {
	var s socket.Sweeper
	c, peer := pair(t, &s)
	w := &watcher{waiting: true}
	c.Watch(w)
	if _, err := peer.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	_ = peer.CloseWrite()
	eventually(t, "the end arrives", func() bool { return ended(t, c) })
	s.Sweep(socket.Now())
	if w.half != nil || w.vanished != 0 {
		t.Error("the watcher is told of an end though there is more to read")
	}
	if _, err := io.ReadFull(c.TCP(), make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	s.Sweep(socket.Now())
	if len(w.half) != 1 {
		t.Error("the watcher is not told of an end that everything was read before")
	}
}

// ended asks the kernel whether the peer has ended its direction, whatever is
// unread.
func ended(t *testing.T, c *socket.Conn) bool {
	t.Helper()
	raw, err := c.TCP().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	err = raw.Control(func(fd uintptr) {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, _ = unix.Poll(p[:], 0)
		found = p[0].Revents&unix.POLLRDHUP != 0
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAPeerThatIsWrittenToIsNotCalledHalfClosed(t *testing.T) {
	var s socket.Sweeper
	c, peer := pair(t, &s)
	w := &watcher{waiting: true}
	c.Watch(w)
	_ = peer.CloseWrite()
	eventually(t, "the end arrives", c.Ended)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.WriteWithin(make([]byte, 64<<20), time.Hour) // more than buffers hold
		wrote <- err
	}()
	eventually(t, "the write waits", c.Stuck)
	s.Sweep(socket.Now())
	if w.half != nil {
		t.Error("a peer that takes its time is told to be half closed")
	}
	c.Expire()
	if err := <-wrote; !errors.Is(err, socket.ErrExpired) {
		t.Errorf("the write ends with %v, want %v", err, socket.ErrExpired)
	}
}

func TestExpireIfItIsStillDueThen(t *testing.T) {
	var s socket.Sweeper
	c, _ := pair(t, &s)
	at := socket.Now() + int64(time.Hour)
	c.Due(at + 1)
	var gone atomic.Bool
	c.ExpireIf(at, &gone)
	if c.Expired() || gone.Load() {
		t.Fatal("it has expired though it is due at another time")
	}
	c.ExpireIf(at+1, &gone)
	if !c.Expired() || !gone.Load() {
		t.Fatal("it has not expired")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, socket.ErrExpired) {
		t.Errorf("Read() = %v, want %v", err, socket.ErrExpired)
	}
}
