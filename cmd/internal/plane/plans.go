// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// plans are those of all namespaces, each made by a planner of its own.
type plans struct {
	store     store.Store
	epoch     uint64
	namespace string // of updates without
	selects   routing.SelectOptions
	compile   routing.CompileOptions

	next, reserved uint64 // revisions; by Run's goroutine

	mu     sync.Mutex // guards the fields below
	spaces map[string]*space
	whose  map[string]string // namespaces by key
}

type space struct {
	planner *planner.Planner
	version routing.Version // as the planner counts
	last    planner.Plan
	planned bool
}

func (p *plans) Run(ctx context.Context, src discovery.Source, publish func(planner.Plan)) error {
	fold := discovery.NewFold(0)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer fold.Close()
		return src.Run(ctx, fold.Put)
	})
	listed := false
	g.Go(func() error {
		var fault error
		fold.Run(ctx, func(b discovery.Batch) {
			touched := p.put(b.Updates)
			listed = listed || b.Listed
			if b.Listed {
				touched = p.Namespaces()
			}
			for _, ns := range touched {
				if !listed || fault != nil {
					return
				}
				var plan planner.Plan
				if plan, fault = p.plan(ctx, ns, b.Changes); fault == nil {
					publish(plan)
				}
			}
		})
		return fault
	})
	return g.Wait()
}

func (p *plans) put(updates []discovery.Update) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spaces == nil {
		p.spaces, p.whose = make(map[string]*space), make(map[string]string)
		p.space(p.namespace)
	}
	by := make(map[string][]discovery.Update)
	for _, u := range updates {
		ns := u.Namespace
		if ns == "" {
			ns = p.whose[u.Key]
		}
		if ns == "" {
			ns = p.namespace
		}
		p.whose[u.Key] = ns
		by[ns] = append(by[ns], u)
	}
	for ns, updates := range by {
		p.space(ns).planner.Put(updates)
	}
	return slices.Sorted(maps.Keys(by))
}

func (p *plans) space(ns string) *space {
	if p.spaces[ns] == nil {
		p.spaces[ns] = &space{planner: planner.New(planner.Options{Epoch: p.epoch, Select: p.selects})}
	}
	return p.spaces[ns]
}

func (p *plans) plan(ctx context.Context, ns string, changes []discovery.Change) (planner.Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.spaces[ns]
	table, faults := s.planner.Plan()
	next := planner.Plan{Namespace: ns, Table: s.last.Table, Snapshot: s.last.Snapshot, Changes: changes}
	var more []*routing.Fault
	if !s.planned || table.Version != s.version {
		revision, err := p.revision(ctx)
		if err != nil {
			return planner.Plan{}, err
		}
		own := *table
		own.Version = routing.Version{Epoch: p.epoch, Revision: revision}
		next.Snapshot, more = routing.Compile(s.last.Snapshot, &own, p.compile)
		next.Table = &own
		s.version = table.Version
	}
	next.Faults = append(slices.Clip(faults), more...)
	s.last, s.planned = next, true
	return next, nil
}

func (p *plans) revision(ctx context.Context) (uint64, error) {
	const name, block = "planner/revisions", 1000
	if p.next >= p.reserved {
		v, err := p.store.Value(ctx, name)
		expect := store.Expect(v.Revision)
		if err != nil {
			expect = store.Absent
		} else {
			p.next = binary.BigEndian.Uint64(v.Data)
		}
		p.reserved = p.next + block
		if _, err := p.store.SetValue(ctx, name, binary.BigEndian.AppendUint64(nil, p.reserved), expect); err != nil {
			return 0, err
		}
	}
	p.next++
	return p.next, nil
}

func (p *plans) Namespaces() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.spaces))
}

func (p *plans) Last(ns string) (planner.Plan, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.spaces[ns]
	if s == nil || !s.planned {
		return planner.Plan{}, false
	}
	return s.last, true
}

func (p *plans) Status(ns string) planner.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.spaces[ns]; s != nil {
		return s.planner.Status()
	}
	return planner.Status{}
}

func (p *plans) Check(_ string, updates []discovery.Update) []*routing.Fault {
	var all []*routing.Fault
	for _, u := range updates {
		all = append(all, u.Faults...)
	}
	return all
}
