// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// HelloWithin sets how long a proxy may take to say who it is.
func (s *Server) HelloWithin(d time.Duration) { s.helloWithin = d }

// RecheckEvery sets how often tokens of sessions are looked up.
func (s *Server) RecheckEvery(d time.Duration) { s.recheck = d }

// AnswersAtOnce sets how many answers of a session that begins are read at
// once; others are hardly read at all.
func (s *Server) AnswersAtOnce(n int) { s.burstAnswers, s.answersPerSecond = float64(n), 1e-9 }

// Parcels counts the updates that are kept for sessions, once those are let go
// of that are of no use at a time.
func (s *Server) Parcels(at time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views {
		v.forget(at)
		if v.current != nil {
			n += len(v.current.parcels)
		}
	}
	return n
}

// Current returns the version of the table that proxies of a namespace alone
// are to serve; zero if there are none.
func (s *Server) Current(namespace string) routing.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.views[namespace]; v != nil && v.current != nil {
		return v.current.version
	}
	return routing.Version{}
}
