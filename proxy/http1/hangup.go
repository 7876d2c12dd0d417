// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// standstill is what the sweeper knows of the exchange under way.
type standstill struct {
	due   int64  // when the instance was due at the last sweep
	moved uint32 // conn.moved when the half-closed client was seen
	since int64  // when it was; 0: it was not
}

// Waiting implements socket.Watcher: it reports whether the exchange under way
// has stood still at its instance since the sweep before. Each exchange has a
// deadline of its own, which moves as the answer does, so that nothing needs to
// be noted for this where bytes move. While a body arrives there is no deadline;
// whoever reads it finds out by itself.
func (c *conn) Waiting() bool {
	u := c.upstream.Load()
	if u == nil || c.tunnelled.Load() {
		c.still = standstill{}
		return false
	}
	due := u.DueAt()
	if due == 0 || due != c.still.due {
		c.still = standstill{due: due}
		return false
	}
	return true
}

// Vanished implements socket.Watcher: the exchange that waits is ended, for
// nobody can take its answer any more. If it has just ended by itself, its
// connection to the instance may serve another one by now, which has another
// deadline.
func (c *conn) Vanished() {
	c.gone.Store(true)
	c.giveUp()
}

// HalfClosed implements socket.Watcher: a client that has ended its own
// direction may listen, or be gone, which only an answer would tell. The
// exchange that waits is ended once it has stood still for as long as such
// clients are waited with. What has just ended by itself is answered, whatever
// is made of the client.
func (c *conn) HalfClosed(now int64) {
	s := &c.still
	if moved := c.moved.Load(); s.since == 0 || moved != s.moved {
		s.since, s.moved = now, moved
	}
	if now-s.since >= c.patience.Load() {
		c.giveUp()
	}
}

// giveUp ends the exchange that the last sweep saw.
func (c *conn) giveUp() {
	if u := c.upstream.Load(); u != nil {
		u.ExpireIf(c.still.due, &c.gone)
	}
}

// bear notes for the sweep how long the exchange goes on for a client that has
// ended its own direction: for as long as anything, if that was not the end of
// what it has to say. Its end stands behind a body that is read, and behind
// further requests; of those that the kernel still has the sweep knows.
func (c *conn) bear(body bool) {
	w := c.w
	patience := int64(w.bounds.HalfClosed)
	if body || w.from < w.to || w.head.upgrade {
		patience = int64(routing.Never)
	}
	if c.patience.Load() != patience { // dearer to write than to read
		c.patience.Store(patience)
	}
}

// vanished reports whether the client cannot take an answer any more.
func (c *conn) vanished() bool {
	if !c.gone.Load() && c.HungUp() {
		c.gone.Store(true)
	}
	return c.gone.Load()
}

// left reports whether a client that waits for its exchange to begin has gone,
// or has been half closed for as long as such clients are waited with. One that
// has not sent all of its request never will; one that has sent further
// requests, or wants a tunnel, stays.
func (c *conn) left() bool {
	w := c.w
	switch {
	case !c.Ended():
		return false
	case c.Expired() || !w.plan.buffered || c.HungUp():
		return true
	case w.from < w.to || w.head.upgrade:
		return false
	}
	now := socket.Now()
	if w.halfClosed == 0 {
		w.halfClosed = now
	}
	return now-w.halfClosed >= int64(w.bounds.HalfClosed)
}
