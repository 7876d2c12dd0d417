// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/arrive"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// Options shape a Server. Handle and Sweeper are required.
type Options struct {
	Handle  *live.Handle
	Sweeper *socket.Sweeper
	// Open counts the client connections. Nil means that nobody does.
	Open *metrics.Gauge
	// Retried counts the instances that were tried after another one could not
	// be reached, RetrySpent those that were not, since the budget was spent.
	// Nil means that nobody does.
	Retried, RetrySpent *metrics.Counter
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
func New(o Options) *Server { return &Server{options: o} }

// Listener is where connections were accepted.
type Listener struct {
	Port int

	door     atomic.Pointer[arrive.Door]
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

// Serve takes a connection over, and its seat, which is given up when it
// ends. It does not wait for it.
func (s *Server) Serve(ctx context.Context, l *Listener, nc *net.TCPConn, seat gate.Seat) {
	client, err := s.options.Sweeper.Open(nc)
	if err != nil {
		_ = nc.Close()
		seat.Leave()
		return
	}
	f := &forward{server: s, client: client, seat: seat, door: l.Door(), shard: s.turn.Add(1)}
	f.facts.Client, f.facts.Local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	f.facts.Peer = f.facts.Client
	if !l.add(f) {
		client.Abort()
		seat.Leave()
		return
	}
	s.running.Go(func() {
		defer f.leave(l)
		s.count(f.shard, 1)
		defer s.count(f.shard, -1)
		defer f.finish()
		if f.door == nil || f.arrive(ctx) {
			f.run(ctx, l)
		}
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
