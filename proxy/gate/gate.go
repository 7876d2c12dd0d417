// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
)

// Options shape a Gate. The zero Options let all in that the file descriptors
// suffice for.
type Options struct {
	// Connections bounds the client connections that are open. Zero means what
	// FromDescriptors makes of the process's limit of file descriptors.
	Connections int
	// PerAddress bounds those of one client address, where an IPv6 address
	// stands for its network of 64 bits. Zero means no bound.
	PerAddress int
	// Requests bounds the requests that are under way. Zero means no bound.
	Requests int
	// Exempt reports whether an address has no bound of its own, since many
	// clients stand behind it. Nil means that none is. It must not block.
	Exempt func(netip.Addr) bool
	// Memory returns how many bytes are in use, and how many may be. Nil means
	// those that Go's runtime counts, and its limit.
	Memory func() (used, limit uint64)
	// Relieve is called, by Run and again and again, while memory is tight.
	Relieve func()
	// Metrics counts who was refused. Nil means that nobody does.
	Metrics *metrics.Registry
	// Log is told of it, at most once a second. Nil means no log.
	Log *slog.Logger
}

// Level says how short memory is.
type Level uint32

// The levels.
const (
	// Calm is the usual state.
	Calm Level = iota
	// Tight has each answer be the last one of its connection, and the
	// connections that wait closed.
	Tight
	// Short has new connections and new requests refused.
	Short
)

// String returns the level as the log names it.
func (l Level) String() string { return [...]string{"calm", "tight", "short"}[l] }

// Gate counts who is in. The zero Gate bounds nothing. It is safe for
// concurrent use and must not be copied.
type Gate struct {
	o         Options
	limit     int64
	open      atomic.Int64
	requests  atomic.Int64  // under way, if they are counted
	state     atomic.Uint32 // the level, and counting
	addresses addresses
	refused   [refusals]atomic.Int64 // since the start
	counters  [refusals]*metrics.Counter
}

// The reasons for which connections are refused.
var reasons = [...]live.Reason{
	live.ConnectionLimit, live.AddressLimit, live.Overloaded,
	live.ProxyHeader, live.TLSOnPlain, live.TLSUnavailable,
}

const refusals = len(reasons)

// New returns a Gate. Run watches the memory; the rest works without.
func New(o Options) *Gate {
	g := &Gate{limit: int64(o.Connections)}
	if o.Requests > 0 {
		g.state.Store(counting)
	}
	if o.Connections == 0 {
		g.limit = int64(FromDescriptors(descriptors()))
	}
	if o.Memory == nil {
		o.Memory = runtimeMemory()
	}
	if o.Relieve == nil {
		o.Relieve = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g.o = o
	if o.Metrics != nil {
		for i, r := range reasons {
			g.counters[i] = o.Metrics.ConnectionsRefused(r.String())
		}
		o.Metrics.OverloadLevel(func() float64 { return float64(g.Level()) })
	}
	return g
}

// spareDescriptors are those that are neither of clients nor of instances:
// listeners, files, the admin server, and clients that are being told to go.
const spareDescriptors = 64 + maxLeaving

// FromDescriptors returns how many client connections a process takes that
// may have n descriptors open: three quarters of them, since clients that wait
// need none of an instance, after those for the process itself. It is at least
// 1.
func FromDescriptors(n int) int {
	return max((n-spareDescriptors)/4*3, 1)
}

// Limit returns the bound of open connections, 0 if there is none.
func (g *Gate) Limit() int { return int(g.limit) }

// Open counts those who are in.
func (g *Gate) Open() int { return int(g.open.Load()) }

// counting is a bit of the state beside the level: requests are counted.
const counting = 1 << 2

// Level returns how short memory is.
func (g *Gate) Level() Level { return Level(g.state.Load() &^ counting) }

// Wary reports whether requests have to be looked at: memory is not calm, or
// Begin has to be asked. It is called for each request.
func (g *Gate) Wary() bool { return g.state.Load() != 0 }

// Begin reports whether a request may begin. If so, End has to be called.
func (g *Gate) Begin() bool {
	if g.o.Requests == 0 || g.requests.Add(1) <= int64(g.o.Requests) {
		return true
	}
	g.requests.Add(-1)
	return false
}

// End counts a request that has ended.
func (g *Gate) End() {
	if g.o.Requests != 0 {
		g.requests.Add(-1)
	}
}

// Seat is the place of one connection. The zero Seat is nobody's.
type Seat struct {
	gate    *Gate
	address netip.Addr // zero unless it is counted
}

// Admit gives a seat to a connection from an address, or says why there is
// none. The zero address is that of a connection whose client is not known yet:
// Name says who it is.
func (g *Gate) Admit(from netip.Addr) (Seat, live.Reason) {
	if g.Level() == Short {
		return Seat{}, g.Refuse(live.Overloaded)
	}
	if n := g.open.Add(1); g.limit > 0 && n > g.limit {
		g.open.Add(-1)
		return Seat{}, g.Refuse(live.ConnectionLimit)
	}
	s := Seat{gate: g}
	if s.Name(from) != live.None {
		g.open.Add(-1)
		return Seat{}, live.AddressLimit
	}
	return s, live.None
}

// Name has the connection count as one of an address, if it does not count as
// that of any yet, or says why it may not. It is not safe for concurrent use.
func (s *Seat) Name(from netip.Addr) live.Reason {
	g := s.gate
	if g == nil || s.address.IsValid() || !from.IsValid() || g.o.PerAddress == 0 || g.o.Exempt != nil && g.o.Exempt(from) {
		return live.None
	}
	address := network(from)
	if !g.addresses.enter(address, g.o.PerAddress) {
		return g.Refuse(live.AddressLimit)
	}
	s.address = address
	return live.None
}

// Leave gives the seat up. It is called once.
func (s *Seat) Leave() {
	if s.gate == nil {
		return
	}
	s.gate.open.Add(-1)
	if s.address.IsValid() {
		s.gate.addresses.leave(s.address)
	}
}

// Refuse counts that a connection was refused for one of the reasons for which
// it may be, before its first request, and returns it. Others are not counted.
func (g *Gate) Refuse(r live.Reason) live.Reason {
	for i := range reasons {
		if reasons[i] != r {
			continue
		}
		g.refused[i].Add(1)
		if c := g.counters[i]; c != nil {
			c.Add(0, 1)
		}
	}
	return r
}

const (
	// watchPeriod is how often the memory is looked at: far more often than it
	// can be filled with what clients send.
	watchPeriod = 250 * time.Millisecond
	// tellPeriod is how often the log may be told of those who were refused.
	tellPeriod = time.Second
)

// Run watches the memory and tells the log who was refused, until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var told journal
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			g.watch(ctx)
			told.tell(ctx, g, now)
		}
	}
}

// journal is what the log knows of the refusals.
type journal struct {
	refused [refusals]int64
	last    time.Time
}

// tell logs how many were refused since the last entry.
func (j *journal) tell(ctx context.Context, g *Gate, now time.Time) {
	if now.Sub(j.last) < tellPeriod {
		return
	}
	for i, r := range reasons {
		n := g.refused[i].Load()
		if n == j.refused[i] {
			continue
		}
		g.o.Log.WarnContext(ctx, "connections refused", "reason", r.String(), "count", n-j.refused[i], "open", g.Open(), "limit", g.Limit())
		j.refused[i], j.last = n, now
	}
}
