// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
)

const (
	// maxChanges bounds the changes that wait for a plan to be published: of
	// older ones nobody asks how far they have come.
	maxChanges = 10_000
	// slowSaving is how long a saving may take before plans go out without it,
	// and Status tells of it.
	slowSaving = 5 * time.Second
	// endPatience is how long what is still to be saved at the end may take.
	endPatience = 5 * time.Second
)

// saving is what of a namespace is on its way to Memory, and the plan that
// relies on it. A namespace has at most one.
type saving struct {
	s     *space
	began time.Time

	plan   Plan
	relies bool // there is a plan, to be published when this is over
	out    bool // it went out before, as this takes long

	origins    []string
	newOrigins bool // origins are to be saved
	keepsakes  []Keepsake
	touched    map[string]bool // of which they are made
}

// deliver publishes a plan that relies on nothing, by appending it to plans,
// and has what is to be kept saved before one that does. What comes while a
// saving of the namespace is under way waits for it, but not for longer than
// slowSaving: of several plans the last one counts, with the changes of all.
func (p *Planner) deliver(s *space, plan Plan, ok bool, now time.Time, plans []Plan) []Plan {
	if s.saving != nil {
		if ok && s.next != nil {
			plan.Changes = newest(slices.Concat(s.next.Changes, plan.Changes))
		}
		if ok {
			s.next = &plan
		}
		if late, there := s.late(now); there {
			plans = append(plans, late)
		}
		return plans
	}
	if !ok && now.Before(s.memory.retry) {
		return plans
	}
	if one := s.unsaved(now); one != nil {
		one.plan, one.relies = plan, ok
		p.save(one)
		return plans
	}
	if ok {
		plans = append(plans, plan)
	}
	return plans
}

// late returns the plan that has waited long enough for a saving. It takes the
// place of one that waited before it.
func (s *space) late(now time.Time) (Plan, bool) {
	one := s.saving
	if !s.waits() || now.Before(one.began.Add(slowSaving)) {
		return Plan{}, false
	}
	plan := one.plan
	if next := s.next; next != nil {
		if waited := one.relies && !one.out; waited {
			next.Changes = newest(slices.Concat(plan.Changes, next.Changes))
		}
		plan = *next
	}
	one.out, s.next = true, nil
	return plan, true
}

// waits reports whether a plan waits for the saving that is under way.
func (s *space) waits() bool { return s.next != nil || s.saving.relies && !s.saving.out }

// newest returns the changes that still matter.
func newest(changes []discovery.Change) []discovery.Change {
	return changes[max(len(changes)-maxChanges, 0):]
}

// unsaved returns what has changed since the last saving, nil if nothing has.
func (s *space) unsaved(now time.Time) *saving {
	m := &s.memory
	if s.p.o.Memory == nil {
		clear(m.touched)
		return nil
	}
	one := &saving{s: s, began: now, touched: m.touched}
	if origins := slices.Sorted(maps.Keys(s.origins)); !slices.Equal(origins, m.origins) {
		one.origins, one.newOrigins = origins, true
	}
	for _, name := range slices.Sorted(maps.Keys(m.touched)) {
		k, was := s.keepsake(name), m.saved[name]
		if !k.equal(&was) {
			one.keepsakes = append(one.keepsakes, k)
		}
	}
	m.touched = make(map[string]bool)
	if !one.newOrigins && len(one.keepsakes) == 0 {
		m.failed, m.retry = nil, time.Time{}
		return nil
	}
	return one
}

// save has Run save.
func (p *Planner) save(one *saving) {
	one.s.saving = one
	p.unsaved = append(p.unsaved, one)
	select {
	case p.toSave <- struct{}{}:
	default:
	}
}

// runSavings saves until over is closed, and then what is left.
func (p *Planner) runSavings(ctx context.Context, over <-chan struct{}, publish func(Plan)) {
	for ending := false; !ending; {
		select {
		case <-over:
			ending = true
		case <-p.toSave:
		}
		for one := p.nextSaving(); one != nil; one = p.nextSaving() {
			p.saveAndPublish(ctx, one, publish)
		}
	}
}

func (p *Planner) nextSaving() *saving {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unsaved) == 0 {
		return nil
	}
	one := p.unsaved[0]
	p.unsaved = slices.Delete(p.unsaved, 0, 1)
	return one
}

// saveAndPublish saves, however long that takes, while others plan and ask. The
// plan goes out before any later one of its namespace.
func (p *Planner) saveAndPublish(ctx context.Context, one *saving, publish func(Plan)) {
	// The end of the process is no reason to lose it.
	work, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endPatience, giveUp) })()
	err := p.keep(work, one)
	p.publishing.Lock()
	defer p.publishing.Unlock()
	p.mu.Lock()
	waited := one.relies && !one.out
	p.saved(one, err)
	p.mu.Unlock()
	if waited {
		publish(one.plan)
	}
}

// keep hands to Memory what is to be saved.
func (p *Planner) keep(ctx context.Context, one *saving) error {
	p.keeping.Lock()
	defer p.keeping.Unlock()
	if one.newOrigins {
		if err := p.o.Memory.SaveOrigins(ctx, one.s.name, one.origins); err != nil {
			return err
		}
	}
	if len(one.keepsakes) == 0 {
		return nil
	}
	return p.o.Memory.Save(ctx, one.s.name, one.keepsakes)
}

// saved notes how a saving ended, and begins the next one if a plan waits for
// it. What could not be saved is tried again: with the next plan, or after a
// time.
func (p *Planner) saved(one *saving, err error) {
	s, m := one.s, &one.s.memory
	now := time.Now()
	s.saving, m.failed, m.retry = nil, err, time.Time{}
	if err != nil {
		maps.Copy(m.touched, one.touched)
		m.retry = now.Add(retryAfter)
		p.lookAgain(m.retry)
	} else {
		if one.newOrigins {
			m.origins = one.origins
		}
		for _, k := range one.keepsakes {
			m.saved[k.Gateway] = k
			if k.Empty() {
				delete(m.saved, k.Gateway)
			}
		}
	}
	switch next := s.next; {
	case next != nil:
		s.next = nil
		two := s.unsaved(now)
		if two == nil {
			two = &saving{s: s, began: now}
		}
		two.plan, two.relies = *next, true
		p.save(two)
	case err == nil && len(m.touched) > 0:
		p.lookAgain(now)
	case err == nil && s.idle(now):
		p.lookAgain(now) // it can be let go of
	}
}

// lookAgain has Run look at everything again at a time, if it would not before.
func (p *Planner) lookAgain(at time.Time) {
	if p.due.IsZero() || at.Before(p.due) {
		p.due = at
	}
	p.tellDue()
}

// tellDue has Run know that it has to look again at another time.
func (p *Planner) tellDue() {
	select {
	case p.redue <- struct{}{}:
	default: // a token that is there says the same
	}
}

// unsavedWhy says why what has to outlast the process is not kept; "" if it is.
func (s *space) unsavedWhy(now time.Time) string {
	failed := text(s.memory.failed)
	if s.saving == nil || now.Sub(s.saving.began) < slowSaving {
		return failed
	}
	why := fmt.Sprintf("saving has taken %v by now: the disk does not answer, and tables go out unsaved", now.Sub(s.saving.began).Round(time.Second))
	if failed != "" {
		why += "; the time before it failed: " + failed
	}
	return why
}
