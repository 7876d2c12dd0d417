// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
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
	// GRPC is one more than the grpc-status of the answer to a call of gRPC, 0
	// if there was none. Statuses from 17 on are not told apart.
	GRPC uint8
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
	maxReasons = 40
	// spreadEvery is how many exchanges a shared cell counts before it gives
	// the next shard a cell of its own. A power of two.
	spreadEvery = 1 << 14
	// maxSpread bounds the cells that were given to single shards, over all
	// series of a registry.
	maxSpread = 1 << 14
)

// Way is how an exchange came to its route. Every exchange counts in one of
// them, so that what the weights decided needs no count beside the beginning.
type Way uint8

// The ways.
const (
	ByWeight    Way = iota // or to no route at all
	ByCondition            // a condition took it
	ByClient               // it stays where its client was before
	// Ways is the number of ways.
	Ways
)

// String returns the way as the label "by" shows it.
func (w Way) String() string { return [...]string{"weight", "condition", "client"}[w] }

// cell holds the usual counts of a series, or of one shard of it. An exchange
// whose answer is a plain 2xx touches the first line, which is a whole one,
// and one or two lines of buckets: that of its duration is mostly near that of
// the time which the instance took.
type cell struct {
	begun    [Ways]atomic.Uint64
	bytesIn  atomic.Int64
	bytesOut atomic.Int64
	duration atomic.Int64 // sum, in nanoseconds
	upstream atomic.Int64 // sum, in nanoseconds
	_        uint64
	buckets  [Buckets]bucket
	_        [4]uint64
}

// bucket counts the durations between two bounds.
type bucket struct {
	ok       atomic.Uint64 // exchanges that ended in 2xx: their count by class, too
	upstream atomic.Uint64 // times that the instance took, whatever the status
}

// rest holds what a cell lacks for exchanges that are not plain ones: those
// that ended in another class, or by a failure of our own. It is made for the
// first of them.
type rest struct {
	classes [Classes]atomic.Uint64 // that of 2xx stays 0
	buckets [Buckets]atomic.Uint64 // durations of exchanges that did not end in 2xx
	reasons [maxReasons]atomic.Uint64
}

// Cells and rests fill size classes of the allocator that are a whole number
// of 128-byte lines, and hold no pointers, before which it would put a header:
// so no two of them share a line. One of these arrays is too long, and the
// program does not compile, if a size is another.
var (
	_ [cellSize - unsafe.Sizeof(cell{})]byte
	_ [unsafe.Sizeof(cell{}) - cellSize]byte
	_ [restSize - unsafe.Sizeof(rest{})]byte
	_ [unsafe.Sizeof(rest{}) - restSize]byte
)

const (
	cellSize = 1408
	restSize = 1024
)

// idle is the cell of all series that have counted nothing. Nothing is ever
// counted in it.
var idle cell

// slot is where a shard counts.
type slot struct {
	cell atomic.Pointer[cell] // never nil; idle before the first exchange
	rest atomic.Pointer[rest] // nil before it is needed, and while cell is the shared one
}

// slots are the counts of a series: the slots of its shards, and behind them
// the one that they share at first. They lead to nothing else, so that a
// gateway may hold on to them while the garbage collector finds out whether
// anyone still counts.
type slots []slot

// shared returns the slot of all shards that have no cell of their own.
func (s slots) shared() *slot { return &s[len(s)-1] }

// cells calls yield with every cell in which something may be counted.
func (s slots) cells(yield func(*cell) bool) {
	base := s.shared().cell.Load()
	// A series that wakes meanwhile has the same cell in all slots, which would
	// be read once for each of them.
	if base == &idle || !yield(base) {
		return
	}
	for i := range s {
		if c := s[i].cell.Load(); c != base && c != &idle && !yield(c) {
			return
		}
	}
}

// rests calls yield with every rest.
func (s slots) rests(yield func(*rest) bool) {
	for i := range s {
		if r := s[i].rest.Load(); r != nil && !yield(r) {
			return
		}
	}
}

// series counts in one cell that spreads over shards when it is busy. It
// begins without, and has one for all shards from its first exchange on: most
// routes of a large table are idle, and memory for all of them would be most
// of the process.
type series struct {
	slots    slots
	registry *Registry
	mask     uint32
	gone     atomic.Bool // it was released, and takes no more cells
}

func (s *series) init(r *Registry) {
	s.slots = make(slots, r.o.Shards+1)
	s.mask = uint32(r.o.Shards - 1)
	s.registry = r
	for i := range s.slots {
		s.slots[i].cell.Store(&idle)
	}
}

// begin counts the start of an exchange.
func (s *series) begin(shard uint32, by Way) {
	c := s.slots[shard&s.mask].cell.Load()
	if c == &idle {
		c = s.wake(shard)
	}
	if c.begun[by].Add(1)%spreadEvery == 0 && c == s.slots.shared().cell.Load() {
		s.spread(shard)
	}
}

