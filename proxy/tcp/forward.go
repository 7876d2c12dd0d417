// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/arrive"
	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// forward is one connection under way.
type forward struct {
	server *Server
	client *socket.Conn
	seat   gate.Seat
	door   *arrive.Door // how it begins; nil if with what is forwarded
	shard  uint32
	facts  conditions.Conn
	tlvs   []byte // of the PROXY header that it began with
	random uint32 // once drawn
	drawn  bool
	served bool // to its end, whichever
	reset  bool // which the client is not to take for an orderly one

	mu       sync.Mutex // guards the two below, until both directions move
	instance *upstream.Conn
	expired  bool

	seen    live.Tunnel
	in, out int64 // bytes from the client, and to it
}

// leave gives up what the connection took of what all share.
func (f *forward) leave(l *Listener) {
	l.remove(f)
	f.seat.Leave()
}

// finish closes what is still open, once all is counted. A fault ends this
// connection, not the process.
func (f *forward) finish() {
	if p := recover(); p != nil {
		f.server.options.Panics.Caught(f.shard, "forwarding a connection", p)
		f.abort()
		return
	}
	if f.reset {
		f.client.Abort()
	} else {
		f.client.Close()
	}
}

// arrive has the connection begin, and reports whether it may go on.
func (f *forward) arrive(ctx context.Context) bool {
	a := arrive.Arrival{Facts: f.facts, Named: f.seat.Name}
	in, why := f.door.Enter(ctx, f.client, &a)
	f.door = nil
	f.facts, f.tlvs = a.Facts, a.TLVs
	if !in && why != live.None {
		f.client.Abort()
	}
	return in
}

// run serves one connection.
func (f *forward) run(ctx context.Context, l *Listener) {
	began := socket.Now()
	if !f.begin(l, began) {
		return
	}
	gen := f.server.options.Handle.Load()
	g := gen.Snapshot.ByPort(l.Port)
	if g == nil || g.Type != routing.TCP {
		f.client.Abort() // the table changed since the connection was accepted
		return
	}
	var x live.Exchange
	defer f.conclude(&x)
	hold, idle, reason := f.reach(ctx, &x, gen, g, began)
	if reason == live.None {
		f.seen = x.Tunnel()
		x.Settle()
		reason = f.join(&hold, idle)
	}
	if reason != live.None {
		x.Fail(reason)
		f.reset = true
	}
	f.served = true
}

// conclude counts what came of a connection that was decided: in the series of
// its gateways first, then in the books. One that was not served to its end
// met with a fault, of which finish takes note.
func (f *forward) conclude(x *live.Exchange) {
	if !x.Open() {
		return // the fault was in the decision
	}
	if !f.served {
		x.Fail(live.InternalError)
	}
	x.Seen.BytesIn, x.Seen.BytesOut = f.in, f.out
	x.End(socket.Now())
	f.book(x.Decision.Depth)
}

// book notes that the connection, which passed some gateways, is over.
func (f *forward) book(gateways int) {
	if f.server.options.Books != nil {
		f.server.options.Books.Over(f.shard, gateways)
	}
}

// begin finds out what has to be known before a route is decided, and reports
// whether the connection goes on.
func (f *forward) begin(l *Listener, began int64) bool {
	gen := f.server.options.Handle.Load()
	g := gen.Snapshot.ByPort(l.Port)
	if g == nil || !g.Sniffs || f.facts.TLS != nil {
		return true
	}
	quiet, reason := f.listen(g.Entry.HeadTimeout)
	if reason == live.None {
		return !quiet
	}
	f.reset = true
	series := gen.Gateway(g).Series
	series.Begin(f.shard)
	series.End(f.shard, &metrics.Observation{Duration: time.Duration(socket.Now() - began), Reason: uint8(reason)})
	f.book(1)
	return false
}

// reach decides the route and connects to an instance of it. What it returns
// outlives the choice: the instance has one connection more until the hold ends,
// and idle is how long the connection may stand still.
func (f *forward) reach(ctx context.Context, x *live.Exchange, gen *live.Generation, g *routing.CompiledGateway, began int64) (hold balance.Hold, idle time.Duration, reason live.Reason) {
	if reason = x.Decide(gen, g, (*request)(f), began, f.shard); reason != live.None {
		return hold, 0, reason
	}
	if x.Limited() {
		if reason = x.Admit((*request)(f), nil, socket.Now()); reason != live.None {
			return hold, 0, reason
		}
	}
	var walk upstream.Walk
	defer walk.End()
	x.Target().Begin(&walk, (*request)(f), socket.Now())
	bounds := x.Decision.Bounds(new(routing.Bounds))
	if reason = f.connect(ctx, x, &walk, bounds.Connect); reason != live.None {
		return hold, 0, reason
	}
	return walk.Hold(), bounds.Tunnel, live.None
}

// connect reaches an instance: the next one where the first cannot be, as far
// as the route allows it. How fast one is to connect is all that is known of its
// speed.
func (f *forward) connect(ctx context.Context, x *live.Exchange, walk *upstream.Walk, within time.Duration) live.Reason {
	asked := live.RetriesOf(x.Decision.Last().Route)
	reason := live.NoReadyInstance
	i := walk.Next()
	for tried := 0; i != nil; tried++ {
		began := socket.Now()
		u, err := i.DialFor(ctx, within, &sniff.Header{Source: f.facts.Client, Destination: f.facts.Local, TLVs: f.tlvs})
		now := socket.Now()
		took := time.Duration(now - began)
		if err == nil {
			walk.Answered(now, took, 0)
			x.Seen.Upstream = took
			f.meet(u)
			return live.None
		}
		walk.Unreached(now, took, err)
		reason = live.ConnectFailure(err)
		i = f.another(x, walk, tried, asked, reason == live.ConnectRefused)
	}
	return reason
}

// another chooses the instance to try after so many, nil if none is to be.
func (f *forward) another(x *live.Exchange, walk *upstream.Walk, tried int, asked *routing.Retries, free bool) *upstream.Instance {
	if tried >= asked.Attempts || f.over() {
		return nil
	}
	i := walk.Next()
	if i == nil {
		return nil
	}
	o := &f.server.options
	counter := o.Retried
	if !x.Retry(asked, free) {
		i, counter = nil, o.RetrySpent
	}
	if counter != nil {
		counter.Add(f.shard, 1)
	}
	return i
}

// meet notes the instance's side, so that both can be ended.
func (f *forward) meet(u *upstream.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instance = u
	if f.expired {
		u.Expire()
	}
}

// over reports whether the connection was ended from outside.
func (f *forward) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.expired
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
