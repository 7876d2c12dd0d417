// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// space is one namespace. The planner's mutex guards it.
type space struct {
	p    *Planner
	name string

	objects map[string]*object
	ordered []*object      // by rank of their origin and key
	origins map[string]int // objects by origin
	dirty   bool           // an object changed since the last plan
	changes []discovery.Change
	empty   time.Time // since when it has no objects; zero while it has some

	last    Plan                        // the zero Plan before the first
	serving map[string]*routing.Gateway // the gateways of the last table by name
	refused map[string]bool             // gateways whose present form is refused

	roster    roster             // of instances
	selection *routing.Selection // of the last plan
	ports     ports
	memory    keepsakes
	held      *discovery.Held // while it is not planned; nil if it is
	failed    error           // why there is no new plan; nil if there is one
}

// object is what the planner knows of one key.
type object struct {
	discovery.Update

	rank int
}

func (o *object) compare(b *object) int {
	return cmp.Or(cmp.Compare(o.rank, b.rank), cmp.Compare(o.Key, b.Key))
}

func newSpace(p *Planner, name string) *space {
	return &space{
		p: p, name: name, dirty: true,
		objects:   make(map[string]*object),
		origins:   make(map[string]int),
		refused:   make(map[string]bool),
		serving:   make(map[string]*routing.Gateway),
		selection: routing.NewSelection(nil),
		ports:     newPorts(p.o.Compile.PortBounds()),
		memory:    newKeepsakes(),
	}
}

// put takes an update over and reports whether it begins to hold an absence
// back.
func (s *space) put(u discovery.Update) (holds bool) {
	old := s.objects[u.Key]
	if old != nil {
		s.remove(u.Key)
	}
	o := &object{Update: u, rank: s.p.ranks[u.Origin]}
	s.objects[u.Key] = o
	at, _ := slices.BinarySearchFunc(s.ordered, o, (*object).compare)
	s.ordered = slices.Insert(s.ordered, at, o)
	s.origins[u.Origin]++
	s.dirty, s.empty = true, time.Time{}
	return u.Held != nil && (old == nil || old.Held == nil || !old.Held.Since.Equal(u.Held.Since))
}

// remove lets go of an object.
func (s *space) remove(key string) {
	o := s.objects[key]
	delete(s.objects, key)
	if at, ok := slices.BinarySearchFunc(s.ordered, o, (*object).compare); ok {
		s.ordered = slices.Delete(s.ordered, at, at+1)
	}
	if s.origins[o.Origin]--; s.origins[o.Origin] == 0 {
		delete(s.origins, o.Origin)
	}
	s.dirty = true
	if len(s.objects) == 0 {
		s.empty = time.Now()
	}
}

// idle reports whether nobody needs the namespace any more: it is empty for as
// long as ports are kept, and its last plan says so.
func (s *space) idle(now time.Time) bool {
	return s.name != s.p.o.Namespace && !s.dirty && s.held == nil && len(s.changes) == 0 &&
		!s.empty.IsZero() && now.Sub(s.empty) >= portGrace
}

// revisit returns when the namespace is to be looked at again; the zero time
// means when there is news.
func (s *space) revisit() time.Time {
	if s.held != nil {
		return s.held.Until
	}
	return time.Time{}
}

// plan makes the next plan if anything changed. It fails, and leaves
// everything as it was, if a new table has no revision.
func (s *space) plan(ctx context.Context, now time.Time) error {
	if !s.dirty && s.last.Table != nil {
		s.last.Changes, s.changes = s.changes, nil
		return nil
	}
	revision, err := s.p.revision(ctx)
	if err != nil {
		return err
	}
	w := s.work(now, routing.Version{Epoch: s.p.o.Epoch, Revision: revision})
	if !w.changed {
		s.p.spare = revision
	}
	s.take(w)
	return nil
}

// work is what planning a namespace came to, before it counts.
type work struct {
	asked     *routing.Table // as compiled: of the gateways that are asked for
	table     *routing.Table // what is to be served
	snapshot  *routing.Snapshot
	selection *routing.Selection
	refused   map[string]bool
	faults    []*routing.Fault
	changed   bool // the table differs from that of the last plan
}

// work plans with all objects of now. A table that differs from that of the
// last plan has the version.
func (s *space) work(now time.Time, version routing.Version) *work {
	docs := s.merge()
	asked, faults := routing.Resolve(docs)
	selected, selection, more := routing.Select(s.selection, asked, s.roster.of(s.lists(), now), now, s.p.o.Select)
	faults = append(faults, more...)
	selected.Gateways = s.ports.assign(selected, s.memory.touched, now)
	selected.Version = version
	w := &work{asked: selected, selection: selection, refused: make(map[string]bool)}
	w.snapshot, more = routing.Compile(s.before(selected), selected, s.p.o.Compile)
	faults = append(faults, more...)
	for _, name := range selected.Broken {
		w.refused[name] = true
	}
	for _, f := range more {
		if f.Severity == routing.Refused {
			w.refused[f.Name] = true
		}
	}
	w.table = s.serve(w, docs)
	w.changed = s.last.Table == nil || !sameTable(s.last.Table, w.table)
	w.faults = s.allFaults(faults)
	return w
}

// served returns the form of a gateway in the last table, nil if it has none.
func (s *space) served(name string) *routing.Gateway { return s.serving[name] }
