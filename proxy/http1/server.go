// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"cmp"
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/arrive"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Server. Handle, Sweeper and Counters are required; other
// zero values are ready to use.
type Options struct {
	Handle   *live.Handle
	Sweeper  *socket.Sweeper
	Counters *Counters
	// Trust says which proxies in front are believed. Nil means none.
	Trust *Trust
	// Explain is the field by which a request asks for an explanation of
	// itself. Nil means that none can.
	Explain *Secret
	// Explainer makes the explanation of a request that asks for one, on the
	// generation that serves it. Nil means none but the line.
	Explainer func(*live.Generation, routing.ExplainRequest) (*routing.Explanation, error)
	// TLSPort is where clients are sent that have to come by TLS. Zero means
	// 443.
	TLSPort int
	// Gate says how short memory is. Nil means that it never is.
	Gate *gate.Gate
	// Panics takes note of faults that were caught. Nil means that nobody
	// does.
	Panics *live.Panics
}

func (o Options) withDefaults() Options {
	if o.Gate == nil {
		o.Gate = new(gate.Gate)
	}
	o.TLSPort = cmp.Or(o.TLSPort, 443)
	return o
}

// Counters are the series that belong to no gateway.
type Counters struct {
	Refused     []*metrics.Counter // requests that reached no gateway, by live.Reason - 1
	Retried     *metrics.Counter   // attempts after the first that connected
	RetryFailed *metrics.Counter   // attempts after the first that failed too
	RetrySpent  *metrics.Counter   // attempts after the first that were not made, for want of budget
	Replayed    *metrics.Counter   // requests sent again since a kept connection had ended
	// Rewrites and header fields that were left out since a request made no
	// valid one of them.
	RewritesSkipped, HeadersSkipped *metrics.Counter
	Open, OpenHTTP2                 *metrics.Gauge // client connections, and those of them that carry streams
	HTTP2                           *http2.Counters
	Books                           *metrics.Books // exchanges that are over
}

// NewCounters registers the counters.
func NewCounters(r *metrics.Registry) *Counters {
	c := &Counters{
		Retried:         r.Retries("connected"),
		RetryFailed:     r.Retries("failed"),
		RetrySpent:      r.Retries("retry_budget_spent"),
		Replayed:        r.Retries("replayed"),
		RewritesSkipped: r.EditsSkipped("rewrite"),
		HeadersSkipped:  r.EditsSkipped("header"),
		Open:            r.ConnectionsOpen("client"),
		OpenHTTP2:       r.ConnectionsOpen("h2"),
		HTTP2:           http2.NewCounters(r),
		Books:           r.Books(),
	}
	for _, name := range live.Reasons()[1:] {
		c.Refused = append(c.Refused, r.RequestsRefused(name))
	}
	return c
}

// Server serves client connections.
type Server struct {
	options Options
	turn    atomic.Uint32 // spreads connections over shards
	works   []works       // by shard; a power of two of them

	mu      sync.Mutex // guards idle and closed
	idle    []chan *conn
	closed  bool
	running sync.WaitGroup
}

// New returns a Server.
func New(o Options) *Server {
	shards := 1
	for shards < runtime.GOMAXPROCS(0) {
		shards *= 2
	}
	return &Server{options: o.withDefaults(), works: make([]works, shards)}
}

// Listener is where connections were accepted. The zero Listener takes
// requests for any gateway of its port.
type Listener struct {
	Port int

	found        atomic.Pointer[found]
	entry        atomic.Pointer[routing.Entry]
	door         atomic.Pointer[arrive.Door]
	http2        atomic.Pointer[routing.HTTP2] // nil if it is not spoken
	virtualHosts atomic.Bool
	draining     atomic.Bool // answers are the last of their connections
	closing      atomic.Bool // and those that wait for a request are closed
	cutting      atomic.Bool // tunnels end
	mu           sync.Mutex  // guards head, open and the links of the connections
	head         *conn
	open         int
}

// found is the gateway of a listener's port in a generation.
type found struct {
	serial  uint64
	gateway *routing.CompiledGateway
}

