// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// maxMarks bounds the tables of a namespace that are waited for. The
	// changes of older ones count as those of the next.
	maxMarks = 256
	// maxChanges bounds the changes that are known, and those of one table.
	maxChanges = 10_000
)

// mark is a table of a namespace that not all proxies serve. It is guarded by
// the server's mu.
type mark struct {
	n         *namespace
	seq       uint64 // of the pass that brought it
	version   routing.Version
	planned   time.Time
	waiting   int                   // sessions that have not acknowledged it
	refusers  map[*session]struct{} // those that have, and refuse what came with it
	changed   map[string]struct{}   // gateways that came with it, or went
	new, gone []string
	unsent    string // a gateway that came with it and cannot be sent; empty if there is none
	alone     bool   // there was no proxy for a while
	changes   []*tracked
}

// newMark returns the mark of a namespace's table, by how it differs from the
// one before.
func newMark(n *namespace, before *wire.Table, u *controlpb.Update, now time.Time) *mark {
	m := &mark{n: n, seq: n.seq, version: n.table.Version(), planned: now, changed: make(map[string]struct{})}
	for _, g := range u.GetChanged() {
		m.changed[g.GetName()] = struct{}{}
		if _, was := before.Hash(g.GetName()); !was {
			m.new = append(m.new, g.GetName())
		}
	}
	for _, name := range u.GetGone() {
		m.changed[name] = struct{}{}
	}
	m.gone = u.GetGone()
	return m
}

// swallow takes what the mark before this one waits for. The server is locked.
func (m *mark) swallow(old *mark) {
	for name := range old.changed {
		m.changed[name] = struct{}{}
	}
	for c := range old.refusers {
		if c.ackedSeq() >= m.seq {
			m.refuse(c)
		}
	}
	for _, t := range old.changes {
		t.mark = m
	}
	m.changes = append(old.changes, m.changes...)
	m.changes = m.changes[max(0, len(m.changes)-maxChanges):]
	between := settling{new: set(old.new), gone: set(old.gone)}
	between.add(m)
	m.new, m.gone = keys(between.new), keys(between.gone)
	m.alone = m.alone || old.alone
	m.unsent = cmp.Or(m.unsent, old.unsent)
}

func (m *mark) refuse(c *session) {
	if m.refusers == nil {
		m.refusers = make(map[*session]struct{})
	}
	m.refusers[c] = struct{}{}
}

// refusedBy reports whether a session refuses a gateway that came with the
// mark.
func (m *mark) refusedBy(c *session) (*refusal, bool) {
	if len(c.refusals) <= len(m.changed) {
		for name, r := range c.refusals {
			if _, ok := m.changed[name]; ok && r.namespace == m.n.name {
				return r, true
			}
		}
		return nil, false
	}
	for name := range m.changed {
		if r, ok := c.refusals[name]; ok && r.namespace == m.n.name {
			return r, true
		}
	}
	return nil, false
}

// tracked is a change that was planned. It is guarded by the server's mu.
type tracked struct {
	change  discovery.Change
	n       *namespace
	version routing.Version
	mark    *mark       // nil once it has converged
	done    Convergence // from then on
}

// track notes the changes that came with a mark, or with the table that is
// there if m is nil. The server is locked.
func (s *Server) track(n *namespace, changes []discovery.Change, m *mark) calls {
	if m == nil {
		if len(changes) == 0 {
			return nil
		}
		m = s.standing(n)
	}
	for _, c := range changes {
		t := &tracked{change: c, n: n, version: m.version, mark: m}
		m.changes = append(m.changes, t)
		s.know(t)
	}
	// Changes without effect come with the table that is there, again and again.
	m.changes = m.changes[max(0, len(m.changes)-maxChanges):]
	if last := len(n.marks) - 1; last < 0 || n.marks[last] != m {
		for c := range n.sessions {
			if c.ackedSeq() < m.seq {
				m.waiting++
			} else if _, refuses := m.refusedBy(c); refuses {
				m.refuse(c)
			}
		}
		m.alone = len(n.sessions) == 0
		n.marks = append(n.marks, m)
	}
	if len(n.marks) > maxMarks {
		n.marks[1].swallow(n.marks[0])
		n.marks = slices.Delete(n.marks, 0, 1)
	}
	s.tell()
	return s.settle(n, nil)
}

// standing returns the mark of a namespace's present table, a new one if all
// serve it.
func (s *Server) standing(n *namespace) *mark {
	if last := len(n.marks) - 1; last >= 0 && n.marks[last].seq == n.seq {
		return n.marks[last]
	}
	return &mark{n: n, seq: n.seq, version: n.table.Version(), planned: s.o.Clock(), changed: map[string]struct{}{}}
}

// know keeps a change, and forgets the oldest one above the bound.
func (s *Server) know(t *tracked) {
	id := t.change.ID
	if id == 0 {
		return
	}
	s.known[id] = append(s.known[id], t)
	s.order = append(s.order, t)
	if len(s.order) <= maxChanges {
		return
	}
	oldest := s.order[0]
	s.order[0] = nil
	s.order = s.order[1:]
	id = oldest.change.ID
	s.forgotten = max(s.forgotten, id)
	if s.known[id] = slices.DeleteFunc(s.known[id], func(o *tracked) bool { return o == oldest }); len(s.known[id]) == 0 {
		delete(s.known, id)
	}
}

