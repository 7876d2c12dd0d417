// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"net/http"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// exchange serves the request in the work and reports whether the connection
// may carry another.
func (c *conn) exchange() (keep bool) {
	if g := c.server.options.Gate; g.Wary() {
		return c.guarded(g)
	}
	return c.transact(false)
}

// transact decides a request and has it answered. The answer is the last one
// of the connection if that is asked for.
func (c *conn) transact(last bool) (keep bool) {
	w := c.w
	gen := c.server.options.Handle.Load()
	w.view = request{head: &w.head, conn: &c.facts}
	w.plan = c.makePlan(&w.head)
	w.plan.close = w.plan.close || last
	c.traced()
	g := c.gateway(gen)
	if g == nil {
		c.refuse(live.NoGateway)
		return false
	}
	w.untraced(g)
	if c.trusted || g.Forwarded != routing.ForwardedX {
		c.credit(g.Forwarded)
	}
	if reason := c.enter(g); reason != live.None {
		c.refuse(reason)
		return false
	}
	w.hsts = ""
	if g.Asked.TLS != nil || c.asked != nil {
		if settled, keep := c.secure(gen, g); settled {
			return keep
		}
	}
	reason := w.exchange.Decide(gen, g, &w.view, w.now, c.shard)
	c.hops = w.exchange.Decision.Depth
	w.exchange.Seen.BytesIn = int64(len(w.head.raw) + len(w.body.have))
	c.bind()
	c.tell()
	if reason == live.None && w.tooLarge() {
		reason, w.plan.close, c.unread = live.BodyTooLarge, true, true
	}
	if reason == live.None && w.exchange.Limited() {
		reason = c.admit()
	}
	keep = c.conclude(reason)
	c.over()
	return keep
}

// conclude has the request answered: reason says why no instance may, None if
// one does.
func (c *conn) conclude(reason live.Reason) (keep bool) {
	w := c.w
	if reason != live.None {
		return c.fail(reason)
	}
	if answered, keep := c.edit(); answered {
		return keep
	}
	if w.head.seen&(1<<kindMaxForwards) != 0 && w.head.lastHop() {
		return c.answerHere()
	}
	c.keep()
	return c.forward()
}

// over enters the exchange in the books, which are not those of its gateways:
// once for each, after they counted it, and whatever became of it.
func (c *conn) over() {
	c.server.options.Counters.Books.Over(c.shard, c.hops)
	c.hops = 0
}

// gateway finds who takes the request: on the port of virtual hosts by Host
// first, otherwise by port.
func (c *conn) gateway(gen *live.Generation) *routing.CompiledGateway {
	if c.listener.virtualHosts.Load() {
		if g := gen.Snapshot.ByHostAndPath(c.w.view.Host(), c.w.view.Path()); g != nil && c.serves(g.Asked.TLS) {
			return g
		}
	}
	return c.listener.gateway(gen)
}

// makePlan notes what outlives the head.
func (c *conn) makePlan(h *head) plan {
	method := view(h.bytes(h.method))
	p := plan{
		head:     method == http.MethodHead,
		http10:   h.minor == 0,
		close:    h.close || h.minor == 0 && !h.keepAlive || c.lasts(),
		buffered: !c.incompleteBody(),
		grpc:     h.callsGRPC(),
	}
	p.safe = p.buffered && (method == http.MethodGet || p.head || method == http.MethodOptions || method == http.MethodTrace)
	return p
}

// lasts reports whether an answer is to be the last one of its connection. That
// of a stream need not: its client has been told in another way.
func (c *conn) lasts() bool { return c.parent == nil && c.listener.draining.Load() }

func (c *conn) incompleteBody() bool {
	b := &c.w.body
	return b.left > 0 || b.framed && !b.chunks.done()
}

// forward sends the request to an instance of the decided route and brings
// the answer back. An instance that cannot be reached is passed over for the
// next one; a kept connection that turns out to have ended is replaced.
func (c *conn) forward() (keep bool) {
	w := c.w
	own := c.forwarded
	if w.head.told {
		own = w.own
	}
	if k := &w.keeper; len(k.request) > 0 && !w.edits.drops(cookieName) {
		k.request = append(k.request, own...)
		own = k.request
	}
	switch {
	case w.exchange.Decision.Last().Route.Protocol.HTTP2():
		own = w.takeTrailers(own) // and no upgrade, for which HTTP/2 has no word
	case w.head.upgrade:
		own = w.ask(own)
	}
	w.out = appendRequest(w.out[:0], &w.head, own, &w.edits, w.now)
	if w.end != 0 {
		w.tellTimeLeft()
	}
	w.out = append(w.out, w.body.have...)
	w.client = c
	if w.retries = w.exchange.Decision.Last().Route.Retries; w.retries != nil {
		c.adopt()
	}
	w.exchange.Target().Begin(&w.walk, &w.view, w.now)
	keep = c.attempts()
	w.walk.End()
	return keep
}

// connect returns a connection to the instance, a kept one unless it must be
// fresh.
func (c *conn) connect(i *upstream.Instance, fresh bool) (*upstream.Conn, live.Reason) {
	if !fresh {
		if u := c.kept(i); u != nil {
			return u, live.None
		}
	}
	u, err := c.dial(i)
	c.w.now = socket.Now()
	if err != nil {
		if !c.outrun(c.w.now) {
			c.w.walk.Unreached(c.w.now, 0, err)
		}
		if c.w.retried > 0 {
			c.server.options.Counters.RetryFailed.Add(c.shard, 1)
		}
		return nil, live.ConnectFailure(err)
	}
	return u, live.None
}

