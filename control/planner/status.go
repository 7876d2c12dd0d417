// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// State says how an object or a gateway fares.
type State string

const (
	// Good means that everything takes effect as it is written now.
	Good State = "good"
	// Faulty means that something is refused and takes effect in its last
	// good form, or not at all if there was none.
	Faulty State = "faulty"
	// HeldBack means that something seems absent, which is not yet believed.
	HeldBack State = "held back"
	// LastGood means that a gateway's present text is refused or cannot be
	// seen, and that its last good form stays.
	LastGood State = "last good form"
	// Refused means that a gateway is refused and had no good form before.
	Refused State = "refused"
)

// Status is how the objects of a namespace and their gateways fare. It is
// ready to be shown as JSON.
type Status struct {
	Namespace string `json:"namespace"`
	Version   string `json:"version"` // of the last plan
	Listed    bool   `json:"listed"`  // the first listing of the source is complete
	// Held says why nothing is planned yet; nil if it is.
	Held *Held `json:"held,omitempty"`
	// Unsaved says why what has to outlast the process could not be kept, which
	// is tried again, or that the disk has not answered for 5 s; empty if it is
	// kept.
	Unsaved string `json:"unsaved,omitempty"`
	// Failed says why there is no new table though one is due; empty if there
	// is.
	Failed string `json:"failed,omitempty"`
	// Objects are sorted by key, gateways by name.
	Objects  []Object  `json:"objects"`
	Gateways []Gateway `json:"gateways"`
}

// Object is how one object of a source, such as a file, fares.
type Object struct {
	Key    string `json:"key"`
	Origin string `json:"origin,omitempty"`
	State  State  `json:"state"` // Good, Faulty or HeldBack
	// Generation is the number by which its origin knows what was planned of
	// it; 0 if it has none.
	Generation int64    `json:"generation,omitempty"`
	Documents  int      `json:"documents"`
	Instances  int      `json:"instances,omitempty"` // that selectors may find
	Kept       int      `json:"kept,omitempty"`      // documents of earlier texts that still count
	Faults     []string `json:"faults,omitempty"`    // as their Error, warnings among them
	// Conflicts are those of Faults that say that a document does not count,
	// as an object before this one has one of its name.
	Conflicts []string `json:"conflicts,omitempty"`
	Held      *Held    `json:"held,omitempty"`
}

// Held is an absence that is held back.
type Held struct {
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// RemainingSeconds is how long the absence is held back yet, never below
	// 0.
	RemainingSeconds float64 `json:"remaining_seconds"`
}

// Gateway is how one gateway fares, as far as it was planned and compiled: its
// port may be taken yet.
type Gateway struct {
	Name  string `json:"name"`
	State State  `json:"state"`        // Good, LastGood, HeldBack or Refused
	At    string `json:"at,omitempty"` // where the form that serves is written; empty if none does
	// Port is the one that it has, 0 if it has none.
	Port int `json:"port,omitempty"`
	// Assigned says that it asks for no port of its own.
	Assigned bool `json:"assigned,omitempty"`
	// Groups are what its selector has found and what it remembers, the oldest
	// first; none without a selector.
	Groups []Group `json:"groups,omitempty"`
}

// Group is a route that a selector made, or will again.
type Group struct {
	Name      string    `json:"name"`
	Since     time.Time `json:"since"` // when its first instance was known
	Instances []string  `json:"instances"`
	// Gone is since when it has no instance; nil while it has one.
	Gone *time.Time `json:"gone,omitempty"`
	// Promoted says that it has all the weight, being the one that is left.
	Promoted bool `json:"promoted,omitempty"`
}

// Stats counts since the planner was made.
type Stats struct {
	Planned  uint64 // tables that differed from the one before
	HeldBack uint64 // absences that were held back, whole namespaces among them
	Held     int    // absences that are held back now
	// Rejected counts what was refused, each time that it was new, by the
	// code of the fault.
	Rejected map[string]uint64
}

