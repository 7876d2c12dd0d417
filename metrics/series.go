// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Observation is what one exchange came to. It is read only until the call
// that was handed it returns.
type Observation struct {
	// Code is the status that was sent to the client, 0 if none was. One above
	// 599 counts as 5xx (RFC 9110 section 15).
	Code int
	// Duration is the time from the first byte of the request to the last of
	// the answer.
	Duration time.Duration
	// Upstream is the part of it that the instance took, 0 if none was asked.
	Upstream time.Duration
	// BytesIn and BytesOut are the sizes of request and answer, heads
	// included.
	BytesIn, BytesOut int64
	// Reason says which failure of our own this was: a position in
	// Options.Reasons, 0 for none.
	Reason uint8
}

// Class is a class of status codes.
type Class uint8

// The classes. ClassNone is for exchanges that ended without a status.
const (
	ClassNone Class = iota
	Class1xx
	Class2xx
	Class3xx
	Class4xx
	Class5xx
	// Classes is the number of classes.
	Classes
)

// String returns the class as the label "code" shows it, such as 2xx.
func (c Class) String() string {
	return [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}[c]
}

// ClassOf returns the class of a status code.
func ClassOf(code int) Class {
	switch {
	case code < 100:
		return ClassNone
	case code < 500:
		return Class(code / 100)
	}
	return Class5xx
}

const (
	// maxReasons bounds the reasons that are told apart. Position 0, which
	// means none, holds those that are not.
	maxReasons = 32
	// spreadEvery is how many exchanges a shared cell counts before it gives
	// the next shard a cell of its own. A power of two.
	spreadEvery = 1 << 14
	// maxSpread bounds the cells that were given to single shards, over all
	// series of a registry.
	maxSpread = 1 << 14
)

// cell holds the counts of a series, or of one shard of it.
type cell struct {
	begun    atomic.Uint64
	weighted atomic.Uint64
	kept     atomic.Uint64
	bytesIn  atomic.Int64
	bytesOut atomic.Int64
	classes  [Classes]atomic.Uint64
	duration histogram
	upstream histogram
	reasons  [maxReasons]atomic.Uint64
	_        [15]uint64
}

// A cell fills a size class of the allocator, which is a whole number of
// 128-byte lines: so no two cells share a line. Either array is too long, and
// the program does not compile, if the size is another.
var (
	_ [cellSize - unsafe.Sizeof(cell{})]byte
	_ [unsafe.Sizeof(cell{}) - cellSize]byte
)

const cellSize = 1792

// series is a cell that spreads over shards when it is busy. It begins with
// one cell for all shards: most routes of a large table are idle, and memory
// for all shards of all of them would be most of the process.
type series struct {
	cells []atomic.Pointer[cell] // by shard; never nil
	mask  uint32
	base  *cell
	spare *atomic.Int64      // how many cells may still be given out
	folds *[maxReasons]uint8 // which reason each one is shown as
	gone  atomic.Bool        // it was released, and takes no more cells
}

func (s *series) init(r *Registry) {
	s.cells = make([]atomic.Pointer[cell], r.o.Shards)
	s.mask = uint32(r.o.Shards - 1)
	s.base = new(cell)
	s.spare = &r.spare
	s.folds = &r.folds
	for i := range s.cells {
		s.cells[i].Store(s.base)
	}
}

// begin counts the start of an exchange.
func (s *series) begin(shard uint32) {
	c := s.cells[shard&s.mask].Load()
	if c.begun.Add(1)%spreadEvery == 0 && c == s.base {
		s.spread(shard)
	}
}

// spread gives a shard a cell of its own. Counts never move: a series is the
// sum of its cells, so an exchange may begin in one and end in another.
func (s *series) spread(shard uint32) {
	if len(s.cells) == 1 || s.gone.Load() {
		return
	}
	if s.spare.Add(-1) < 0 || !s.cells[shard&s.mask].CompareAndSwap(s.base, new(cell)) {
		s.spare.Add(1)
	}
}

// release returns the cells that were given out, once nothing new is to be
// bound to the series.
func (s *series) release() {
	s.gone.Store(true)
	for i := range s.cells {
		if s.cells[i].Load() != s.base {
			s.spare.Add(1)
		}
	}
}

