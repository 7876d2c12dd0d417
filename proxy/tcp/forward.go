// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// Options shape a Server. Handle and Sweeper are required.
type Options struct {
	Handle  *live.Handle
	Sweeper *socket.Sweeper
	// IdleTimeout is how long both directions may stand still. Zero means
	// 1 h.
	IdleTimeout time.Duration
	// Attempts is how many instances are tried when connecting fails. Zero
	// means 3.
	Attempts int
}

// Server forwards connections.
type Server struct {
	options Options
	turn    atomic.Uint32
	running sync.WaitGroup
}

// New returns a Server.
func New(o Options) *Server {
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Hour)
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

// Abort ends all connections at once.
func (l *Listener) Abort() {
	l.Announce()
	l.mu.Lock()
	defer l.mu.Unlock()
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

	mu       sync.Mutex // guards instance
	instance *upstream.Conn
	expired  bool

	in, out atomic.Int64
}

// Serve takes a connection over. It does not wait for it.
func (s *Server) Serve(ctx context.Context, l *Listener, nc *net.TCPConn) {
	client, err := s.options.Sweeper.Open(nc)
	if err != nil {
		_ = nc.Close()
		return
	}
	f := &forward{server: s, client: client}
	f.facts.Client, f.facts.Local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	if !l.add(f) {
		client.Abort()
		return
	}
	shard := s.turn.Add(1)
	s.running.Go(func() {
		defer l.remove(f)
		f.run(ctx, l.Port, shard)
	})
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

// run serves one connection.
func (f *forward) run(ctx context.Context, port int, shard uint32) {
	defer f.client.Close()
	gen := f.server.options.Handle.Load()
	g := gen.Snapshot.ByPort(port)
	if g == nil {
		f.client.Abort()
		return
	}
	var x live.Exchange
	reason := x.Decide(gen, g, (*request)(f), socket.Now(), shard)
	if reason == live.None {
		reason = f.connect(ctx, x.Target())
	}
	if reason == live.None {
		reason = f.copyBoth()
	}
	if reason != live.None {
		x.Fail(reason)
		f.client.Abort()
	}
	x.Seen.BytesIn, x.Seen.BytesOut = f.in.Load(), f.out.Load()
	x.End(socket.Now())
}

// connect reaches an instance: the next one where the first cannot be.
func (f *forward) connect(ctx context.Context, t *upstream.Target) live.Reason {
	turn := t.Turn()
	reason := live.NoReadyInstance
	for attempt := range f.server.options.Attempts {
		i := t.Pick(turn, attempt)
		if i == nil {
			break
		}
		u, err := i.Dial(ctx)
		if err != nil {
			reason = live.ConnectFailure(err)
			continue
		}
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

func (f *forward) expire() {
	f.client.Expire()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expired = true
	if f.instance != nil {
		f.instance.Expire()
	}
}

// copyBoth moves bytes both ways; the end of one half is passed on, and the
// other half goes on.
func (f *forward) copyBoth() live.Reason {
	defer f.instance.Close()
	var wg sync.WaitGroup
	var up, down error
	wg.Go(func() { up = f.copyHalf(f.instance.Conn, f.client, &f.in) })
	down = f.copyHalf(f.client, f.instance.Conn, &f.out)
	wg.Wait()
	switch {
	case down != nil && !errors.Is(down, socket.ErrExpired):
		return live.UpstreamReset
	case up != nil && !errors.Is(up, socket.ErrExpired):
		return live.RequestAborted
	}
	return live.None
}

// copyHalf moves bytes from src to dst until src ends. Small messages are
// read and written; a direction that moves much is spliced in the kernel.
func (f *forward) copyHalf(dst, src *socket.Conn, moved *atomic.Int64) error {
	const spliceAt = 64 << 10
	buf := make([]byte, 16<<10)
	for {
		f.moving()
		if moved.Load() >= spliceAt {
			n, err := dst.ReadFrom(src, spliceAt)
			moved.Add(n)
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return dst.CloseWrite()
			}
			if err != nil {
				f.expire()
				return err
			}
			continue
		}
		n, err := src.Read(buf)
		if n > 0 {
			moved.Add(int64(n))
			if _, err := dst.Write(buf[:n]); err != nil {
				f.expire()
				return err
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return dst.CloseWrite()
		}
		f.expire()
		return err
	}
}

// moving gives both directions time: one may be silent while the other moves.
func (f *forward) moving() {
	due := socket.Now() + int64(f.server.options.IdleTimeout)
	f.client.Due(due)
	f.instance.Due(due)
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
