// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

// watcher notes what the sweep tells it.
type watcher struct {
	waiting  bool
	vanished int
}

func (w *watcher) Waiting() bool { return w.waiting }
func (w *watcher) Vanished()     { w.vanished++ }

func TestHungUpMeansBothDirections(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*net.TCPConn)
		want bool
	}{
		{"a peer that ended its direction", func(c *net.TCPConn) { _ = c.CloseWrite() }, false},
		{"a peer that reset the connection", func(c *net.TCPConn) {
			_ = c.SetLinger(0)
			_ = c.Close()
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s socket.Sweeper
			c, peer := pair(t, &s)
			w := &watcher{waiting: true}
			c.Watch(w)
			s.Sweep(socket.Now())
			if c.HungUp() || w.vanished != 0 {
				t.Error("a peer that is there has hung up")
			}
			tt.end(peer)
			eventually(t, "the end arrives", c.Ended)
			if got := c.HungUp(); got != tt.want {
				t.Errorf("HungUp() = %v, want %v", got, tt.want)
			}
			w.waiting = false
			s.Sweep(socket.Now())
			if w.vanished != 0 {
				t.Error("the watcher is told though it does not wait")
			}
			w.waiting = true
			s.Sweep(socket.Now())
			if got := w.vanished == 1; got != tt.want {
				t.Errorf("the watcher is told %d times, want it to be told: %v", w.vanished, tt.want)
			}
		})
	}
}

func TestExpireIfItIsStillDueThen(t *testing.T) {
	var s socket.Sweeper
	c, _ := pair(t, &s)
	at := socket.Now() + int64(time.Hour)
	c.Due(at + 1)
	c.ExpireIf(at)
	if c.Expired() {
		t.Fatal("it has expired though it is due at another time")
	}
	c.ExpireIf(at + 1)
	if !c.Expired() {
		t.Fatal("it has not expired")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, socket.ErrExpired) {
		t.Errorf("Read() = %v, want %v", err, socket.ErrExpired)
	}
}
