// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// What holds where no gateway is known.
var (
	defaultEntry  = routing.DefaultEntry()
	defaultBounds = routing.DefaultBounds()
)

// SetEntry says what may be a request for one of the gateways that take
// requests here: heads are read by it before the gateway is known. nil means
// the defaults. e must not be changed any more.
func (l *Listener) SetEntry(e *routing.Entry) { l.entry.Store(e) }

// bound returns what heads are read by.
func (l *Listener) bound() *routing.Entry {
	if e := l.entry.Load(); e != nil {
		return e
	}
	return &defaultEntry
}

// enter holds a request to what its own gateway allows. Where heads are read
// by the same, they have been held to it already.
func (c *conn) enter(g *routing.CompiledGateway) live.Reason {
	c.keepAlive = int64(g.Entry.KeepAlive)
	if c.parent != nil && g.HTTP2.Off { // others allow it on a port that they share
		return live.VersionRefused
	}
	if c.w.head.entry == &g.Entry {
		return live.None
	}
	if took := c.took; took != 0 && took > int64(g.Entry.HeadTimeout) {
		return live.RequestTimeout
	}
	return c.w.head.exceeds(&g.Entry)
}

// exceeds returns in what a head is too large.
func (h *head) exceeds(e *routing.Entry) live.Reason {
	switch {
	// The target begins behind the method, whatever of it names the host.
	case int(h.target.to)-int(h.method.to)-1 > e.Target:
		return live.TargetTooLong
	case len(h.raw) > e.Head, len(h.fields) > e.Fields:
		return live.HeadTooLarge
	}
	return live.None
}

// bind makes the exchange keep to the bounds of what was decided.
func (c *conn) bind() {
	w := c.w
	b := w.exchange.Decision.Bounds(&w.room)
	w.bounds = b
	if c.rate != b.MinRate {
		c.rate = b.MinRate
		c.Pace(b.MinRate.Bytes, b.MinRate.Window)
	}
	total := b.Total
	w.hurried = false
	if c.trusted {
		total = w.claims.within(total)
		w.hurried = total < b.Total
	}
	if w.plan.grpc {
		total = c.call(total)
	}
	if total != routing.Never {
		w.end = w.now + int64(total)
		c.Until(w.end)
	}
}

// unbind lets go of the end of the exchange.
func (c *conn) unbind() {
	if c.w.end != 0 {
		c.w.end = 0
		c.Until(0)
	}
}

// overrun reports whether the exchange was ended since it took too long.
func (w *work) overrun(now int64) bool { return w.end != 0 && now >= w.end }

// outrun reports whether the exchange was ended since whoever sent it does not
// wait as long as it may take here: no instance is to blame for that.
func (c *conn) outrun(now int64) bool { return c.w.hurried && c.w.overrun(now) }

// reachWithin returns how long an attempt to reach an instance may take.
func (w *work) reachWithin() time.Duration {
	if w.end == 0 {
		return w.bounds.Connect
	}
	return max(min(w.bounds.Connect, time.Duration(w.end-w.now)), time.Millisecond)
}

// tooLarge reports whether the content is known to be more than is allowed,
// and makes the rest of it be watched.
func (w *work) tooLarge() bool {
	b := &w.body
	b.chunks.most = w.bounds.Body
	return w.head.length > w.bounds.Body || b.chunks.total > w.bounds.Body
}

// started makes a connection to an instance end with the exchange, and gives
// the answer its time.
func (c *conn) started(u *upstream.Conn, began int64) {
	u.Due(began + int64(c.w.bounds.FirstByte))
	if c.w.end != 0 {
		u.Until(c.w.end)
	}
}

// returned gives a connection back to its instance.
func (c *conn) returned(u *upstream.Conn) {
	if c.w.end != 0 {
		u.Until(0)
	}
	if u.Instance.Own() {
		c.rest(u)
		return
	}
	u.Instance.Put(c.shard, u, c.w.now, c.w.bounds.UpstreamKeepAlive)
}

// idleFrom returns until when content may stand still.
func (w *work) idleFrom(now int64) int64 { return now + int64(w.bounds.Idle) }

// late returns why an exchange that did not end by itself was ended: reason,
// unless it had to be over.
func (w *work) late(reason live.Reason) live.Reason {
	if w.overrun(socket.Now()) {
		return live.ExchangeTimeout
	}
	return reason
}
