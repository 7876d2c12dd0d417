// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"cmp"
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
	var faults []*routing.Fault
	for _, f := range s.last.Faults {
		if f.At.Source == key {
			faults = append(faults, f)
		}
	}
	return o.status(time.Now(), faults), true
}
