// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// sequel is what follows an attempt.
type sequel uint8

const (
	// settled: the client has an answer.
	settled sequel = iota
	// afresh: the connection had ended before the request could be acted on, and
	// it is safe to send it over another one to the same instance.
	afresh
	// elsewhere: work.next is to serve the request.
	elsewhere
	// unreached: there is no connection to the instance.
	unreached
)

// adopt takes over what the route says of retries, of which the request needs
// to know: whether it may be sent twice.
func (c *conn) adopt() {
	w := c.w
	if !w.plan.safe && w.plan.buffered {
		w.plan.safe = w.retries.Repeats(view(w.head.bytes(w.head.method)))
	}
}

// attempts tries one instance after the other.
func (c *conn) attempts() (keep bool) {
	w := c.w
	w.retried = 0
	i, reason := c.pick(0)
	for i != nil {
		keep, then, why := c.attempt(i)
		switch then {
		case settled, afresh:
			return keep
		case elsewhere:
			i = w.next
		case unreached:
			reason = why
			if i, why = c.another(why == live.ConnectRefused); why == live.Overloaded {
				reason = why // the others have enough to do
			}
		}
	}
	return c.fail(c.ended(reason))
}

// ended says why an exchange ended that reached no instance.
func (c *conn) ended(reason live.Reason) live.Reason {
	switch {
	case c.aborted.Load():
		return live.ShuttingDown
	case c.gone.Load():
		return live.RequestAborted
	}
	return c.w.late(reason)
}

// attempt has one instance serve the request. A kept connection that turns out
// to have ended is replaced.
func (c *conn) attempt(i *upstream.Instance) (keep bool, then sequel, reason live.Reason) {
	counters := c.server.options.Counters
	u, reason := c.connect(i, false)
	if u == nil {
		return false, unreached, reason
	}
	if c.w.retried > 0 {
		counters.Retried.Add(c.shard, 1)
	}
	for c.w.replays = 0; ; c.w.replays++ {
		if keep, then = c.trip(u); then != afresh {
			return keep, then, live.None
		}
		counters.Replayed.Add(c.shard, 1)
		if u, reason = c.connect(i, true); u == nil {
			return false, unreached, reason
		}
	}
}

// replayable reports whether what failed by err over a connection may be sent
// over another one to the same instance. That is said of one that was kept, so
// of the first alone. A stream may be refused on any, though not without end.
func (c *conn) replayable(u *upstream.Conn, err error) bool {
	return u.Reused || u.Carried() && unsent(err) && c.w.replays < maxReplays
}

// maxReplays is how often a request is sent again to an instance that refuses
// streams.
const maxReplays = 3

// another chooses the instance to try next, nil if none is to be: it stays
// within the target, and takes no ticket. What is free takes nothing from the
// budget: an instance that refuses a connection at once, as one does that is
// restarted or leaves, has no work from it that retries could multiply.
func (c *conn) another(free bool) (*upstream.Instance, live.Reason) {
	w := c.w
	asked := live.RetriesOf(w.exchange.Decision.Last().Route)
	if w.retried >= asked.Attempts || c.aborted.Load() || w.overrun(w.now) || c.vanished() {
		return nil, live.None
	}
	i, reason := c.pick(w.retried + 1)
	if i == nil {
		return nil, reason
	}
	if !w.exchange.Retry(asked, free) {
		c.server.options.Counters.RetrySpent.Add(c.shard, 1)
		return nil, live.None
	}
	w.retried++
	return i, live.None
}

// again chooses the instance that is asked after one that failed, and reports
// whether there is one; i is that which failed. Nothing of an answer was passed on, and what may have
// reached an instance is sent again only if that is safe. A body that is under
// way cannot be.
func (c *conn) again(i *upstream.Instance, p *pump, err error) bool {
	w := c.w
	if p != nil || w.interim > 0 || !w.plan.safe && !unsent(err) {
		return false
	}
	w.next, _ = c.another(i.Leaves())
	return w.next != nil
}

// unsent reports whether a request failed before an instance could have got any
// of it.
func unsent(err error) bool {
	if we, ok := errors.AsType[*socket.WriteError](err); ok {
		return we.Unsent
	}
	return live.IsTLS(err) // which failed, so that nothing of it was read
}

// unwelcome reports whether the answer in the work is one after which another
// instance may be asked.
func (w *work) unwelcome() bool {
	return w.retries.Statuses.Has(w.answer.status) && w.plan.safe && w.interim == 0
}

// dismiss drops an answer of which nothing was sent. Its connection is kept if
// it is known to be over.
func (c *conn) dismiss(u *upstream.Conn) {
	w := c.w
	a := &w.answer
	rest := int64(w.got - len(a.raw))
	f := w.framing()
	over := f == noBody && rest == 0 || f == byLength && rest == a.length
	if over && !a.close && (a.minor == 1 || a.keepAlive) {
		c.returned(u)
		return
	}
	u.Close()
}
