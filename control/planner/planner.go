// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// DefaultNamespace is the namespace of updates that name none, unless Options
// say otherwise.
const DefaultNamespace = "default/default"

const (
	// retryAfter is the time after which what failed is tried again.
	retryAfter = time.Second
	// holdFor is how long it is not believed that an origin which had objects
	// before the process was started has none any more.
	holdFor = time.Minute
	// portGrace is how long a port is kept for a gateway that is not asked for
	// any more.
	portGrace = time.Hour
)

// Options shape a Planner. The zero Options are ready to use.
type Options struct {
	// Epoch is the epoch of the tables' versions. Tables kept in memory only
	// count from anew with each process, so zero means the time of New, in
	// milliseconds since 1970.
	Epoch uint64
	// Revisions returns the revision of the next table, higher than any before
	// in the epoch; see StoreRevisions. While it fails no new table is published,
	// and it is tried again each second. Nil counts in memory.
	Revisions func(context.Context) (uint64, error)
	// Interval is the least time between two plans while changes keep
	// coming. Zero means 50 ms.
	Interval time.Duration
	// Select says how selectors find instances.
	Select routing.SelectOptions
	// Compile shapes the snapshots. Ports are assigned within its bounds.
	Compile routing.CompileOptions
	// Namespace is that of updates which name none. Empty means
	// DefaultNamespace.
	Namespace string
	// Origins are the origins of objects, that which counts most first. Others
	// come after them. Nil means api, kubernetes, marathon, files.
	Origins []string
	// Memory keeps what has to outlast the process. Nil means that nothing
	// does.
	Memory Memory
}

func (o Options) withDefaults() Options {
	o.Epoch = cmp.Or(o.Epoch, uint64(time.Now().UnixMilli()))
	o.Namespace = cmp.Or(o.Namespace, DefaultNamespace)
	if o.Origins == nil {
		o.Origins = []string{"api", "kubernetes", "marathon", "files"}
	}
	return o
}

// Planner merges the objects of a source into one table a namespace and says
// how they fare. A Planner is made by New. Its methods are safe for concurrent
// use.
type Planner struct {
	o     Options
	ranks map[string]int // of origins
	whole bool           // each plan does everything again, as tests compare

	wake   chan struct{} // holds a token when Run is to look again
	redue  chan struct{} // holds a token when due has changed
	toSave chan struct{} // holds a token when unsaved has more

	publishing sync.Mutex // held while plans are made and published
	keeping    sync.Mutex // held while Memory saves

	mu     sync.Mutex // guards the fields below
	spaces map[string]*space
	owners map[string]*space // by the key of an object
	listed bool
	loaded bool // what Memory has was taken in
	// opened says that everything was planned once after the first listing.
	opened   bool
	counted  uint64 // revisions that were counted in memory
	spare    uint64 // a revision that was not used; 0 if there is none
	planned  uint64
	heldBack uint64
	rejected map[string]uint64
	due      time.Time // when to look again; zero means when there is news
	unsaved  []*saving // that wait for their turn, one a namespace at most
}

// New returns a planner without objects, whose tables are empty.
func New(o Options) *Planner {
	p := &Planner{
		o:        o.withDefaults(),
		ranks:    make(map[string]int),
		wake:     make(chan struct{}, 1),
		redue:    make(chan struct{}, 1),
		toSave:   make(chan struct{}, 1),
		spaces:   make(map[string]*space),
		owners:   make(map[string]*space),
		rejected: make(map[string]uint64),
	}
	for i, origin := range p.o.Origins {
		p.ranks[origin] = i - len(p.o.Origins)
	}
	p.space(p.o.Namespace)
	return p
}

// space returns a namespace, which it makes if there is none.
func (p *Planner) space(name string) *space {
	s := p.spaces[name]
	if s == nil {
		s = newSpace(p, name)
		p.spaces[name] = s
	}
	return s
}

