// SPDX-License-Identifier: Apache-2.0

package socket

// Watcher is asked at each sweep about a connection of which nobody reads while
// something else is waited for. Its methods are called by the sweeper, one at a
// time; they must be quick, and must neither open nor close connections.
type Watcher interface {
	// Waiting reports whether it matters that the peer may be gone.
	Waiting() bool
	// Vanished is told that it is, as HungUp says.
	Vanished()
}

// Watch makes w be asked from now on.
func (c *Conn) Watch(w Watcher) {
	c.home.mu.Lock()
	defer c.home.mu.Unlock()
	c.watcher = w
}

// watch tells the watcher of a peer that has gone.
func (c *Conn) watch() {
	if !c.watcher.Waiting() {
		return
	}
	if c.hungFn == nil {
		c.hungFn = func(fd uintptr) { c.hung = hungUpFD(fd) }
	}
	c.hung = false
	if c.raw.Control(c.hungFn) == nil && c.hung {
		c.watcher.Vanished()
	}
}

// HungUp reports whether both directions of the connection have ended: it was
// reset, or has failed. A peer that has only ended its own direction may still
// take what is sent to it. Where that cannot be told, nobody has hung up. It may
// be called from any goroutine.
func (c *Conn) HungUp() bool {
	hung := false
	err := c.raw.Control(func(fd uintptr) { hung = hungUpFD(fd) })
	return err == nil && hung
}

// ExpireIf expires the connection if at is what it is due at still.
func (c *Conn) ExpireIf(at int64) { c.expireIfDue(&c.due, at) }
