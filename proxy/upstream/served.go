// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"sync"
)

// served holds the instances that have served something, so that what is done
// each second takes no longer in a large table of which little is used, and
// makes no garbage. It is safe for concurrent use.
type served struct {
	mu   sync.Mutex // guards list
	list []*Instance
}

// add adds a new instance.
func (s *served) add(i *Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, i)
}

// begin gives an instance its stacks and adds it, unless it has some already: then
// it returns false.
func (s *served) begin(i *Instance, stacks *[]stack) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := i.serves()
	if !i.shards.CompareAndSwap(nil, stacks) {
		return false
	}
	if !there {
		s.list = append(s.list, i)
	}
	return true
}

// keep leaves those that are in a table. Pool.mu is held.
func (s *served) keep(t *table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Instance
	for i := range t.all {
		if i.serves() {
			list = append(list, i)
		}
	}
	s.list = list
}

// all returns the instances, each once. The slice is not to be changed.
func (s *served) all() []*Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clip(s.list)
}
