// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// record is what is known of the instances of a route, if somebody looks after
// them. It goes on when a target takes the place of another one. Pool.mu guards
// it.
type record struct {
	pool    *Pool
	owner   *Target   // the present one; those before it only end their exchanges
	members []*member // of the present instances
	begun   bool      // there were members: those that come are new
	panics  bool      // too few are usable, so all are used
	counts  Counts
	window  time.Time // when shares of failures are judged again
}

// rest has nobody looked after for now. The nil record rests.
func (r *record) rest() {
	if r != nil {
		r.members, r.begun, r.panics = nil, false, false
	}
}

// member is an instance as one route sees it. What requests write has a cache
// line of its own: the size is one that Go aligns. There are as many as
// instances, which are many.
type member struct {
	// row counts the failures since the last success, in its upper half those
	// of connections that could not be made.
	row               atomic.Uint64
	successes, faults atomic.Uint64 // only where shares are judged
	hadSucceeded      uint64        // at the beginning of the window
	hadFailed         uint64
	hadPassed         uint64 // checks that are in the counts of the record
	hadMissed         uint64 // those of them that failed are counted here
	_                 [8]byte
	instance          *Instance
	check             *check    // nil if nobody looks
	past              *past     // nil until it is ejected for the first time
	rising            time.Time // since when it starts slowly; zero if it does not
	able              bool      // ready, with a weight
	down              bool      // unhealthy when it was last looked at
	ejected           bool
	awaited           bool // it gets nothing before a check succeeds
	beside            bool // it came when there were others
	_                 [8]byte
}

// past is what is known of the ejections of a member.
type past struct {
	since, until time.Time // of the last one
	why          string
	cause        Cause
	times        int       // how often it was ejected, less those that are forgotten
	returned     time.Time // from the last one
}

// out reports whether it should get nothing.
func (m *member) out() bool { return m.down || m.ejected || m.awaited }

// counts reports whether it is one of those of which enough are to be usable.
func (m *member) counts() bool { return m.able && !m.awaited }

// follow returns the members for the instances of a choice that t makes, and
// forgets others. was is the choice before it, nil if there is none.
func (r *record) follow(t *Target, c, was *chosen, w *routing.Watch, now time.Time) []*member {
	r.account()
	before := finder(r.members)
	list := make([]*member, len(c.instances))
	for k, i := range c.instances {
		m := before(i.Addr)
		unproven := w.Health.Every > 0 && t.unproven(k)
		if m == nil {
			m = &member{instance: i, beside: r.begun, awaited: unproven && !was.served(i.Addr)}
			if r.begun {
				m.rise(now, w)
			}
		}
		m.follow(i, now, w)
		if m.awaited && (!unproven || m.check.answered()) {
			m.prove(now, w)
		}
		if w.Health.Every == 0 {
			m.check = nil
		} else {
			m.heed(r.pool.checker.want(i.Addr, i.way.Value(), w.Health, m.check, m.awaited))
		}
		list[k] = m
	}
	r.members = list
	r.begun = r.begun || len(list) > 0
	return list
}

// unproven reports whether nobody says of an instance that it answers.
func (t *Target) unproven(at int) bool { return t.name == nil && t.asked[at].Unproven }

// served reports whether a choice led to an address without anybody looking
// after its instances, or to a name: those who bear it now were behind it. The
// nil choice did not.
func (c *chosen) served(at netip.AddrPort) bool {
	switch {
	case c == nil:
		return false
	case c.of.name != nil:
		return c.usable
	default:
		return c.care == nil && c.of.ready && slices.ContainsFunc(c.instances, func(i *Instance) bool { return i.Addr == at })
	}
}

// prove ends the wait for a member, since it answers or nobody asks any more.
func (m *member) prove(now time.Time, w *routing.Watch) {
	m.awaited = false
	if m.beside {
		m.rise(now, w)
	}
}

// finder returns what finds the members of a list by address, nil if there is
// none. Most lists are short.
func finder(list []*member) func(at netip.AddrPort) *member {
	if len(list) <= 16 {
		return func(at netip.AddrPort) *member {
			for _, m := range list {
				if m.instance.Addr == at {
					return m
				}
			}
			return nil
		}
	}
	index := make(map[netip.AddrPort]*member, len(list))
	for _, m := range list {
		index[m.instance.Addr] = m
	}
	return func(at netip.AddrPort) *member { return index[at] }
}

// follow makes i the instance, which is at the same address as before. That
// connections could not be made says nothing any more if it is spoken to in
// another way.
func (m *member) follow(i *Instance, now time.Time, w *routing.Watch) {
	if m.instance == i {
		return
	}
	sameWay := m.instance.way == i.way
	m.instance = i
	if sameWay {
		return
	}
	m.row.Store(m.row.Load() % halfRow)
	if m.ejected && m.past.cause == CauseConnects {
		m.back(now, w)
	}
}

// heed has a member know what a check finds out from now on.
func (m *member) heed(k *check) {
	if m.check != k {
		m.check, m.hadPassed, m.hadMissed = k, k.passed.Load(), k.failed.Load()
	}
}

// account takes in how many checks were made of the members.
func (r *record) account() {
	for _, m := range r.members {
		if m.check == nil {
			continue
		}
		passed, failed := m.check.passed.Load(), m.check.failed.Load()
		r.counts.ChecksPassed += passed - m.hadPassed
		r.counts.ChecksFailed += failed - m.hadMissed
		m.hadPassed, m.hadMissed = passed, failed
	}
}

// rise has a member start slowly, if the route wants that.
func (m *member) rise(now time.Time, w *routing.Watch) {
	if w.SlowStart > 0 {
		m.rising = now
	}
}

