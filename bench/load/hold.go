// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Held are connections that have carried one request each and are open and
// idle since. Its methods are safe for concurrent use.
type Held struct {
	mu    sync.Mutex // guards conns
	conns []net.Conn
}

// errNotKept reports a server that does not keep connections.
var errNotKept = errors.New("load: the server ends the connection after one request")

// errNotHeld reports connections that are not of HTTP/1.1.
var errNotHeld = errors.New("load: connections are held in only http/1.1")

// Hold opens n connections, sends one request of the plan's mix on each, at
// most 64 at a time, waits for the answers, of any status, and returns the
// connections open and idle. Of the plan it heeds Address, TLS, Protocol, which
// cannot be HTTP2, Mix and Timeout, which is that of one connection. If one of
// them fails, it closes all and returns the error. The context is for opening only.
func Hold(ctx context.Context, p Plan, n int) (*Held, error) {
	p.Connections, p.PerConnection = n, 0
	p, err := p.checked()
	if err == nil && p.Protocol == HTTP2 {
		err = errNotHeld
	}
	if err != nil {
		return nil, err
	}
	t, err := resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	m, err := newMix(p.Mix)
	if err != nil {
		return nil, err
	}
	asks, dial := asksOf(p.Mix), t.dialer()
	h := &Held{conns: make([]net.Conn, n)}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(opensAtOnce)
	for i := range h.conns {
		request := m.next()
		g.Go(func() error {
			c, err := dial(ctx)
			if err != nil {
				return fmt.Errorf("load: connection %d of %d: %w", i+1, n, err)
			}
			h.conns[i] = c
			if err := exchange(ctx, c, &http1{asks: asks}, request, p.Timeout); err != nil {
				return fmt.Errorf("load: connection %d of %d: %w", i+1, n, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// exchange sends one request and waits for its answer.
func exchange(ctx context.Context, c net.Conn, codec codec, request int32, limit time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	if _, err := c.Write(append(codec.reset(), codec.ask(0, request)...)); err != nil {
		return err
	}
	for {
		n, err := c.Read(buf[:])
		_, a, done, broken := codec.take(buf[:n])
		switch {
		case broken != nil:
			return broken
		case done && a.last:
			return errNotKept
		case done:
			if !stop() {
				return context.Cause(ctx)
			}
			return c.SetDeadline(time.Time{})
		case err != nil:
			return err
		}
	}
}

// Lost returns how many of the connections their peer has ended, or said
// something on unasked, which ends them as well. It closes these.
func (h *Held) Lost() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(opensAtOnce)
	lost := make([]bool, len(h.conns))
	for i, c := range h.conns {
		g.Go(func() error {
			lost[i] = c == nil || ended(c)
			return nil
		})
	}
	_ = g.Wait() // they return no errors
	var n int
	for i, l := range lost {
		if l {
			n++
			if h.conns[i] != nil {
				_ = h.conns[i].Close()
				h.conns[i] = nil
			}
		}
	}
	return n
}

// ended tells whether there is anything to read, be it the end.
func ended(c net.Conn) bool {
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return true
	}
	var b [1]byte
	_, err := c.Read(b[:])
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		return true
	}
	return c.SetReadDeadline(time.Time{}) != nil
}

// Close ends the connections. Further calls do nothing.
func (h *Held) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	h.conns = nil
}
