// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// State is how far a change has come.
type State string

// The states.
const (
	Pending   State = "pending"    // in no table yet
	Planned   State = "planned"    // in a table that not all proxies serve yet
	Converged State = "converged"  // all proxies serve it
	Refused   State = "refused"    // all proxies have it, and some do not take it
	NoProxies State = "no_proxies" // no proxy of its namespace is connected
)

// ErrForgotten reports a change that was made too long ago.
var ErrForgotten = errors.New("the change was made too long ago: the last 10,000 are known")

// Convergence is how far a change has come. It is ready to be shown as JSON.
type Convergence struct {
	Change    uint64          `json:"id"`
	State     State           `json:"state"`
	Namespace string          `json:"namespace,omitempty"`
	Kind      string          `json:"kind,omitempty"`   // config or endpoints
	Version   routing.Version `json:"version,omitzero"` // of the first table that it is in
	At        time.Time       `json:"at,omitzero"`      // when it was made
	Proxies   int             `json:"proxies"`          // connected ones of the namespace
	Served    int             `json:"served"`           // those of them that serve it
	// Laggards are those that do not, the first 100 by node.
	Laggards []Laggard `json:"laggards,omitempty"`
	// Took is from the change until all proxies served it, in seconds; 0 while
	// they do not. Proxies and Served are of that moment.
	Took float64 `json:"took_seconds"`
}

// Laggard is a connected proxy that does not serve a change.
type Laggard struct {
	Node   string    `json:"node"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// maxLaggards bounds those that are named.
const maxLaggards = 100

// Settled says that all connected proxies of a namespace, of which there is
// one at least, serve a table. Tables that were overtaken before that are not
// told of by themselves.
type Settled struct {
	Namespace string
	Version   routing.Version
	Took      time.Duration // from when the table was planned
	// Last is the node of the proxy that was waited for last, until it served
	// the table or left; empty if none was.
	Last    string
	Changes []Convergence // those that converged by it
	// New and Gone are gateways that came and went since the table that
	// settled before, sorted. There are none if a later table settled first.
	New, Gone []string
	// Table is the table itself, not to be changed; nil if a later one is
	// planned by now.
	Table *routing.Table
}

// Convergence tells how far a change has come, and whether it is known: it was
// planned, and is among the last 10,000.
func (s *Server) Convergence(change uint64) (Convergence, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.convergence(change)
}

// Wait returns when a change has converged, or cannot any more by itself: all
// proxies have it and some refuse it, or there are none. The error is that of
// ctx if this ends before, beside how far the change has come by then, or
// ErrForgotten.
func (s *Server) Wait(ctx context.Context, change uint64) (Convergence, error) {
	for {
		s.mu.Lock()
		c, known := s.convergence(change)
		forgotten := !known && change <= s.forgotten
		news := s.news
		s.mu.Unlock()
		switch {
		case forgotten:
			return c, ErrForgotten
		case known && c.State != Planned:
			return c, nil
		}
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case <-news:
		}
	}
}

// tell wakes those who wait for changes. The server is locked.
func (s *Server) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

// convergence is Convergence with the server locked. A change that several
// namespaces have is as far as in the one where it is least so.
func (s *Server) convergence(change uint64) (Convergence, bool) {
	list := s.known[change]
	if len(list) == 0 {
		return Convergence{Change: change, State: Pending}, false
	}
	var all []Convergence
	for _, t := range list {
		all = append(all, s.convergenceOf(t))
	}
	return slices.MinFunc(all, func(a, b Convergence) int {
		return slices.Index(states, a.State) - slices.Index(states, b.State)
	}), true
}

// states are in the order in which they matter.
var states = []State{Planned, Refused, NoProxies, Converged}

func (s *Server) convergenceOf(t *tracked) Convergence {
	m := t.mark
	if m == nil {
		return t.done
	}
	c := Convergence{
		Change: t.change.ID, State: NoProxies, Namespace: t.n.name, Kind: t.change.Kind.String(),
		Version: t.version, At: t.change.At, Proxies: len(t.n.sessions),
	}
	if c.Proxies == 0 {
		return c
	}
	c.State = Refused
	for one := range t.n.sessions {
		lag, answered := one.lag(m)
		if lag == nil {
			c.Served++
			continue
		}
		if !answered {
			c.State = Planned
		}
		c.Laggards = append(c.Laggards, *lag)
	}
	slices.SortFunc(c.Laggards, func(a, b Laggard) int { return strings.Compare(a.Node, b.Node) })
	c.Laggards = c.Laggards[:min(len(c.Laggards), maxLaggards)]
	return c
}

// lag says why a session does not serve a mark, nil if it does, and whether it
// has answered: it refuses.
func (c *session) lag(m *mark) (lag *Laggard, answered bool) {
	l := &Laggard{Node: c.hello.GetNode(), Since: m.planned}
	if c.since.After(l.Since) {
		l.Since = c.since
	}
	if m.unsent != "" {
		l.Reason = "is not sent the gateway " + m.unsent + ": " + m.n.faults[m.unsent]
		return l, true
	}
	if c.ackedSeq() >= m.seq {
		r, refuses := m.refusedBy(c)
		if !refuses {
			return nil, true
		}
		l.Since, l.Reason = r.Since, "refuses the gateway "+r.Gateway+r.why()
		return l, true
	}
	if r := c.tableRefusal; r != nil && c.refusedSeq >= m.seq {
		l.Since, l.Reason = r.Since, "refuses the table"+r.why()
		return l, true
	}
	l.Reason = c.stalls()
	return l, false
}

// stalls says what a session is waited for.
func (c *session) stalls() string {
	ago := func(t time.Time) string { return time.Since(t).Round(time.Millisecond).String() + " ago" }
	switch {
	case c.sent == nil && c.view.current == nil:
		return "waits for the plan of a namespace that it asks for"
	case c.sent == nil:
		return "its first table is about to be sent"
	case c.underWay.IsZero():
		return "the table is about to be sent"
	case c.stuckFor() > time.Second:
		return fmt.Sprintf("takes no data: the table %v began to be sent %s", c.sent.version, ago(c.underWay))
	default:
		return fmt.Sprintf("has not acknowledged the table %v, which was sent %s", c.sent.version, ago(c.underWay))
	}
}
