// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/arrive"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// conn serves one client connection: it is the socket.Handler of its reads.
type conn struct {
	*socket.Conn
	server    *Server
	listener  *Listener
	door      *arrive.Door    // how it begins; nil if with a request, or once it has begun
	ctx       context.Context //nolint:containedctx // the connection's own life, not a call's
	facts     conditions.Conn
	origin    origin
	asked     *routing.ListenTLS // what the client was asked for when TLS began; nil on plain connections
	trusted   bool               // the peer is a proxy that may say who the client is
	shard     uint32
	seat      gate.Seat
	unwanted  atomic.Bool          // to be closed if it waits for a request
	forwarded []byte               // the fields that are the same for all requests
	room      [usualForwarded]byte // for them

	next, prev *conn // of the listener, under its mutex

	parent *conn                      // carries it; nil if it was accepted
	mux    atomic.Pointer[http2.Conn] // what it carries streams with; nil with HTTP/1
	lanes  sync.WaitGroup             // that it carries

	aborted   atomic.Bool                   // ended by Listener.Abort or Cut
	tunnelled atomic.Bool                   // tunnel runs
	gone      atomic.Bool                   // the client can take nothing any more, or is taken not to
	patience  atomic.Int64                  // how long the exchange under way may stand still for a half-closed client
	moved     atomic.Uint32                 // counts what comes of an answer before its head is complete
	still     standstill                    // of the sweeper
	upstream  atomic.Pointer[upstream.Conn] // of the exchange under way that may wait long
	tunnel    *tunnel                       // what the last exchange left behind; mostly nil
	own       *own                          // connections to instances that belong to the client; mostly nil
	pump      *pump                         // of the exchange under way; mostly nil

	w         *work        // nil while the connection waits
	part      []byte       // what stands of an incomplete head while it waits
	between   bool         // waits for a request of which nothing has come
	skipped   bool         // an empty line since the last request
	begun     bool         // a request has come
	streams   bool         // HTTP/2 is spoken from here on
	headSince int64        // when the first byte of an incomplete head came; 0 if none
	took      int64        // how long a head took that came in pieces; 0: it did not
	keepAlive int64        // how long the next request may take to begin
	rate      routing.Rate // that the client is held to
	hops      int          // gateways that the exchange under way went through; 0 once it is in the books
	outside   bool         // the exchange in w must run outside the wait for the client
	owed      bool         // nothing of the answer to the present request was sent
	unread    bool         // the client may still be sending when the connection ends
	reset     bool         // the connection ends with a reset; not to be closed inside the wait
}

const (
	// usualForwarded is room for the forwarded fields of an IPv4 client.
	usualForwarded = 96
	bufferSize     = 16 << 10
	// spliceAt is the rest of a body from which on it is moved in the kernel.
	spliceAt = 64 << 10
)

