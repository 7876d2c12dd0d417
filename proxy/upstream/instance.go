// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// Instance is one reachable address, spoken to in one way, and its idle
// connections. It is safe for concurrent use.
//
// There are as many as a table has routes or more, and most of them serve
// seldom or never: what only some need is made for these, or when it is needed.
type Instance struct {
	Addr netip.AddrPort

	pool    *Pool
	way     unique.Handle[Way]
	load    *balance.Load                 // of the address, in whichever way it is spoken to
	shards  atomic.Pointer[[]stack]       // nil until a connection waits here for the first time
	special *special                      // nil where the way asks for none of it
	id      atomic.Pointer[string]        // nil until somebody asks
	refusal atomic.Pointer[TLSError]      // nil if it can be spoken to, or nobody tried
	misfit  atomic.Pointer[ProtocolError] // as refusal
	retired atomic.Bool
	gone    atomic.Bool // nothing leads to it any more
	// known and used are the rounds in which something led to it last, and
	// something that was ready, under Pool.mu.
	known, used uint64
	next        *Instance // in Pool.table, guarded by Pool.mu

	// From here on it is written while it serves. Its size is one that Go aligns,
	// so this is a pair of cache lines of its own.
	open    atomic.Int64 // connections, and dials under way
	listing sync.Mutex   // guards first and attempts, and the links of what they lead to
	first   *Conn        // of all that are open
	// attempts are all dials under way.
	attempts *attempt
	counted  balance.Load // what load leads to, unless the address has one already
	_        [80]byte
}

// special is what an instance needs that is spoken to in a special way.
type special struct {
	own      bool // connections belong to clients: they rest, and stacks are empty
	resting  resting
	sessions sessions // of TLS
	links    links    // of HTTP/2
}

// stack holds idle connections; the one used last is on top, so that those
// which are not needed grow old at the bottom.
type stack struct {
	mu    sync.Mutex // guards conns
	conns []*Conn
	_     [32]byte // stacks do not share cache lines
}

// Conn is a connection to an instance, or a conversation inside one.
type Conn struct {
	*socket.Conn
	Instance *Instance
	// Reused reports that it has carried an exchange before: the instance may
	// have closed it meanwhile.
	Reused bool

	link *link // inside of which it is a conversation; nil of a connection of its own

	idleSince int64
	idleUntil int64
	place     int // among those that rest, from 1 on; 0 if it does not

	next, before *Conn // of the instance, under its mutex
}

// newInstance returns an instance that shares the load of its address, or begins
// one if that is nil.
func newInstance(p *Pool, at netip.AddrPort, way unique.Handle[Way], load *balance.Load) *Instance {
	i := &Instance{Addr: at, pool: p, way: way, load: load}
	if load == nil {
		i.load = &i.counted
	}
	if w := way.Value(); w.Secure || w.Proxy != routing.ProxyNone || w.Protocol.HTTP2() {
		i.special = &special{own: w.Proxy != routing.ProxyNone}
	}
	return i
}

// ID returns the name of the instance in cookies. Whoever asks first makes it, so
// that requests that follow make no garbage.
func (i *Instance) ID() string {
	if id := i.id.Load(); id != nil {
		return *id
	}
	id := routing.InstanceID(i.String())
	i.id.Store(&id)
	return id
}

// stacks returns where idle connections wait. Most instances of a large table
// have none.
func (i *Instance) stacks() []stack {
	if s := i.shards.Load(); s != nil {
		return *s
	}
	return nil
}

// serves reports whether there may be anything to reap.
func (i *Instance) serves() bool { return i.shards.Load() != nil || i.special != nil }

// room returns the same, for one that is to wait.
func (i *Instance) room() []stack {
	if s := i.stacks(); s != nil {
		return s
	}
	s := make([]stack, i.pool.options.Shards)
	if i.pool.served.begin(i, &s) {
		return s
	}
	return i.stacks()
}

// String returns the address and port.
func (i *Instance) String() string { return i.Addr.String() }

const (
	// lookAfter is how long a connection may be idle, in nanoseconds, before
	// it is looked at even for requests that can be sent again.
	lookAfter = 1e6
	// quiet is how many exchanges may be under way at an instance for every
	// connection to be looked at.
	//
	// A look takes 3 % of what a small request costs, which only counts where
	// there is much to do. With 64 clients that send as fast as they can, 7 % of
	// the connections are looked at, with one or two all of them. What a busy
	// instance sends before it was asked, in the time that lookAfter leaves, can
	// be taken for the answer to the next request if it looks like one. That
	// remains in any case for what is still on its way when a request is sent:
	// nothing tells it apart from an early answer, and who can choose the moment
	// chooses that one. Package http1 turns away what cannot be an answer.
	quiet = 2
)

