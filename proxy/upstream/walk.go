// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/routing"
)

// Choosing says how a target's instance is chosen, and spoken to. The zero
// Choosing is round robin over all of them, by plain TCP. Comparable.
type Choosing struct {
	Balance  routing.Balance
	Locality routing.Locality
	Room     balance.Room // what each instance may have in flight
	Watch    routing.Part[routing.Watch]
	Way      Way    // how each is spoken to
	Route    string // what it is for, to be told in logs
}

// chosen is a list of instances and how one of them is chosen.
type chosen struct {
	of        *Target
	instances []*Instance
	set       *balance.Set
	usable    bool // one is not known to fail

	// The rest is nil if nobody looks after the instances.
	members  []*member
	percents []uint8 // as in standing
	ejected  []int   // positions of those that get nothing for no other reason
	down     int     // as in standing
	tally    *tally  // nil as well if outcomes are not counted
	made     time.Time
}

// out reports whether an instance gets nothing for now.
func (c *chosen) out(at int) bool { return c.percents != nil && c.percents[at] == 0 }

// Balanced returns a target that leads to the same instances and chooses by c:
// t itself if it does. Otherwise turns go on where those of t are.
func (p *Pool) Balanced(t *Target, c Choosing) *Target {
	if t.choosing == c {
		return t
	}
	next := &Target{name: t.name, choosing: c, record: t.record}
	p.mu.Lock()
	defer p.mu.Unlock()
	next.goOn(t)
	p.attach(next)
	return next
}

// goOn has the turns of t go on where those of before are. Pool.mu is held.
func (t *Target) goOn(before *Target) {
	if before.turns != nil {
		t.turns = new(balance.Turns)
		t.turns.Follow(before.turns)
	}
}

// attach makes a target follow the instances of its name. p.mu is held.
func (p *Pool) attach(t *Target) {
	t.name.targets = append(t.name.targets, t)
	t.record.owner = t
	t.find()
	t.choose(time.Now())
}

// choose prepares the choice among the present instances. Pool.mu is held.
func (t *Target) choose(now time.Time) {
	is := t.list
	list := make([]balance.Member, len(is))
	for k, i := range is {
		list[k] = balance.Member{Key: i.text, Weight: defaultWeight, Ready: true, Load: i.load}
	}
	if f := t.name.fixed; f != nil {
		for k, asked := range f.asked {
			m := &list[k]
			m.Ready, m.Place = asked.Ready, balance.Place{Zone: asked.Zone, Node: asked.Node}
			if asked.Weight != 0 {
				m.Weight = asked.Weight
			}
		}
	}
	if t.turns == nil && len(is) > 1 {
		t.turns = new(balance.Turns) // it is large, and one instance needs none
	}
	c := &chosen{of: t, instances: is, made: now}
	usable := t.lookAfter(c, list, now) // before the set, which follows it
	c.set = balance.New(list, t.turns, balance.Options{Balance: t.choosing.Balance, Locality: t.choosing.Locality, Own: t.record.pool.options.Own, Room: t.choosing.Room})
	c.usable = usable > 0
	t.chosen.Store(c)
}

// lookAfter notes who of the list gets nothing, or less, for now, and returns
// how many are not known to fail.
func (t *Target) lookAfter(c *chosen, list []balance.Member, now time.Time) (usable int) {
	held, r := t.choosing.Watch.Value(), t.record
	w := &held
	ejects := w.Ejection != routing.Ejection{} && len(list) > 1 // the only one never is
	if !ejects && w.Health.Every == 0 && w.SlowStart == 0 {
		r.members, r.begun, r.panics = nil, false, false
		return len(list)
	}
	c.members = r.follow(c.instances, w, now)
	for k, m := range c.members {
		m.able = list[k].Ready && list[k].Weight > 0
	}
	if ejects {
		c.tally = newTally(r.pool, &w.Ejection)
	}
	s := r.stand(c.members, w, now, make([]uint8, 0, len(list)))
	c.percents, c.down = s.percents, s.down
	for k, percent := range s.percents {
		if m := c.members[k]; percent == 0 && m.able && !m.down {
			c.ejected = append(c.ejected, k)
		}
		list[k].Ready = list[k].Ready && percent > 0
		if percent < 100 {
			list[k].Percent = int(percent)
		}
	}
	if s.panics && !r.panics {
		r.counts.Panics++
		r.pool.options.Log.Warn("too few instances are usable: all are used", "usable", s.usable, "instances", len(list))
	}
	r.panics = s.panics
	return s.usable
}

