// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"net"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
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

// SessionWithin sets how long a connection may have no session.
func (s *Server) SessionWithin(d time.Duration) { s.sessionWithin.Store(int64(d)) }

// Gate is a gate.
type Gate struct{ gate }

// NewGate returns a gate that tells the reasons for which it closes
// connections.
func NewGate(ln net.Listener, most int, within time.Duration, refused func(reason string)) *Gate {
	return &Gate{gate{
		Listener: ln, most: most, within: func() time.Duration { return within },
		refused: func(why *ending) { refused(why.reason) },
	}}
}

// Begin has a session begin on a connection of a gate.
func Begin(c net.Conn) { c.(*passing).begin() }

// End has a session end.
func End(c net.Conn) { c.(*passing).end() }

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

// Marked returns how many changes are kept with the tables that some proxy of a
// namespace does not serve.
func (s *Server) Marked(namespace string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.namespaces[namespace].marks {
		n += len(m.changes)
	}
	return n
}

// NewParcel returns how an update is got that is made by a function.
func NewParcel(by func() *controlpb.Update) (get func() (messages int, err error)) {
	p := &parcel{make: by}
	return func() (int, error) {
		parts, err := p.get()
		return len(parts), err
	}
}
