// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"io"
	"net/http"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// framing says where the body of an answer ends (RFC 9112 section 6.3).
type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

func (w *work) framing() framing {
	a := &w.answer
	switch {
	case w.plan.head, a.status == http.StatusNoContent, a.status == http.StatusNotModified:
		return noBody
	case a.chunked:
		return byChunks
	case a.length >= 0:
		return byLength
	default:
		return byClose
	}
}

// clientError wraps what went wrong on the client's side of a relay.
type clientError struct{ err error }

func (e *clientError) Error() string { return "client: " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

// errSurplus reports bytes behind the end of an answer: the connection is not
// used again, but the answer is good.
var errSurplus = errors.New("bytes after the answer")

// answer sends the answer whose head is in the work to the client, ends the
// exchange, and reports whether the client's connection may carry another.
func (c *conn) answer(u *upstream.Conn, p *pump) (keep bool) {
	w := c.w
	a := &w.answer
	if a.status == http.StatusSwitchingProtocols {
		return c.switchProtocols(u, p)
	}
	f := w.framing()
	w.exchange.Seen.Code = a.status
	keep = !w.plan.close && f != byClose && (!w.plan.http10 || f != byChunks) && !c.lasts()
	reuse := !a.close && f != byClose && (a.minor == 1 || a.keepAlive)
	edit := answerEdit{
		close:     !keep,
		keepAlive: keep && w.plan.http10,
		unchunked: w.plan.http10, // RFC 9112 section 6.1
		changes:   w.edits.changes(),
	}
	w.mark(&edit, u)
	err := c.relay(u, f, edit)
	if w.plan.grpc && f == byChunks && w.chunks.grpc != 0 {
		w.exchange.Seen.GRPC = w.chunks.grpc
	}
	if p != nil {
		if err == nil && f == byClose {
			_ = c.CloseWrite() // the answer ends here, whatever the client still sends
		}
		keep, reuse = c.endPump(u, p, keep, reuse)
	}
	switch {
	case err == nil:
	case errors.Is(err, errSurplus):
		reuse = false
	default:
		keep, reuse = false, false
		c.cutShort(err, f)
	}
	w.now = socket.Now()
	if reuse {
		c.returned(u)
	} else {
		u.Close()
	}
	c.unbind()
	w.exchange.End(w.now)
	return keep
}

// mark adds what the client is told of its way.
func (w *work) mark(e *answerEdit, u *upstream.Conn) {
	w.keeper.served(u.Instance)
	e.cookies = w.keeper.fields(&w.answer)
	e.upgrade = w.ofUpgrade()
	if w.hsts != "" && !w.saysHSTS(e.changes) {
		e.hsts = w.hsts
	}
	if w.exchange.Trace != nil {
		e.explain = w.explained(u.Instance.String())
	}
}

// cutShort makes sure that the client cannot take what it got for complete,
// and notes who is to blame.
func (c *conn) cutShort(err error, f framing) {
	if _, ok := errors.AsType[*clientError](err); ok {
		// One that takes no more is not waited for any longer than it was.
		if c.reset = errors.Is(err, socket.ErrExpired) || c.parent != nil; errors.Is(err, socket.ErrExpired) {
			c.w.exchange.Fail(c.w.late(live.ClientTooSlow))
			return
		}
		c.w.exchange.Fail(live.RequestAborted)
		return
	}
	reason := live.RequestAborted
	if !c.gone.Load() {
		reason = c.w.late(live.ResponseAborted)
	}
	c.w.exchange.Fail(reason)
	c.reset = f == byClose || c.w.plan.http10 || c.parent != nil
}

// relay sends head and body.
func (c *conn) relay(u *upstream.Conn, f framing, e answerEdit) error {
	w := c.w
	rest := w.back[len(w.answer.raw):w.got]
	switch f {
	case noBody:
		return surplus(c.sendHead(nil, e), len(rest) > 0)
	case byLength:
		n := min(w.answer.length, int64(len(rest)))
		if err := c.sendHead(rest[:n], e); err != nil {
			return err
		}
		return surplus(c.relayLength(u, w.answer.length-n), n < int64(len(rest)))
	case byChunks:
		return c.relayChunks(u, rest, e)
	default:
		if err := c.sendHead(rest, e); err != nil {
			return err
		}
		return c.relayClose(u)
	}
}

func surplus(err error, more bool) error {
	if err == nil && more {
		return errSurplus
	}
	return err
}

// sendHead sends the head and the body's bytes that stand behind it in one
// write.
func (c *conn) sendHead(body []byte, e answerEdit) error {
	w := c.w
	a := &w.answer
	size := len(a.raw)
	if a.unchanged(e) {
		return c.sendBody(w.back[:size+len(body)])
	}
	w.out = appendAnswer(w.out[:0], a, e)
	if len(body) > 2<<10 && len(w.out) <= size {
		// Cheaper to move the head in front of the body than the reverse.
		from := size - len(w.out)
		copy(w.back[from:], w.out)
		return c.sendBody(w.back[from : size+len(body)])
	}
	w.out = append(w.out, body...)
	return c.sendBody(w.out)
}

// sendBody writes to the client.
func (c *conn) sendBody(b []byte) error {
	c.owed = false
	n, err := c.WriteWithin(b, c.w.bounds.Idle)
	c.w.exchange.Seen.BytesOut += int64(n)
	if err != nil {
		return &clientError{err}
	}
	return nil
}

// moving gives the instance time for its next bytes.
func (c *conn) moving(u *upstream.Conn) {
	u.Due(c.w.idleFrom(socket.Now()))
}

// relayLength relays n bytes more.
func (c *conn) relayLength(u *upstream.Conn, n int64) error {
	w := c.w
	if n >= spliceAt {
		m, err := c.Splice(u.Conn, n, w.bounds.Idle)
		w.exchange.Seen.BytesOut += m
		if err != nil {
			return blame(u, err)
		}
		return nil
	}
	for n > 0 {
		c.moving(u)
		m, err := u.Read(w.back[:min(int64(len(w.back)), n)])
		if m > 0 {
			n -= int64(m)
			if err := c.sendBody(w.back[:m]); err != nil {
				return err
			}
			continue
		}
		return truncated(err)
	}
	return nil
}

// blame tells which side broke a transfer inside the kernel.
func blame(u *upstream.Conn, err error) error {
	if _, ok := errors.AsType[*socket.SpliceError](err); ok {
		return &clientError{err}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || u.Expired() || !u.Alive() {
		return err
	}
	return &clientError{err}
}

// truncated turns the end of a connection inside a message into an error.
func truncated(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// relayChunks relays a chunked body as it is, or its payload alone.
func (c *conn) relayChunks(u *upstream.Conn, rest []byte, e answerEdit) error {
	w := c.w
	w.chunks = chunks{lenient: u.Carried()}
	if e.unchunked {
		if err := c.sendHead(nil, e); err != nil {
			return err
		}
		w.got = copy(w.back, rest)
	} else {
		n, err := w.chunks.take(rest)
		if e := c.sendHead(rest[:n], e); e != nil {
			return e
		}
		if err != nil {
			return err
		}
		w.got = copy(w.back, rest[n+w.chunks.skip:])
	}
	for {
		used, err := c.passChunks(e)
		if err != nil {
			return err
		}
		w.got = copy(w.back, w.back[used:w.got])
		switch {
		case w.chunks.done():
			return surplus(nil, w.got > 0)
		case w.chunks.skip > 0:
			continue // what follows may be there
		}
		c.moving(u)
		n, err := u.Read(w.Buffer())
		if n == 0 {
			return truncated(err)
		}
		w.got += n
	}
}

// passChunks sends what is valid of the chunked bytes in w.back and returns
// how many it used.
func (c *conn) passChunks(e answerEdit) (used int, err error) {
	w := c.w
	if !e.unchunked {
		n, err := w.chunks.take(w.back[:w.got])
		if n > 0 {
			if err := c.sendBody(w.back[:n]); err != nil {
				return n, err
			}
		}
		return n + w.chunks.skip, err
	}
	for !w.chunks.done() && used < w.got {
		n, payload, err := w.chunks.step(w.back[used:w.got])
		if err != nil {
			return used, err
		}
		if n == 0 {
			break
		}
		if payload {
			if err := c.sendBody(w.back[used : used+n]); err != nil {
				return used, err
			}
		}
		used += n
	}
	return used, nil
}

// relayClose relays a body that ends with its connection.
func (c *conn) relayClose(u *upstream.Conn) error {
	w := c.w
	for {
		c.moving(u)
		n, err := u.Read(w.back)
		if n > 0 {
			if err := c.sendBody(w.back[:n]); err != nil {
				return err
			}
			continue
		}
		if err == nil || errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}
