// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// gateways is the kind of documents that ask for gateways.
const gateways = "gateways"

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

// Status is how the objects of a source and their gateways fare. It is ready
// to be shown as JSON.
type Status struct {
	Version string `json:"version"` // of the last plan
	Listed  bool   `json:"listed"`  // the first listing of the source is complete
	// Objects are sorted by key, gateways by name.
	Objects  []Object  `json:"objects"`
	Gateways []Gateway `json:"gateways"`
}

// Object is how one object of a source, such as a file, fares.
type Object struct {
	Key       string   `json:"key"`
	State     State    `json:"state"` // Good, Faulty or HeldBack
	Documents int      `json:"documents"`
	Instances int      `json:"instances,omitempty"` // that selectors may find
	Kept      int      `json:"kept,omitempty"`      // documents of earlier texts that still count
	Faults    []string `json:"faults,omitempty"`    // as their Error, warnings among them
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
	At    string `json:"at,omitempty"` // where it is written; empty if it is refused
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
	HeldBack uint64 // absences that were held back
	Held     int    // absences that are held back now
	// Rejected counts what was refused, each time that it was new, by the
	// code of the fault.
	Rejected map[string]uint64
}

// Stats returns what was counted until now. The caller owns it.
func (p *Planner) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := p.stats
	stats.Rejected = maps.Clone(p.stats.Rejected)
	for _, o := range p.objects {
		if o.Held != nil {
			stats.Held++
		}
	}
	return stats
}

// Status returns how everything fares after the last plan. The caller owns
// it.
func (p *Planner) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		Version:  p.table.Version.String(),
		Listed:   p.listed,
		Objects:  make([]Object, 0, len(p.objects)),
		Gateways: make([]Gateway, 0, len(p.table.Gateways)+len(p.table.Broken)),
	}
	now := time.Now()
	for _, key := range p.keys() {
		s.Objects = append(s.Objects, p.objects[key].status(now, p.refusals))
	}
	s.Gateways = p.gateways(s.Gateways)
	return s
}

// Compiled takes in what compiling the last plan refused or warned of, so
// that Status tells of it too. serves reports whether a gateway has a compiled
// form all the same: its last good one.
func (p *Planner) Compiled(faults []*routing.Fault, serves func(gateway string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusals = faults
	p.compiled = make(map[string]State)
	for _, f := range faults {
		switch {
		case f.Severity != routing.Refused:
		case serves(f.Name):
			p.compiled[f.Name] = LastGood
		default:
			p.compiled[f.Name] = Refused
		}
	}
}

// status tells how an object fares; refusals are those of compiling, some of
// which may be of this object.
func (o *object) status(now time.Time, refusals []*routing.Fault) Object {
	s := Object{Key: o.Key, State: Good, Documents: len(o.Documents), Instances: len(o.Instances), Kept: len(o.Kept)}
	faults := slices.Concat(o.Faults, o.resolved)
	for _, f := range refusals {
		if f.At.Source == o.Key {
			faults = append(faults, f)
		}
	}
	for _, f := range faults {
		s.Faults = append(s.Faults, f.Error())
		if f.Severity == routing.Refused {
			s.State = Faulty
		}
	}
	if o.Held != nil {
		s.State = HeldBack
		s.Held = &Held{
			Why: o.Held.Why, Since: o.Held.Since, Until: o.Held.Until,
			RemainingSeconds: max(0, o.Held.Until.Sub(now).Seconds()),
		}
	}
	return s
}

// gateways appends how each gateway of the table fares, sorted by name.
func (p *Planner) gateways(all []Gateway) []Gateway {
	kept := p.kept()
	for _, g := range p.table.Gateways {
		all = append(all, Gateway{
			Name: g.Name, State: cmp.Or(p.compiled[g.Name], kept[g.Name], Good), At: g.At.String(), Groups: p.groups(g.Name),
		})
	}
	for _, name := range p.table.Broken {
		state := Refused
		if p.served[name] {
			state = LastGood
		}
		all = append(all, Gateway{Name: name, State: state, Groups: p.groups(name)})
	}
	slices.SortFunc(all, func(a, b Gateway) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// kept returns how gateways fare that are only kept, by name.
func (p *Planner) kept() map[string]State {
	kept := make(map[string]State)
	for _, o := range p.objects {
		state := LastGood
		if o.Held != nil {
			state = HeldBack
		}
		for _, d := range o.Kept {
			if d.Kind == gateways {
				kept[d.Name] = state
			}
		}
	}
	for _, o := range p.objects {
		for _, d := range o.Documents {
			if d.Kind == gateways {
				delete(kept, d.Name)
			}
		}
	}
	return kept
}

// countNew counts the refusals that were not there before, wherever in the
// text they stand.
func (p *Planner) countNew(before, now []*routing.Fault) {
	known := make(map[routing.Fault]bool, len(before))
	for _, f := range before {
		known[unplaced(f)] = true
	}
	for _, f := range now {
		if f.Severity == routing.Refused && !known[unplaced(f)] {
			p.stats.Rejected[f.Code]++
		}
	}
}

// unplaced returns a fault without its place.
func unplaced(f *routing.Fault) routing.Fault {
	u := *f
	u.At = routing.Position{}
	return u
}
