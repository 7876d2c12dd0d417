// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	// maxQuiet is how long the first of several events waits at most.
	maxQuiet = 2 * time.Second
	// maxSingles is of how many apps the changes are asked for one by one.
	maxSingles = 8
	// maxHints bounds how many deployments are remembered, and how many ids
	// that are no apps.
	maxHints = 1024
	// maxPlanID bounds the id of a deployment that is remembered.
	maxPlanID = 256
	// firstAsk is how long the first snapshot waits for the stream of events,
	// after which it would have to be made again.
	firstAsk = time.Second
	// attachWait is how long a stream may take to tell that it has begun. Some
	// do not.
	attachWait = time.Second
	// pollEvery is how often everything is asked for while events cannot be had.
	pollEvery = 30 * time.Second
	// minWait and maxWait bound the bound below which attempts wait, and goodLife
	// is how long a stream has to last to begin from minWait again.
	minWait, maxWait = 3 * time.Second, 5 * time.Minute
	goodLife         = 10 * time.Minute
	// fairLife is how long a stream has to last for the next attempt not to wait:
	// another master leads now, or an idle connection was cut.
	fairLife = 10 * time.Second
)

// backoff says how long attempts wait: a random time below a bound that grows.
type backoff struct{ bound time.Duration }

// next returns the next wait, never so short that attempts run hot.
func (b *backoff) next() time.Duration {
	bound := max(b.bound, minWait)
	b.bound = min(bound*3/2, maxWait)
	return bound/8 + rand.N(bound-bound/8)
}

// wants is what Marathon is to be asked for.
type wants struct {
	all  bool
	apps map[string]bool
	soon bool // nothing else is waited for

	first, last time.Time // when it was wanted
}

func (w *wants) any() bool { return w.all || len(w.apps) > 0 }

// agenda is when Marathon is asked, and what for. The mutex of the source guards
// it.
type agenda struct {
	quiet, resync time.Duration

	wants   wants
	nextAll time.Time           // when everything is asked for, whatever events say
	notYet  time.Time           // before which nothing is asked, as it just failed
	busy    time.Time           // before which not everything is asked for, so that Marathon has time for others
	retry   backoff             // of failures in a row
	heard   time.Time           // since when there is a stream of events
	deaf    bool                // there is no stream of events
	plans   map[string][]string // the apps of deployments that run
	strange map[string]bool     // ids that are no apps, such as those of pods
}

func newAgenda(o Options, now time.Time) agenda {
	return agenda{
		quiet: o.Quiet, resync: o.Resync, nextAll: now.Add(firstAsk),
		plans: make(map[string][]string), strange: make(map[string]bool),
	}
}

// note takes note of what events say.
func (a *agenda) note(n *news, now time.Time) {
	if n.attached {
		a.attached(now)
	}
	if n.all {
		a.wantAll(now)
	}
	for _, id := range n.born {
		delete(a.strange, id)
	}
	for _, id := range n.apps {
		if !a.strange[id] {
			a.want(id, now)
		}
	}
	for _, d := range n.deployments {
		a.deploy(d, now)
	}
}

// deploy takes note of what happens to a deployment: at its end, too, all its
// apps may differ.
func (a *agenda) deploy(d deployment, now time.Time) {
	if len(d.id) > maxPlanID {
		a.wantAll(now) // it is none of Marathon's, and not worth to be remembered
		return
	}
	apps, known := a.plans[d.id]
	for _, id := range d.apps {
		if !slices.Contains(apps, id) {
			apps = append(apps, id)
		}
	}
	if !d.told && !known || len(apps) > maxSingles {
		a.wantAll(now)
	} else {
		for _, id := range apps {
			delete(a.strange, id)
			a.want(id, now)
		}
	}
	if d.over || len(apps) > maxSingles {
		delete(a.plans, d.id)
		return
	}
	if len(a.plans) >= maxHints {
		clear(a.plans)
	}
	a.plans[d.id] = apps
}

func (a *agenda) want(id string, now time.Time) {
	if a.wants.apps == nil {
		a.wants.apps = make(map[string]bool)
	}
	a.wants.apps[id] = true
	a.wanted(now)
	if len(a.wants.apps) > maxSingles {
		a.wantAll(now)
	}
}

