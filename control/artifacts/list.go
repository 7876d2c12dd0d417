// SPDX-License-Identifier: Apache-2.0

package artifacts

import (
	"context"
	"maps"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// list tells everything at first, and later what has changed since the last
// commit that was told.
func (s *source) list(ctx context.Context, sink func(discovery.Batch)) error {
	all, err := s.store.List(ctx, "", "")
	if err != nil {
		return err
	}
	why, held := s.doubt(all), s.heldNow()
	updates := make(map[string]discovery.Update)
	there := make(map[string]bool, len(all.Artifacts))
	for _, a := range all.Artifacts {
		key := Key(a.Key)
		there[key] = true
		o, another := s.objects[key], all.Version.Epoch != s.at.Epoch
		if o != nil && o.revision == a.Revision && held[key] == nil && !another {
			continue
		}
		if another {
			o = nil // what was told of it was of another life
		}
		updates[key] = s.take(a, func() []*routing.Document { return s.written(ctx, o, a) })
	}
	for key, o := range s.objects {
		switch {
		case there[key], held[key] != nil:
		case why == "":
			delete(s.objects, key)
			updates[key] = Removal(o.key)
		default:
			updates[key] = s.withhold(o, why)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	batch := discovery.Batch{Updates: sorted(updates), Listed: !s.listed}
	if s.listed {
		batch.Changes = s.missed(all)
	}
	s.at = all.Version
	if batch.Listed || len(batch.Updates)+len(batch.Changes) > 0 {
		s.listed = true
		sink(batch)
	}
	return nil
}

// doubt returns why what a listing lacks may be there all the same, or "".
func (s *source) doubt(all store.List) string {
	switch {
	case !s.listed:
		return ""
	case all.Version.Epoch != s.at.Epoch:
		return "the store begins another life without it"
	case all.Version.Revision < s.at.Revision:
		return "the store is older than it was, and lacks it"
	case len(all.Artifacts) == 0:
		return "the store is empty"
	}
	return ""
}

// missed returns the changes between the last commit that was told and a
// listing. Of those whose artifacts have been written again since, the time is
// that of the listing's newest.
func (s *source) missed(all store.List) []discovery.Change {
	known := make(map[uint64]store.Artifact, len(all.Artifacts))
	var newest time.Time
	for _, a := range all.Artifacts {
		if other, several := known[a.Revision]; several && other.Namespace != a.Namespace {
			a.Namespace = ""
		}
		known[a.Revision] = a
		if a.Time.After(newest) {
			newest = a.Time
		}
	}
	from, to := s.at.Revision, all.Version.Revision
	if all.Version.Epoch != s.at.Epoch || to < from {
		return nil
	}
	if to-from > maxChanges {
		from = to - maxChanges
	}
	changes := make([]discovery.Change, 0, to-from)
	for id := from + 1; id <= to; id++ {
		c := discovery.Change{ID: id, At: newest, Kind: discovery.Config}
		if a, ok := known[id]; ok {
			c.At, c.Namespace = a.Time, a.Namespace
		}
		changes = append(changes, c)
	}
	return changes
}

// withhold holds back that an artifact is not there.
func (s *source) withhold(o *object, why string) discovery.Update {
	if len(o.said) == 0 {
		delete(s.objects, Key(o.key))
		return Removal(o.key)
	}
	now := time.Now()
	u := discovery.Update{
		Key: Key(o.key), Namespace: o.key.Namespace, Origin: Origin, Kept: o.said,
		Held: &discovery.Held{Since: now, Until: now.Add(s.o.Hold), Why: why},
	}
	s.hold(u.Key, u.Held)
	return u
}

// release returns a timer that fires when the next absence is believed.
func (s *source) release() *time.Timer {
	var until time.Time
	for _, h := range s.heldNow() {
		if until.IsZero() || h.Until.Before(until) {
			until = h.Until
		}
	}
	if until.IsZero() {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	return time.NewTimer(time.Until(until))
}

// believe believes the absences whose time is up, or that were confirmed.
func (s *source) believe(ctx context.Context, sink func(discovery.Batch)) {
	s.mu.Lock()
	confirmed := s.confirmed
	s.confirmed = nil
	s.mu.Unlock()
	now := time.Now()
	updates := make(map[string]discovery.Update)
	for key, h := range s.heldNow() {
		if confirmed[key] == nil && now.Before(h.Until) {
			continue
		}
		updates[key] = Removal(s.objects[key].key)
		delete(s.objects, key)
		s.hold(key, nil)
	}
	if len(updates) > 0 && ctx.Err() == nil {
		sink(discovery.Batch{Updates: sorted(updates)})
	}
}

// hold notes that an absence is held back, or with nil that none is.
func (s *source) hold(key string, h *discovery.Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h == nil {
		delete(s.held, key)
		return
	}
	s.held[key] = h
}

// heldNow returns the absences that are held back. The caller owns the map.
func (s *source) heldNow() map[string]*discovery.Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.held)
}
