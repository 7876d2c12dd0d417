// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
)

// sighted is what a name looked like in every look since a time.
type sighted struct {
	mark  mark
	since time.Time
}

// step looks once and returns what is believed since, at most one update a
// key in key order, and why a path cannot be looked at.
func (s *Source) step(ctx context.Context, again bool) ([]discovery.Update, error) {
	start := time.Now()
	l := s.look(again)
	// What changed before it was watched is found by a look after that. A
	// tree that keeps being replaced meanwhile is left to the next step.
	for range 3 {
		if !s.bell.follow(ctx, l) {
			break
		}
		start = time.Now()
		l = s.look(false)
	}
	now := time.Now()
	s.cost = now.Sub(start)
	s.sight(l, now)
	updates := s.believe(l, start, now)
	updates = append(updates, s.release(now)...)
	s.publishHeld()
	return s.news(updates), l.denied
}

// sight notes which names look other than is believed, and since when.
func (s *Source) sight(l *look, now time.Time) {
	note := func(key string, got, believed mark) {
		if got == believed {
			delete(s.latest, key)
		} else if last, ok := s.latest[key]; !ok || last.mark != got {
			s.latest[key] = sighted{got, now}
		}
	}
	for key, got := range l.marks {
		note(key, got, s.believed(key))
	}
	for key, f := range s.files {
		if _, ok := l.marks[key]; !ok {
			note(key, mark{}, f.seen)
		}
	}
	for _, r := range s.roots {
		note(dirKey(r), l.dirs[dirKey(r)], s.dirs[dirKey(r)])
	}
	for key := range s.latest {
		_, there := l.marks[key]
		_, known := s.files[key]
		_, dir := l.dirs[key]
		if !there && !known && !dir && s.dirs[key] == (mark{}) {
			delete(s.latest, key) // it came and went
		}
	}
}

// believed returns what is believed of a file.
func (s *Source) believed(key string) mark {
	if f := s.files[key]; f != nil {
		return f.seen
	}
	return mark{}
}

// believe takes over what has settled, all of it together unless something
// else is taking too long to settle.
func (s *Source) believe(l *look, start, now time.Time) []discovery.Update {
	if s.settled() {
		s.began = time.Time{}
		return nil
	}
	if s.began.IsZero() {
		s.began = now
	}
	var ripe []string
	for key, seen := range s.latest {
		if start.Sub(seen.since) >= s.o.Settle {
			ripe = append(ripe, key)
		}
	}
	if len(ripe) < len(s.latest) && now.Sub(s.began) < patience*s.o.Settle {
		return nil
	}
	slices.Sort(ripe)
	var updates []discovery.Update
	for _, key := range ripe {
		if u, ok := s.accept(key, l, now); ok {
			delete(s.latest, key)
			updates = append(updates, u)
		}
	}
	if s.settled() {
		s.began = time.Time{}
	}
	return updates
}

// settled reports whether everything that was seen is believed.
func (s *Source) settled() bool { return len(s.latest) == 0 }

// next returns how long after now a step is due, even if nothing changes.
func (s *Source) next(now time.Time) time.Duration {
	wait := s.o.Poll
	if s.bell.blind() {
		wait = min(wait, blindPoll)
	}
	due := func(t time.Time) {
		if d := t.Sub(now); d > 0 {
			wait = min(wait, d)
		}
	}
	for _, seen := range s.latest {
		due(seen.since.Add(s.o.Settle))
	}
	if !s.settled() {
		due(s.began.Add(patience * s.o.Settle))
	}
	for _, f := range s.files {
		if f.held != nil {
			due(f.held.Until)
		}
	}
	return wait
}

// news returns what there is to tell, the last update of each key, and notes
// what was told. That a key is gone which was never told is no news.
func (s *Source) news(updates []discovery.Update) []discovery.Update {
	updates = slices.DeleteFunc(newest(updates), func(u discovery.Update) bool {
		return u.Gone && !s.told[u.Key]
	})
	for _, u := range updates {
		if u.Gone {
			delete(s.told, u.Key)
		} else {
			s.told[u.Key] = true
		}
	}
	return updates
}

// newest keeps the last update of each key, sorted by key.
func newest(updates []discovery.Update) []discovery.Update {
	byKey := make(map[string]discovery.Update, len(updates))
	for _, u := range updates {
		byKey[u.Key] = u
	}
	sorted := make([]discovery.Update, 0, len(byKey))
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		sorted = append(sorted, byKey[key])
	}
	return sorted
}
