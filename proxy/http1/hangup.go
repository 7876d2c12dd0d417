// SPDX-License-Identifier: Apache-2.0

package http1

// Waiting implements socket.Watcher: it reports whether the exchange under way
// has stood still at its instance since the sweep before. Each exchange has a
// deadline of its own, which moves as the answer does, so that nothing needs to
// be noted for this where bytes move. While a body arrives there is no deadline;
// whoever reads it finds out by itself.
func (c *conn) Waiting() bool {
	u := c.upstream.Load()
	if u == nil || c.tunnelled.Load() {
		c.still = 0
		return false
	}
	due := u.DueAt()
	waiting := due != 0 && due == c.still
	c.still = due
	return waiting
}

// Vanished implements socket.Watcher: the exchange that waits is ended, for
// nobody can take its answer any more. If it has just ended by itself, its
// connection to the instance may serve another one by now, which has another
// deadline.
func (c *conn) Vanished() {
	c.gone.Store(true)
	if u := c.upstream.Load(); u != nil {
		u.ExpireIf(c.still)
	}
}

// vanished reports whether the client cannot take an answer any more.
func (c *conn) vanished() bool {
	if !c.gone.Load() && c.HungUp() {
		c.gone.Store(true)
	}
	return c.gone.Load()
}
