// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// goroutines is the engine for connections of any kind: each has a goroutine
// that reads, tells the run, and sends what the run answers.
type goroutines struct {
	dial func(context.Context) (net.Conn, error)
	nap  func(time.Duration) // sleeps for longestNap at most, as exactly as it can
	ctx  context.Context     // of the dials of one call of drive
	wg   sync.WaitGroup      // all goroutines
	poke chan struct{}       // wakes drive before its time

	mu    sync.Mutex // guards the run and what follows
	run   *run
	links []*link // by index of the connection, nil while it is shut
	ready []*link // links that have something to send
	until int64   // when drive wakes by itself
}

// link is one connection as it was opened.
type link struct {
	conn    *conn
	cancel  context.CancelFunc // of its dial
	nc      net.Conn           // nil while it is dialled
	out     []byte             // to be sent
	sending bool               // somebody sends
}

// parcel is something to send that somebody has taken on.
type parcel struct {
	link  *link
	bytes []byte
}

const (
	longestNap = 2 * time.Millisecond
	// small is what fits into the buffer of a socket, so that sending it does
	// not wait for the peer. More is sent by a goroutine of its own.
	small = 16 << 10
)

// buffers are what links read into.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// newGoroutines returns an engine for the run.
func newGoroutines(r *run, t target) *goroutines {
	g := &goroutines{
		dial: t.dialer(), nap: nap, poke: make(chan struct{}, 1),
		run: r, links: make([]*link, len(r.conns)),
	}
	r.net = g
	return g
}

func (g *goroutines) drive(ctx context.Context, progress func(Progress)) (interrupted bool) {
	defer exactSleeps()()
	// The end of ctx ends the run first, so that it makes no dial fail.
	dials, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g.ctx = dials
	defer g.wg.Wait()
	defer g.closeAll()
	defer cancel()
	var parcels []parcel
	for {
		g.mu.Lock()
		now := g.run.clock()
		if ctx.Err() != nil {
			interrupted = g.run.interrupt(now)
		}
		wake := g.run.turn(now)
		done := g.run.phase == over
		p, due := g.run.report(now)
		parcels = g.claim(parcels[:0])
		exact := wake == g.run.due
		g.until = wake
		g.mu.Unlock()
		if done {
			return interrupted
		}
		g.deliver(parcels)
		if due {
			progress(p)
		}
		g.rest(ctx, time.Duration(wake-now), exact)
	}
}

// rest sleeps for d, or until there is a reason to wake earlier. The next
// request of a schedule is met exactly, which a timer of Go's may miss by a
// millisecond; nothing can be due before it.
func (g *goroutines) rest(ctx context.Context, d time.Duration, exact bool) {
	if exact && d <= longestNap {
		if d > 0 {
			g.nap(d)
		}
		return
	}
	if exact {
		d -= longestNap
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.poke:
	case <-ctx.Done():
	}
}

// turn lets the run do what is due, and claims what is to be sent.
func (g *goroutines) turn(parcels []parcel) []parcel {
	if wake := g.run.turn(g.run.clock()); wake < g.until || g.run.phase == over {
		select {
		case g.poke <- struct{}{}:
		default:
		}
	}
	return g.claim(parcels[:0])
}

// claim takes on what is to be sent and nobody sends.
func (g *goroutines) claim(parcels []parcel) []parcel {
	for _, l := range g.ready {
		if !l.sending && len(l.out) > 0 {
			l.sending = true
			parcels = append(parcels, parcel{l, l.out})
			g.run.tally.out += int64(len(l.out))
			l.out = nil
		}
	}
	g.ready = g.ready[:0]
	return parcels
}

// deliver sends what was claimed.
func (g *goroutines) deliver(parcels []parcel) {
	for _, p := range parcels {
		if len(p.bytes) > small {
			g.wg.Go(func() { g.write(p) })
		} else {
			g.write(p)
		}
	}
}

// write sends a parcel, and what has come to be sent on the same link since.
func (g *goroutines) write(p parcel) {
	for len(p.bytes) > 0 {
		_, err := p.link.nc.Write(p.bytes) // the reader sees what went wrong
		g.mu.Lock()
		p.bytes, p.link.out = p.link.out, nil
		g.run.tally.out += int64(len(p.bytes))
		p.link.sending = err != nil || len(p.bytes) > 0 // never again after an error
		g.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (g *goroutines) open(c *conn) (done bool, err error) {
	ctx, cancel := context.WithCancel(g.ctx)
	l := &link{conn: c, cancel: cancel}
	g.links[c.index] = l
	g.wg.Go(func() { g.serve(ctx, l) })
	return false, nil
}

func (g *goroutines) send(c *conn, b []byte) {
	l := g.links[c.index]
	if len(l.out) > 0 {
		b = append(slices.Clip(l.out), b...)
	}
	l.out = b
	g.ready = append(g.ready, l)
}

func (g *goroutines) close(c *conn) {
	l := g.links[c.index]
	g.links[c.index] = nil
	l.cancel()
	if l.nc != nil {
		g.wg.Go(func() { _ = l.nc.Close() }) // TLS says goodbye, which may take time
	}
}

// closeAll ends all links without a goodbye.
func (g *goroutines) closeAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, l := range g.links {
		if l == nil {
			continue
		}
		g.links[i] = nil
		l.cancel()
		if l.nc != nil {
			_ = bare(l.nc).Close()
		}
	}
}

// bare returns what is below TLS.
func bare(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// serve dials a link and tells the run of all that happens on it.
func (g *goroutines) serve(ctx context.Context, l *link) {
	nc, err := g.dial(ctx)
	parcels, alive := g.dialled(l, nc, err)
	g.deliver(parcels)
	if !alive {
		return
	}
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for alive {
		n, err := nc.Read(buf[:])
		parcels, alive = g.heard(l, buf[:n], err, parcels)
		g.deliver(parcels)
	}
}

// dialled tells the run what became of a dial.
func (g *goroutines) dialled(l *link, nc net.Conn, err error) (parcels []parcel, alive bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.links[l.conn.index] != l: // it was given up
		if err == nil {
			_ = bare(nc).Close()
		}
		return nil, false
	case err != nil:
		g.links[l.conn.index] = nil
		l.cancel()
		g.run.openFailed(l.conn, err, g.run.clock())
	default:
		l.nc = nc
		g.run.opened(l.conn)
	}
	return g.turn(nil), err == nil
}

// heard tells the run what a link has read, and reports whether to go on.
func (g *goroutines) heard(l *link, b []byte, err error, parcels []parcel) (_ []parcel, alive bool) {
	now := g.run.clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	current := func() bool { return g.links[l.conn.index] == l && g.run.phase != over }
	if !current() {
		return parcels[:0], false
	}
	if len(b) > 0 {
		g.run.received(l.conn, b, now)
	}
	if err != nil && current() {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		g.run.ended(l.conn, err, now)
	}
	parcels = g.turn(parcels)
	return parcels, current()
}
