// SPDX-License-Identifier: Apache-2.0

package kubernetes

// shelf is what is known of the objects of one kind. It believes absence that
// is said, by a deletion or by a list that has other objects, and holds back
// that which only seems so: a list that is empty after one that was not.
type shelf[T any] struct {
	// change takes note of an object as it is now, nil if it is no more.
	change func(n name, object *T)

	known map[name]bool
	held  map[name]bool // missing from a list that was empty
}

func newShelf[T any](change func(name, *T)) *shelf[T] {
	return &shelf[T]{change: change, known: make(map[name]bool), held: make(map[name]bool)}
}

// put takes note of an object that was added or has changed.
func (s *shelf[T]) put(n name, object *T) {
	s.known[n] = true
	delete(s.held, n)
	s.change(n, object)
}

// remove takes note of a deletion.
func (s *shelf[T]) remove(n name) {
	delete(s.known, n)
	delete(s.held, n)
	s.change(n, nil)
}

// replace takes note of a whole list, and returns how many absences are held
// back now.
func (s *shelf[T]) replace(list map[name]*T) int {
	for n, object := range list {
		s.put(n, object)
	}
	for n := range s.known {
		switch {
		case list[n] != nil:
		case len(list) == 0:
			s.held[n] = true
		default:
			s.remove(n)
		}
	}
	return len(s.held)
}

// release believes what is held back, and returns how many objects that
// concerns.
func (s *shelf[T]) release() int {
	n := len(s.held)
	for object := range s.held {
		s.remove(object)
	}
	return n
}
