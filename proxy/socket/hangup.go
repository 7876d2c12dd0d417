// SPDX-License-Identifier: Apache-2.0

package socket

import "sync/atomic"

// Watcher is asked at each sweep about a connection of which nobody reads while
// something else is waited for. Its methods are called by the sweeper, one at a
// time; they must be quick, and must neither open nor close connections.
type Watcher interface {
	// Waiting reports whether it matters that the peer may be gone.
	Waiting() bool
	// Vanished is told that it is, as HungUp says.
	Vanished()
	// HalfClosed is told, at time now (see Now), that the peer has ended its own
	// direction, and that all before that was read. It is told so at each sweep,
	// but not while a write waits for the peer.
	HalfClosed(now int64)
	// Deserted is told of a carried connection at once that its peer is gone, by
	// whatever carries it: it may be called together with the other methods.
	Deserted()
}

// Watch makes w be asked from now on.
func (c *Conn) Watch(w Watcher) {
	c.home.mu.Lock()
	defer c.home.mu.Unlock()
	c.watcher = w
}

// watch tells the watcher of a peer that has gone, or may have.
func (c *Conn) watch(now int64) {
	if !c.watcher.Waiting() {
		return
	}
	if c.peerFn == nil {
		c.peerFn = func(fd uintptr) { c.peer = peerFD(fd) }
	}
	c.peer = PeerStays
	if c.by != nil {
		c.peer = c.by.Peer()
	} else if c.raw.Control(c.peerFn) != nil {
		return
	}
	switch {
	case c.peer == PeerGone:
		c.watcher.Vanished()
	case c.peer == PeerHalfClosed && c.stuck.Load() == 0:
		c.watcher.HalfClosed(now)
	}
}

// HungUp reports whether both directions of the connection have ended: it was
// reset, or has failed. A peer that has only ended its own direction may still
// take what is sent to it. Where that cannot be told, nobody has hung up. It may
// be called from any goroutine.
func (c *Conn) HungUp() bool {
	if c.by != nil {
		return c.by.Peer() == PeerGone
	}
	found := PeerStays
	err := c.raw.Control(func(fd uintptr) { found = peerFD(fd) })
	return err == nil && found == PeerGone
}

// ExpireIf expires the connection if at is what it is due at still. Then gone
// becomes true, before whoever waits for the connection wakes.
func (c *Conn) ExpireIf(at int64, gone *atomic.Bool) { c.expireIfDue(&c.due, at, gone) }
