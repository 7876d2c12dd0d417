// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
)

// Refusal returns the answer to a client whose connection is not let in.
func Refusal(reason live.Reason) []byte {
	return appendFailure(nil, failure{reason: reason, status: reason.Status(), close: true})
}

// guarded serves a request while the gate looks at them: memory is not calm,
// or the number of those under way is bounded.
func (c *conn) guarded(g *gate.Gate) (keep bool) {
	level := g.Level()
	if level != gate.Calm && c.parent != nil {
		c.parent.mux.Load().Drain() // an answer cannot say that it is the last one
	}
	if level == gate.Short || !g.Begin() {
		return c.turnAway(level)
	}
	defer g.End()
	return c.transact(level != gate.Calm)
}

// turnAway refuses a request. The connection is kept if memory allows: to
// open it anew would cost both sides more than the request.
func (c *conn) turnAway(level gate.Level) (keep bool) {
	w := c.w
	w.plan = c.makePlan(&w.head)
	c.server.options.Counters.Refused[live.Overloaded-1].Add(c.shard, 1)
	keep = level == gate.Calm && !w.plan.close && w.plan.buffered
	w.out = appendFailure(w.out[:0], failure{
		reason: live.Overloaded, status: live.Overloaded.Status(),
		close: !keep, keepAlive: keep && w.plan.http10, head: w.plan.head, grpc: w.plan.grpc,
	})
	c.unread = c.unread || !w.plan.buffered
	c.owed = false
	if _, err := c.WriteWithin(w.out, farewell); err != nil {
		return false
	}
	return keep
}

// farewell is how long a client may take for an answer of our own.
const farewell = time.Second

const (
	// idleShare is the part of the connections that wait which CloseIdle
	// closes: with four calls a second half of them are gone after three.
	idleShare = 16
	// idleLeast is how many it closes at least.
	idleLeast = 64
)

// CloseIdle closes a part of the connections that wait for a request, those
// first that have waited longest.
func CloseIdle(listeners []*Listener) {
	type waiting struct {
		conn *conn
		due  int64
	}
	var all []waiting
	for _, l := range listeners {
		for _, c := range l.all() {
			// Who is in an exchange is not due. The others that do not wait
			// for a request find out when they are woken, go on, and are not asked
			// again: their next answer will be the last one anyway.
			if due := c.waits(); due != 0 && !c.unwanted.Load() {
				all = append(all, waiting{c, due})
			}
		}
	}
	slices.SortFunc(all, func(a, b waiting) int { return cmp.Compare(a.due, b.due) })
	for _, w := range all[:min(len(all), max(len(all)/idleShare, idleLeast))] {
		w.conn.unwanted.Store(true)
		if m := w.conn.mux.Load(); m != nil {
			m.Drain()
			continue
		}
		w.conn.Wake()
	}
}

// waits returns until when a connection waits at most; 0 if it has something to
// do. One of HTTP/2 has as long as it has streams.
func (c *conn) waits() int64 {
	m := c.mux.Load()
	if m == nil {
		return c.DueAt()
	}
	if since := m.Quiet(); since != 0 {
		return since + int64(c.listener.bound().KeepAlive)
	}
	return 0
}
