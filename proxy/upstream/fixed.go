// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
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
	var c Choosing
	if before != nil {
		c = before.choosing
	}
	return p.FixedBalanced(list, before, c)
}

// FixedBalanced is Fixed, and Balanced of what that returns, in one step: a
// large table makes half as many targets.
func (p *Pool) FixedBalanced(list []*routing.Instance, before *Target, c Choosing) *Target {
	f := newFixed(list)
	if before != nil && before.name.fixed.same(f) {
		return p.Balanced(before, c)
	}
	n := &name{literal: true, fixed: f, done: settled, at: make([]netip.AddrPort, 0, len(f.asked))}
	for _, i := range f.asked {
		n.at = append(n.at, i.AddrPort())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fixed[n] = true
	t := &Target{name: n, choosing: c, record: newRecord(p)}
	if before != nil {
		t.record = before.record
		t.goOn(before)
	}
	p.attach(t)
	return t
}

// settled is the done of what is not looked up.
var settled = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

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