const (
	// risenFrom is the share, in percent, with which a slow start begins, and
	// riseStep what it grows by: each step makes the choice anew.
	risenFrom = 10
	riseStep  = 5
)

// percent returns the part of its weight that a member takes.
func (m *member) percent(now time.Time, w *routing.Watch) uint8 {
	passed := now.Sub(m.rising)
	if m.rising.IsZero() || passed >= w.SlowStart {
		m.rising = time.Time{}
		return 100
	}
	n := risenFrom + int((100-risenFrom)*max(passed, 0)/w.SlowStart)
	return uint8(n / riseStep * riseStep)
}

// standing is who of a route may be chosen.
type standing struct {
	percents []uint8 // of the weight of each; 0 of those that get nothing
	usable   int     // those that are not out, panic or not
	down     int     // those whose checks fail
	panics   bool
}

// stand works out who may be chosen now. What it returns is in room, if that is
// large enough.
func (r *record) stand(list []*member, w *routing.Watch, now time.Time, room []uint8) standing {
	able := 0
	s := standing{percents: room[:0]}
	for _, m := range list {
		m.look(now, w)
	}
	r.release(list, w, now)
	for _, m := range list {
		if m.counts() {
			able++
			if !m.out() {
				s.usable++
			}
			if m.down {
				s.down++
			}
		}
	}
	s.panics = s.usable < able && int64(s.usable)*int64(routing.FullWeight) < int64(able)*int64(w.Health.Panic)
	for _, m := range list {
		percent := uint8(0)
		switch {
		case m.awaited: // panic or not
		case s.panics:
			percent = 100
		case !m.out():
			percent = m.percent(now, w)
		}
		s.percents = append(s.percents, percent)
	}
	return s
}

// look takes in what happened to a member by itself.
func (m *member) look(now time.Time, w *routing.Watch) {
	if m.ejected && !now.Before(m.past.until) {
		m.back(now, w)
	}
	if m.awaited && m.check.answered() {
		m.prove(now, w)
	}
	down := m.check != nil && m.check.unhealthy()
	if m.down && !down {
		m.rise(now, w)
	}
	m.down = down
}

// back ends an ejection.
func (m *member) back(now time.Time, w *routing.Watch) {
	m.ejected, m.past.returned = false, now
	m.row.Store(0)
	m.rise(now, w)
	m.instance.pool.options.Log.Info("an instance is used again", "instance", m.instance.String())
}

// States returns how the instances stand, in the order of Instances; nil if
// there is nothing to say but that nobody looks.
func (t *Target) States() []routing.InstanceState {
	p := t.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c, now := t.chosen.Load(), time.Now()
	w := t.watch()
	worth := w.Health.Every > 0
	var all []routing.InstanceState
	for k, m := range c.members() {
		s := m.state(p, now, &w)
		s.Unused = c.out(k)
		worth = worth || s.State != routing.StateUnknown || s.Share != 0
		all = append(all, s)
	}
	if !worth {
		return nil
	}
	return all
}

func (m *member) state(p *Pool, now time.Time, w *routing.Watch) routing.InstanceState {
	s := routing.InstanceState{Address: m.instance.String(), State: routing.StateUnknown}
	if m.check != nil {
		s.State, s.Since, s.Why = p.checker.tell(m.check)
	}
	switch { // what a check has found out just now does not count yet
	case m.down:
		s.State = routing.StateUnhealthy
	case s.State == routing.StateUnhealthy:
		s.State = routing.StateUnknown
	}
	if m.ejected && s.State != routing.StateUnhealthy {
		s.State, s.Since, s.Why, s.Until = routing.StateEjected, m.past.since, m.past.why, m.past.until
	}
	s.Awaited = m.awaited
	if m.awaited {
		return s
	}
	if share := m.percent(now, w); share < 100 && s.State != routing.StateUnhealthy && s.State != routing.StateEjected {
		s.Share = int(share)
	}
	return s
}

// Cause says why instances were ejected.
type Cause uint8

// The causes.
const (
	CauseFailures Cause = iota // failed requests in a row
	CauseConnects              // connections in a row that could not be made
	CauseErrors                // a larger share of failures than that of others
	causes
)

// String returns failures, connects or errors: the keys that set their bounds.
func (c Cause) String() string { return [...]string{"failures", "connects", "errors"}[c] }

// Counts tell how the instances of a route stand, and what became of them.
type Counts struct {
	Healthy, Unhealthy, Unknown, Ejected int
	Ejections                            [causes]uint64 // by Cause
	// Panics counts the times that too few were usable; Panic reports that it
	// is so now.
	Panics uint64
	Panic  bool
	// Checked reports that health checks are made, or were; the others count
	// those since the route has been there. A check that several routes share
	// counts for each.
	Checked                    bool
	ChecksPassed, ChecksFailed uint64
}

// Counts returns how the instances stand. ok is false if nobody looks after
// them.
func (t *Target) Counts() (n Counts, ok bool) {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	r := t.record
	if r == nil {
		return n, false
	}
	members := t.chosen.Load().members()
	r.account()
	n = r.counts
	n.Panic = r.panics
	n.Checked = t.watch().Health.Every > 0 || n.ChecksPassed+n.ChecksFailed > 0
	for _, m := range members {
		switch {
		case m.down:
			n.Unhealthy++
		case m.ejected:
			n.Ejected++
		case m.check != nil && checkState(m.check.state.Load()) == checkHealthy:
			n.Healthy++
		default:
			n.Unknown++
		}
	}
	return n, members != nil
}
