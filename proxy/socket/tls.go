// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrTruncated reports that a peer that speaks TLS ended the connection
// without saying that it would (RFC 8446 section 6.1): what was received may
// be cut short by anybody on the way. It is an io.ErrUnexpectedEOF.
var ErrTruncated = fmt.Errorf("ended without a closure alert: %w", io.ErrUnexpectedEOF)

// layer is the TLS of a connection. The transport of its tls.Conn is the wire,
// which reads and writes as the call at hand does: inside a callback of the
// raw connection without waiting, elsewhere as net.Conn does.
type layer struct {
	tls   *tls.Conn
	wire  wire
	state atomic.Pointer[tls.ConnectionState] // nil before the end of the handshake

	// Of the reading goroutine.
	drained bool // the last read took all of its record
	kept    bool // what stands in peeked is to be read before all else
	peeked  [1]byte
}

// ServerTLS makes the connection speak TLS as a server from now on. Nothing is
// sent yet: Handshake, or whatever reads or writes first, begins. It is called
// once, before anything else uses the connection; the config must not change
// any more.
func (c *Conn) ServerTLS(config *tls.Config) {
	l := c.secure()
	l.tls = tls.Server(&l.wire, config)
}

// ClientTLS makes the connection speak TLS as a client from now on, as
// ServerTLS does as a server. The config must name the server or verify it in
// another way.
func (c *Conn) ClientTLS(config *tls.Config) {
	l := c.secure()
	l.tls = tls.Client(&l.wire, config)
}

func (c *Conn) secure() *layer {
	l := &layer{drained: true}
	l.wire.conn = c
	c.layer = l
	l.take()
	return l
}

// TLS reports whether the connection speaks TLS, or what it is carried by.
func (c *Conn) TLS() bool {
	if c.by != nil {
		return c.by.Origin().TLS()
	}
	return c.layer != nil
}

// Handshake runs the handshake until it ends, ctx does, or the connection
// expires: ErrExpired. It is nil if the connection does not speak TLS or the
// handshake was done before. A connection on which it failed is of no more
// use; the peer has been told why, where the protocol has a word for it.
// An end of ctx expires the connection.
func (c *Conn) Handshake(ctx context.Context) error {
	if c.shaken() {
		return nil
	}
	c.layer.wire.shaking = true
	return c.shook(c.layer.tls.HandshakeContext(ctx))
}

// ready makes sure that the handshake is done. It is bounded as reads and
// writes are.
func (c *Conn) ready() error {
	if c.shaken() {
		return nil
	}
	c.layer.wire.shaking = true
	return c.shook(c.layer.tls.Handshake()) //nolint:noctx // by when the connection is due
}

// shaken reports that there is no handshake to wait for.
func (c *Conn) shaken() bool { return c.layer == nil || c.layer.state.Load() != nil }

// shook takes in how a handshake ended.
func (c *Conn) shook(err error) error {
	l := c.layer
	l.wire.shaking = false
	if err != nil {
		return c.translate(err)
	}
	state := l.tls.ConnectionState()
	l.state.Store(&state)
	return nil
}

// TLSState returns what the handshake agreed on; nil without TLS or before the
// end of the handshake. It is not to be changed; views of it may be kept. It
// may be called from any goroutine once the connection speaks TLS.
func (c *Conn) TLSState() *tls.ConnectionState {
	switch {
	case c.by != nil:
		return c.by.Origin().TLSState()
	case c.layer == nil:
		return nil
	}
	return c.layer.state.Load()
}

// read reads what was sent, as the wire is set to.
func (l *layer) read(b []byte) (int, error) {
	if l.kept {
		l.kept = false
		return copy(b, l.peeked[:]), nil
	}
	n, err := l.tls.Read(b)
	l.drained = n < len(b)
	if n > 0 {
		return n, nil // an error comes again
	}
	if errors.Is(err, io.EOF) && l.wire.ended || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, ErrTruncated
	}
	return 0, err
}

// quiet reports whether nothing that can be read has been taken off the wire.
func (l *layer) quiet() bool { return l.drained && l.wire.records <= 1 && !l.kept }

