// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"math/bits"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Other is the label of series that stand for all names above a limit.
const Other = "other"

// Options shape a Registry. The zero Options are ready to use.
type Options struct {
	// Shards is how many processors count without waiting for each other: a
	// power of two, other numbers are rounded up. Zero means as many as
	// GOMAXPROCS. At most 64 are used.
	Shards int
	// Reasons names the failures of our own. Position 0 means none. Those
	// that are not named, and those from position 40 on, are counted as Other.
	Reasons []string
	// MaxGateways and MaxRoutes bound the series. Gateways above the limit
	// share the gateway Other, routes above it share the route Other of their
	// gateway. Zero means 20,000.
	MaxGateways, MaxRoutes int
	// Linger is how long the series of what is gone are still shown, so that
	// their last counts are seen, and taken up again if it comes back. Zero
	// means 5 min; a negative value means not at all.
	Linger time.Duration
	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Shards <= 0 {
		o.Shards = runtime.GOMAXPROCS(0)
	}
	o.Shards = min(1<<bits.Len(uint(o.Shards-1)), 64)
	o.MaxGateways = cmp.Or(o.MaxGateways, 20_000)
	o.MaxRoutes = cmp.Or(o.MaxRoutes, 20_000)
	o.Linger = cmp.Or(o.Linger, 5*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Registry holds the series of a process. It is safe for concurrent use; its
// lock is taken to bind and to read, never to count.
type Registry struct {
	o        Options
	folds    [maxReasons]uint8 // see series
	started  time.Time
	spare    atomic.Int64 // see series
	shape    atomic.Uint64
	overflow *Counter

	// discoveries tell how sources fare, in the order in which they were added.
	discoveries []func(yield func(Discovery) bool)

	// mu guards the fields below, and those of gateways and routes that say
	// so.
	mu       sync.Mutex
	gateways map[string]*Gateway
	routes   int // how many there are, without those that are Other
	values   map[valueKey]*value
	eaches   map[string]func(yield func(value float64, labels ...Label) bool)
	helps    map[string]Family
	books    *Books // nil before somebody keeps them
	past     past
}

// New returns an empty registry.
func New(o Options) *Registry {
	o = o.withDefaults()
	r := &Registry{
		o:        o,
		started:  o.Now(),
		gateways: map[string]*Gateway{},
		values:   map[valueKey]*value{},
		eaches:   map[string]func(yield func(value float64, labels ...Label) bool){},
		helps:    map[string]Family{},
	}
	r.spare.Store(maxSpread)
	r.o.Reasons = slices.Clone(o.Reasons[:min(len(o.Reasons), maxReasons)])
	for i := range r.folds {
		// Names that are equal must not become two series.
		if i < len(r.o.Reasons) && r.o.Reasons[i] != Other {
			r.folds[i] = uint8(slices.Index(r.o.Reasons, r.o.Reasons[i]))
		}
	}
	r.overflow = r.Counter(SeriesOverflow.Name, SeriesOverflow.Help)
	return r
}

// Now returns the time by the registry's clock.
func (r *Registry) Now() time.Time { return r.o.Now() }

// Shape returns a number that changes whenever gateways come or go. It costs
// nothing to ask.
func (r *Registry) Shape() uint64 { return r.shape.Load() }

// Reason returns the name of a position in Totals.Reasons.
func (r *Registry) Reason(i int) string {
	if i == 0 || i >= len(r.o.Reasons) {
		return Other
	}
	return r.o.Reasons[i]
}

// Started returns when the registry was made.
func (r *Registry) Started() time.Time { return r.started }

// Gateway returns the series of a gateway, the same ones whenever they are
// asked for while the gateway stays.
func (r *Registry) Gateway(name string) *Gateway {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gateway(label(name))
}

// gateway is Gateway with r locked.
func (r *Registry) gateway(name string) *Gateway {
	g, ok := r.gateways[name]
	if !ok && name != Other && len(r.gateways) >= r.o.MaxGateways {
		r.overflow.Add(0, 1)
		return r.gateway(Other)
	}
	if !ok {
		g = &Gateway{name: name, created: r.moment(r.o.Now())}
		g.init(r)
		g.view.Store(&unconditional)
		r.gateways[name] = g
		r.shape.Add(1)
	}
	if g.left != never {
		g.left = never
		g.shape.Add(1)
	}
	return g
}

// Route returns the series of a route of the gateway, the same ones whenever
// they are asked for while the route stays.
func (g *Gateway) Route(path string) *Route {
	g.registry.mu.Lock()
	defer g.registry.mu.Unlock()
	return g.registry.route(g, label(path))
}

// route is Route with r locked.
func (r *Registry) route(g *Gateway, path string) *Route {
	at, ok := g.seek(path)
	if !ok && path != Other && (g.name == Other || r.routes >= r.o.MaxRoutes) {
		r.overflow.Add(0, 1)
		return r.route(g, Other)
	}
	if !ok {
		t := &Route{gateway: g, path: path, created: r.moment(r.o.Now())}
		t.init(r)
		g.routes = slices.Insert(g.routes, at, t)
		g.shape.Add(1)
		switch {
		case g.legacy != nil && g.legacy.past != nil: // the gateway is gone, and this never shown
			g.legacy.inherit(t)
		case path != Other:
			r.routes++
		}
	}
	t := g.routes[at]
	t.left = never
	return t
}

// seek returns where the route of a path is among those of the gateway, or
// where it belongs. The registry is locked.
func (g *Gateway) seek(path string) (at int, ok bool) {
	return slices.BinarySearchFunc(g.routes, path, func(t *Route, path string) int { return strings.Compare(t.path, path) })
}

// Retain says which gateways, with which routes, are left after a table was
// bound. The series of others linger, as Options say, and are dropped then.
// What a route counts, before or afterwards, stays in the counts of its
// gateway. What is still counted in a gateway that was dropped does no harm
// and is not shown.
func (r *Registry) Retain(names map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := make(map[*Route]bool)
	stays := make(map[*Gateway]bool, len(names))
	for name, paths := range names {
		g := r.find(label(name))
		if g == nil {
			continue
		}
		stays[g] = true
		for _, path := range paths {
			at, ok := g.seek(label(path))
			if !ok {
				at, ok = g.seek(Other)
			}
			if ok {
				kept[g.routes[at]] = true
			}
		}
	}
	now := r.moment(r.o.Now())
	for _, g := range r.gateways {
		if mark(&g.left, stays[g], now) {
			g.shape.Add(1) // its shares are shown no more, or again
		}
		for _, t := range g.routes {
			mark(&t.left, kept[t], now)
			if !kept[t] {
				t.SetInstances(nil) // who tells is gone as well
			}
		}
	}
	r.prune(now)
}

// find returns the gateway whose series carry the counts of a name.
func (r *Registry) find(name string) *Gateway {
	if g, ok := r.gateways[name]; ok {
		return g
	}
	return r.gateways[Other]
}

// mark notes since when something is gone, and reports whether that is news.
func mark(gone *moment, stays bool, now moment) bool {
	if stays != (*gone == never) {
		if *gone = now; stays {
			*gone = never
		}
		return true
	}
	return false
}

// prune drops what has been gone for long enough. r is locked.
func (r *Registry) prune(now moment) {
	over := func(gone moment) bool {
		return gone != never && time.Duration(now-gone) >= r.o.Linger
	}
	for name, g := range r.gateways {
		whole := over(g.left)
		g.routes = slices.DeleteFunc(g.routes, func(t *Route) bool {
			if !whole && !over(t.left) || t.tunneled() {
				return false
			}
			g.shape.Add(1)
			t.release()
			g.heir().inherit(t)
			if t.path != Other {
				r.routes--
			}
			return true
		})
		if whole && len(g.routes) == 0 {
			delete(r.gateways, name)
			r.shape.Add(1)
			g.release()
			g.heir().leave(g, &r.past)
		}
	}
}

// Gateways returns the gateways to show, by name.
func (r *Registry) Gateways() []*Gateway {
	r.mu.Lock()
	r.prune(r.moment(r.o.Now()))
	list := make([]*Gateway, 0, len(r.gateways))
	for _, g := range r.gateways {
		list = append(list, g)
	}
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b *Gateway) int { return strings.Compare(a.name, b.name) })
	return list
}

// Routes returns the routes of the gateway to show, by path.
func (g *Gateway) Routes() []*Route {
	g.registry.mu.Lock()
	defer g.registry.mu.Unlock()
	return slices.Clone(g.routes)
}

// label returns a text in a form that every exposition format can carry.
func label(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// moment is a time of the registry's clock, in nanoseconds since just before its
// start and not 0: there are two in each gateway and route, and a time.Time is
// three times as long.
type moment int64

// never is no moment.
const never moment = 0

func (r *Registry) moment(at time.Time) moment {
	return cmp.Or(moment(at.Sub(r.started))+1, 1)
}

// when returns the time of a moment.
func (r *Registry) when(m moment) time.Time { return r.started.Add(time.Duration(m - 1)) }