// trip sends the request over one connection and brings the answer back, or
// says what is to be done instead.
func (c *conn) trip(u *upstream.Conn) (keep bool, then sequel) {
	c.bear(!c.w.plan.buffered)
	c.upstream.Store(u)
	if c.aborted.Load() {
		u.Expire() // Abort may have looked before
	}
	keep, then = c.roundTrip(u)
	c.upstream.Store(nil)
	if !c.w.plan.buffered {
		c.pump = nil
	}
	return keep, then
}

func (c *conn) roundTrip(u *upstream.Conn) (keep bool, then sequel) {
	w := c.w
	w.got, w.interim, w.fault = 0, 0, live.None
	began := w.now
	w.answer.most = w.bounds.AnswerHead
	c.started(u, began)
	if w.end != 0 {
		w.retellTimeLeft()
	}
	var p *pump
	var err error
	if w.plan.buffered {
		err = u.RoundTrip(w.out, w)
	} else {
		p, err = c.startPump(u)
		if err == nil {
			err = u.RoundTrip(nil, w)
		}
	}
	w.now = socket.Now()
	if err != nil {
		err = u.Late(err)
	}
	w.exchange.Seen.Upstream = w.exchange.Since(began, w.now)
	stray := err == nil && u.Reused && w.stray()
	if err == nil && w.fault == live.None && !stray {
		if w.retries == nil || !w.unwelcome() {
			w.walk.Answered(w.now, w.exchange.Seen.Upstream, w.heardOf())
			return c.answer(u, p), settled
		}
		w.walk.Unwelcome(w.now, w.exchange.Seen.Upstream, w.heardOf())
		if w.next, _ = c.another(false); w.next == nil {
			return c.answer(u, p), settled
		}
		c.dismiss(u)
		return false, elsewhere
	}
	if p != nil && c.takenBack(u, p, err) {
		p = nil
	}
	if stray || p == nil && c.replayable(u, err) && w.got == 0 && w.interim == 0 && c.mayReplay(err) {
		u.Close()
		return false, afresh
	}
	if p == nil {
		c.blame(c.lost(err), err) // before another instance takes its place
		if c.again(u.Instance, p, err) {
			u.Close()
			return false, elsewhere
		}
	}
	return c.abandon(u, p, err), settled
}

// mayReplay reports whether a request that failed on a kept connection can be
// sent again: always if none of it was sent, otherwise if it is safe
// (RFC 9110 section 9.2.2).
func (c *conn) mayReplay(err error) bool {
	if errors.Is(err, socket.ErrExpired) {
		return false
	}
	return c.w.plan.safe || unsent(err)
}

// abandon ends an exchange that got no answer.
func (c *conn) abandon(u *upstream.Conn, p *pump, err error) (keep bool) {
	reason := c.lost(err)
	u.Close()
	if p != nil {
		if r := p.stop(); r != live.None {
			reason = r
		}
		c.blame(reason, err)
	}
	return c.fail(c.w.late(reason))
}

// lost says why there is no answer.
func (c *conn) lost(err error) live.Reason {
	switch {
	case c.aborted.Load():
		return live.ShuttingDown
	case c.gone.Load():
		return live.RequestAborted
	case c.w.fault != live.None:
		return c.w.fault
	case errors.Is(err, socket.ErrExpired):
		return live.ResponseTimeout
	case live.IsTLS(err):
		return live.TLSFailed
	default:
		return live.UpstreamReset
	}
}

// blame counts against the instance what it is to blame for.
func (c *conn) blame(reason live.Reason, err error) {
	if c.outrun(c.w.now) {
		return
	}
	switch reason {
	case live.TLSFailed:
		c.w.walk.Unreached(c.w.now, c.w.exchange.Seen.Upstream, err)
	case live.UpstreamReset, live.UpstreamProtocol, live.ResponseTimeout:
		c.w.walk.Failed(c.w.now, c.w.exchange.Seen.Upstream)
	default:
	}
}

// fail answers an exchange with a failure of our own.
func (c *conn) fail(reason live.Reason) (keep bool) {
	w := c.w
	f := failure{reason: reason, status: reason.Status(), head: w.plan.head, hsts: w.hsts, grpc: w.plan.grpc}
	if w.exchange.Trace != nil {
		f.explain = w.explained(reason.String())
	}
	if reason == live.RateLimited || reason == live.CircuitOpen {
		f.denied = w.exchange.Denied
	}
	if reason == live.NoRoute {
		if s := w.exchange.Decision.Last().Gateway.Asked.NoRoute; s != 0 {
			f.status = s
		}
	}
	keep = !w.plan.close && w.plan.buffered
	f.close = !keep
	f.keepAlive = keep && w.plan.http10
	w.out = appendFailure(w.out[:0], f)
	w.exchange.Fail(reason)
	w.exchange.Seen.Code = f.status
	w.exchange.Seen.GRPC = 0 // of an answer in whose place another was sought
	if f.grpc {
		w.exchange.Seen.GRPC = reason.GRPC(f.status) + 1
	}
	if c.gone.Load() {
		keep, w.exchange.Seen.Code = false, 0
	}
	if c.Expired() && !c.aborted.Load() {
		c.Revive() // the client may have been too slow: it is told
	}
	if reason != live.RequestAborted && c.send(w.out) != nil {
		keep = false
	}
	c.unread = c.unread || !w.plan.buffered
	w.now = socket.Now()
	c.unbind()
	w.exchange.End(w.now)
	return keep
}

// send writes to the client within the time that a body may stand still.
func (c *conn) send(b []byte) error {
	c.owed = false
	n, err := c.WriteWithin(b, c.w.bounds.Idle)
	c.w.exchange.Seen.BytesOut += int64(n)
	return err
}
