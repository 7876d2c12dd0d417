// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"time"

	"github.com/sluice-mesh/sluice/discovery"
)

// shelf is what is known of the objects of one kind. It believes absence that
// is said, by a deletion or by a list that has other objects, and holds back
// that which only seems so: a list that is empty after one that was not.
type shelf[T any] struct {
	// change takes note of an object as it is now, nil if it is no more.
	change func(n name, object *T)
	// withhold takes note that the absence of an object is held back, nil
	// that it is not any more.
	withhold func(n name, held *discovery.Held)

	known map[name]bool
	held  map[name]*discovery.Held // missing from a list that was empty
}

func newShelf[T any](change func(name, *T), withhold func(name, *discovery.Held)) *shelf[T] {
	return &shelf[T]{
		change: change, withhold: withhold,
		known: make(map[name]bool), held: make(map[name]*discovery.Held),
	}
}

// expect has an object count as known that was there before the start, so that a
// first list without any is not believed at once.
func (s *shelf[T]) expect(n name) { s.known[n] = true }

// put takes note of an object that was added or has changed.
func (s *shelf[T]) put(n name, object *T) {
	s.known[n] = true
	s.unhold(n)
	s.change(n, object)
}

// remove takes note of a deletion.
func (s *shelf[T]) remove(n name) {
	delete(s.known, n)
	s.unhold(n)
	s.change(n, nil)
}

func (s *shelf[T]) unhold(n name) {
	if s.held[n] != nil {
		delete(s.held, n)
		s.withhold(n, nil)
	}
}

// replace takes note of a whole list. held is the absence that begins if it is
// empty; one that is held back already goes on.
func (s *shelf[T]) replace(list map[name]*T, held *discovery.Held) {
	for n, object := range list {
		s.put(n, object)
	}
	for n := range s.known {
		_, listed := list[n]
		switch {
		case listed:
		case len(list) > 0:
			s.remove(n)
		case s.held[n] == nil:
			s.held[n] = held
			s.withhold(n, held)
		}
	}
}

// release believes what is held back and due, and returns how many objects
// that concerns.
func (s *shelf[T]) release(due func(*discovery.Held) bool) int {
	n := 0
	for object, held := range s.held {
		if due(held) {
			s.remove(object)
			n++
		}
	}
	return n
}

// until returns when the next absence is to be believed; the zero time if none
// is held back.
func (s *shelf[T]) until() (next time.Time) {
	for _, held := range s.held {
		if next.IsZero() || held.Until.Before(next) {
			next = held.Until
		}
	}
	return next
}

// count returns how many objects are known, and of how many of them the
// absence is held back.
func (s *shelf[T]) count() (known, held int) { return len(s.known), len(s.held) }
