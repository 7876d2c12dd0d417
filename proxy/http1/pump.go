// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// pump sends the rest of a request's body to an instance while its answer may
// already come back. It uses the client's side for reading, the instance's
// for writing, and w.in; its maker uses the other sides.
type pump struct {
	conn     *conn
	upstream *upstream.Conn
	done     chan struct{}
	sent     atomic.Int64
	stopped  bool // by stop, which then is what it ended for
	// It ended by itself before the request was complete: who is woken by the
	// end of the instance's connection knows, though done may follow.
	broke atomic.Bool
	// Of the pump until done is closed:
	reason   live.Reason // why it ended early
	finished bool        // the body was sent to its end
	retains  bool        // work.taken holds all that it took from the client
}

// startPump sends what stands in w.out and starts to pump.
func (c *conn) startPump(u *upstream.Conn) (*pump, error) {
	w := c.w
	n, err := u.Write(w.out)
	declined := err != nil && n > 0 && !unsent(err) && u.Declined()
	if err != nil && !declined {
		return nil, &socket.WriteError{Err: err, Unsent: n == 0}
	}
	// What follows have in the buffer moves to its front.
	w.to = copy(w.in, w.in[w.from:w.to])
	w.from = 0
	p := &pump{conn: c, upstream: u, done: make(chan struct{}), retains: u.Carried()}
	w.taken = w.taken[:0]
	c.pump = p
	if declined { // whoever reads finds out whether there is an answer
		p.reason, p.retains = live.UpstreamReset, false
		close(p.done)
		return p, nil
	}
	go p.run()
	return p, nil
}

func (p *pump) run() {
	defer close(p.done)
	defer func() {
		if r := recover(); r != nil {
			p.reason = live.InternalError
			p.conn.server.options.Panics.Caught(p.conn.shard, "sending a body", r)
			p.broke.Store(true)
			p.upstream.Expire()
		}
	}()
	w := p.conn.w
	b := &w.body
	p.upstream.Due(0) // the time for its answer runs from the end of the request
	p.conn.Receiving(true)
	if b.framed {
		p.reason = p.chunked(b)
	} else {
		p.reason = p.length(b)
	}
	p.conn.Receiving(false)
	answerDue := socket.Now() + int64(w.bounds.FirstByte)
	p.conn.Due(0)
	switch p.reason {
	case live.None:
		p.finished = true
		p.conn.bear(false)
		p.upstream.Due(answerDue)
	case live.UpstreamReset:
		// It may have answered before it closed: whoever reads finds out.
	default:
		p.broke.Store(true)
		p.upstream.Expire() // the request will never be complete
	}
}

// read gives the client time for its next bytes.
func (p *pump) read(b []byte) (int, error) {
	p.conn.Due(p.conn.w.idleFrom(socket.Now()))
	n, err := p.conn.Read(b)
	p.conn.Due(0) // it is not to blame while the instance takes them
	return n, err
}

// length pumps a body of known length.
func (p *pump) length(b *body) live.Reason {
	w := p.conn.w
	if b.left >= spliceAt {
		p.retains = false
		n, err := p.upstream.Splice(p.conn.Conn, b.left, w.bounds.Idle)
		b.left -= n
		p.sent.Add(n)
		if err != nil {
			return p.blame(err)
		}
	}
	for b.left > 0 {
		n, err := p.read(w.in[:min(int64(len(w.in)), b.left)])
		if n == 0 {
			return readFailure(err)
		}
		b.left -= int64(n)
		if r := p.send(w.in[:n]); r != live.None {
			return r
		}
	}
	return live.None
}

