// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// tally says how requests count their outcomes. It is part of what they chose
// from, so that they look up nothing.
type tally struct {
	pool     *Pool
	failures uint64 // as in routing.Ejection; unreachable if not counted
	connects uint64
	statuses routing.StatusSet
	any      bool // there are statuses
	shares   bool // are judged
}

func newTally(p *Pool, e *routing.Ejection) *tally {
	t := &tally{pool: p, statuses: e.Statuses, any: !e.Statuses.Empty(), shares: e.Errors > 0}
	t.failures, t.connects = 1<<63, 1<<63
	if e.Failures > 0 {
		t.failures = uint64(e.Failures)
	}
	if e.Connects > 0 {
		t.connects = uint64(e.Connects)
	}
	return t
}

const (
	oneFailure = 1
	// oneConnect is one connection that could not be made, in member.row: it
	// counts in both halves.
	oneConnect = halfRow + oneFailure
	halfRow    = 1 << 32
)

// answered counts an answer; status is 0 of what is no HTTP.
func (t *tally) answered(m *member, status int) {
	if t.any && t.statuses.Has(status) {
		t.failed(m, oneFailure)
		return
	}
	if m.row.Load() != 0 {
		m.row.Store(0)
	}
	if t.shares {
		m.successes.Add(1)
	}
}

// failed counts a failure, and has the one looked at that makes a row.
func (t *tally) failed(m *member, one uint64) {
	if t.shares {
		m.faults.Add(1)
	}
	row := m.row.Add(one)
	if row%halfRow == t.failures || row/halfRow == t.connects && one == oneConnect {
		t.pool.raise()
	}
}

// raise has records looked at soon.
func (p *Pool) raise() {
	select {
	case p.alarm <- struct{}{}:
	default: // they will be
	}
}

// blames reports whether a connection that could not be made says anything of
// the instance: what the proxy lacks itself, or has given up, does not.
func blames(err error) bool {
	for _, own := range []error{ErrFull, ErrSettings, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, context.Canceled} {
		if errors.Is(err, own) {
			return false
		}
	}
	return true
}

// fewMembers is up to how many instances the choice is made anew as soon as
// one of them fails. It takes long with very many: then it is made twice a
// second at most.
const fewMembers = 64

// review ejects who failed, and makes the choice anew where it changes; tick
// says that a second has passed.
func (p *Pool) review(now time.Time, tick bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.watched {
		t.review(now, tick)
	}
}

func (t *Target) review(now time.Time, tick bool) {
	c := t.chosen.Load()
	if c.care == nil || t.record.owner != t {
		return
	}
	held, members := t.watch(), c.care.members
	w := &held
	if c.tally != nil {
		t.record.judge(members, w, now)
	}
	p := t.pool
	s := t.record.stand(members, w, now, p.room)
	p.room = s.percents
	if slices.Equal(s.percents, c.care.percents) && s.panics == t.record.panics && (s.usable > 0) == c.usable && s.down == c.care.down {
		return
	}
	if tick || len(members) <= fewMembers || now.Sub(c.care.made) >= time.Second {
		t.choose(c.instances, c, now)
	}
}

// suspect is a member that ought to be ejected.
type suspect struct {
	*member
	cause Cause
	why   string
	grade float64 // the worst first
}

// judge ejects the members that failed, the worst first, as long as enough
// are left.
func (r *record) judge(list []*member, w *routing.Watch, now time.Time) {
	e := &w.Ejection
	suspects := rows(list, e)
	if e.Errors > 0 && !now.Before(r.window) {
		if !r.window.IsZero() {
			suspects = append(suspects, shares(list, e)...)
		}
		r.openWindow(list, now.Add(e.Over))
	}
	if len(suspects) == 0 {
		return
	}
	slices.SortStableFunc(suspects, func(a, b suspect) int { return cmp.Compare(b.grade, a.grade) })
	able, out := 0, 0
	for _, m := range list {
		if m.counts() {
			able++
			if m.out() {
				out++
			}
		}
	}
	most := mostOut(able, e)
	for _, s := range suspects {
		if out >= most {
			return
		}
		if !s.ejected {
			s.eject(&s, e, now)
			r.counts.Ejections[s.cause]++
			out++
		}
	}
}