// Quiet reports whether nothing was taken off the network beyond what was read:
// true without TLS, which takes nothing ahead, and false if it is carried. It costs nothing, and does not
// look at the network as Alive does, which tells what a connection that is not
// quiet has in store. It is called by whoever would read.
func (c *Conn) Quiet() bool {
	l := c.layer
	if l == nil {
		return c.by == nil // whose own word is as cheap: Alive
	}
	return l.quiet() && l.wire.whole()
}

// pieceOfWrite is what is encrypted at a time. If the connection expires, as
// much is kept at most to be sent should it be revived.
const pieceOfWrite = 64 << 10

// write writes all of b. A wait that is not 0 bounds how long the peer may
// take nothing.
func (l *layer) write(b []byte, wait time.Duration) (int, error) {
	c := l.wire.conn
	if err := c.ready(); err != nil {
		return 0, err
	}
	switch {
	case c.expired.Load():
		return 0, ErrExpired
	case c.closed.Load():
		return 0, net.ErrClosed
	}
	if l.wire.wait.Load() != int64(wait) {
		l.wire.wait.Store(int64(wait))
	}
	n := 0
	for n < len(b) {
		m, err := l.tls.Write(b[n:min(len(b), n+pieceOfWrite)])
		if err == nil && l.wire.late.Load() {
			return n, ErrExpired
		}
		n += m
		if err != nil {
			return n, c.translate(err)
		}
	}
	return n, nil
}

// closeWait bounds how long the peer may take nothing where the end of TLS is
// to be said.
const closeWait = 5 * time.Second

// closeWrite says that nothing more is sent.
func (l *layer) closeWrite() error {
	if l.state.Load() == nil {
		return nil
	}
	l.wire.wait.Store(int64(closeWait))
	if err := l.tls.CloseWrite(); err != nil {
		return l.wire.conn.translate(err)
	}
	if l.wire.late.Load() {
		return ErrExpired
	}
	return nil
}

// close says so if that can be done without waiting.
func (l *layer) close() {
	l.wire.closing.Store(true)
	if l.state.Load() == nil || l.wire.busy.Load() || l.wire.late.Load() {
		return
	}
	// Who closes need not know whether the peer still listens.
	_ = l.tls.CloseWrite()
}

// alive reads of an idle connection what has come, and keeps it: session
// tickets and new keys are no message, but all else is.
func (l *layer) alive() bool {
	if l.kept || l.state.Load() == nil {
		return false
	}
	l.wire.impatient = true
	n, err := l.read(l.peeked[:])
	l.wire.impatient = false
	if n > 0 {
		l.kept, l.drained = true, false
	}
	return n == 0 && errors.Is(err, errAgain) && l.wire.whole()
}

// pieces64 are buffers of Splice where one side speaks TLS.
var pieces64 = sync.Pool{New: func() any { return new([pieceOfWrite]byte) }}

// copyFrom moves exactly n bytes from src to c through a buffer. A wait that
// is not 0 bounds how long either side may stand still. Errors of the
// destination are *SpliceError.
func (c *Conn) copyFrom(src *Conn, n int64, wait time.Duration) (moved int64, err error) {
	buf := pieces64.Get().(*[pieceOfWrite]byte)
	defer pieces64.Put(buf)
	for moved < n {
		if wait != 0 {
			src.Due(Now() + int64(wait))
		}
		m, err := src.Read(buf[:min(n-moved, int64(len(buf)))])
		if wait != 0 {
			src.Due(0)
		}
		if m == 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return moved, err
		}
		w, err := c.writeOut(buf[:m], wait)
		moved += int64(w)
		if err != nil {
			return moved, &SpliceError{err}
		}
	}
	return moved, nil
}

// writeOut writes all of b as Write and WriteWithin do, but never on behalf of
// a goroutine inside Loop: here another one may be.
func (c *Conn) writeOut(b []byte, wait time.Duration) (int, error) {
	switch {
	case c.layer != nil:
		return c.layer.write(b, wait)
	case c.by != nil:
		return c.carry(b, wait)
	}
	if wait != 0 {
		c.stuck.Store(Now() + int64(wait))
		defer c.stuck.Store(0)
	}
	n, err := c.tcp.Write(b)
	return n, c.translate(err)
}
