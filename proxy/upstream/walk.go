// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/routing"
)

// Choosing says how a target's instance is chosen. The zero Choosing is round
// robin over all of them.
type Choosing struct {
	Balance  routing.Balance
	Locality routing.Locality
	Room     balance.Room // what each instance may have in flight
}

// chosen is a list of instances and how one of them is chosen.
type chosen struct {
	instances []*Instance
	set       *balance.Set
}

// Balanced returns a target that leads to the same instances and chooses by c:
// t itself if it does. Otherwise turns go on where those of t are.
func (p *Pool) Balanced(t *Target, c Choosing) *Target {
	if t.choosing == c {
		return t
	}
	next := &Target{name: t.name, choosing: c}
	next.turns.Follow(&t.turns)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attach(next)
	return next
}

// attach makes a target follow the instances of its name. p.mu is held.
func (p *Pool) attach(t *Target) {
	t.name.targets = append(t.name.targets, t)
	t.choose(p.options.Own)
}

// choose prepares the choice among the present instances.
func (t *Target) choose(own balance.Place) {
	is := t.Instances()
	members := make([]balance.Member, len(is))
	for k, i := range is {
		members[k] = balance.Member{Key: i.text, Weight: defaultWeight, Ready: true, Load: &i.load}
	}
	if f := t.name.fixed; f != nil {
		for k, asked := range f.asked {
			m := &members[k]
			m.Ready, m.Place = asked.Ready, balance.Place{Zone: asked.Zone, Node: asked.Node}
			if asked.Weight != 0 {
				m.Weight = asked.Weight
			}
		}
	}
	set := balance.New(members, &t.turns, balance.Options{Balance: t.choosing.Balance, Locality: t.choosing.Locality, Own: own, Room: t.choosing.Room})
	t.chosen.Store(&chosen{instances: is, set: set})
}

// defaultWeight is the weight of an instance that says none.
const defaultWeight = 100

// Walk chooses the instance of one exchange, and the next ones if it cannot be
// reached. It goes by the instances that there were when it began. The zero
// Walk has none. It belongs to one goroutine and may be used again after End.
type Walk struct {
	walk      balance.Walk
	instances []*Instance
	present   *Instance
}

// Begin begins a walk at time now, which is socket.Now(). The request is not
// used later.
func (t *Target) Begin(w *Walk, r conditions.Request, now int64) {
	c := t.chosen.Load()
	w.instances, w.present = c.instances, nil
	c.set.Begin(&w.walk, r, now)
}

// Next returns the instance to try next, nil if all were tried. The exchange
// counts as in flight there, and no longer at the one before.
func (w *Walk) Next() *Instance {
	w.present = nil
	if at := w.walk.Next(); at >= 0 {
		w.present = w.instances[at]
	}
	return w.present
}

// Take makes i the next instance, and reports whether it is one of the target
// and was not tried yet.
func (w *Walk) Take(i *Instance) bool {
	at := slices.Index(w.instances, i)
	if at < 0 || !w.walk.Take(at) {
		return false
	}
	w.present = i
	return true
}

// Full reports whether the last Next returned nil, or Take refused, since what
// is left of the instances has as much in flight as it may.
func (w *Walk) Full() bool { return w.walk.Full() }

// Answered notes how long the present instance took to answer.
func (w *Walk) Answered(now int64, took time.Duration) { w.walk.Answered(now, took) }

// Failed notes that the present instance did not answer.
func (w *Walk) Failed(now int64, took time.Duration) { w.walk.Failed(now, took) }

// End ends the walk: the exchange is in flight no longer. Ending it again does
// nothing.
func (w *Walk) End() {
	w.walk.End()
	w.instances, w.present = nil, nil
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