// wake gives the series its shared cell, unless another exchange did, and
// returns the cell of a shard.
func (s *series) wake(shard uint32) *cell {
	shared := &s.slots.shared().cell
	shared.CompareAndSwap(&idle, new(cell))
	base := shared.Load()
	for i := range s.slots {
		s.slots[i].cell.CompareAndSwap(&idle, base)
	}
	return s.slots[shard&s.mask].cell.Load()
}

// spread gives a shard a cell of its own. Counts never move: a series is the
// sum of its cells, so an exchange may begin in one and end in another.
func (s *series) spread(shard uint32) {
	if s.mask == 0 || s.gone.Load() {
		return
	}
	base := s.slots.shared().cell.Load()
	if s.registry.spare.Add(-1) < 0 || !s.slots[shard&s.mask].cell.CompareAndSwap(base, new(cell)) {
		s.registry.spare.Add(1)
	}
}

// release returns the cells that were given out, once nothing new is to be
// bound to the series.
func (s *series) release() {
	s.gone.Store(true)
	for i := range s.slots {
		// The shared one is read last: a series that wakes has it there first.
		if c := s.slots[i].cell.Load(); c != &idle && c != s.slots.shared().cell.Load() {
			s.registry.spare.Add(1)
		}
	}
}

// end counts the end of an exchange.
//
// What tells the class is counted last, and read first: whoever sees the end
// sees all of the exchange. What is in flight is begun less the ends, and
// beginnings are read after these, so that it is never below 0.
func (s *series) end(shard uint32, o *Observation) {
	at := &s.slots[shard&s.mask]
	c := at.cell.Load()
	if c == &idle {
		c = s.wake(shard) // begun on another shard, which is not through with waking
	}
	if o.BytesIn > 0 {
		c.bytesIn.Add(o.BytesIn)
	}
	if o.BytesOut > 0 {
		c.bytesOut.Add(o.BytesOut)
	}
	c.duration.Add(int64(o.Duration))
	if o.Upstream > 0 {
		c.upstream.Add(int64(o.Upstream))
		c.buckets[bucketOf(int64(o.Upstream))].upstream.Add(1)
	}
	class := ClassOf(o.Code)
	if o.Reason != 0 {
		s.rest(at, c).fail(o.Reason)
	}
	if class != Class2xx {
		s.rest(at, c).end(class, o.Duration)
		return
	}
	c.buckets[bucketOf(int64(o.Duration))].ok.Add(1)
}

// rest returns the rest that goes with the cell c of a slot.
func (s *series) rest(at *slot, c *cell) *rest {
	if shared := s.slots.shared(); c == shared.cell.Load() {
		at = shared
	}
	if r := at.rest.Load(); r != nil {
		return r
	}
	at.rest.CompareAndSwap(nil, new(rest))
	return at.rest.Load()
}

// fail counts a failure of our own.
func (r *rest) fail(reason uint8) {
	if reason >= maxReasons {
		reason = 0
	}
	r.reasons[reason].Add(1)
}

