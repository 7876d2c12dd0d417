// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/remember"
	"github.com/sluice-mesh/sluice/routing"
)

// Source tells what a cluster says. It implements discovery.Source and
// discovery.Confirmer. The key of an update is the resource, the Kubernetes
// namespace and the name of what it is about, such as services/shop/cart.
//
// While the API server does not answer, everything stays as it is known;
// Watches says since when. All methods are safe for concurrent use.
type Source struct {
	o    Options
	wake chan struct{} // holds a token when there is news for Run

	mu      sync.Mutex // guards the fields below, and what groups are made of
	cluster *cluster
	places  *places
	moves   uint64 // those of places when all was told
	groups  []*group
	told    map[string]discovery.Update // by key; those that are not gone
	listed  bool                        // the end of the first listing was told
	changed bool                        // something was told that File does not remember
}

// group is what resources say that mean something together only: none of it
// is told before all of them were listed. Until then stands what was
// remembered.
type group struct {
	prefixes []string // of its keys
	asks     bool     // it says which gateways are asked for, as people wrote them
	watched  []*watched
	// take returns what is to be told since it was called last, sorted by
	// key. It is called after every change of any group.
	take func() []discovery.Update
	// text returns the text of what was told under a key, to be remembered;
	// nil if instances are all that is.
	text func(key string) string
	// recall takes note of what was remembered under a key, before anything is
	// watched; nil if nobody has to.
	recall func(docs []*routing.Document)

	after      *group // that has to be live before; nil if none has
	live       bool
	remembered map[string]discovery.Update // what File said, until it is known whether that still holds
	recalled   map[string]string           // its texts, until the resources say what they are now
	held       map[string]discovery.Update // remembered, and missing from a list that was empty
}

// New returns a source of what the cluster says to which Options.Client is the
// way.
func New(o Options) *Source {
	s := &Source{
		o: o.withDefaults(), wake: make(chan struct{}, 1),
		cluster: newCluster(), told: make(map[string]discovery.Update),
	}
	s.places = newPlaces(o.Namespace, s.o.Environments, s.o.Places)
	namespaces, instances := s.namespaces(), s.instances()
	s.groups = []*group{namespaces, instances, s.configMaps(), s.gateways(), s.ingresses(instances)}
	for _, g := range s.groups[1:] {
		if g.after == nil {
			g.after = namespaces // without which it is not known whose it is
		}
	}
	return s
}

// eachNamespace calls f with each Kubernetes namespace that is watched by
// itself: the empty one stands for all.
func (s *Source) eachNamespace(f func(namespace string)) {
	if len(s.o.Namespaces) == 0 {
		f(metav1.NamespaceAll)
	}
	for _, ns := range s.o.Namespaces {
		f(ns)
	}
}

// Run implements discovery.Source. It returns nil when ctx ends: a cluster
// that cannot be reached is no reason to give up. No goroutine outlives it, but
// for one that hangs as it reads File, for longer than 5 s at the start, or
// writes it, for longer than 5 s after the end.
func (s *Source) Run(ctx context.Context, sink func(discovery.Batch)) error {
	s.recall(ctx)
	g, ctx := errgroup.WithContext(ctx)
	for _, group := range s.groups {
		for _, w := range group.watched {
			g.Go(func() error {
				w.run(ctx)
				return nil
			})
		}
	}
	keeper := remember.Keeper{Path: s.o.File, Take: s.take, Lost: s.lost, Log: s.o.Log}
	full, end := keeper.Start(ctx)
	g.Go(func() error {
		t := discovery.Teller{Batch: s.batch, Wake: s.wake, Patience: s.o.Patience, Listed: full}
		t.Tell(ctx, sink)
		return nil
	})
	err := g.Wait()
	end()
	return err
}