func newConn(ctx context.Context, s *Server, l *Listener, sc *socket.Conn) *conn {
	c := &conn{Conn: sc, server: s, listener: l, ctx: ctx, shard: s.turn.Add(1)}
	c.keepAlive = int64(l.bound().KeepAlive)
	sc.Watch(c)
	c.facts.Peer = addrPort(sc.TCP().RemoteAddr())
	c.facts.Client = c.facts.Peer
	c.facts.Local = addrPort(sc.TCP().LocalAddr())
	c.door = l.Door()
	c.meet()
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// arrive has the connection begin, and reports whether it may go on.
func (c *conn) arrive() bool {
	a := arrive.Arrival{Facts: c.facts, Named: c.seat.Name}
	in, why := c.door.Enter(c.ctx, c.Conn, &a)
	c.door = nil
	switch {
	case in:
		c.facts, c.asked = a.Facts, a.Asked
		c.meet()
		c.origin.tlvs = bytes.Clone(a.TLVs) // which are the end of a larger buffer
		return true
	case why == live.PlainOnTLS:
		c.take()
		c.w.head.reset() // nothing of it was read
		c.refuse(why)
	case why != live.None:
		c.reset = true
	}
	return false
}

// meet notes what is known of the client by the facts.
func (c *conn) meet() {
	c.origin = originOf(c.facts.Client, &c.facts)
	c.trusted = c.server.options.Trust.Believes(c.origin.peer.Addr())
	c.forwarded = appendForwarded(c.room[:0], &c.origin, &c.facts)
}

// originOf returns where a connection comes from that was made by peer.
func originOf(peer netip.AddrPort, facts *conditions.Conn) origin {
	o := origin{peer: peer}
	if facts.TLS != nil && facts.TLS.Client != nil && facts.TLS.Client.Verified {
		o.certificate = appendCertificate(nil, facts.TLS.Client)
	}
	return o
}

// appendForwarded appends what appendOwn would of a client that is not
// trusted, as far as it is the same for all requests of the connection.
func appendForwarded(b []byte, from *origin, facts *conditions.Conn) []byte {
	b = append(b, "X-Forwarded-For: "...)
	b = from.peer.Addr().WithZone("").AppendTo(b)
	b = append(b, "\r\nX-Forwarded-Proto: "...)
	if facts.TLS != nil {
		b = append(b, "https"...)
	} else {
		b = append(b, "http"...)
	}
	b = append(b, "\r\nX-Forwarded-Port: "...)
	b = strconv.AppendUint(b, uint64(facts.Local.Port()), 10)
	b = append(b, "\r\n"...)
	return appendCertificates(b, nil, from.certificate)
}

// serve serves the connection to its end.
func (c *conn) serve() {
	defer c.finish()
	if c.door != nil && !c.arrive() {
		return
	}
	switch {
	case c.agreed() && c.parent == nil:
		c.serveStreams()
		return
	case c.parent == nil:
		// A connection that has not sent anything yet is not waiting: its first
		// request may be under way. It has the time of a head.
		c.Due(socket.Now() + int64(c.listener.bound().HeadTimeout))
	}
	for {
		err := c.Loop(c)
		for err == nil {
			// The callback ended the connection, or left it to us.
			switch {
			case c.streams:
				c.serveStreams()
				return
			case !c.outside:
				return
			}
			c.outside = false
			if !c.exchange() {
				if c.tunnel != nil {
					c.runTunnel()
				}
				return
			}
			if c.process() != socket.Done {
				c.Idle()
				break
			}
		}
		if err != nil {
			if errors.Is(err, socket.ErrExpired) {
				c.expire()
			}
			return
		}
	}
}

// expire tells a client whose head did not arrive in time.
func (c *conn) expire() {
	if c.headSince == 0 || c.aborted.Load() {
		return
	}
	c.Revive()
	c.take()
	w := c.w
	w.head.scanRequest(w.in[w.from:w.to]) // its method may have arrived
	c.refuse(live.RequestTimeout)
}

// finish closes the connection. A fault ends it, not the process.
func (c *conn) finish() {
	if fault := recover(); fault != nil {
		c.collapse(fault)
	}
	switch {
	case c.reset:
		c.Abort()
	case c.unread:
		c.linger()
	}
	c.Close()
	c.disown()
	c.release()
	c.part = nil
}

// What a client may still send, and for how long, while it reads its answer.
// More than a socket buffer holds: one that notices in the middle of an upload
// has filled them all.
const (
	lingerTime = 2e9
	lingerSize = 16 << 20
)

// linger lets the client read the answer before the connection is closed: a
// close with bytes unread would reset it (RFC 9112 section 9.6).
func (c *conn) linger() {
	if c.parent != nil || c.aborted.Load() || c.CloseWrite() != nil {
		return
	}
	c.take()
	c.Due(socket.Now() + lingerTime)
	for total := 0; total < lingerSize; {
		n, err := c.Read(c.w.in)
		if err != nil {
			return
		}
		total += n
	}
}

// take makes sure that there is a work, with what was put aside in it.
func (c *conn) take() {
	if c.w != nil {
		return
	}
	w := c.server.worksOf(c.shard).get()
	w.from, w.to = 0, 0             // of another connection
	for len(c.part) > len(w.in)/2 { // TestHeadsOfVirtualHosts loses bytes without
		w.grow()
	}
	w.to = copy(w.in, c.part)
	c.part = c.part[:0]
	c.w = w
}

// release gives the work back.
func (c *conn) release() {
	if c.w == nil {
		return
	}
	w := c.w
	c.w = nil
	w.shrink()
	c.server.worksOf(c.shard).put(w)
}

// Buffer implements socket.Handler.
func (c *conn) Buffer() []byte {
	c.take()
	w := c.w
	if w.to == len(w.in) {
		w.grow()
	}
	return w.in[w.to:]
}

// Data implements socket.Handler.
func (c *conn) Data(n int) socket.Next {
	c.between = false
	w := c.w
	fresh := w.in[w.to : w.to+n]
	w.to += n
	if c.headSince != 0 && w.to-w.from < c.listener.bound().Head && bytes.IndexByte(fresh, '\n') < 0 {
		return socket.More // a head that drips in is not scanned at each byte
	}
	return c.process()
}

// Idle implements socket.Handler.
func (c *conn) Idle() {
	if c.w == nil {
		return
	}
	c.part = append(c.part[:0], c.w.in[c.w.from:c.w.to]...)
	if len(c.part) == 0 && cap(c.part) > 1<<10 {
		c.part = nil
	}
	c.release()
}

// Woken implements socket.Handler: a listener that drains, or memory that is
// short, ends connections that wait, but not one whose request has just
// arrived.
func (c *conn) Woken() socket.Next {
	if (c.listener.closing.Load() || c.unwanted.Load()) && c.between && c.Alive() {
		return socket.Done
	}
	return socket.More
}

// process serves the requests that are complete in the buffer.
func (c *conn) process() socket.Next {
	w := c.w
	w.head.entry = c.listener.bound()
	for c.skipEmpty(); w.from < w.to; c.skipEmpty() {
		n, reason := w.head.scanRequest(w.in[w.from:w.to])
		switch {
		case reason != live.None:
			return c.unreadable(reason)
		case n == 0:
			return c.incomplete()
		}
		c.took, c.skipped, c.owed, c.begun = 0, false, true, true
		c.Due(0)
		if c.Expired() && !c.aborted.Load() {
			c.Revive() // it came in the moment at which the time was up
		}
		w.now = socket.Now()
		if c.headSince != 0 {
			c.took, c.headSince = w.now-c.headSince, 0
		}
		if !agree(&w.head) {
			c.refuse(live.BadRequest)
			return socket.Done
		}
		w.from += n
		switch complete, ok := w.takeBody(c.parent != nil); {
		case !ok:
			c.refuse(live.BadRequest)
			return socket.Done
		case !complete || w.head.upgrade: // a tunnel reads for itself
			c.outside = true
			return socket.Done
		}
		if !c.exchange() {
			return socket.Done
		}
	}
	w.from, w.to = 0, 0
	return c.wait()
}

// unreadable settles what is no request: another version begins with it, or the
// connection ends.
func (c *conn) unreadable(reason live.Reason) socket.Next {
	if begins, whole := c.prefaced(); begins {
		if !whole {
			return c.incomplete()
		}
		c.streams = true
		return socket.Done
	}
	if arrive.BeginsTLS(c.w.in[c.w.from]) {
		c.refuseTLS()
	} else {
		c.refuse(reason)
	}
	return socket.Done
}

// skipEmpty passes over an empty line before a request (RFC 9112 section
// 2.2): nothing has come of a request as long as no other bytes have.
func (c *conn) skipEmpty() {
	w := c.w
	if w.to-w.from >= 2 && w.in[w.from] == '\r' && w.in[w.from+1] == '\n' && !c.skipped {
		w.from += 2
		c.skipped = true // more of them count as a head
	}
}

// wait marks the connection as one that may be closed. What carries streams does
// that, who must not lose one that comes in the same moment.
func (c *conn) wait() socket.Next {
	if c.parent != nil {
		return socket.Park
	}
	c.Due(c.w.now + c.keepAlive)
	c.between = true
	if c.listener.closing.Load() { // an end that was only announced must be told first
		return socket.Done
	}
	return socket.Park
}

// incomplete waits for the rest of a head. The time for it runs from its
// first byte, however the rest drips in.
func (c *conn) incomplete() socket.Next {
	w := c.w
	if w.from > 0 {
		w.to = copy(w.in, w.in[w.from:w.to])
		w.from = 0
	}
	if c.headSince == 0 {
		c.headSince = socket.Now()
		c.Due(c.headSince + int64(c.listener.bound().HeadTimeout))
	}
	return socket.More
}

// refuseTLS ends a connection on which TLS begins where none is spoken. It
// counts as a connection: no request was read. The answer is what an invalid
// request line gets (RFC 9112 section 3), and tells a client's log what it was.
func (c *conn) refuseTLS() {
	c.server.options.Gate.Refuse(live.TLSOnPlain)
	c.turnDown(live.TLSOnPlain)
}

// contentless reports whether an answer to the request, as far as it was
// scanned, has no content.
func (h *head) contentless() bool { return string(h.bytes(h.method)) == http.MethodHead }

// refuse answers what never became an exchange and ends the connection.
func (c *conn) refuse(reason live.Reason) {
	c.server.options.Counters.Refused[reason-1].Add(c.shard, 1)
	c.turnDown(reason)
}

// turnDown answers with a failure and ends the connection.
func (c *conn) turnDown(reason live.Reason) {
	c.unread = true
	c.owed = false
	h := &c.w.head
	f := failure{reason: reason, status: reason.Status(), close: true, head: h.contentless(), grpc: h.callsGRPC()}
	// If the client is gone there is nobody to tell.
	_, _ = c.WriteWithin(appendFailure(c.w.out[:0], f), time.Second)
}