// mostOut returns how many of the able members may be out after an ejection.
func mostOut(able int, e *routing.Ejection) int {
	return int(int64(able) * int64(e.Most) / int64(routing.FullWeight))
}

// rows returns the members that failed too often in a row.
func rows(list []*member, e *routing.Ejection) (suspects []suspect) {
	for _, m := range list {
		row := m.row.Load()
		failures, connects := int(row%halfRow), int(row/halfRow)
		if row == 0 || !m.able || m.out() {
			continue
		}
		switch {
		case e.Connects > 0 && connects >= e.Connects:
			suspects = append(suspects, suspect{m, CauseConnects, fmt.Sprintf("%d connections in a row could not be made", connects), float64(failures)})
		case e.Failures > 0 && failures >= e.Failures:
			suspects = append(suspects, suspect{m, CauseFailures, fmt.Sprintf("%d requests in a row failed", failures), float64(failures)})
		}
	}
	return suspects
}

// shares returns the members that failed more often in the window than all
// others together, by as much as must not be. What fails everywhere is not the
// fault of one.
func shares(list []*member, e *routing.Ejection) (suspects []suspect) {
	var all, failed uint64
	for _, m := range list {
		n, f := m.inWindow()
		all, failed = all+n, failed+f
	}
	least := uint64(e.AtLeast)
	for _, m := range list {
		n, f := m.inWindow()
		if !m.able || m.out() || n < least || all-n < least {
			continue
		}
		own, others := float64(f)/float64(n), float64(failed-f)/float64(all-n)
		if (own-others)*float64(routing.FullWeight) >= float64(e.Errors) {
			why := fmt.Sprintf("%.0f%% of its %d requests failed, %.0f%% of those of the others", 100*own, n, 100*others)
			suspects = append(suspects, suspect{m, CauseErrors, why, own})
		}
	}
	return suspects
}

// inWindow returns how many requests a member had, and how many failed.
func (m *member) inWindow() (all, failed uint64) {
	failed = m.faults.Load() - m.hadFailed
	return m.successes.Load() - m.hadSucceeded + failed, failed
}

func (r *record) openWindow(list []*member, until time.Time) {
	r.window = until
	for _, m := range list {
		m.hadSucceeded, m.hadFailed = m.successes.Load(), m.faults.Load()
	}
}

// eject leaves a member alone for a time that grows with each ejection. For
// each first time that it served well since the last one, one is forgotten.
func (m *member) eject(s *suspect, e *routing.Ejection, now time.Time) {
	if m.past == nil {
		m.past = &past{}
	}
	was := m.past
	if was.times > 0 {
		was.times = max(0, was.times-int(now.Sub(was.returned)/e.Time))
	}
	was.times++
	lasts := e.MostTime
	if int64(was.times) <= int64(e.MostTime/e.Time) {
		lasts = e.Time * time.Duration(was.times)
	}
	m.ejected, was.since, was.until, was.why, was.cause = true, now, now.Add(lasts), s.why, s.cause
	m.row.Store(0)
	m.instance.pool.options.Log.Warn("an instance is ejected", "instance", m.instance.String(), "why", s.why, "for", lasts.String())
}

// release ends ejections, the one that ends first anyway, until they are few
// enough again: the others may have gone meanwhile.
func (r *record) release(list []*member, w *routing.Watch, now time.Time) {
	able := 0
	var ejected []*member
	for _, m := range list {
		if m.counts() {
			able++
		}
		if m.ejected {
			ejected = append(ejected, m)
		}
	}
	over := len(ejected) - mostOut(able, &w.Ejection)
	if over <= 0 {
		return
	}
	slices.SortStableFunc(ejected, func(a, b *member) int { return a.past.until.Compare(b.past.until) })
	for _, m := range ejected[:over] {
		m.back(now, w)
	}
}
