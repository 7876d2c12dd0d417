// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Server. Handle and Sweeper are required.
type Options struct {
	Handle  *live.Handle
	Sweeper *socket.Sweeper
	// Attempts is how many instances are tried when connecting fails. Zero
	// means 3.
	Attempts int
	// Open counts the client connections. Nil means that nobody does.
	Open *metrics.Gauge
	// Books take note of the connections that are over. Nil means that nobody
	// does.
	Books *metrics.Books
	// Panics takes note of faults that were caught. Nil means that nobody
	// does.
	Panics *live.Panics
}

// Server forwards connections.
type Server struct {
	options Options
	turn    atomic.Uint32
	running sync.WaitGroup
}

// New returns a Server.
func New(o Options) *Server {
	o.Attempts = cmp.Or(o.Attempts, 3)
	return &Server{options: o}
}

// Listener is where connections were accepted.
type Listener struct {
	Port int

	mu       sync.Mutex // guards conns and draining
	conns    map[*forward]struct{}
	draining bool
}

// Announce refuses further connections. Those that are there go on.
func (l *Listener) Announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
}

// Abort ends all connections at once, with a reset on both sides.
func (l *Listener) Abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	for f := range l.conns {
		f.expire()
	}
}

// Open counts the connections.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *Listener) add(f *forward) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining {
		return false
	}
	if l.conns == nil {
		l.conns = make(map[*forward]struct{})
	}
	l.conns[f] = struct{}{}
	return true
}

func (l *Listener) remove(f *forward) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, f)
}

// forward is one connection under way.
type forward struct {
	server *Server
	client *socket.Conn
	facts  conditions.Conn
	random uint32 // once drawn
	drawn  bool
	served bool // to its end, whichever

	mu       sync.Mutex // guards the two below, until both directions move
	instance *upstream.Conn
	expired  bool

	in, out atomic.Int64 // bytes from the client, and to it
}

// Serve takes a connection over, and its seat, which is given up when it
// ends. It does not wait for it.
func (s *Server) Serve(ctx context.Context, l *Listener, nc *net.TCPConn, seat gate.Seat) {
	client, err := s.options.Sweeper.Open(nc)
	if err != nil {
		_ = nc.Close()
		seat.Leave()
		return
	}
	f := &forward{server: s, client: client}
	f.facts.Client, f.facts.Local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	f.facts.Peer = f.facts.Client
	if !l.add(f) {
		client.Abort()
		seat.Leave()
		return
	}
	shard := s.turn.Add(1)
	s.running.Go(func() {
		defer seat.Leave()
		defer l.remove(f)
		s.count(shard, 1)
		defer s.count(shard, -1)
		defer f.finish(shard)
		f.run(ctx, l.Port, shard)
	})
}

func (s *Server) count(shard uint32, n int64) {
	if s.options.Open != nil {
		s.options.Open.Add(shard, n)
	}
}

// Close waits for all connections to end. Abort their listeners first to end
// them.
func (s *Server) Close() { s.running.Wait() }

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// finish closes what is still open. A fault ends this connection, not the
// process.
func (f *forward) finish(shard uint32) {
	if p := recover(); p != nil {
		f.server.options.Panics.Caught(shard, "forwarding a connection", p)
		f.abort()
		return
	}
	f.client.Close()
}

// run serves one connection.
func (f *forward) run(ctx context.Context, port int, shard uint32) {
	gen := f.server.options.Handle.Load()
	g := gen.Snapshot.ByPort(port)
	if g == nil || g.Type != routing.TCP {
		f.client.Abort() // the table changed since the connection was accepted
		return
	}
	var x live.Exchange
	var walk upstream.Walk
	var bounds *routing.Bounds
	defer walk.End()
	defer f.conclude(&x, shard)
	reason := x.Decide(gen, g, (*request)(f), socket.Now(), shard)
	if reason == live.None {
		x.Target().Begin(&walk, (*request)(f), socket.Now())
		bounds = x.Decision.Bounds(new(routing.Bounds))
		reason = f.connect(ctx, &walk, bounds.Connect)
	}
	if reason == live.None {
		reason = f.copyBoth(bounds.Tunnel)
	}
	if reason != live.None {
		x.Fail(reason)
		f.client.Abort()
	}
	f.served = true
}

// conclude counts what came of a connection that was decided: in the series of
// its gateways first, then in the books. One that was not served to its end
// met with a fault, of which finish takes note.
func (f *forward) conclude(x *live.Exchange, shard uint32) {
	if !x.Open() {
		return // the fault was in the decision
	}
	if !f.served {
		x.Fail(live.InternalError)
	}
	x.Seen.BytesIn, x.Seen.BytesOut = f.in.Load(), f.out.Load()
	x.End(socket.Now())
	if f.server.options.Books != nil {
		f.server.options.Books.Over(shard, x.Decision.Depth)
	}
}

// connect reaches an instance: the next one where the first cannot be. How
// fast one is to connect is all that is known of its speed.
func (f *forward) connect(ctx context.Context, walk *upstream.Walk, within time.Duration) live.Reason {
	reason := live.NoReadyInstance
	for range f.server.options.Attempts {
		i := walk.Next()
		if i == nil {
			break
		}
		began := socket.Now()
		u, err := i.Dial(ctx, within)
		now := socket.Now()
		if err != nil {
			walk.Unreached(now, time.Duration(now-began), err)
			reason = live.ConnectFailure(err)
			continue
		}
		walk.Answered(now, time.Duration(now-began), 0)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.instance = u
		if f.expired {
			u.Expire()
		}
		return live.None
	}
	return reason
}

// expire ends both directions, wherever they wait.
func (f *forward) expire() {
	f.client.Expire()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expired = true
	if f.instance != nil {
		f.instance.Expire()
	}
}

// abort resets both sides, so that neither takes what it got for complete.
func (f *forward) abort() {
	f.client.Abort()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.instance != nil {
		f.instance.Abort()
	}
}

// copyBoth moves bytes both ways until both halves have ended. A connection of
// which a half did not come to its end is reset on both sides.
func (f *forward) copyBoth(idle time.Duration) live.Reason {
	defer f.instance.Close()
	p := socket.Pair{
		A: f.client, B: f.instance.Conn, Idle: idle,
		FromA: func(n int64) { f.in.Add(n) },
		FromB: func(n int64) { f.out.Add(n) },
	}
	err := p.Run()
	if err == nil {
		return live.None
	}
	f.abort()
	broken, ok := errors.AsType[*socket.BrokenError](err)
	switch {
	case !ok: // it stood still for too long, or was ended by us
		return live.None
	case broken.Side == f.client:
		return live.RequestAborted
	default:
		return live.UpstreamReset
	}
}

// request shows a connection as a conditions.Request: TCP gateways know no
// more of it.
type request forward

var _ conditions.Request = (*request)(nil)

func (*request) Method() string                  { return "" }
func (*request) Host() string                    { return "" }
func (*request) Target() string                  { return "" }
func (*request) Path() string                    { return "" }
func (*request) Query() string                   { return "" }
func (*request) Field(string, int) (string, int) { return "", -1 }
func (r *request) Conn() *conditions.Conn        { return &r.facts }

// Random draws when it is asked first: few conditions ask.
func (r *request) Random() uint32 {
	if !r.drawn {
		r.random, r.drawn = rand.Uint32(), true
	}
	return r.random
}