// Run plans what src tells and hands each plan to publish, until ctx ends or
// src does, and returns what src returned; before that it loads what Memory
// has, and returns an error if that is not possible. Nothing is published
// before the first listing of src is complete. Then each namespace is, even if
// its table is empty, and again whenever its table, its Secrets or its faults
// changed or a change was taken in. Calls do not overlap, and the plans of one namespace
// come in the order of their versions; publish may call the planner's methods,
// but should not take long. The first change after quiet is published at once,
// and at most one plan a namespace each interval while changes keep coming. A
// Planner is run once.
func (p *Planner) Run(ctx context.Context, src discovery.Source, publish func(Plan)) error {
	if err := p.Load(ctx); err != nil {
		return err
	}
	fold := discovery.NewFold(p.o.Interval)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer fold.Close()
		return src.Run(ctx, fold.Put)
	})
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		fold.Run(ctx, func(b discovery.Batch) { p.pass(ctx, b, publish) })
		return nil
	})
	over := make(chan struct{})
	g.Go(func() error {
		defer close(over)
		p.revisit(ctx, ended, publish)
		return nil
	})
	g.Go(func() error {
		p.runSavings(ctx, over, publish)
		return nil
	})
	return g.Wait()
}

// revisit plans again when it is time to, without being told anything, until
// no batches come any more.
func (p *Planner) revisit(ctx context.Context, ended <-chan struct{}, publish func(Plan)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		// It is read anew each time: what a pass found may be outdated when it
		// is heard of.
		timer.Stop()
		if at := p.nextDue(); !at.IsZero() {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ended:
			return
		case <-p.redue:
		case <-p.wake:
			p.pass(ctx, discovery.Batch{}, publish)
		case <-timer.C:
			p.pass(ctx, discovery.Batch{}, publish)
		}
	}
}

func (p *Planner) nextDue() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.due
}

// pass takes a batch in and publishes what comes of it and relies on nothing
// that is to be saved.
func (p *Planner) pass(ctx context.Context, b discovery.Batch, publish func(Plan)) {
	p.publishing.Lock()
	defer p.publishing.Unlock()
	p.mu.Lock()
	p.take(b)
	var plans []Plan
	p.due = time.Time{}
	if p.listed {
		plans = p.planAll(ctx)
	}
	p.tellDue()
	p.mu.Unlock()
	for _, plan := range plans {
		publish(plan)
	}
}

// planAll plans every namespace that has news, by name, and finds out when to
// look again.
func (p *Planner) planAll(ctx context.Context) (plans []Plan) {
	now := time.Now()
	for _, name := range p.namespaces() {
		s := p.spaces[name]
		if s.idle(now) {
			p.release(s, now)
			continue
		}
		plan, ok := p.plan(ctx, s, now)
		if s.last.Table != nil { // else nothing has been found out yet that is to be kept
			plans = p.deliver(s, plan, ok, now, plans)
		}
		if at := s.revisit(now); !at.IsZero() && (p.due.IsZero() || at.Before(p.due)) {
			p.due = at
		}
	}
	p.opened = true
	return plans
}

// release lets go of a namespace, once nothing of it is kept any more.
func (p *Planner) release(s *space, now time.Time) {
	if s.saving != nil {
		return
	}
	s.settle(now)
	if now.Before(s.memory.retry) {
		p.lookAgain(s.memory.retry)
		return
	}
	if one := s.unsaved(now); one != nil {
		p.save(one)
		return
	}
	delete(p.spaces, s.name)
}

// plan plans a namespace and reports whether that is to be published.
func (p *Planner) plan(ctx context.Context, s *space, now time.Time) (Plan, bool) {
	if s.holds(now) {
		return Plan{}, false
	}
	before, first := s.last, s.last.Table == nil
	if s.failed = s.plan(ctx, now); s.failed != nil {
		return Plan{}, false
	}
	if first || s.last.Table != before.Table || len(s.last.Changes) > 0 ||
		!sameFaults(before.Faults, s.last.Faults) || !slices.Equal(before.Secrets, s.last.Secrets) {
		return s.last, true
	}
	return Plan{}, false
}

