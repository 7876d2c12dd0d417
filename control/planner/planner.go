// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Planner. The zero Options are ready to use.
type Options struct {
	// Epoch is the epoch of the tables' versions. Tables kept in memory only
	// count from anew with each process, so zero means the time of New, in
	// milliseconds since 1970.
	Epoch uint64
	// Interval is the least time between two plans while changes keep
	// coming. Zero means 50 ms.
	Interval time.Duration
	// Select says how selectors find instances.
	Select routing.SelectOptions
}

// Planner merges the objects of a source into one table and says how they
// fare. A Planner is made by New. Its methods are safe for concurrent use.
type Planner struct {
	interval time.Duration
	options  routing.SelectOptions

	mu      sync.Mutex // guards the fields below
	objects map[string]*object
	dirty   bool // an object changed since the last plan
	listed  bool
	table   *routing.Table   // of the last plan
	faults  []*routing.Fault // of the last plan
	served  map[string]bool  // gateways that have had a good form since they are asked for
	stats   Stats

	roster    roster             // of instances
	selection *routing.Selection // of the last plan; nil before the first

	refusals []*routing.Fault // of compiling the last plan, warnings among them
	compiled map[string]State // gateways that compiling refused
}

// object is what the planner knows of one key.
type object struct {
	discovery.Update

	resolved []*routing.Fault // faults that only showed beside other objects
}

// New returns a planner without objects, whose table is empty.
func New(o Options) *Planner {
	epoch := cmp.Or(o.Epoch, uint64(time.Now().UnixMilli()))
	return &Planner{
		interval: o.Interval,
		options:  o.Select,
		objects:  make(map[string]*object),
		table:    &routing.Table{Version: routing.Version{Epoch: epoch}},
		served:   make(map[string]bool),
		stats:    Stats{Rejected: make(map[string]uint64)},
	}
}

// Run plans what src tells and hands each table to publish, until ctx ends or
// src does, and returns what src returned. Nothing is published before the
// first listing of src is complete. Publish is called once then, even if the
// table is empty, and again whenever the table or the faults changed; a table
// with the version of the one before differs in nothing. The faults are all
// that there are at the time. Calls do not overlap; the first change after
// quiet is published at once, and at most one each interval while changes
// keep coming. A Planner is run once.
func (p *Planner) Run(
	ctx context.Context, src discovery.Source, publish func(*routing.Table, []*routing.Fault),
) error {
	fold := discovery.NewFold(p.interval)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer fold.Close()
		return src.Run(ctx, fold.Put)
	})
	g.Go(func() error {
		fold.Run(ctx, func(b discovery.Batch) { p.pass(b, publish) })
		return nil
	})
	return g.Wait()
}

// pass plans a batch and publishes what comes of it.
func (p *Planner) pass(b discovery.Batch, publish func(*routing.Table, []*routing.Fault)) {
	p.Put(b.Updates)
	p.mu.Lock()
	first := b.Listed && !p.listed
	p.listed = p.listed || b.Listed
	listed, version, before := p.listed, p.table.Version, p.faults
	p.mu.Unlock()
	if !listed {
		return
	}
	table, faults := p.Plan()
	if first || table.Version != version || !slices.EqualFunc(before, faults, sameFault) {
		publish(table, faults)
	}
}

// Put takes over updates and reports whether a plan may come out differently
// for them.
func (p *Planner) Put(updates []discovery.Update) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range updates {
		old, known := p.objects[u.Key]
		if !known {
			old = &object{}
		}
		switch {
		case u.Gone && !known:
			continue
		case u.Gone:
			delete(p.objects, u.Key)
		default:
			p.objects[u.Key] = &object{Update: u, resolved: old.resolved}
		}
		if u.Held != nil && (old.Held == nil || !old.Held.Since.Equal(u.Held.Since)) {
			p.stats.HeldBack++
		}
		p.countNew(old.Faults, u.Faults)
		changed = true
	}
	p.dirty = p.dirty || changed
	return changed
}

// Plan returns the table that the objects ask for, and all faults in the
// order of keys and positions. The version's revision grows by 1 when the
// table differs from that of the last plan in anything, positions included;
// an equal table is returned with its old version, and is the same pointer.
// The table and faults are not to be changed.
//
// Objects are merged in the order of their keys. Where two have a document of
// the same kind and name, the first in this order takes effect and the other
// is a fault; a document that is only kept yields to one that is not.
func (p *Planner) Plan() (*routing.Table, []*routing.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty {
		return p.table, p.faults
	}
	p.dirty = false
	table, resolved := routing.Resolve(p.merge())
	now := time.Now()
	table, selection, selected := routing.Select(p.selection, table, p.roster.of(p.lists(), now), now, p.options)
	p.selection = selection
	resolved = append(resolved, selected...)
	p.attribute(resolved)
	p.faults = p.allFaults(resolved)
	table.Version = p.table.Version
	if !reflect.DeepEqual(table, p.table) {
		table.Version.Revision++
		p.table = table
		p.stats.Planned++
	}
	p.remember()
	return p.table, p.faults
}

// merge returns all documents that count, in the order of keys.
func (p *Planner) merge() []*routing.Document {
	type id struct{ kind, name string }
	present := make(map[id]bool)
	for _, o := range p.objects {
		for _, d := range o.Documents {
			present[id{d.Kind, d.Name}] = true
		}
	}
	var docs []*routing.Document
	for _, key := range p.keys() {
		o := p.objects[key]
		docs = append(docs, o.Documents...)
		for _, d := range o.Kept {
			if !present[id{d.Kind, d.Name}] {
				docs = append(docs, d)
			}
		}
	}
	return docs
}

func (p *Planner) keys() []string { return slices.Sorted(maps.Keys(p.objects)) }

// attribute notes at each object the faults that resolving found in it.
func (p *Planner) attribute(resolved []*routing.Fault) {
	bySource := make(map[string][]*routing.Fault)
	for _, f := range resolved {
		bySource[f.At.Source] = append(bySource[f.At.Source], f)
	}
	for key, o := range p.objects {
		p.countNew(o.resolved, bySource[key])
		o.resolved = bySource[key]
	}
}

// allFaults returns the faults of all objects, and those that resolving
// found, in the order of keys and positions.
func (p *Planner) allFaults(resolved []*routing.Fault) []*routing.Fault {
	var all []*routing.Fault
	for _, key := range p.keys() {
		all = append(all, p.objects[key].Faults...)
	}
	all = append(all, resolved...)
	slices.SortStableFunc(all, func(a, b *routing.Fault) int {
		return cmp.Or(cmp.Compare(a.At.Source, b.At.Source),
			cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column))
	})
	return all
}

// remember notes which gateways have had a good form.
func (p *Planner) remember() {
	served := make(map[string]bool, len(p.table.Gateways))
	for _, g := range p.table.Gateways {
		served[g.Name] = true
	}
	for _, name := range p.table.Broken {
		if p.served[name] {
			served[name] = true
		}
	}
	p.served = served
}

// sameFault reports whether two faults say the same.
func sameFault(a, b *routing.Fault) bool { return *a == *b }
