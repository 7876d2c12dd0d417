// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// An instance that speaks HTTP/2 answers many requests over one connection: a
// link. What exchanges get of it are conversations, which wait in the stacks
// like connections of HTTP/1, and a further link is only made when those that
// there are have no room. Who needs one while it is being made waits for it.

// links are those of an instance.
type links struct {
	all atomic.Pointer[[]*link] // the oldest first; nil if there is none

	mu    sync.Mutex // guards the fields below, and changes of all
	dials []*linkDial
	room  int // what the latest one had
}

// link is a connection of HTTP/2.
type link struct {
	conn *Conn // the connection itself, which is listed
	mux  *http2.Conn
	// leaving reports that no further conversations begin here: the link ends
	// with the last one.
	leaving atomic.Bool
	until   atomic.Int64 // how long it stays without conversations; see socket.Now

	gone  bool          // it has ended; guarded by links.mu
	ended chan struct{} // closed then
	err   error         // why, valid when ended is closed
}

// spare is how long a link stays when its last conversation has ended. Those
// that are of use to others rest for longer.
const spare = int64(5 * time.Second)

// linkDial is a link that is being made.
type linkDial struct {
	done  chan struct{}
	seats int // how many more may wait for it; guarded by links.mu

	// Valid when done is closed.
	err   error
	again bool // it says nothing of the instance: who needs one may try
}

// ErrNoStreams reports that an instance speaks HTTP/2 and allows no request.
var ErrNoStreams = errors.New("the instance allows no streams")

// ErrDeclined reports that an instance took a connection and ended it before
// anything was said by HTTP/2, as one does that is being restarted.
var ErrDeclined = errors.New("the instance ended the connection before HTTP/2 began")