// gateway returns the gateway of the port, nil if there is none. It is looked
// up once a generation.
func (l *Listener) gateway(gen *live.Generation) *routing.CompiledGateway {
	f := l.found.Load()
	if f == nil || f.serial != gen.Serial {
		f = &found{gen.Serial, gen.Snapshot.ByPort(l.Port)}
		if f.gateway != nil && f.gateway.Type != routing.HTTP {
			f.gateway = nil // the port has changed hands since the connection came
		}
		l.found.Store(f)
	}
	return f.gateway
}

// SetVirtualHosts says whether the Host of a request chooses the gateway
// first.
func (l *Listener) SetVirtualHosts(on bool) { l.virtualHosts.Store(on) }

// SetDoor says how connections begin that come from now on. nil means that
// they begin with a request.
func (l *Listener) SetDoor(d *arrive.Door) { l.door.Store(d) }

// Door returns what SetDoor was told.
func (l *Listener) Door() *arrive.Door { return l.door.Load() }

// Serve takes a connection over, and its seat, which is given up when it
// ends. It does not wait for it. ctx bounds what the connection dials.
func (s *Server) Serve(ctx context.Context, l *Listener, tcp *net.TCPConn, seat gate.Seat) {
	sc, err := s.options.Sweeper.Open(tcp)
	if err != nil {
		_ = tcp.Close()
		seat.Leave()
		return
	}
	c := newConn(ctx, s, l, sc)
	c.seat = seat
	if !l.add(c) {
		sc.Close()
		seat.Leave()
		return
	}
	if !s.start(c) {
		l.remove(c)
		sc.Close()
		seat.Leave()
	}
}

// start has a goroutine serve c, and reports whether any further ones are
// served.
func (s *Server) start(c *conn) bool {
	s.mu.Lock()
	if s.closed && c.parent == nil {
		s.mu.Unlock()
		return false
	}
	n := len(s.idle)
	if n == 0 {
		s.mu.Unlock()
		s.work(c)
		return true
	}
	ch := s.idle[n-1]
	s.idle = s.idle[:n-1]
	s.mu.Unlock()
	ch <- c
	return true
}

// maxIdleWorkers bounds the goroutines that wait for a connection.
const maxIdleWorkers = 256

// work starts a goroutine that serves c, and then other connections: its
// grown stack makes them cheaper than a fresh goroutine would.
func (s *Server) work(c *conn) {
	s.running.Go(func() {
		ch := make(chan *conn, 1)
		for ok := true; ok; c, ok = <-ch {
			c.serve()
			c.leave()
			if !s.park(ch) {
				return
			}
		}
	})
}

// leave takes a connection that has ended out of the books.
func (c *conn) leave() {
	if c.parent != nil {
		c.parent.lanes.Done()
		return
	}
	c.listener.remove(c)
	c.seat.Leave()
}

// park makes a worker wait, unless enough do.
func (s *Server) park(ch chan *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) >= maxIdleWorkers {
		return false
	}
	s.idle = append(s.idle, ch)
	return true
}

// Close waits for all connections to end; no further ones are served. Drain
// or Abort their listeners first.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for _, ch := range s.idle {
		close(ch)
	}
	s.idle = nil
	s.mu.Unlock()
	s.running.Wait()
}

func (l *Listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.next = l.head; c.next != nil {
		c.next.prev = c
	}
	l.head = c
	l.open++
	c.server.options.Counters.Open.Add(c.shard, 1)
	return true
}

func (l *Listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	l.open--
	c.server.options.Counters.Open.Add(c.shard, -1)
}

// Open counts the connections.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Announce makes every answer from now on the last one of its connection. Who
// speaks HTTP/2 is told to begin no further streams.
func (l *Listener) Announce() {
	l.draining.Store(true)
	for _, c := range l.all() {
		if m := c.mux.Load(); m != nil {
			m.Drain()
		}
	}
}

// Drain announces the end and closes the connections that wait for a request;
// exchanges under way finish.
func (l *Listener) Drain() {
	l.closing.Store(true)
	l.Announce()
	for _, c := range l.all() {
		c.Wake() // one that does not wait goes on, and looks before it waits
	}
}

// Abort ends all connections at once.
func (l *Listener) Abort() {
	l.draining.Store(true)
	l.closing.Store(true)
	for _, c := range l.all() {
		c.abort()
	}
}

func (l *Listener) all() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	cs := make([]*conn, 0, l.open)
	for c := l.head; c != nil; c = c.next {
		cs = append(cs, c)
	}
	return cs
}
