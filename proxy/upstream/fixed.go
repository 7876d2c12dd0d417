// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"

	"github.com/sluice-mesh/sluice/routing"
)

// Fixed returns a target of instances that are not looked up: the ready ones
// of list, or all of them if none is ready. An instance that other targets
// lead to is the same, with its connections. The list is not to be changed later.
// before is the target in whose
// place it comes, nil if there is none: it chooses as that one does, turns go
// on where they are, and if it has the very same instances it is returned
// itself.
func (p *Pool) Fixed(list []*routing.Instance, before *Target) *Target {
	var c Choosing
	if before != nil {
		c = before.Choosing()
	}
	return p.FixedBalanced(list, before, c)
}

// FixedBalanced is Fixed, and Balanced of what that returns, in one step: a
// large table makes half as many targets. The list is not to be changed later.
func (p *Pool) FixedBalanced(list []*routing.Instance, before *Target, c Choosing) *Target {
	asked, ready := inUse(list)
	if before != nil && before.name == nil && before.ready == ready && slices.Equal(before.asked, asked) {
		return p.Balanced(before, c)
	}
	t := p.target(c)
	t.asked, t.ready = asked, ready
	p.mu.Lock()
	defer p.mu.Unlock()
	if before != nil {
		t.goOn(before)
	}
	p.attach(t, before)
	return t
}

// inUse returns those of a list that are ready, or all if none is: the list
// itself if that is what they are.
func inUse(list []*routing.Instance) (used []*routing.Instance, ready bool) {
	n := 0
	for _, i := range list {
		if i.Ready {
			n++
		}
	}
	if n == 0 || n == len(list) {
		return slices.Clip(list), n > 0
	}
	used = make([]*routing.Instance, 0, n)
	for _, i := range list {
		if i.Ready {
			used = append(used, i)
		}
	}
	return used, true
}

// Fixed returns what the instances of a target were made of, in their order;
// nil if they were looked up. The slice is not to be changed.
func (t *Target) Fixed() []*routing.Instance { return t.asked }
