// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"slices"
	"time"
	"unique"

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

// apart returns the choosing without its route, to be shared with others, and
// the route.
func (c Choosing) apart() (shared unique.Handle[Choosing], route string) {
	route, c.Route = c.Route, ""
	return unique.Make(c), route
}

// chosen is a list of instances and how one of them is chosen. Most lists have
// one, which stands in it, and nobody looks after it.
type chosen struct {
	of        *Target
	instances []*Instance
	set       balance.Set
	usable    bool   // one is not known to fail
	tally     *tally // nil if outcomes are not counted
	care      *care  // nil if nobody looks after the instances
	only      [1]*Instance
}

// care is how the instances stood when they were chosen.
type care struct {
	members  []*member
	percents []uint8 // as in standing
	ejected  []int   // positions of those that get nothing for no other reason
	down     int     // as in standing
	made     time.Time
}

// members returns those of the instances, nil if nobody looks after them.
func (c *chosen) members() []*member {
	if c.care == nil {
		return nil
	}
	return c.care.members
}

// out reports whether an instance gets nothing for now.
func (c *chosen) out(at int) bool { return c.care != nil && c.care.percents[at] == 0 }

// Balanced returns a target that leads to the same instances and chooses by c:
// t itself if it does. Otherwise turns go on where those of t are.
func (p *Pool) Balanced(t *Target, c Choosing) *Target {
	next := p.target(c)
	if t.choosing == next.choosing && t.route == next.route {
		return t
	}
	next.name, next.asked, next.ready = t.name, t.asked, t.ready
	p.mu.Lock()
	defer p.mu.Unlock()
	next.goOn(t)
	p.attach(next, t)
	return next
}

// goOn has t go on where before is, with its turns and its record. Pool.mu is
// held.
func (t *Target) goOn(before *Target) {
	t.record = before.record
	if before.turns != nil {
		t.turns = new(balance.Turns)
		t.turns.Follow(before.turns)
	}
}

// attach makes a target follow the instances of its name, or lead to its own.
// before is the target in whose place it comes, nil if there is none. p.mu is
// held.
func (p *Pool) attach(t, before *Target) {
	if t.name != nil {
		t.name.targets = append(t.name.targets, t)
	} else {
		p.fresh = append(p.fresh, t)
	}
	if t.record != nil {
		t.record.owner = t
	}
	var was *chosen
	if before != nil {
		was = before.chosen.Load()
	}
	t.choose(t.find(), was, time.Now())
}

// choose prepares the choice among some instances, which are the present ones.
// was is the one before it, nil if there is none. Pool.mu is held.
func (t *Target) choose(is []*Instance, was *chosen, now time.Time) {
	c := &chosen{of: t, instances: is}
	if len(is) == 1 {
		c.only[0] = is[0]
		c.instances = c.only[:]
	}
	if t.turns == nil && len(is) > 1 {
		t.turns = new(balance.Turns) // it is large, and one instance needs none
	}
	asked := t.choosing.Value()
	list := t.list(is, &asked)
	usable := t.lookAfter(c, was, list, &asked, now) // before the set, which follows it
	c.set.Init(list, t.turns, balance.Options{Balance: asked.Balance, Locality: asked.Locality, Own: t.pool.options.Own, Room: asked.Room})
	clear(list) // what it leads to may go
	c.usable = usable > 0
	if before := t.chosen.Swap(c); c.care != nil && (before == nil || before.care == nil) {
		t.pool.watched = append(t.pool.watched, t)
	}
}

// list returns some instances as they are to be chosen. It is valid until the
// next call. Pool.mu is held.
func (t *Target) list(is []*Instance, asked *Choosing) []balance.Member {
	list := t.pool.members[:0]
	keyed := balance.Keyed(asked.Balance.Algorithm)
	for k, i := range is {
		m := balance.Member{Weight: defaultWeight, Ready: true, Load: i.load}
		if keyed {
			m.Key = i.String()
		}
		if t.name == nil {
			at := t.asked[k]
			m.Ready, m.Place, m.Weight = at.Ready, balance.Place{Zone: at.Zone, Node: at.Node}, cmp.Or(at.Weight, defaultWeight)
		}
		list = append(list, m)
	}
	t.pool.members = list
	return list
}

// lookAfter notes who of the list gets nothing, or less, for now, and returns
// how many are not known to fail.
func (t *Target) lookAfter(c, was *chosen, list []balance.Member, asked *Choosing, now time.Time) (usable int) {
	held := asked.Watch.Value()
	w := &held
	ejects := w.Ejection != routing.Ejection{} && len(list) > 1 // the only one never is
	if !ejects && w.Health.Every == 0 && w.SlowStart == 0 {
		if t.owns() {
			t.record.rest()
		}
		return len(list)
	}
	if t.record == nil {
		t.record = &record{pool: t.pool, owner: t}
	}
	if !t.owns() {
		return len(list) // the record follows what took the place of t
	}
	r := t.record
	members := r.follow(t, c, was, w, now)
	for k, m := range members {
		m.able = list[k].Ready && list[k].Weight > 0
	}
	if ejects {
		c.tally = newTally(r.pool, &w.Ejection)
	}
	s := r.stand(members, w, now, make([]uint8, 0, len(list)))
	c.care = &care{members: members, percents: s.percents, down: s.down, made: now}
	for k, percent := range s.percents {
		if m := members[k]; percent == 0 && m.counts() && !m.down {
			c.care.ejected = append(c.care.ejected, k)
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

// owns reports whether what is known of the instances is the target's, and no
// other one took its place. Pool.mu is held.
func (t *Target) owns() bool { return t.record == nil || t.record.owner == t }

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
	if w.chosen.care == nil {
		return
	}
	for ejected := w.chosen.care.ejected; w.present == nil && w.resorts < len(ejected); {
		at := ejected[w.resorts]
		w.resorts++
		if w.walk.Take(at) {
			w.enter(at)
		}
	}
}

func (w *Walk) enter(at int) {
	w.present = w.chosen.instances[at]
	if w.chosen.tally != nil {
		w.member = w.chosen.care.members[at]
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
