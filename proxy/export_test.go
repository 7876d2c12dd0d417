// SPDX-License-Identifier: Apache-2.0

package proxy

import "time"

// PutOff has what is not used any more let go of after a time, as if it had
// taken long the last time.
func (s *Server) PutOff(d time.Duration) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	s.retaining.due = time.Now().Add(d)
}

// HasPutOff reports whether something waits for that.
func (s *Server) HasPutOff() bool {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	return s.retaining.put
}

// StayAwake has listeners to which nobody comes keep their goroutines for d.
func (s *Server) StayAwake(d time.Duration) { s.porch.awake = d }

// Awake counts the listeners that have goroutines.
func (s *Server) Awake() (n int) {
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	for _, l := range s.sockets.bound {
		l.mu.Lock()
		if !l.asleep {
			n++
		}
		l.mu.Unlock()
	}
	return n
}
