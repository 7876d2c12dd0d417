// SPDX-License-Identifier: Apache-2.0

package live

import (
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/limit"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Exchange is one request and its answer, as observed. It belongs to one
// goroutine and may be used again after End.
type Exchange struct {
	Generation *Generation
	Decision   routing.Decision
	Seen       metrics.Observation
	// Trace notes the draws of the decision if it is set before Decide.
	Trace *routing.Trace
	// Denied says more of an exchange that Admit refused.
	Denied Denied

	start int64 // nanoseconds
	shard uint32
	// routes are the series that count it, by hop, nil where its gateway does:
	// at the end, the way to them over the generation would be a cold one.
	routes [routing.MaxDepth]*metrics.Route

	open    bool // it has begun and not ended
	limited bool // see Limited
	inside  int  // how many of entered there are
	entered [routing.MaxDepth]entered

	retrying *limit.Budget // nil unless a retry is under way
}

// Decide begins an exchange at gateway g at time now (nanoseconds on any
// clock that End uses too): it decides the route and counts. shard spreads
// the counters.
func (x *Exchange) Decide(gen *Generation, g *routing.CompiledGateway, r conditions.Request, now int64, shard uint32) Reason {
	x.Generation, x.start, x.shard = gen, now, shard
	x.Seen, x.limited = metrics.Observation{}, false
	var draws routing.Draws = gen
	if x.Trace != nil {
		x.Trace.Reset(gen)
		draws = x.Trace
	}
	gen.Snapshot.Decide(g, r, draws, &x.Decision)
	for i := range x.Decision.Depth {
		x.routes[i] = x.begin(&x.Decision.Hops[i])
	}
	x.open = true
	return DecisionFailure(x.Decision.Reason)
}

// begin counts that the exchange came to a hop, and returns the series of the
// route that it goes on by, nil if it has none.
func (x *Exchange) begin(h *routing.Hop) *metrics.Route {
	g := x.Generation.Gateway(h.Gateway)
	x.limited = x.limited || g.Limited
	if len(h.Gateway.Conditions) > 0 {
		g.Conditions.Asked(x.shard, h.Held, h.Taken)
	}
	if h.Route == nil {
		g.Series.Begin(x.shard)
		return nil
	}
	r := g.Routes[h.Route.Index].Series
	switch {
	case h.Taken:
		r.BeginTaken(x.shard)
	case h.Pins&routing.WeightsPinned != 0:
		r.BeginKept(x.shard)
	default:
		r.Begin(x.shard)
	}
	return r
}

// Target returns where the decided route leads. It must only be called if
// Decide returned None.
func (x *Exchange) Target() *upstream.Target {
	h := x.Decision.Last()
	return x.Generation.Gateway(h.Gateway).Routes[h.Route.Index].Target
}

// Fail notes that the proxy itself ends the exchange.
func (x *Exchange) Fail(r Reason) { x.Seen.Reason = uint8(r) }

// Open reports whether the exchange has begun and not ended.
func (x *Exchange) Open() bool { return x.open }

// End counts what was seen.
func (x *Exchange) End(now int64) {
	x.open = false
	x.Seen.Duration = time.Duration(now - x.start)
	if x.inside > 0 {
		x.leave(now)
	}
	if x.retrying != nil {
		x.endRetry()
	}
	for i := range x.Decision.Depth {
		if r := x.routes[i]; r != nil {
			r.End(x.shard, &x.Seen)
			continue
		}
		x.Generation.Gateway(x.Decision.Hops[i].Gateway).Series.End(x.shard, &x.Seen)
	}
}

// Settle lets go of all that the decision was made from, so that an exchange
// that lives on for hours does not hold on to a table that was replaced
// meanwhile. Its retry, if there is one, is over, and what is left to be done
// is to End it. The decision must have been for a route.
func (x *Exchange) Settle() {
	x.endRetry()
	x.Generation = nil
	clear(x.Decision.Hops[:x.Decision.Depth])
}

// Elapsed returns the time since the exchange began.
func (x *Exchange) Elapsed(now int64) time.Duration { return time.Duration(now - x.start) }

// Since returns the time between two readings of the exchange's clock.
func (x *Exchange) Since(from, to int64) time.Duration { return time.Duration(to - from) }
