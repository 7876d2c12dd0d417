// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// gateways is the kind of documents that ask for gateways.
const gateways = "gateways"

// space is one namespace: what its objects say, and what came of it, station
// by station. Each station does again only what the one before it changed. The
// planner's mutex guards it.
type space struct {
	p    *Planner
	name string

	objects map[string]*object
	ordered []*object      // by rank of their origin and key
	origins map[string]int // objects by origin
	dirty   bool           // an object changed since the last plan
	changes []discovery.Change
	empty   time.Time // since when it has no objects; zero while it has some

	// What the documents come to.
	refs     map[docKey][]ref // those of a kind and name, in the order of objects
	resolver *routing.Resolver
	resolved map[docKey][]*routing.Fault // that resolving found, by document
	entries  map[string]*entry           // gateways that are asked for
	order    []*entry                    // in the order of documents
	reorder  bool                        // order is of former documents

	// What selectors find.
	roster    roster
	interests routing.Interests
	claims    routing.Claims
	stale     map[string]bool      // gateways whose selectors are to look again
	waning    map[string]time.Time // when they are to, as what they remember ends

	ports  ports
	vault  vault
	faults ledger // all but those of compiling
	memory keepsakes
	trial  *trial // while updates are only tried; else nil

	last     Plan    // the zero Plan before the first
	saving   *saving // that is under way; nil if none is
	next     *Plan   // to be published after it; nil if there is none
	compiled []*routing.Fault
	refused  map[string]bool // gateways whose present form is refused
	held     *discovery.Held // while nothing is planned; nil if it is
	believed bool            // held is over: what is missing is gone
	failed   error           // why there is no new plan; nil if there is one
}

// object is what the planner knows of one key.
type object struct {
	discovery.Update

	rank int
}

func (o *object) compare(b *object) int {
	return cmp.Or(cmp.Compare(o.rank, b.rank), cmp.Compare(o.Key, b.Key))
}

// docKey names documents.
type docKey struct{ kind, name string }

// ref is a document of an object.
type ref struct {
	o    *object
	at   int // among the object's documents, and behind them those it keeps
	doc  *routing.Document
	kept bool
}

func (r ref) compare(b ref) int { return cmp.Or(r.o.compare(b.o), cmp.Compare(r.at, b.at)) }

// entry is a gateway that is asked for, as it left each station.
type entry struct {
	name     string
	asked    *routing.Gateway // resolved; nil if that refused it
	selected routing.Selected // its Gateway is nil if it was refused until then
	claim    *routing.Fault   // that others find the same instances; nil if they do not
	form     *routing.Gateway // with its port; nil as that of selected
	portless *routing.Gateway // that form was made of
	served   *routing.Gateway // in the last table, of form or of one before it; nil if there is none
	since    *routing.Gateway // the form that served was made of, when it was last seen
}

func newSpace(p *Planner, name string) *space {
	return &space{
		p: p, name: name, dirty: true, empty: time.Now(),
		objects:  make(map[string]*object),
		origins:  make(map[string]int),
		refs:     make(map[docKey][]ref),
		resolver: routing.NewResolver(),
		resolved: make(map[docKey][]*routing.Fault),
		entries:  make(map[string]*entry),
		roster:   newRoster(),
		stale:    make(map[string]bool),
		waning:   make(map[string]time.Time),
		ports:    newPorts(p.o.Compile.PortBounds()),
		memory:   newKeepsakes(),
		refused:  make(map[string]bool),
	}
}

// put takes an update over and reports whether it begins to hold an absence
// back.
func (s *space) put(u discovery.Update) (holds bool) {
	o := s.objects[u.Key]
	if o != nil && o.Origin != u.Origin {
		s.remove(u.Key)
		o = nil
	}
	if o == nil {
		o = &object{Update: discovery.Update{Key: u.Key, Origin: u.Origin}, rank: s.p.ranks[u.Origin]}
		s.objects[u.Key] = o
		at, _ := slices.BinarySearchFunc(s.ordered, o, (*object).compare)
		s.ordered = slices.Insert(s.ordered, at, o)
		s.origins[u.Origin]++
	}
	holds = u.Held != nil && (o.Held == nil || !o.Held.Since.Equal(u.Held.Since))
	s.say(o, u)
	s.empty = time.Time{}
	return holds
}

