// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"time"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// A client may speak HTTP/2: then its connection carries streams, and each of
// them is shown to a conn of its own as a connection of HTTP/1 (package http2).
// The one that was accepted reads frames, and has no exchange itself.

// SetHTTP2 says how HTTP/2 is spoken on connections that begin from now on. nil
// means that it is not. h must not be changed any more.
func (l *Listener) SetHTTP2(h *routing.HTTP2) { l.http2.Store(h) }

// preface is what a client begins with that speaks HTTP/2 (RFC 9113 section
// 3.4). No request of HTTP/1 does.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// prefaced reports whether a connection begins with the preface in plain text,
// where that is allowed, and whether all of it is there. Over TLS the handshake
// has to agree on HTTP/2 (RFC 9113 section 3.2).
func (c *conn) prefaced() (begins, whole bool) {
	w := c.w
	if c.begun || c.parent != nil || c.facts.TLS != nil || c.listener.http2.Load() == nil {
		return false, false
	}
	b := w.in[w.from:w.to]
	n := min(len(b), len(preface))
	return string(b[:n]) == preface[:n], n == len(preface)
}

// agreed reports whether the handshake agreed on HTTP/2.
func (c *conn) agreed() bool { return c.facts.TLS != nil && c.facts.TLS.ALPN == "h2" }

// serveStreams serves a connection of HTTP/2 to its end. What was read of it is
// in the work, if there is one.
func (c *conn) serveStreams() {
	var pre []byte
	if w := c.w; w != nil {
		pre = bytes.Clone(w.in[w.from:w.to])
		w.from, w.to = 0, 0
		c.release()
	}
	c.headSince = 0
	options := c.server.http2Options(c.listener)
	m := http2.New(c.Conn, c.server.options.Sweeper, &options, c.carry)
	open := c.server.options.Counters.OpenHTTP2
	open.Add(c.shard, 1)
	c.mux.Store(m)
	if c.listener.draining.Load() {
		m.Drain() // who announced that may have looked before
	}
	if c.aborted.Load() {
		m.Abort()
	}
	defer func() {
		m.Abort() // if a fault has ended Run, nobody else has told those whom it carries
		c.lanes.Wait()
		open.Add(c.shard, -1)
	}()
	_ = m.Run(pre) // whoever counts ends has been told
}

// http2Options returns how HTTP/2 is spoken on a connection that was accepted.
func (s *Server) http2Options(l *Listener) http2.Options {
	h := l.http2.Load()
	if h == nil { // since the handshake
		d := routing.DefaultHTTP2()
		h = &d
	}
	return http2.Options{
		Streams: h.Streams, HeaderList: h.HeaderList, MaxAge: h.MaxAge, MaxAgeGrace: h.MaxAgeGrace, Ping: h.Ping,
		Idle: l.bound().KeepAlive, Counters: s.options.Counters.HTTP2,
	}
}

// carry has a conversation inside the connection served.
func (c *conn) carry(sc *socket.Conn) {
	l := &conn{
		Conn: sc, server: c.server, listener: c.listener, ctx: c.ctx, parent: c, shard: c.server.turn.Add(1),
		facts: c.facts, origin: c.origin, asked: c.asked, trusted: c.trusted, forwarded: c.forwarded,
	}
	sc.Watch(l)
	c.lanes.Add(1)
	if !c.server.start(l) {
		sc.Close()
		c.lanes.Done()
	}
}

// Deserted implements socket.Watcher: the stream of the exchange under way is
// gone, which nobody need wait for a sweep to find. While a body arrives there is
// no deadline; whoever reads it finds out by itself. If the deadline moves
// meanwhile something of an answer has come, and to write it fails.
func (c *conn) Deserted() {
	if c.parent != nil && c.parent.aborted.Load() {
		c.aborted.Store(true)
	}
	c.gone.Store(true)
	if u := c.upstream.Load(); u != nil {
		if due := u.DueAt(); due != 0 {
			u.ExpireIf(due, &c.gone)
		}
	}
}

// endStream settles the rest of a request whose answer is complete: nobody
// wants it (RFC 9113 section 8.1).
func (p *pump) endStream() {
	p.conn.StopReading() // it may be waiting for more
	patience := time.NewTimer(streamPatience)
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		p.upstream.Expire() // the instance takes no more
		<-p.done
	}
	p.conn.Revive()
}

// streamPatience is how long an instance may take for what is under way of a
// request that it has answered.
const streamPatience = 20 * time.Millisecond
