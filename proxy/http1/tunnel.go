// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"errors"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// tunnel is what becomes of a connection whose protocol changed. It holds what
// must live as long as it does, and nothing of the exchange: no buffers, no
// generation.
type tunnel struct {
	pair     socket.Pair
	upstream *upstream.Conn
	inFlight balance.Hold
	seen     live.Tunnel
}

// switchProtocols passes the answer 101 on, which ends the exchange, and
// leaves the tunnel to serve. What follows the heads on either side belongs to
// the new protocol.
func (c *conn) switchProtocols(u *upstream.Conn, p *pump) (keep bool) {
	w := c.w
	if reason := w.awaitRequest(p); reason != live.None {
		u.Close()
		return c.fail(reason)
	}
	e := answerEdit{changes: w.edits.changes()}
	w.mark(&e, u)
	head := len(w.answer.raw)
	rest := w.back[head:w.got]
	w.exchange.Seen.Code = w.answer.status
	err := c.sendHead(rest, e)
	w.now = socket.Now()
	if err != nil {
		c.cutShort(err, noBody)
		u.Close()
		c.unbind()
		w.exchange.End(w.now)
		return false
	}
	c.unbind()
	w.exchange.Seen.BytesOut -= int64(len(rest))
	c.tunnel = w.newTunnel(c, u)
	c.tunnel.seen.BytesOut(int64(len(rest)))
	w.exchange.End(w.now)
	return false
}

// awaitRequest waits until the request has been sent to its end: the new
// protocol begins behind it (RFC 9110 section 7.8). The pump has its own
// deadlines.
func (w *work) awaitRequest(p *pump) live.Reason {
	if p == nil {
		return live.None
	}
	<-p.done
	w.exchange.Seen.BytesIn += p.sent.Load()
	switch {
	case p.finished:
		return live.None
	case p.reason == live.None:
		return live.UpstreamReset
	default:
		return w.late(p.reason)
	}
}

// newTunnel takes over what the exchange leaves behind.
func (w *work) newTunnel(c *conn, u *upstream.Conn) *tunnel {
	t := &tunnel{upstream: u, inFlight: w.walk.Hold(), seen: w.exchange.Tunnel()}
	t.pair = socket.Pair{
		A: c.Conn, B: u.Conn,
		Idle:  w.bounds.Tunnel,
		FromA: t.seen.BytesIn, FromB: t.seen.BytesOut,
	}
	if w.from < w.to {
		t.pair.Ahead = bytes.Clone(w.in[w.from:w.to])
	}
	w.from, w.to = 0, 0
	return t
}

// runTunnel moves bytes until both sides have ended, or one has failed: then
// both are reset, so that neither takes what it got for complete.
func (c *conn) runTunnel() {
	t := c.tunnel
	c.release()
	end := metrics.TunnelCut // should there be a panic
	defer func() {
		c.upstream.Store(nil)
		t.upstream.Close()
		t.inFlight.End(socket.Now())
		t.seen.Close(end)
	}()
	t.upstream.Until(0) // that was for the exchange
	c.upstream.Store(t.upstream)
	c.tunnelled.Store(true)
	if c.aborted.Load() || c.listener.cutting.Load() {
		c.abort() // who asked for it may have looked before
	}
	err := t.pair.Run()
	if end = c.endOf(err); end != metrics.TunnelClosed {
		t.upstream.Abort()
		c.reset = true
	}
}

// endOf says what ended the tunnel.
func (c *conn) endOf(err error) metrics.TunnelEnd {
	broken, ok := errors.AsType[*socket.BrokenError](err)
	switch {
	case err == nil:
		return metrics.TunnelClosed
	case ok && broken.Side == c.Conn:
		return metrics.TunnelClientGone
	case ok:
		return metrics.TunnelInstanceGone
	case c.aborted.Load():
		return metrics.TunnelCut
	default:
		return metrics.TunnelIdle
	}
}

// abort ends the connection, and the exchange or tunnel that it carries.
func (c *conn) abort() {
	c.aborted.Store(true)
	c.Expire()
	if u := c.upstream.Load(); u != nil {
		u.Expire()
	}
}

// Cut ends the tunnels at once, and those that would begin later. Exchanges
// under way finish.
func (l *Listener) Cut() {
	l.cutting.Store(true)
	for _, c := range l.all() {
		if c.tunnelled.Load() {
			c.abort()
		}
	}
}