// batch returns what is to be told, and when to look again; the zero time
// means when there is news. over says that the patience is.
func (s *Source) batch(now time.Time, over bool) (b discovery.Batch, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(func(held *discovery.Held) bool { return !now.Before(held.Until) }, false)
	s.places.refresh()
	fresh := make(map[string]discovery.Update)
	ready := true
	for _, g := range s.groups {
		g.live = g.live || (g.after == nil || g.after.live) &&
			!slices.ContainsFunc(g.watched, func(w *watched) bool { return !w.settled() })
		switch {
		case g.live:
			for _, u := range g.take() {
				fresh[u.Key] = u
				delete(g.remembered, u.Key)
				delete(g.recalled, u.Key)
				delete(g.held, u.Key)
			}
			s.succeed(g, fresh, now)
		case over:
			s.fallBack(g, fresh)
		}
		ready = ready && g.live
	}
	s.move(fresh)
	for _, key := range slices.Sorted(maps.Keys(fresh)) {
		b.Updates = append(b.Updates, s.sign(fresh[key]))
	}
	b.Listed = !s.listed && (ready || over)
	s.listed = s.listed || b.Listed
	s.leave()
	return b, s.until()
}

// move adds to what is to be told what stands in Kubernetes namespaces that are
// another's by now, so that it changes hands at once.
func (s *Source) move(fresh map[string]discovery.Update) {
	if s.moves == s.places.moves {
		return
	}
	s.moves = s.places.moves
	for key, u := range s.told {
		_, ofHost := spaceOfHost(key) // which are told by what they are made of
		if _, again := fresh[key]; again || ofHost || u.Namespace == s.places.of(placeOf(key)) {
			continue
		}
		u.Namespace, u.Urgent = "", len(u.Instances) > 0
		fresh[key] = u
	}
}

// leave has Kubernetes namespaces forgotten that are no more, once nothing is
// told of them.
func (s *Source) leave() {
	if len(s.places.gone) == 0 {
		return
	}
	stands := make(map[string]bool)
	for key := range s.told {
		stands[placeOf(key)] = true
	}
	if s.places.left(stands) {
		s.nudge()
	}
}

// placeOf returns the Kubernetes namespace of a key.
func placeOf(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	place, _, _ := strings.Cut(rest, "/")
	return place
}

// sign says whose an update is, and takes note that it is told.
func (s *Source) sign(u discovery.Update) discovery.Update {
	s.changed = true
	if u.Gone {
		delete(s.told, u.Key)
		for _, g := range s.groups {
			delete(g.recalled, u.Key)
		}
		return u
	}
	u.Origin = Origin
	if u.Namespace == "" {
		u.Namespace = s.places.of(placeOf(u.Key))
	}
	s.told[u.Key] = u
	return u
}

// nudge wakes Run. A token that is there already says the same.
func (s *Source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hold returns an absence that begins now.
func (s *Source) hold(why string) *discovery.Held {
	now := time.Now()
	return &discovery.Held{Since: now, Until: now.Add(s.o.Hold), Why: why}
}

// Confirm implements discovery.Confirmer.
func (s *Source) Confirm() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.release(func(*discovery.Held) bool { return true }, true)
	s.nudge()
	return n
}

// release believes absences that are due. While a resource cannot be watched,
// nobody can tell whether its objects are still absent, so that they wait if
// nobody confirms it.
func (s *Source) release(due func(*discovery.Held) bool, confirmed bool) (n int) {
	for _, g := range s.groups {
		for _, w := range g.watched {
			if confirmed || w.sure() {
				n += w.release(due)
			}
		}
		for key, u := range g.held {
			if u.Held != nil && due(u.Held) { // else it is about to be told
				g.held[key] = discovery.Update{Key: key, Gone: true, Urgent: true}
				n++
			}
		}
	}
	return n
}

// answers reports whether an API server answers any question.
func (s *Source) answers() bool {
	return slices.ContainsFunc(s.groups, func(g *group) bool { return slices.ContainsFunc(g.watched, (*watched).answers) })
}

// until returns when the next absence is to be believed; the zero time if none
// is.
func (s *Source) until() (next time.Time) {
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, g := range s.groups {
		for _, w := range g.watched {
			if w.sure() {
				earlier(w.until())
			}
		}
		for _, u := range g.held {
			if u.Held != nil {
				earlier(u.Held.Until)
			}
		}
	}
	return next
}
