// SPDX-License-Identifier: Apache-2.0

package store

// At has a store call at when a write or a backup comes to a named point.
func (o Options) At(at func(point string)) Options {
	o.at = at
	return o
}

// Waiting returns how many writes wait for the commit that is under way.
func Waiting(s Store) int {
	q := &s.(*boltStore).queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.writes)
}
