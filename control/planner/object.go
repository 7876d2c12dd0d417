// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Object returns how the object of a key fares after the last plan of a
// namespace, and whether there is one and it was planned. An empty namespace
// is the one of updates that name none. The caller owns what is returned.
func (p *Planner) Object(namespace, key string) (Object, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.spaces[cmp.Or(namespace, p.o.Namespace)]
	if s == nil || s.last.Table == nil || s.dirty {
		return Object{}, false
	}
	o := s.objects[key]
	if o == nil {
		return Object{}, false
	}
	// They are in the order of their places, of which the object is the first
	// part.
	from, _ := slices.BinarySearchFunc(s.last.Faults, key, func(f *routing.Fault, key string) int { return cmp.Compare(f.At.Source, key) })
	to := from
	for to < len(s.last.Faults) && s.last.Faults[to].At.Source == key {
		to++
	}
	return o.status(time.Now(), slices.Clone(s.last.Faults[from:to])), true
}
