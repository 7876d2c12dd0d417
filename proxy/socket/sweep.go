// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// sweepPeriod bounds how late a connection expires.
const sweepPeriod = 250 * time.Millisecond

// Sweeper looks at the deadlines of all connections that it opened. The zero
// Sweeper is ready; it must not be copied.
type Sweeper struct {
	turn   atomic.Uint32
	shards [16]shard
}

// shard is a list of connections.
type shard struct {
	mu   sync.Mutex // guards head and the links of the connections in it
	head *Conn
	_    [40]byte // shards do not share cache lines
}

func (s *shard) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.next = s.head
	if s.head != nil {
		s.head.prev = c
	}
	s.head = c
}

func (s *shard) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case s.head == c:
		s.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
}

// Open takes a connection in. It has no deadline yet.
func (s *Sweeper) Open(tcp *net.TCPConn) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("open connection: %w", err)
	}
	c := &Conn{tcp: tcp, raw: raw}
	s.adopt(c)
	return c, nil
}

func (s *Sweeper) adopt(c *Conn) {
	c.home = &s.shards[s.turn.Add(1)%uint32(len(s.shards))]
	c.home.add(c)
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	tick := time.NewTicker(sweepPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			wall.Store(wallNow())
			s.sweep(Now())
		}
	}
}

func (s *Sweeper) sweep(now int64) {
	for i := range s.shards {
		s.shards[i].look(now)
	}
}

func (s *shard) look(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock() // after a panic, too
	for c := s.head; c != nil; c = c.next {
		c.look(now)
	}
}

// look expires a connection that is overdue or whose peer is too slow, or
// whose end was missed when it parked after a short read.
func (c *Conn) look(now int64) {
	for _, deadline := range [...]*atomic.Int64{&c.due, &c.stuck, &c.end} {
		if at := deadline.Load(); at != 0 && at <= now {
			c.expireIfDue(deadline, at, nil)
			return
		}
	}
	if c.pace.bound.Load() != 0 {
		c.judge()
	}
	if c.watcher != nil {
		c.watch(now)
	}
	if !c.suspect.Load() || !c.suspect.CompareAndSwap(true, false) {
		return
	}
	if c.sweepFn == nil {
		// To look for data instead would take the error of a reset away from
		// who reads, to whom it would then be an orderly end.
		c.sweepFn = func(fd uintptr) { c.sweepEnded = endedFD(fd) }
	}
	c.sweepEnded = false
	if err := c.raw.Control(c.sweepFn); err == nil && c.sweepEnded {
		c.Wake()
	}
}