func (a *agenda) wantAll(now time.Time) {
	a.wants.all = true
	clear(a.wants.apps)
	a.wanted(now)
}

func (a *agenda) wanted(now time.Time) {
	if a.wants.first.IsZero() {
		a.wants.first = now
	}
	a.wants.last = now
}

// hearing takes note that a stream of events is about to begin: Marathon answers
// before it listens for them itself, which its first event tells.
func (a *agenda) hearing(now time.Time) {
	a.deaf, a.heard = false, now
	a.nextAll = earlier(a.nextAll, now.Add(attachWait))
	a.notYet = time.Time{} // somebody answers
}

// attached takes note that no event is missed from now on. Anything may have
// happened before.
func (a *agenda) attached(now time.Time) {
	a.wantAll(now)
	a.wants.soon = true
}

// deafen takes note that there is no stream of events, so that everything is asked
// for in a time.
func (a *agenda) deafen(now time.Time, in time.Duration) {
	a.deaf = true
	if next := now.Add(in); next.Before(a.nextAll) {
		a.nextAll = next
	}
}

// take returns what is to be asked for now, or when to look again.
func (a *agenda) take(now time.Time) (w wants, next time.Time) {
	if !now.Before(a.nextAll) && !a.wants.all {
		a.wantAll(now)
		a.wants.soon = true
	}
	if !a.wants.any() {
		return w, a.nextAll
	}
	due := a.wants.first
	if !a.wants.soon {
		due = earlier(a.wants.last.Add(a.quiet), due.Add(maxQuiet))
	}
	if a.wants.all {
		due = later(due, a.busy)
	}
	due = later(due, a.notYet)
	if now.Before(due) {
		return w, due
	}
	w, a.wants = a.wants, wants{}
	return w, time.Time{}
}

// done takes note that what was asked for from begin on was answered.
func (a *agenda) done(w *wants, begin, now time.Time) {
	a.retry = backoff{}
	a.notYet = time.Time{}
	if !w.all {
		return
	}
	clear(a.strange)
	a.busy = now.Add(now.Sub(begin))
	wait := a.resync - rand.N(a.resync/10+1) // so that several do not ask at once
	if a.deaf {
		wait = min(wait, pollEvery)
	}
	a.nextAll = now.Add(wait)
	if begin.Before(a.heard) { // no event has told what changed in between
		a.nextAll = earlier(a.nextAll, a.heard.Add(attachWait))
	}
}

// failed takes note that it was not answered. What then differs is not known.
func (a *agenda) failed(w *wants, now time.Time) {
	a.wantAll(now)
	a.wants.soon = true
	if !w.all {
		return
	}
	a.notYet = now.Add(a.retry.next())
	a.nextAll = now.Add(a.resync)
}

// odd takes note that an id is none of an app.
func (a *agenda) odd(id string) {
	if len(a.strange) >= maxHints {
		clear(a.strange)
	}
	a.strange[id] = true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// listen follows the stream of events until ctx ends.
func (s *Source) listen(ctx context.Context) {
	var wait backoff
	for {
		began := time.Now()
		heard, err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := time.Duration(0)
		lived := time.Since(began)
		if heard && lived >= goodLife {
			wait = backoff{}
		}
		if !heard || lived < fairLife {
			pause = wait.next()
		}
		s.deafened(ctx, err, pause)
		if pause == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.answers: // so that it is worth to ask for events, too
		case <-time.After(pause):
		}
	}
}

// follow follows one stream of events to its end, and reports whether there was
// one.
func (s *Source) follow(ctx context.Context) (heard bool, err error) {
	stream, err := s.client.stream(ctx)
	if err != nil {
		return false, err
	}
	defer stream.Close()
	stream.patience(silence)
	s.hearing(ctx)
	events := newEventReader(stream, func() {
		stream.patience(silenceBeaten)
		s.beat()
	})
	for {
		e, err := events.next()
		if errors.Is(err, io.EOF) {
			err = errEnded
		}
		if err != nil {
			return true, err
		}
		s.heard(e)
	}
}

