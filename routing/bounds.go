// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"math"
	"time"
)

// Limits bound the size of messages, as written: a zero field is not written.
// Comparable.
type Limits struct {
	Head       int64 // of a request, in bytes
	Fields     int64 // of a request
	Target     int64 // of a request, in bytes
	Body       int64 // of a request, in bytes; Unlimited lifts what else would hold
	AnswerHead int64 // in bytes
	MinRate    Rate
	// Connections are those of clients to the port of a gateway. Routes have
	// none.
	Connections int64
}

// Timeouts bound how long things may take, as written: a zero field is not
// written. Comparable.
type Timeouts struct {
	Head              time.Duration // until the head of a request is complete
	Connect           time.Duration // one attempt to reach an instance
	FirstByte         time.Duration // from the end of the request to the head of the answer
	Idle              time.Duration // how long a body may stand still
	KeepAlive         time.Duration // between the requests of a client
	UpstreamKeepAlive time.Duration // between requests to an instance
	Tunnel            time.Duration // how long a tunnel may stand still
	Total             time.Duration // the whole exchange; Never lifts what else would hold
	// HalfClosed is how long an exchange that stands still goes on for a client
	// that has ended its own direction. Never lifts what else would hold; AtOnce
	// does not wait.
	HalfClosed time.Duration
}

// Unlimited is the Limits.Body of those who want none.
const Unlimited = math.MaxInt64

// Never is the Timeouts.Total and HalfClosed of those who want none, and longer
// than any other.
const Never time.Duration = math.MaxInt64

// AtOnce is the Timeouts.HalfClosed of those who wrote 0s: a zero field is not
// written.
const AtOnce time.Duration = -1

// Rate is how slowly a client may send or take a body: Bytes a second, over
// each Window in which nothing but the client is waited for. The zero Rate is
// not written; a negative Bytes allows any. Comparable.
type Rate struct {
	Bytes  int64
	Window time.Duration
}

// Any is the Rate that nobody is too slow for.
var Any = Rate{Bytes: -1}

// Judges reports whether there is a rate that is too slow.
func (r Rate) Judges() bool { return r.Bytes > 0 }

// Entry is what holds for the requests of a gateway before their route is
// known.
type Entry struct {
	Head, Fields, Target   int // sizes in bytes; Fields is their number
	HeadTimeout, KeepAlive time.Duration
}

// Widen makes e the largest of both: what may still be a request for one of
// several gateways.
func (e *Entry) Widen(o *Entry) {
	e.Head, e.Fields, e.Target = max(e.Head, o.Head), max(e.Fields, o.Fields), max(e.Target, o.Target)
	e.HeadTimeout, e.KeepAlive = max(e.HeadTimeout, o.HeadTimeout), max(e.KeepAlive, o.KeepAlive)
}

// Bounds are what holds for an exchange once its route is known, defaults
// applied. Comparable.
type Bounds struct {
	Body              int64 // bytes; Unlimited if there is no limit
	AnswerHead        int   // bytes
	MinRate           Rate
	Connect           time.Duration
	FirstByte         time.Duration
	Idle              time.Duration
	UpstreamKeepAlive time.Duration
	Tunnel            time.Duration
	Total             time.Duration // Never if there is none
	HalfClosed        time.Duration // Never if there is none; 0 for at once
}

// DefaultEntry returns the Entry of a gateway that says nothing.
func DefaultEntry() Entry {
	return Entry{Head: 32 << 10, Fields: 200, Target: 16 << 10, HeadTimeout: 10 * time.Second, KeepAlive: 65 * time.Second}
}

// DefaultBounds returns the Bounds of a gateway that says nothing.
func DefaultBounds() Bounds {
	return Bounds{
		Body:              Unlimited,
		AnswerHead:        64 << 10,
		MinRate:           Rate{Bytes: 1 << 10, Window: 30 * time.Second},
		Connect:           5 * time.Second,
		FirstByte:         50 * time.Second,
		Idle:              50 * time.Second,
		UpstreamKeepAlive: 30 * time.Second,
		Tunnel:            time.Hour,
		Total:             Never,
		HalfClosed:        5 * time.Second,
	}
}

// entry returns what holds for the requests of a gateway. A target is never
// allowed to be larger than the head that it is part of.
func (g *Gateway) entry() Entry {
	e := DefaultEntry()
	l, t := g.Limits.Value(), g.Timeouts.Value()
	put(&e.Head, int(l.Head))
	put(&e.Fields, int(l.Fields))
	put(&e.Target, int(l.Target))
	e.Target = min(e.Target, e.Head)
	put(&e.HeadTimeout, t.Head)
	put(&e.KeepAlive, t.KeepAlive)
	return e
}

// bounds returns what holds for the exchanges of a route of the gateway: what
// the route says, then what the gateway says. r may be nil.
func (g *Gateway) bounds(r *Route) Bounds {
	b := DefaultBounds()
	b.take(g.Limits, g.Timeouts)
	if r != nil {
		b.take(r.Limits, r.Timeouts)
	}
	return b
}

// plainBounds are those of all that write none.
var plainBounds = DefaultBounds()

// shared returns bounds that are not changed: most gateways and routes have
// the same.
func shared(b Bounds) *Bounds {
	if b == plainBounds {
		return &plainBounds
	}
	own := b // b itself would be allocated for all
	return &own
}

// take replaces what is written.
func (b *Bounds) take(limits Part[Limits], timeouts Part[Timeouts]) {
	l, t := limits.Value(), timeouts.Value()
	put(&b.Body, l.Body)
	put(&b.AnswerHead, int(l.AnswerHead))
	put(&b.MinRate, l.MinRate)
	put(&b.Connect, t.Connect)
	put(&b.FirstByte, t.FirstByte)
	put(&b.Idle, t.Idle)
	put(&b.UpstreamKeepAlive, t.UpstreamKeepAlive)
	put(&b.Tunnel, t.Tunnel)
	put(&b.Total, t.Total)
	put(&b.HalfClosed, t.HalfClosed)
	b.HalfClosed = max(b.HalfClosed, 0) // AtOnce
}

// put replaces to by what is written.
func put[T comparable](to *T, written T) {
	if written != *new(T) {
		*to = written
	}
}

// Bounds returns what holds for the decided exchange. Of a chain, what is
// written nearest to the target counts; but the content must fit the limits
// of all gateways on the way. The result is part of the snapshot, or room.
func (d *Decision) Bounds(room *Bounds) *Bounds {
	if d.Depth == 1 {
		h := &d.Hops[0]
		if h.Route == nil {
			return h.Gateway.Bounds
		}
		return h.Route.Bounds
	}
	*room = DefaultBounds()
	body := int64(Unlimited)
	for i := range d.Depth {
		h := &d.Hops[i]
		asked := h.Gateway.Asked
		room.Body = Unlimited
		room.take(asked.Limits, asked.Timeouts)
		if h.Route != nil {
			r := asked.Routes[h.Route.Index]
			room.take(r.Limits, r.Timeouts)
		}
		body = min(body, room.Body)
	}
	room.Body = body
	return room
}