// Stats returns what was counted until now, of all namespaces. The caller owns
// it.
func (p *Planner) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := Stats{Planned: p.planned, HeldBack: p.heldBack, Rejected: maps.Clone(p.rejected)}
	for _, s := range p.spaces {
		for _, o := range s.objects {
			if o.Held != nil {
				stats.Held++
			}
		}
	}
	return stats
}

// Status returns how everything in a namespace fares after the last plan. An
// empty namespace is the one of updates that name none; one that there is not
// has nothing. The caller owns it.
func (p *Planner) Status(namespace string) Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	namespace = cmp.Or(namespace, p.o.Namespace)
	status := Status{Namespace: namespace, Listed: p.listed, Objects: []Object{}, Gateways: []Gateway{}}
	s := p.spaces[namespace]
	if s == nil {
		return status
	}
	now := time.Now()
	status.Held = held(s.held, now)
	status.Unsaved, status.Failed = s.unsavedWhy(now), text(s.failed)
	if s.last.Table != nil {
		status.Version = s.last.Table.Version.String()
	}
	bySource := make(map[string][]*routing.Fault)
	for _, f := range s.last.Faults {
		bySource[f.At.Source] = append(bySource[f.At.Source], f)
	}
	for _, o := range s.ordered {
		status.Objects = append(status.Objects, o.status(now, bySource[o.Key]))
	}
	slices.SortFunc(status.Objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	status.Gateways = append(status.Gateways, s.fates()...)
	return status
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// held tells of an absence that is held back; nil if none is.
func held(h *discovery.Held, now time.Time) *Held {
	if h == nil {
		return nil
	}
	return &Held{Why: h.Why, Since: h.Since, Until: h.Until, RemainingSeconds: max(0, h.Until.Sub(now).Seconds())}
}

// status tells how an object fares, given what is wrong with it: by itself,
// unless nothing was planned since it was told, and beside others.
func (o *object) status(now time.Time, faults []*routing.Fault) Object {
	s := Object{
		Key: o.Key, Origin: o.Origin, State: Good, Generation: o.Generation,
		Documents: len(o.Documents), Instances: len(o.Instances), Kept: len(o.Kept),
	}
	for _, f := range faults {
		s.Faults = append(s.Faults, f.Error())
		if f.Severity == routing.Refused {
			s.State = Faulty
		}
		if f.Code == routing.CodeDuplicateName {
			s.Conflicts = append(s.Conflicts, f.Error())
		}
	}
	if s.Held = held(o.Held, now); s.Held != nil {
		s.State = HeldBack
	}
	return s
}

// fates tells how each gateway fares, sorted by name.
func (s *space) fates() []Gateway {
	if s.last.Table == nil {
		return nil
	}
	var all []Gateway
	for _, g := range s.last.Table.Gateways {
		one := Gateway{
			Name: g.Name, State: s.keeps(g.Name), At: g.At.String(), Groups: s.groups(g.Name),
			Port: g.Port.Number, Assigned: s.ports.byName[g.Name].port == g.Port.Number,
		}
		if s.refused[g.Name] {
			one.State = LastGood
		}
		all = append(all, one)
	}
	for _, name := range s.last.Table.Broken {
		all = append(all, Gateway{Name: name, State: Refused, Groups: s.groups(name)})
	}
	slices.SortFunc(all, func(a, b Gateway) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// keeps returns how a gateway fares that is not refused: HeldBack or LastGood
// if all its documents are only kept.
func (s *space) keeps(name string) State {
	state := Good
	for _, r := range s.refs[docKey{gateways, name}] {
		switch {
		case !r.kept:
			return Good
		case r.o.Held != nil:
			state = HeldBack
		case state == Good:
			state = LastGood
		}
	}
	return state
}

// groups tells of the groups of a gateway; none if it is not asked for.
func (s *space) groups(name string) []Group {
	if e := s.entries[name]; e != nil {
		return e.groups()
	}
	return nil
}