// converse returns a conversation with an instance that speaks HTTP/2, or says
// why there is none by the end of ctx.
func (i *Instance) converse(ctx context.Context) (*Conn, error) {
	for {
		if c := i.special.links.talk(); c != nil {
			return c, nil
		}
		d, first := i.special.links.join()
		if first {
			return i.connectLink(ctx, d)
		}
		select {
		case <-d.done:
			if d.err != nil && !d.again {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("connect: %w", ctx.Err())
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect: %w", ctx.Err())
		}
	}
}

// talk returns a conversation over the first link that has room, nil if there
// is none.
func (s *links) talk() *Conn {
	all := s.all.Load()
	if all == nil {
		return nil
	}
	for _, l := range *all {
		if c := l.talk(); c != nil {
			return c
		}
	}
	return nil
}

// talk returns a new conversation over the link, nil if it has no room.
func (l *link) talk() *Conn {
	if l.leaving.Load() {
		return nil
	}
	c, ok := l.mux.Lane()
	if !ok {
		return nil
	}
	return &Conn{Conn: c, Instance: l.conn.Instance, link: l}
}

// left notes that a conversation has ended.
func (l *link) left() {
	l.until.Store(socket.Now() + spare)
	if l.conn.Instance.retired.Load() {
		l.leaving.Store(true)
	}
	if l.leaving.Load() && l.mux.Lanes() == 0 {
		l.mux.Drain()
	}
}

// usualRoom is how many requests may wait for the first link: what peers are
// recommended to allow at least (RFC 9113 section 6.5.2).
const usualRoom = 100

// join returns the link to wait for. The first one who needs it makes it.
func (s *links) join() (d *linkDial, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.dials {
		if d.seats > 0 {
			d.seats--
			return d, false
		}
	}
	if s.room == 0 {
		s.room = usualRoom
	}
	d = &linkDial{done: make(chan struct{}), seats: s.room - 1}
	s.dials = append(s.dials, d)
	return d, true
}

// connectLink makes a link and returns a conversation over it.
func (i *Instance) connectLink(ctx context.Context, d *linkDial) (*Conn, error) {
	l, err := i.link(ctx)
	var c *Conn
	if err == nil {
		if c = l.talk(); c == nil {
			l.leaving.Store(true)
			l.mux.Drain()
			err = fmt.Errorf("connect: %w", ErrNoStreams)
		}
	}
	i.special.links.settle(d, l, err, ctx.Err() != nil)
	return c, err
}

// settle tells those who wait for a link what became of it.
func (s *links) settle(d *linkDial, l *link, err error, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials = slices.DeleteFunc(s.dials, func(o *linkDial) bool { return o == d })
	if err == nil {
		s.room = min(max(l.mux.Allowed(), 1), maxSeats)
		s.add(l)
	}
	d.err, d.again = err, again
	close(d.done)
}

// maxSeats bounds how many requests wait for one link, whatever the one before
// allowed.
const maxSeats = 1000

// add and drop keep account of the links; the mutex is held for add.
func (s *links) add(l *link) {
	if l.gone {
		return
	}
	var next []*link
	if all := s.all.Load(); all != nil {
		next = append(next, *all...)
	}
	next = append(next, l)
	s.all.Store(&next)
}

func (s *links) drop(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.gone = true
	all := s.all.Load()
	if all == nil {
		return
	}
	next := slices.DeleteFunc(slices.Clone(*all), func(o *link) bool { return o == l })
	if len(next) == 0 {
		s.all.Store(nil)
		return
	}
	s.all.Store(&next)
}

// each hands every link to yield.
func (s *links) each(yield func(*link)) {
	if all := s.all.Load(); all != nil {
		for _, l := range *all {
			yield(l)
		}
	}
}

// reap ends the links over which nobody speaks: it is said in one round and
// done in a later one, since somebody may just have begun.
func (s *links) reap(now int64) {
	s.each(func(l *link) {
		switch {
		case l.mux.Lanes() > 0:
		case l.leaving.Load():
			l.mux.Drain()
		case now >= l.until.Load():
			l.leaving.Store(true)
		}
	})
}

// retire has the links end with their last conversations.
func (s *links) retire() {
	s.each(func(l *link) {
		l.leaving.Store(true)
		if l.mux.Lanes() == 0 {
			l.mux.Drain()
		}
	})
}

// link makes a connection of HTTP/2 and waits until the instance has said what
// it allows: requests that it would not take are not sent.
func (i *Instance) link(ctx context.Context) (*link, error) {
	c, err := i.connection(ctx, nil)
	if err != nil {
		return nil, err
	}
	l := &link{conn: c, ended: make(chan struct{})}
	l.until.Store(socket.Now() + spare)
	if err := i.agree(ctx, l); err != nil {
		return nil, fmt.Errorf("connect: %w", i.explained(ctx, c, err))
	}
	i.speaks()
	return l, nil
}

// agree begins to speak HTTP/2 over a link, which is closed if that fails.
func (i *Instance) agree(ctx context.Context, l *link) error {
	defer context.AfterFunc(ctx, l.conn.Expire)()
	mux, pre, err := greet(l.conn.Conn, &i.pool.options)
	if err != nil {
		l.conn.Close()
		return err
	}
	l.mux = mux
	if !i.pool.serve(func() { l.run(pre) }) {
		l.conn.Close()
		return errPoolClosed
	}
	select {
	case <-mux.Ready():
		return nil
	case <-l.ended:
		return cmp.Or(l.err, io.ErrUnexpectedEOF)
	}
}

// errPoolClosed reports a connection that is asked for when Run has ended.
var errPoolClosed = errors.New("the proxy has ended")

// explained returns why HTTP/2 could not be begun.
func (i *Instance) explained(ctx context.Context, c *Conn, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := remoteAlert(err); ok {
		return c.late(err, err)
	}
	if misfit(err) {
		return i.misfits(err)
	}
	if ended(err) {
		return fmt.Errorf("%w: %w", ErrDeclined, err)
	}
	return err
}

// run serves the link until it ends, or the life of the pool does.
func (l *link) run(pre []byte) {
	p := l.conn.Instance.pool
	stop := context.AfterFunc(p.life, l.mux.Abort)
	l.err = p.run(l.mux, pre)
	stop()
	l.conn.Instance.special.links.drop(l)
	l.conn.Conn.Close() // should that not have been done yet
	l.conn.closed(true)
	close(l.ended)
}

// run serves a connection of HTTP/2 until it ends. A fault ends it.
func (p *Pool) run(c *http2.Conn, pre []byte) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			p.options.Caught("speaking HTTP/2 with an instance", fault)
			c.Abort()
			err = fmt.Errorf("a fault in the proxy: %v", fault)
		}
	}()
	return c.Run(pre)
}