// defaultWeight is the weight of an instance that says none.
const defaultWeight = 100

// Walk chooses the instance of one exchange, and the next ones if it cannot be
// reached. It goes by the instances that there were when it began. The zero
// Walk has none. It belongs to one goroutine and may be used again after End.
type Walk struct {
	walk    balance.Walk
	chosen  *chosen
	present *Instance
	member  *member // the present instance, if outcomes are counted
	resorts int     // how many of the ejected instances were tried
}

// Begin begins a walk at time now, which is socket.Now(). The request is not
// used later.
func (t *Target) Begin(w *Walk, r conditions.Request, now int64) {
	w.chosen = t.chosen.Load()
	w.present, w.member, w.resorts = nil, nil, 0
	w.chosen.set.Begin(&w.walk, r, now)
}

// Next returns the instance to try next, nil if all were tried. The exchange
// counts as in flight there, and no longer at the one before. Once no other one
// is left to try again with, those that are ejected follow: they may have
// recovered, and it would fail anyway.
func (w *Walk) Next() *Instance {
	again := w.present != nil
	w.present, w.member = nil, nil
	if at := w.walk.Next(); at >= 0 {
		w.enter(at)
	} else if again && !w.walk.Full() {
		w.resort()
	}
	return w.present
}

// resort makes the next ejected instance the present one, if one is left.
func (w *Walk) resort() {
	for w.present == nil && w.resorts < len(w.chosen.ejected) {
		at := w.chosen.ejected[w.resorts]
		w.resorts++
		if w.walk.Take(at) {
			w.enter(at)
		}
	}
}

func (w *Walk) enter(at int) {
	w.present = w.chosen.instances[at]
	if w.chosen.tally != nil {
		w.member = w.chosen.members[at]
	}
}

// Take makes i the next instance, and reports whether it is one of the target,
// was not tried yet, and does not get nothing for now.
func (w *Walk) Take(i *Instance) bool {
	if w.chosen == nil {
		return false
	}
	at := slices.Index(w.chosen.instances, i)
	if at < 0 || w.chosen.out(at) || !w.walk.Take(at) {
		return false
	}
	w.member = nil
	w.enter(at)
	return true
}

// Full reports whether the last Next returned nil, or Take refused, since what
// is left of the instances has as much in flight as it may.
func (w *Walk) Full() bool { return w.walk.Full() }

// Answered notes how long the present instance took to answer, and the status;
// 0 for what is no HTTP.
func (w *Walk) Answered(now int64, took time.Duration, status int) {
	w.walk.Answered(now, took)
	w.spoken()
	if w.member != nil {
		w.chosen.tally.answered(w.member, status)
	}
}

// spoken notes that TLS with the present instance works, should it have failed.
func (w *Walk) spoken() {
	if i := w.present; i != nil && i.refusal.Load() != nil {
		i.accepts(false)
	}
}

// Unwelcome is Answered for an answer in whose place another one is sought: it
// may be fast, but is not taken for speed.
func (w *Walk) Unwelcome(now int64, took time.Duration, status int) {
	w.walk.Failed(now, took)
	w.spoken()
	if w.member != nil {
		w.chosen.tally.answered(w.member, status)
	}
}

// Failed notes that the present instance did not answer, by its own fault.
func (w *Walk) Failed(now int64, took time.Duration) {
	w.walk.Failed(now, took)
	if w.member != nil {
		w.chosen.tally.failed(w.member, oneFailure)
	}
}

// Unreached notes why the present instance could not be connected to.
func (w *Walk) Unreached(now int64, took time.Duration, err error) {
	w.walk.Failed(now, took)
	w.chosen.of.tell(err)
	if w.member != nil && blames(err) {
		w.chosen.tally.failed(w.member, oneConnect)
	}
}

// End ends the walk: the exchange is in flight no longer. Ending it again does
// nothing.
func (w *Walk) End() {
	w.walk.End()
	w.chosen, w.present, w.member = nil, nil, nil
}

// Hold ends the walk, as End does, but the exchange stays in flight where it is
// until the Hold ends.
func (w *Walk) Hold() balance.Hold {
	h := w.walk.Hold()
	w.End()
	return h
}

// InFlight counts the exchanges that are under way at the instance.
func (i *Instance) InFlight() int64 { return i.load.InFlight() }
