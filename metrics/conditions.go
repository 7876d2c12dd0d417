// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// ConditionKey names a condition of a gateway.
type ConditionKey struct {
	Route     string // path of the route
	Condition string // name or text; cut for the label after 200 bytes
}

// ConditionTotals are the counts of one condition at one moment.
type ConditionTotals struct {
	ConditionKey
	Evaluations uint64 // requests for which it was asked
	Matches     uint64 // requests for which it held
	Selected    uint64 // requests that it took: it held, and its strength draw was won
}

// Conditions counts what a gateway's conditions said. It is immutable but for
// its counts: a gateway whose conditions change gets another one. Its methods
// are safe for concurrent use.
type Conditions struct{ rows }

// Asked counts one walk through the conditions: those before position held
// were asked and were false, the one at held was asked and was true, and took
// the request if taken. held equal to the number of conditions means that
// none held; any other number is not counted.
func (c *Conditions) Asked(shard uint32, held int, taken bool) {
	if held < 0 || held > c.conditions || c.conditions == 0 {
		return
	}
	i := 2 * held
	if taken {
		i++
	}
	c.counts[int(shard&c.mask)*c.stride+i].Add(1)
	runtime.KeepAlive(c) // or the counts could be folded just before
}

// unconditional counts for all gateways that never had a condition: nothing.
var unconditional Conditions

// maxTallyShards bounds how far the counts of conditions are spread.
const maxTallyShards = 16

// rows holds, for each shard, a row of two counts for each position, the last
// of which means that none held. All but the counts is immutable, so a copy is
// as good.
type rows struct {
	counts     []atomic.Uint64
	conditions int
	stride     int // of a row: a whole number of 128-byte lines
	mask       uint32
}

// tally holds the counts behind a Conditions.
//
// It is apart from Conditions so that the gateway may hold on to the counts
// while the garbage collector finds out whether anyone still counts.
type tally struct {
	rows
	keys []ConditionKey // by position; a key may stand more than once
}

func newTally(keys []ConditionKey, shards int) *tally {
	t := &tally{keys: keys, rows: rows{conditions: len(keys)}}
	if len(keys) == 0 {
		return t
	}
	shards = min(shards, maxTallyShards)
	t.mask = uint32(shards - 1)
	t.stride = (2*(len(keys)+1) + 15) &^ 15
	t.counts = make([]atomic.Uint64, shards*t.stride)
	return t
}

type conditionCounts struct{ evaluations, matches, selected uint64 }

// addTo adds the counts to those of the keys that to holds.
//
// A condition was asked whenever it or a later one held, or none did, so the
// walk goes backwards and the evaluations are what it passed.
func (t *tally) addTo(to map[ConditionKey]conditionCounts) {
	if t.conditions == 0 {
		return
	}
	var reached uint64
	for position := t.conditions; position >= 0; position-- {
		var lost, taken uint64
		for row := 0; row < len(t.counts); row += t.stride {
			lost += t.counts[row+2*position].Load()
			taken += t.counts[row+2*position+1].Load()
		}
		reached += lost + taken
		if position == t.conditions {
			continue
		}
		if sum, ok := to[t.keys[position]]; ok {
			sum.evaluations += reached
			sum.matches += lost + taken
			sum.selected += taken
			to[t.keys[position]] = sum
		}
	}
}

// ledger holds the counts of a gateway's conditions. It does not lead to the
// gateway: the cleanup of a view holds it, and would otherwise keep that view
// alive for ever.
type ledger struct {
	mu *sync.Mutex // of the registry; guards the fields below

	keys    []ConditionKey // of the current view, each once
	past    map[ConditionKey]conditionCounts
	tallies []*tally // those that may still count, the current one last
}

// Conditions returns the counters of the gateway's conditions as they stand,
// never nil. Load it once for each table.
func (g *Gateway) Conditions() *Conditions { return g.view.Load() }

// SetConditions says which conditions the gateway has, in the order asked.
// Counts of conditions that stay go on, wherever they stand now; those of
// others are gone. The present view stays if nothing changes.
func (g *Gateway) SetConditions(conds []ConditionKey) {
	r := g.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make([]ConditionKey, len(conds))
	for i, c := range conds {
		keys[i] = ConditionKey{Route: label(c.Route), Condition: cut(label(c.Condition))}
		if route := r.route(g, keys[i].Route); route.path != keys[i].Route {
			keys[i] = ConditionKey{Route: Other, Condition: Other}
		}
	}
	if g.ledger == nil {
		if len(keys) == 0 {
			return
		}
		g.ledger = &ledger{mu: &r.mu}
	}
	if !slices.Equal(g.ledger.current().keys, keys) {
		g.view.Store(g.ledger.open(keys, r.o.Shards))
		g.shape.Add(1)
	}
}

// current returns the tally of the current view, an empty one before the first.
// mu is held.
func (l *ledger) current() *tally {
	if len(l.tallies) == 0 {
		return &tally{}
	}
	return l.tallies[len(l.tallies)-1]
}

// open starts a new view. mu is held, or l not shared yet.
func (l *ledger) open(keys []ConditionKey, shards int) *Conditions {
	past := make(map[ConditionKey]conditionCounts, len(keys))
	l.keys = l.keys[:0]
	for _, k := range keys {
		if _, ok := past[k]; !ok {
			l.keys = append(l.keys, k)
		}
		past[k] = l.past[k]
	}
	l.past = past
	t := newTally(keys, shards)
	l.tallies = append(l.tallies, t)
	view := &Conditions{t.rows}
	// Requests that are being decided while the table changes count in the old
	// view. Its tally is kept until nobody holds the view any more, so that no
	// count is lost however long that takes.
	runtime.AddCleanup(view, l.fold, t)
	return view
}

// fold adds the final counts of a view that nobody holds to the past.
func (l *ledger) fold(t *tally) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.addTo(l.past)
	l.tallies = slices.DeleteFunc(l.tallies, func(o *tally) bool { return o == t })
}

// ReadConditions returns the counts of the present conditions, in the order
// asked.
func (g *Gateway) ReadConditions() []ConditionTotals {
	g.registry.mu.Lock()
	defer g.registry.mu.Unlock()
	l := g.ledger
	if l == nil {
		return nil
	}
	sums := make(map[ConditionKey]conditionCounts, len(l.keys))
	for _, k := range l.keys {
		sums[k] = l.past[k]
	}
	for _, t := range l.tallies {
		t.addTo(sums)
	}
	totals := make([]ConditionTotals, len(l.keys))
	for i, k := range l.keys {
		s := sums[k]
		totals[i] = ConditionTotals{k, s.evaluations, s.matches, s.selected}
	}
	return totals
}

// cut shortens a text to what a label should hold.
func cut(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	end := most
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
