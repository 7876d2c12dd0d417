// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// servePlain serves with a goroutine a connection, which works everywhere.
func servePlain(ctx context.Context, listeners []*net.TCPListener) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, ln := range listeners {
		g.Go(func() error { return accept(ctx, ln) })
	}
	return g.Wait()
}

// accept serves what connects until ctx ends, and returns when all of it has
// ended.
func accept(ctx context.Context, ln *net.TCPListener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		c, err := ln.AcceptTCP()
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			pause(ctx, breath)
			continue
		case err != nil:
			return err
		}
		wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			(&plainConn{tcp: c, page: newPage()}).serve(ctx)
			_ = c.Close()
		})
	}
}

// breath is how long nobody is accepted when no descriptor is left.
const breath = 10 * time.Millisecond

// pause waits and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// plainConn is a connection that is served by a goroutine of its own.
type plainConn struct {
	tcp  *net.TCPConn
	x    exchange
	page *page
}

// serve answers requests until one of them, the client or ctx ends the
// connection.
func (c *plainConn) serve(ctx context.Context) {
	buf := make([]byte, 2*maxHead)
	for have := 0; ; {
		n, err := c.tcp.Read(buf[have:])
		if err != nil {
			return
		}
		rest, goOn := c.take(ctx, buf[:have+n])
		if !goOn {
			return
		}
		have = copy(buf, rest)
	}
}

// take serves what was read and returns what is left of it, and whether the
// connection goes on.
func (c *plainConn) take(ctx context.Context, in []byte) (rest []byte, goOn bool) {
	for len(in) > 0 {
		n, do := c.x.next(in)
		in = in[n:]
		switch do {
		case read:
			return in, true
		case consent:
			if _, err := io.WriteString(c.tcp, proceed); err != nil {
				return nil, false
			}
		case reply:
			if !c.reply(ctx) {
				return nil, false
			}
		}
	}
	return nil, true
}

// reply sends the answer and reports whether the connection goes on.
func (c *plainConn) reply(ctx context.Context) bool {
	a := c.x.answer
	if a.delay > 0 && !pause(ctx, a.delay) {
		return false
	}
	b, head := c.page.frame(a)
	left := a.body() - int64(len(b)-head)
	for {
		if _, err := c.tcp.Write(b); err != nil {
			return false
		}
		if left == 0 {
			break
		}
		b = c.page.filler(left)
		left -= int64(len(b))
	}
	if a.refused {
		_ = c.tcp.CloseWrite()
		_ = c.tcp.SetReadDeadline(time.Now().Add(linger))
		_, _ = io.Copy(io.Discard, c.tcp)
	}
	return !a.close
}