// Put takes over updates and reports whether a plan may come out differently
// for them.
func (p *Planner) Put(updates []discovery.Update) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(discovery.Batch{Updates: updates})
}

// take takes over what a source tells.
func (p *Planner) take(b discovery.Batch) (changed bool) {
	p.listed = p.listed || b.Listed
	touched := make(map[*space]bool)
	for _, u := range b.Updates {
		owner := p.owners[u.Key]
		if u.Gone {
			if owner != nil {
				owner.remove(u.Key)
				delete(p.owners, u.Key)
				touched[owner] = true
			}
			continue
		}
		s := p.space(cmp.Or(u.Namespace, p.o.Namespace))
		if owner != nil && owner != s {
			owner.remove(u.Key)
			touched[owner] = true
		}
		if s.put(u) {
			p.heldBack++
		}
		p.owners[u.Key] = s
		touched[s] = true
	}
	for _, c := range b.Changes {
		p.attribute(c, touched)
	}
	return len(touched) > 0
}

// attribute notes a change at the namespaces that it is of: the one that it
// names, else those of the updates that came with it.
func (p *Planner) attribute(c discovery.Change, touched map[*space]bool) {
	switch {
	case c.Namespace != "":
		p.space(c.Namespace).note(c)
	case len(touched) > 0:
		for s := range touched {
			s.note(c)
		}
	default:
		p.space(p.o.Namespace).note(c)
	}
}

// note notes a change, for the next plan.
func (s *space) note(c discovery.Change) { s.changes = newest(append(s.changes, c)) }

// Plan plans one namespace and returns its newest plan, which is that of
// before if nothing changed, once what it relies on is saved. It fails if there
// is no revision for a new table.
func (p *Planner) Plan(ctx context.Context, namespace string) (Plan, error) {
	p.mu.Lock()
	s := p.space(cmp.Or(namespace, p.o.Namespace))
	now := time.Now()
	err := s.plan(ctx, now)
	last := s.last
	var one *saving
	if err == nil && s.saving == nil {
		if one = s.unsaved(now); one != nil {
			s.saving = one
		}
	}
	p.mu.Unlock()
	if one == nil {
		return last, err
	}
	err = p.keep(ctx, one)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved(one, err)
	return last, err
}

// Namespaces returns the namespaces that have objects, or had some lately,
// sorted. The one of updates that name none is always there.
func (p *Planner) Namespaces() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.namespaces()
}

func (p *Planner) namespaces() []string { return slices.Sorted(maps.Keys(p.spaces)) }

// Last returns the newest plan of a namespace, and whether there is one. While
// what it relies on is saved it is not published yet. An empty namespace is the one of updates that name none.
func (p *Planner) Last(namespace string) (Plan, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.spaces[cmp.Or(namespace, p.o.Namespace)]
	if s == nil || s.last.Table == nil {
		return Plan{}, false
	}
	return s.last, true
}

// Confirm believes at once that origins which had objects before the process
// was started have none any more, in all namespaces where that is held back,
// and returns how many namespaces those are. Plans follow.
func (p *Planner) Confirm() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.spaces {
		if s.held != nil {
			s.held.Until = time.Now()
			n++
		}
	}
	select {
	case p.wake <- struct{}{}:
	default: // a token that is there says the same
	}
	return n
}

// revision returns the revision of the next table. One that is not used is to
// be put into spare.
func (p *Planner) revision(ctx context.Context) (uint64, error) {
	if r := p.spare; r != 0 {
		p.spare = 0
		return r, nil
	}
	if p.o.Revisions != nil {
		return p.o.Revisions(ctx)
	}
	p.counted++
	return p.counted, nil
}

// sameFault reports whether two faults say the same.
func sameFault(a, b *routing.Fault) bool { return a == b || *a == *b }
