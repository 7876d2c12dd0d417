// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Check returns what would be refused if updates were taken over now, in the
// order of places: all refusals of the updates' own objects, and those of
// others that would be new, such as of a gateway whose condition would be gone.
// Warnings are left out. It changes nothing. An empty namespace is the one of
// updates that name none; that of the updates does not count.
func (p *Planner) Check(namespace string, updates []discovery.Update) []*routing.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.spaces[cmp.Or(namespace, p.o.Namespace)]
	if s == nil {
		s = newSpace(p, namespace)
	}
	trial := s.clone()
	before := trial.faults()
	own := make(map[string]bool, len(updates))
	for _, u := range updates {
		own[u.Key] = true
		switch {
		case !u.Gone:
			trial.put(u)
		case trial.objects[u.Key] != nil:
			trial.remove(u.Key)
		}
	}
	known := make(map[routing.Fault]bool, len(before))
	for _, f := range before {
		known[unplaced(f)] = true
	}
	return slices.DeleteFunc(trial.faults(), func(f *routing.Fault) bool {
		return f.Severity != routing.Refused || !own[f.At.Source] && known[unplaced(f)]
	})
}

// clone returns a namespace that can be planned without a trace of it.
func (s *space) clone() *space {
	c := *s
	c.objects = maps.Clone(s.objects)
	c.ordered = slices.Clone(s.ordered)
	c.origins = maps.Clone(s.origins)
	c.ports.byName, c.ports.byPort = maps.Clone(s.ports.byName), maps.Clone(s.ports.byPort)
	c.ports.forms = maps.Clone(s.ports.forms)
	c.memory.touched = make(map[string]bool)
	return &c
}

// faults returns what is wrong with the objects of now.
func (s *space) faults() []*routing.Fault {
	return s.work(time.Now(), routing.Version{Epoch: s.p.o.Epoch}).faults
}