// Get returns an idle connection, or nil if there is none. The connection is
// looked at before it is handed out if it has been idle for long, or little is
// under way at the instance, if TLS has taken in more than was read, or if look asks for it since the request cannot be
// sent twice. shard is any number
// that spreads callers; now is socket.Now().
func (i *Instance) Get(shard uint32, now int64, look bool) *Conn {
	stacks := i.stacks()
	mask := uint32(len(stacks) - 1)
	for k := range uint32(len(stacks)) {
		st := &stacks[(shard+k)&mask]
		for {
			c := st.pop()
			if c == nil {
				break
			}
			if c.usable(now, look) {
				c.Reused = true
				return c
			}
			c.Close()
		}
	}
	return nil
}

// usable reports whether an idle connection may carry a request.
func (c *Conn) usable(now int64, look bool) bool {
	if !look && now-c.idleSince < lookAfter && c.Instance.load.InFlight() > quiet && c.Quiet() {
		return !c.Expired() && now < c.idleUntil
	}
	return now < c.idleUntil && c.Alive()
}

func (s *stack) pop() *Conn {
	s.mu.Lock()
	n := len(s.conns)
	if n == 0 {
		s.mu.Unlock()
		return nil
	}
	c := s.conns[n-1]
	s.conns[n-1] = nil
	s.conns = s.conns[:n-1]
	s.mu.Unlock()
	return c
}

// Close closes the connection and reports whether it was open. Closing it
// again does nothing.
func (c *Conn) Close() bool { return c.closed(c.Conn.Close()) }

// Abort closes the connection with a reset, and reports whether it was open.
func (c *Conn) Abort() bool { return c.closed(c.Conn.Abort()) }

func (c *Conn) closed(now bool) bool {
	if !now {
		return false
	}
	if c.link != nil {
		c.link.left()
		return true
	}
	c.Instance.unlist(c)
	c.Instance.open.Add(-1)
	if o := &c.Instance.pool.options; o.Open != nil {
		o.Open.Add(0, -1)
	}
	return true
}

// Put gives a connection back for the next request, at time now, which is
// socket.Now(); it is closed if there is none for as long as keep. Its last
// answer must have been read to the end.
func (i *Instance) Put(shard uint32, c *Conn, now int64, keep time.Duration) {
	c.Due(0)
	c.idleSince, c.idleUntil = now, now+int64(keep)
	if c.Expired() || !i.keep(shard, c) {
		c.Close()
	}
}

// keep makes the connection wait, unless the instance is retired.
func (i *Instance) keep(shard uint32, c *Conn) bool {
	if i.retired.Load() {
		return false // and is not to be listed among those that serve
	}
	stacks := i.room()
	st := &stacks[shard&uint32(len(stacks)-1)]
	st.mu.Lock()
	kept := !i.retired.Load()
	if kept {
		st.conns = append(st.conns, c)
	}
	st.mu.Unlock()
	return kept
}

// reap closes the connections that need not be idle beyond a time, and those
// that ended.
func (i *Instance) reap(now int64) {
	stacks := i.stacks()
	for k := range stacks {
		closeDead(stacks[k].takeDead, now)
	}
	if s := i.special; s != nil {
		closeDead(s.resting.takeDead, now)
		s.links.reap(now)
	}
}

// closeDead closes what take finds, batch by batch.
func closeDead(take func(from int, now int64) (dead []*Conn, next int, more bool), now int64) {
	for from, more := 0, true; more; {
		var dead []*Conn
		dead, from, more = take(from, now)
		for _, c := range dead {
			c.Close()
		}
	}
}

// reapBatch bounds how many connections are looked at before requests get
// their turn at the stack.
const reapBatch = 64

// takeDead removes the dead ones of a batch from position from on, and
// returns where the next batch begins.
func (s *stack) takeDead(from int, now int64) (dead []*Conn, next int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = min(from, len(s.conns))
	to := min(from+reapBatch, len(s.conns))
	kept := from
	for _, c := range s.conns[from:to] {
		if c.idleUntil <= now || !c.Alive() {
			dead = append(dead, c)
			continue
		}
		s.conns[kept] = c
		kept++
	}
	s.conns = slices.Delete(s.conns, kept, to)
	return dead, kept, kept < len(s.conns)
}

// idle counts the idle connections.
func (i *Instance) idle() int {
	n := 0
	stacks := i.stacks()
	for k := range stacks {
		stacks[k].mu.Lock()
		n += len(stacks[k].conns)
		stacks[k].mu.Unlock()
	}
	if s := i.special; s != nil {
		s.resting.mu.Lock()
		n += len(s.resting.conns)
		s.resting.mu.Unlock()
	}
	return n
}
