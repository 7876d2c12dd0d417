// SPDX-License-Identifier: Apache-2.0

package http2

// Unread returns how many bytes of content lie in the texts of lanes.
func (s *Conn) Unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for l := s.lanes; l != nil; l = l.next {
		n += l.owed
	}
	return n
}
