// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net/http"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// collapse ends a connection after a fault of ours, which recover returned. A
// request of whose answer nothing was sent is answered; an answer under way is
// cut so that it cannot be taken for complete. What the fault left behind is in
// an unknown state, and is not used again.
func (c *conn) collapse(fault any) {
	c.server.options.Panics.Caught(c.shard, "serving a connection", fault)
	if u := c.upstream.Swap(nil); u != nil {
		u.Abort()
	}
	if p := c.pump; p != nil {
		c.pump = nil
		p.stop() // it uses the work, and reads from the client as linger does
	}
	w, owed := c.w, c.owed
	c.w, c.owed = nil, false
	bodiless, ended := true, false
	if w != nil {
		bodiless, ended = c.settle(w, owed)
	}
	c.over() // if it is not in the books yet
	switch {
	case owed && !c.aborted.Load():
		c.Revive()
		c.unread = true
		f := failure{reason: live.InternalError, status: live.InternalError.Status(), close: true, head: bodiless}
		_, _ = c.WriteWithin(appendFailure(nil, f), time.Second) // if the client is gone there is nobody to tell
	case !ended:
		c.reset = true
	}
}

// settle gives back what an exchange held that a fault ended, and counts it.
// It reports whether an answer has no content, and whether the exchange had
// ended before. Another fault is not counted: it is one of the first.
func (c *conn) settle(w *work, owed bool) (bodiless, ended bool) {
	defer func() { _ = recover() }()
	bodiless = w.head.contentless()
	w.walk.End()
	if w.exchange.Open() {
		bodiless = w.plan.head // the head may be overwritten by now
		if owed {
			w.exchange.Seen.Code = http.StatusInternalServerError
		}
		w.exchange.Fail(live.InternalError)
		w.exchange.End(socket.Now())
		return bodiless, false
	}
	if owed {
		c.server.options.Counters.Refused[live.InternalError-1].Add(c.shard, 1)
	}
	return bodiless, true
}