// chunked pumps a chunked body. Bytes behind its end stay in w.in.
func (p *pump) chunked(b *body) live.Reason {
	w := p.conn.w
	for {
		n, err := b.chunks.take(w.in[w.from:w.to])
		if n > 0 {
			piece := w.in[w.from : w.from+n]
			w.from += n
			if r := p.send(piece); r != live.None {
				return r
			}
		}
		w.from += b.chunks.skip
		switch {
		case errors.Is(err, errTooLong):
			return live.BodyTooLarge
		case err != nil:
			return live.BadRequest
		}
		switch {
		case b.chunks.done():
			return live.None
		case b.chunks.skip > 0:
			continue // what follows may be there
		}
		w.to = copy(w.in, w.in[w.from:w.to])
		w.from = 0
		if w.to == len(w.in) {
			return live.BadRequest
		}
		m, err := p.read(w.in[w.to:])
		if m == 0 {
			return readFailure(err)
		}
		w.to += m
	}
}

func (p *pump) send(b []byte) live.Reason {
	p.retain(b)
	n, err := p.upstream.WriteWithin(b, p.conn.w.bounds.Idle)
	p.sent.Add(int64(n))
	if err != nil {
		return live.UpstreamReset
	}
	return live.None
}

// maxTaken bounds how much of a body is kept until its request is answered.
const maxTaken = 16 << 10

// retain keeps what was taken from the client, should the instance take nothing
// of the request.
func (p *pump) retain(b []byte) {
	if !p.retains {
		return
	}
	w := p.conn.w
	if p.retains = len(w.taken)+len(b) <= maxTaken; p.retains {
		w.taken = append(w.taken, b...)
	}
}

// takenBack reports whether an instance that spoke HTTP/2 did nothing about a
// request of which all is still there that was sent. Then the pump is over, and
// what it sent stands in w.out.
func (c *conn) takenBack(u *upstream.Conn, p *pump, err error) bool {
	w := c.w
	if !u.Carried() || !unsent(err) || w.got > 0 || w.interim > 0 {
		return false
	}
	u.Close()
	if p.stop() != live.None || !p.retains {
		return false
	}
	w.out = append(w.out, w.taken...)
	w.exchange.Seen.BytesIn += int64(len(w.taken))
	w.plan.buffered = !c.incompleteBody()
	c.pump = nil
	return true
}

// readFailure maps why the client sends no more.
func readFailure(err error) live.Reason {
	if errors.Is(err, socket.ErrExpired) {
		return live.RequestTimeout
	}
	return live.RequestAborted
}

// blame tells which side broke a transfer inside the kernel.
func (p *pump) blame(err error) live.Reason {
	if _, ok := errors.AsType[*socket.SpliceError](err); ok {
		return live.UpstreamReset
	}
	if p.conn.Expired() || errors.Is(err, socket.ErrExpired) {
		return live.RequestTimeout
	}
	if !p.conn.Alive() {
		return live.RequestAborted
	}
	return live.UpstreamReset
}

// stop ends the pump and returns why it had ended by itself, if the client is
// to blame. The instance's connection must be closed or expired.
func (p *pump) stop() live.Reason {
	select {
	case <-p.done:
	default:
		broke := p.broke.Load()
		p.conn.StopReading()
		<-p.done
		p.conn.Revive()
		p.stopped = !broke
	}
	if p.stopped {
		return live.None
	}
	switch p.reason {
	case live.RequestAborted, live.RequestTimeout, live.InternalError, live.BadRequest, live.BodyTooLarge:
		return p.reason
	default:
		return live.None
	}
}

// awaitEnd waits for the end of the request, but not for long.
func (p *pump) awaitEnd(u *upstream.Conn) {
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		u.Expire()
		p.stop()
	}
}

// endPump settles the request's body once the answer has been sent: a pump
// that is nearly through may finish.
func (c *conn) endPump(u *upstream.Conn, p *pump, keep, reuse bool) (bool, bool) {
	if c.parent != nil {
		p.endStream()
	} else {
		p.awaitEnd(u)
	}
	c.w.exchange.Seen.BytesIn += p.sent.Load()
	if p.finished {
		return keep, reuse
	}
	c.unread = true
	return false, false
}