// remove lets go of an object.
func (s *space) remove(key string) {
	o := s.objects[key]
	s.say(o, discovery.Update{Key: o.Key, Origin: o.Origin})
	delete(s.objects, key)
	if at, ok := slices.BinarySearchFunc(s.ordered, o, (*object).compare); ok {
		s.ordered = slices.Delete(s.ordered, at, at+1)
	}
	if s.origins[o.Origin]--; s.origins[o.Origin] == 0 {
		delete(s.origins, o.Origin)
	}
	if len(s.objects) == 0 {
		s.empty = time.Now()
	}
}

// say gives an object another state.
func (s *space) say(o *object, u discovery.Update) {
	was := o.Update
	s.dirty = true
	if !slices.Equal(was.Faults, u.Faults) {
		s.faults.swap(was.Faults, u.Faults)
	}
	if !slices.Equal(was.Documents, u.Documents) || !slices.Equal(was.Kept, u.Kept) {
		s.document(o, was, u)
	}
	if !slices.Equal(was.Secrets, u.Secrets) {
		s.vault.tell(o, was.Secrets, u.Secrets)
	}
	if !slices.Equal(was.Instances, u.Instances) {
		s.roster.tell(o, was.Instances, u.Instances)
	}
	o.Update = u
}

// idle reports whether nobody needs the namespace any more: it is empty for as
// long as ports are kept, and its last plan says so.
func (s *space) idle(now time.Time) bool {
	return s.name != s.p.o.Namespace && !s.dirty && s.held == nil && len(s.changes) == 0 &&
		!s.empty.IsZero() && now.Sub(s.empty) >= portGrace
}

// revisit returns when the namespace is to be looked at again; the zero time
// means when there is news.
func (s *space) revisit(now time.Time) time.Time {
	switch {
	case s.held != nil:
		return s.held.Until
	case s.failed != nil:
		return now.Add(retryAfter)
	case s.saving == nil:
		return s.memory.retry
	case s.waits():
		return s.saving.began.Add(slowSaving)
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
	for _, name := range s.memory.recalled {
		s.stale[name] = true
	}
	s.memory.recalled = nil
	s.settle(now)
	asked := s.asked()
	asked.Version = routing.Version{Epoch: s.p.o.Epoch, Revision: revision}
	snapshot, faults := routing.Compile(s.before(asked), asked, s.p.o.Compile)
	if !s.take(asked, snapshot, faults) {
		s.p.spare = revision
	}
	return nil
}

// settle brings every station but compiling up to date.
func (s *space) settle(now time.Time) {
	if s.p.whole { // only tests ask for it
		s.unsettle()
	}
	s.meet(now)
	s.resolve()
	s.choose(now)
	s.assign(now)
}

// unsettle has every station do everything again.
func (s *space) unsettle() {
	s.resolver = routing.NewResolver()
	for key, refs := range s.refs {
		s.resolver.Set(key.kind, key.name, counting(refs))
	}
	for name := range s.entries {
		s.stale[name] = true
		if key := (docKey{gateways, name}); s.refs[key] == nil {
			s.resolver.Set(key.kind, key.name, nil)
		}
	}
	for key := range s.resolved {
		if s.refs[key] == nil {
			s.resolver.Set(key.kind, key.name, nil)
		}
	}
	s.reorder = true
	var all []*routing.Instance
	for _, t := range s.roster.tenants {
		if t.dated != nil {
			all = append(all, t.dated)
		}
	}
	s.roster.index = routing.NewInstances(all)
}

// keep notes an entry as it is, if updates are only tried.
func (s *space) keep(e *entry) {
	if s.trial != nil {
		s.trial.keep(e)
	}
}

// addresses are those of instances.
type addresses = map[netip.AddrPort]bool