// errEnded is that Marathon has ended a stream.
var errEnded = errors.New("the stream of events was ended")

// hearing takes note that a stream of events has begun.
func (s *Source) hearing(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.Connects++
	s.eventsErr = nil
	s.agenda.hearing(time.Now())
	s.log(ctx)
	s.askAgain()
}

// beat takes note that the stream lives.
func (s *Source) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastHeard = time.Now()
}

// heard takes note of an event.
func (s *Source) heard(e event) {
	var n news
	n.read(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.Events++
	s.lastHeard = time.Now()
	s.agenda.note(&n, s.lastHeard)
	s.askAgain()
}

// deafened takes note that there is no stream of events, and how long there will
// be no other attempt.
func (s *Source) deafened(ctx context.Context, err error, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pause == 0 {
		return // the next attempt says more
	}
	s.eventsErr = err
	s.agenda.deafen(time.Now(), min(pause, firstAsk))
	s.log(ctx)
	s.askAgain()
}

// askAgain wakes ask. A token that is there already says the same.
func (s *Source) askAgain() {
	select {
	case s.asking <- struct{}{}:
	default:
	}
}

// ask asks Marathon whenever something is wanted, until ctx ends.
func (s *Source) ask(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.mu.Lock()
		w, next := s.agenda.take(time.Now())
		s.mu.Unlock()
		if w.any() {
			s.fetch(ctx, &w)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(max(0, time.Until(next)))
		select {
		case <-ctx.Done():
			return
		case <-s.asking:
		case <-timer.C:
		}
	}
}

// fetch asks for what is wanted, and takes note of the answers.
func (s *Source) fetch(ctx context.Context, w *wants) {
	begin := time.Now()
	var err error
	if w.all {
		err = s.fetchAll(ctx)
	} else {
		for id := range w.apps {
			if err = s.fetchOne(ctx, id); err != nil {
				break
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err != nil {
		s.agenda.failed(w, now)
	} else {
		s.agenda.done(w, begin, now)
	}
	if w.all {
		s.fare(ctx, err, now)
	}
}

// fare takes note of how asking for everything went.
func (s *Source) fare(ctx context.Context, err error, now time.Time) {
	failing := s.why != nil
	s.why = err
	switch {
	case err == nil:
		s.lastHeard, s.stale = now, time.Time{}
		s.nudge()
	case s.stale.IsZero():
		s.stale = now
		if !s.lastHeard.IsZero() {
			s.stale = s.lastHeard
		}
	}
	if err == nil && failing {
		select {
		case s.answers <- struct{}{}:
		default:
		}
	}
	s.log(ctx)
}

// mood is how it goes, as it is logged.
type mood uint8

const (
	well    mood = iota
	deaf         // only events cannot be had
	refused      // credentials are
	lost         // nobody answers
)

func (s *Source) mood() mood {
	of, answers := errors.AsType[*statusError](s.why)
	switch {
	case answers && (of.status == http.StatusUnauthorized || of.status == http.StatusForbidden):
		return refused
	case s.why != nil:
		return lost
	case s.eventsErr != nil:
		return deaf
	}
	return well
}

// log logs what is wrong, once while it is.
func (s *Source) log(ctx context.Context) {
	m := s.mood()
	if m == s.logged {
		return
	}
	s.logged = m
	switch m {
	case well:
		s.o.Log.InfoContext(ctx, "Marathon answers again")
	case refused:
		s.o.Log.ErrorContext(ctx, "Marathon refuses the credentials; what is known stays", "error", s.trouble().Error())
	case lost:
		s.o.Log.WarnContext(ctx, "Marathon does not answer; what is known stays", "error", s.trouble().Error())
	case deaf:
		s.o.Log.WarnContext(ctx, "the events of Marathon cannot be had; it is asked instead what there is", "every", pollEvery, "error", s.trouble().Error())
	}
}

// trouble returns what is wrong, the worst first.
func (s *Source) trouble() error {
	if s.why != nil {
		return s.why
	}
	return s.eventsErr
}