// end counts an exchange that did not end in 2xx.
func (r *rest) end(class Class, d time.Duration) {
	r.buckets[bucketOf(int64(d))].Add(1)
	r.classes[class].Add(1)
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

// addTo adds the counts of now to t.
func (s slots) addTo(t *Totals, folds *[maxReasons]uint8) {
	ended := s.addEnds(t)
	for c := range s.cells {
		t.BytesIn += c.bytesIn.Load()
		t.BytesOut += c.bytesOut.Load()
		t.Duration.Sum += time.Duration(c.duration.Load())
		t.Upstream.Sum += time.Duration(c.upstream.Load())
		for i := range c.buckets {
			t.Upstream.Counts[i] += c.buckets[i].upstream.Load()
		}
	}
	for r := range s.rests {
		for i := range r.buckets {
			t.Duration.Counts[i] += r.buckets[i].Load()
		}
		for i := range r.reasons {
			t.Reasons[folds[i]] += r.reasons[i].Load()
		}
	}
	// Beginnings are read last, and cells looked up anew, so that every end
	// that was counted above has its beginning counted here: otherwise the
	// difference could fall below 0.
	for by := range Ways {
		t.InFlight += s.begun(by)
	}
	t.InFlight -= ended
}

// addEnds adds the exchanges that ended to t, by class, and returns how many
// these are. It is called before all else is read.
func (s slots) addEnds(t *Totals) (ended uint64) {
	for c := range s.cells {
		for i := range c.buckets {
			n := c.buckets[i].ok.Load()
			t.Duration.Counts[i] += n
			t.Requests[Class2xx] += n
			ended += n
		}
	}
	for r := range s.rests {
		for class := range r.classes {
			n := r.classes[class].Load()
			t.Requests[class] += n
			ended += n
		}
	}
	return ended
}

// begun returns how many exchanges began that came in one way.
func (s slots) begun(by Way) (n uint64) {
	for c := range s.cells {
		n += c.begun[by].Load()
	}
	return n
}

// Gateway holds the series of one gateway: what its routes counted, those that
// are gone too, and the exchanges that no route served, which are all that it
// counts itself. It is made by [Registry.Gateway]; its methods are safe for
// concurrent use. Shards are any numbers that differ
// between those who count at the same time, such as a number of a connection.
type Gateway struct {
	series
	name    string
	created moment
	view    atomic.Pointer[Conditions]
	shape   atomic.Uint64

	// Guarded by registry.mu.
	routes []*Route // by path
	left   moment   // when Retain found it gone; never while it is bound
	ledger *ledger  // nil before it has a condition
	legacy *legacy  // nil before a route of it, or itself, was dropped
	shares []share
}

// Name returns the label that the series carry.
func (g *Gateway) Name() string { return g.name }

// Created returns when the series began at 0.
func (g *Gateway) Created() time.Time { return g.registry.when(g.created) }

// Begin counts that an exchange entered the gateway which no route of it
// serves. One End must follow. Any other exchange is counted by its route, and
// by that for the gateway.
func (g *Gateway) Begin(shard uint32) {
	g.begin(shard, ByWeight)
	runtime.KeepAlive(g) // see legacy
}

// End counts the end of an exchange that began at the gateway itself.
func (g *Gateway) End(shard uint32, o *Observation) {
	g.end(shard, o)
	runtime.KeepAlive(g) // see legacy
}

// Begun returns how many exchanges entered the gateway that no route of it
// serves.
func (g *Gateway) Begun() uint64 { return g.slots.begun(ByWeight) }

// Shape returns a number that changes whenever routes of the gateway, their
// shares or its conditions come, go or change. It costs nothing to ask.
func (g *Gateway) Shape() uint64 { return g.shape.Load() }

// Read fills t with the counts of now. It takes time in proportion to the
// number of routes.
func (g *Gateway) Read(t *Totals) {
	*t = Totals{}
	for _, s := range g.parts(t) {
		s.addTo(t, &g.registry.folds)
	}
	t.Upstream = Histogram{}
}

// parts fills t with what is final and returns what is not. No exchange is in
// both, whatever becomes of its route afterwards.
func (g *Gateway) parts(t *Totals) []slots {
	g.registry.mu.Lock()
	defer g.registry.mu.Unlock()
	list := make([]slots, 0, 1+len(g.routes))
	list = append(list, g.slots)
	for _, route := range g.routes {
		list = append(list, route.slots)
	}
	if g.legacy == nil {
		return list
	}
	for _, s := range g.legacy.open {
		list = append(list, s)
	}
	if g.legacy.final != nil {
		*t = *g.legacy.final
	}
	return list
}

// Route holds the series of one route. It is made by [Gateway.Route]; its
// methods are safe for concurrent use.
type Route struct {
	series
	gateway *Gateway
	path    string
	created moment
	left    moment // guarded by registry.mu; never while it is bound
	tunnels atomic.Pointer[Tunnels]
	calls   atomic.Pointer[calls]                            // of gRPC; nil before the first one ends
	load    atomic.Pointer[func() Load]                      // nil if nobody tells
	retries atomic.Pointer[func(active uint64) RouteRetries] // nil if nobody tells

	instances atomic.Pointer[func() Instances] // nil if nobody tells
}

// Path returns the label that the series carry.
func (t *Route) Path() string { return t.path }

// Created returns when the series began at 0.
func (t *Route) Created() time.Time { return t.registry.when(t.created) }

// Begin counts that the weights gave an exchange to the route. One End must
// follow.
func (t *Route) Begin(shard uint32) { t.count(shard, ByWeight) }

// BeginTaken is Begin for an exchange that a condition took for the route.
func (t *Route) BeginTaken(shard uint32) { t.count(shard, ByCondition) }

// BeginKept is Begin for an exchange that stays on the route since its client
// was on it.
func (t *Route) BeginKept(shard uint32) { t.count(shard, ByClient) }

func (t *Route) count(shard uint32, by Way) {
	t.begin(shard, by)
	runtime.KeepAlive(t) // see legacy
}

// End counts the end of an exchange that began.
func (t *Route) End(shard uint32, o *Observation) {
	t.end(shard, o)
	if o.GRPC != 0 {
		t.called(shard, o.GRPC)
	}
	runtime.KeepAlive(t) // see legacy
}

// Begun returns how many exchanges were given to the route so far, by how they
// came there. A route of which a reading found none in flight has not changed
// for as long as it has begun no more than before that reading.
func (t *Route) Begun() (begun [Ways]uint64) {
	for by := range Ways {
		begun[by] = t.slots.begun(by)
	}
	return begun
}

// Read fills to with the counts of now.
func (t *Route) Read(to *Totals) {
	*to = Totals{}
	t.slots.addTo(to, &t.registry.folds)
}
