// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/proxy/socket"
)

func TestEnded(t *testing.T) {
	var s socket.Sweeper
	c, peer := pair(t, &s)
	if c.Ended() {
		t.Error("a connection that is open has ended")
	}
	write(t, peer, "x")
	eventually(t, "the byte to arrive", func() bool { return !c.Alive() })
	if c.Ended() {
		t.Error("a connection that has something to read has ended")
	}
	_ = peer.Close()
	var b [1]byte
	if n, err := c.Read(b[:]); n != 1 || err != nil {
		t.Fatalf("Read() = %d, %v", n, err)
	}
	eventually(t, "the end to be seen", c.Ended)
	expired, _ := pair(t, &s)
	expired.Expire()
	if !expired.Ended() {
		t.Error("a connection that has expired has not ended")
	}
	closed, _ := pair(t, &s)
	closed.Close()
	if !closed.Ended() {
		t.Error("a connection that is closed has not ended")
	}
}
