// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"

	"github.com/sluice-mesh/sluice/routing"
)

// fixed is what a target of instances was made of.
type fixed struct {
	asked []*routing.Instance // those in use, in the order of Target.Instances
	ready bool                // at least one is
}

// Fixed returns a target of instances that are not looked up: the ready ones
// of list, or all of them if none is ready. An instance that other targets
// lead to is the same, with its connections. before is the target in whose
// place it comes, nil if there is none: it chooses as that one does, turns go
// on where they are, and if it has the very same instances it is returned
// itself.
func (p *Pool) Fixed(list []*routing.Instance, before *Target) *Target {
	f := newFixed(list)
	if before != nil && before.name.fixed.same(f) {
		return before
	}
	n := &name{literal: true, fixed: f, done: make(chan struct{})}
	close(n.done)
	for _, i := range f.asked {
		n.at = append(n.at, i.AddrPort())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fixed[n] = true
	t := &Target{name: n, record: newRecord(p)}
	if before != nil {
		t.record = before.record
		t.choosing = before.choosing
		t.turns.Follow(&before.turns)
	}
	p.attach(t)
	return t
}

func newFixed(list []*routing.Instance) *fixed {
	f := &fixed{}
	for _, i := range list {
		if i.Ready {
			f.asked = append(f.asked, i)
		}
	}
	f.ready = len(f.asked) > 0
	if !f.ready {
		f.asked = slices.Clone(list)
	}
	return f
}

// same reports whether two targets were made of the very same instances.
func (f *fixed) same(o *fixed) bool {
	return f != nil && f.ready == o.ready && slices.Equal(f.asked, o.asked)
}

// Fixed returns what the instances of a target were made of, in their order;
// nil if they were looked up. The slice is not to be changed.
func (t *Target) Fixed() []*routing.Instance {
	if f := t.name.fixed; f != nil {
		return slices.Clip(f.asked)
	}
	return nil
}
