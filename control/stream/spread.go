// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// inbox holds the plans that were not taken up yet: the newest of each
// namespace, with the changes of those that it overtook.
type inbox struct {
	mu    sync.Mutex // guards the fields below
	plans map[string]*planner.Plan
	order []string
}

// put takes in a plan.
func (i *inbox) put(p planner.Plan) {
	i.mu.Lock()
	defer i.mu.Unlock()
	old, waits := i.plans[p.Namespace]
	if !waits {
		if i.plans == nil {
			i.plans = make(map[string]*planner.Plan)
		}
		i.plans[p.Namespace] = &p
		i.order = append(i.order, p.Namespace)
		return
	}
	p.Changes = append(slices.Clip(old.Changes), p.Changes...)
	p.Changes = p.Changes[max(0, len(p.Changes)-maxChanges):]
	*old = p
}

// take returns what is in it, in the order in which it came.
func (i *inbox) take() []*planner.Plan {
	i.mu.Lock()
	defer i.mu.Unlock()
	plans := make([]*planner.Plan, len(i.order))
	for at, name := range i.order {
		plans[at] = i.plans[name]
	}
	clear(i.plans)
	i.order = i.order[:0]
	return plans
}

// Publish makes a plan the newest one of its namespace. It never blocks. Plans
// of a namespace come in their order.
func (s *Server) Publish(p planner.Plan) {
	s.inbox.put(p)
	s.nudge()
}

// nudge has the spreading goroutine look for work.
func (s *Server) nudge() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// spread takes plans to sessions until ctx ends. It alone encodes, so nobody
// waits for that with the server locked.
func (s *Server) spread(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.work:
		case <-tick.C: // for views that wait, and what is to be forgotten
			s.expire(time.Now())
		}
		s.pass()
	}
}

// pass takes up what is in the inbox.
func (s *Server) pass() {
	plans := s.inbox.take()
	if len(plans) > 0 {
		s.takeUp(plans)
	}
	s.spreadSecrets()
	s.mu.Lock()
	views := make([]*view, 0, len(s.views))
	for _, v := range s.views {
		if v.stale() && v.chest.secrets != nil { // else it began meanwhile
			views = append(views, v)
		}
	}
	s.mu.Unlock()
	for _, v := range views {
		s.renew(v)
	}
	s.mu.Lock()
	for _, p := range plans {
		n := s.namespaces[p.Namespace]
		n.before, n.update = nil, nil
	}
	s.mu.Unlock()
}

// takeUp makes plans the tables of their namespaces.
func (s *Server) takeUp(plans []*planner.Plan) {
	s.mu.Lock()
	s.seq++
	seq, namespaces := s.seq, make([]*namespace, len(plans))
	for i, p := range plans {
		namespaces[i] = s.namespace(p.Namespace)
	}
	s.mu.Unlock()
	var after calls
	for i, p := range plans {
		after = append(after, s.takeUpOne(namespaces[i], p, seq)...)
	}
	after.run()
}

func (s *Server) takeUpOne(n *namespace, p *planner.Plan, seq uint64) (after calls) {
	old := n.table
	if old != nil && !p.Table.Version.Newer(old.Version()) {
		if p.Table.Version != old.Version() {
			s.o.Log.Error("an older plan came after a newer one and does not count", "namespace", n.name, "version", p.Table.Version.String(), "than", old.Version().String())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.Table.Version == old.Version() {
			n.vault.take(p)
		}
		n.remember(n.seq, p.Changes)
		return s.track(n, p.Changes, nil)
	}
	next, errs := wire.Encode(old, p.Table)
	faults, unsent := make(map[string]string, len(errs)), ""
	for _, err := range errs {
		faults[err.Gateway] = err.Err.Error()
		if n.faults[err.Gateway] == faults[err.Gateway] {
			continue // told before
		}
		unsent = err.Gateway
		s.o.Log.Error("a gateway cannot be sent to proxies", "namespace", n.name, "gateway", err.Gateway, "error", err.Err)
	}
	before := old
	if before == nil {
		before = wire.Union(routing.Version{})
	}
	update := next.Since(before)
	s.mu.Lock()
	defer s.mu.Unlock()
	n.asked, n.table, n.seq, n.faults = p.Table, next, seq, faults
	n.before, n.update = old, update
	n.vault.take(p)
	if v := p.Table.Version; v.Epoch != s.newest.Epoch || v.Newer(s.newest) {
		s.newest = v
	}
	n.remember(seq, p.Changes)
	n.sendable()
	m := newMark(n, before, update, s.o.Clock())
	m.unsent = unsent
	return s.track(n, p.Changes, m)
}

// renew makes the next edition of a view, if all its namespaces are planned.
func (s *Server) renew(v *view) {
	tables, ok := s.tablesOf(v)
	if !ok {
		return
	}
	s.mu.Lock()
	seq, version := s.seq, s.versionOf(v)
	s.mu.Unlock()
	table := wire.Union(version, tables...)
	e := &edition{
		seq: seq, version: version, at: s.o.Clock(), size: table.Len(), table: table,
		parcels: make(map[parcelKey]*parcel),
	}
	s.mu.Lock()
	var usual *parcel
	if v.current != nil {
		usual = v.parcel(v.current, e, nil)
	}
	s.mu.Unlock()
	if usual != nil {
		_, _ = usual.get() // who sends it sees the error
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.install(e)
	v.show()
	now := s.o.Clock()
	for c := range v.sessions {
		if c.behind.IsZero() {
			c.behind = now
		}
		c.nudge()
	}
}

// tablesOf returns the tables of a view's namespaces, without those that have
// none and are empty. It reports false while a plan is waited for.
func (s *Server) tablesOf(v *view) (tables []*wire.Table, ok bool) {
	for _, n := range v.namespaces {
		switch {
		case n.table != nil:
			tables = append(tables, n.table)
		case s.newest == (routing.Version{}) || s.o.Planned == nil || s.o.Planned(n.name):
			return nil, false
		}
	}
	return tables, true
}

// versionOf returns the version of a view's next edition: the highest of those
// of its namespaces, and of any plan if they have none. It never goes back.
// The server is locked.
func (s *Server) versionOf(v *view) (version routing.Version) {
	consider := func(o routing.Version) {
		if o.Epoch == s.newest.Epoch && (version == routing.Version{} || o.Revision > version.Revision) {
			version = o
		}
	}
	for _, n := range v.namespaces {
		if n.table != nil {
			consider(n.table.Version())
		}
	}
	if v.current != nil {
		consider(v.current.version)
	}
	if version == (routing.Version{}) {
		return s.newest
	}
	return version
}

// namespace returns what is known of a namespace, nothing at first. The server
// is locked.
func (s *Server) namespace(name string) *namespace {
	n, ok := s.namespaces[name]
	if !ok {
		n = &namespace{name: name, sessions: make(map[*session]struct{})}
		s.namespaces[name] = n
	}
	return n
}

// expire lets go of what is not needed any more. The spreading goroutine alone
// does so, since it has namespaces in hand with the server unlocked.
func (s *Server) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views {
		v.forget(now)
	}
	for name, n := range s.namespaces {
		if n.table == nil && len(n.sessions) == 0 {
			delete(s.namespaces, name)
		}
	}
	s.forgetGone(s.o.Clock())
}

// calls are to be made once nothing is locked.
type calls []func()

func (c calls) run() {
	for _, call := range c {
		call()
	}
}