// end counts the end of an exchange. The order of the counts does not
// matter: what is in flight is begun less the classes, which are read first.
func (c *cell) end(o *Observation) {
	c.duration.observe(o.Duration)
	if o.BytesIn > 0 {
		c.bytesIn.Add(o.BytesIn)
	}
	if o.BytesOut > 0 {
		c.bytesOut.Add(o.BytesOut)
	}
	if o.Reason != 0 {
		reason := o.Reason
		if reason >= maxReasons {
			reason = 0
		}
		c.reasons[reason].Add(1)
	}
	// Last, and read first: whoever sees the end sees all of the exchange.
	c.classes[ClassOf(o.Code)].Add(1)
}

// each calls visit with every cell.
func (s *series) each(visit func(*cell)) {
	visit(s.base)
	for i := range s.cells {
		if c := s.cells[i].Load(); c != s.base {
			visit(c)
		}
	}
}

// Totals are the counts of a gateway or route at one moment. They may be
// filled again and again.
type Totals struct {
	Requests          [Classes]uint64 // exchanges that ended, by class
	InFlight          uint64          // exchanges that began and did not end
	BytesIn, BytesOut int64
	Duration          Histogram
	Upstream          Histogram // empty for gateways
	Reasons           [maxReasons]uint64
}

// read fills t.
func (s *series) read(t *Totals) {
	*t = Totals{}
	s.each(func(c *cell) {
		for i := range c.classes {
			t.Requests[i] += c.classes[i].Load()
		}
		t.BytesIn += c.bytesIn.Load()
		t.BytesOut += c.bytesOut.Load()
		c.duration.addTo(&t.Duration)
		c.upstream.addTo(&t.Upstream)
		for i := range c.reasons {
			t.Reasons[s.folds[i]] += c.reasons[i].Load()
		}
	})
	// Beginnings are read last, and cells looked up anew, so that every end
	// that was counted above has its beginning counted here: otherwise the
	// difference could fall below 0.
	s.each(func(c *cell) { t.InFlight += c.begun.Load() })
	for _, n := range t.Requests {
		t.InFlight -= n
	}
}

// weighted returns how many requests the weights decided.
func (s *series) weighted() (n uint64) {
	s.each(func(c *cell) { n += c.weighted.Load() })
	return n
}

// keptByClients returns how many requests came with their route.
func (s *series) keptByClients() (n uint64) {
	s.each(func(c *cell) { n += c.kept.Load() })
	return n
}

// Gateway holds the series of one gateway. It is made by [Registry.Gateway];
// its methods are safe for concurrent use. Shards are any numbers that differ
// between those who count at the same time, such as a number of a connection.
type Gateway struct {
	series
	registry *Registry
	name     string
	created  time.Time
	view     atomic.Pointer[Conditions]

	// Guarded by registry.mu.
	routes map[string]*Route
	left   time.Time // when Retain found it gone; zero while it is bound
	ledger *ledger
	shares []share
}

// Name returns the label that the series carry.
func (g *Gateway) Name() string { return g.name }

// Created returns when the series began at 0.
func (g *Gateway) Created() time.Time { return g.created }

// Begin counts that an exchange entered the gateway. One End must follow.
func (g *Gateway) Begin(shard uint32) { g.begin(shard) }

// End counts the end of an exchange that began. Upstream is not looked at.
func (g *Gateway) End(shard uint32, o *Observation) {
	g.cells[shard&g.mask].Load().end(o)
}

// Read fills t with the counts of now.
func (g *Gateway) Read(t *Totals) { g.read(t) }

// Route holds the series of one route. It is made by [Gateway.Route]; its
// methods are safe for concurrent use.
type Route struct {
	series
	gateway *Gateway
	path    string
	created time.Time
	left    time.Time // guarded by gateway.registry.mu
}

// Path returns the label that the series carry.
func (t *Route) Path() string { return t.path }

// Created returns when the series began at 0.
func (t *Route) Created() time.Time { return t.created }

// Begin counts that an exchange was given to the route. One End must follow.
func (t *Route) Begin(shard uint32) { t.begin(shard) }

// End counts the end of an exchange that began.
func (t *Route) End(shard uint32, o *Observation) {
	c := t.cells[shard&t.mask].Load()
	if o.Upstream > 0 {
		c.upstream.observe(o.Upstream)
	}
	c.end(o)
}

// Weighted counts a request that the weights gave to the route: not one that
// a condition took, and not one that was pinned.
func (t *Route) Weighted(shard uint32) {
	t.cells[shard&t.mask].Load().weighted.Add(1)
}

// Kept counts a request that stays on the route since its client was on it.
func (t *Route) Kept(shard uint32) {
	t.cells[shard&t.mask].Load().kept.Add(1)
}

// Read fills to with the counts of now.
func (t *Route) Read(to *Totals) { t.read(to) }