// crossed notes that a session has acknowledged an edition, having been at
// another. The server is locked.
func (s *Server) crossed(c *session, from, to uint64) (after calls) {
	for _, n := range c.view.namespaces {
		at, _ := slices.BinarySearchFunc(n.marks, from+1, func(m *mark, seq uint64) int { return cmp.Compare(m.seq, seq) })
		over := false
		for _, m := range n.marks[at:] {
			if m.seq > to {
				break
			}
			m.waiting--
			over = over || m.waiting == 0
			if _, refuses := m.refusedBy(c); refuses {
				m.refuse(c)
			}
		}
		if over {
			s.tell()
			after = append(after, s.settle(n, c)...)
		}
	}
	return after
}

// reconsider looks anew at which marks a session refuses, since its refusals
// have changed. The server is locked.
func (s *Server) reconsider(c *session) (after calls) {
	acked := c.ackedSeq()
	for _, n := range c.view.namespaces {
		for _, m := range n.marks {
			if m.seq > acked {
				break
			}
			if _, refuses := m.refusedBy(c); refuses {
				m.refuse(c)
			} else {
				delete(m.refusers, c)
			}
		}
		after = append(after, s.settle(n, c)...)
	}
	s.tell()
	return after
}

// joined has the marks wait for a session. The server is locked.
func (n *namespace) joined(c *session) {
	n.sessions[c] = struct{}{}
	for _, m := range n.marks {
		m.waiting++
	}
}

// left has them wait no more.
func (n *namespace) left(c *session) {
	delete(n.sessions, c)
	acked := c.ackedSeq()
	for _, m := range n.marks {
		if m.seq > acked {
			m.waiting--
		}
		delete(m.refusers, c)
		m.alone = m.alone || len(n.sessions) == 0
	}
}

// sendable has no mark wait for gateways that can be sent by now.
func (n *namespace) sendable() {
	for _, m := range n.marks {
		if _, still := n.faults[m.unsent]; !still {
			m.unsent = ""
		}
	}
}

// settling is what changed since a table settled.
type settling struct {
	seq       uint64
	new, gone map[string]struct{}
}

// add takes in what came with a mark.
func (d *settling) add(m *mark) {
	if d.new == nil {
		d.new, d.gone = make(map[string]struct{}), make(map[string]struct{})
	}
	for _, name := range m.new {
		if _, came := d.gone[name]; came {
			delete(d.gone, name)
		} else {
			d.new[name] = struct{}{}
		}
	}
	for _, name := range m.gone {
		if _, came := d.new[name]; came {
			delete(d.new, name)
		} else {
			d.gone[name] = struct{}{}
		}
	}
}

func set(names []string) map[string]struct{} {
	m := make(map[string]struct{}, len(names))
	for _, name := range names {
		m[name] = struct{}{}
	}
	return m
}

func keys(set map[string]struct{}) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// settle ends the marks of a namespace that all proxies serve, since a session
// has answered or left; nil if none has. The server is locked.
func (s *Server) settle(n *namespace, c *session) calls {
	if len(n.sessions) == 0 {
		return nil
	}
	now := s.o.Clock()
	var last *mark
	told := Settled{Namespace: n.name}
	var rest []*mark
	for _, m := range n.marks {
		if m.waiting > 0 || len(m.refusers) > 0 || m.unsent != "" {
			rest = append(rest, m)
			continue
		}
		last = m
		for _, t := range m.changes {
			told.Changes = append(told.Changes, s.converged(t, now, !m.alone))
		}
	}
	if last == nil {
		return nil
	}
	if c != nil {
		told.Last = c.hello.GetNode()
	}
	told.Version, told.Took = last.version, max(0, now.Sub(last.planned))
	if last.seq == n.seq {
		told.Table = n.asked
	}
	if last.seq > n.settled.seq {
		told.New, told.Gone = n.settledUpTo(last.seq)
	}
	n.marks = rest
	s.tell()
	if s.o.Hooks.Settled == nil {
		return nil
	}
	return calls{func() { s.o.Hooks.Settled(told) }}
}

// settledUpTo returns what came and went up to a table that settles.
func (n *namespace) settledUpTo(seq uint64) (fresh, gone []string) {
	for _, m := range n.marks {
		if m.seq > n.settled.seq && m.seq <= seq {
			n.settled.add(m)
		}
	}
	fresh, gone = keys(n.settled.new), keys(n.settled.gone)
	n.settled = settling{seq: seq}
	return fresh, gone
}

// converged notes that all proxies serve a change.
func (s *Server) converged(t *tracked, now time.Time, counts bool) Convergence {
	took := max(0, now.Sub(t.change.At))
	t.done = Convergence{
		Change: t.change.ID, State: Converged, Namespace: t.n.name, Kind: t.change.Kind.String(),
		Version: t.version, At: t.change.At, Proxies: len(t.n.sessions), Served: len(t.n.sessions), Took: took.Seconds(),
	}
	t.mark = nil
	// What was there before this process says nothing about it.
	if counts && !t.change.At.Before(s.started) {
		s.o.Registry.ControlConvergence(t.change.Kind.String()).Observe(took)
	}
	return t.done
}
