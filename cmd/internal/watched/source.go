// SPDX-License-Identifier: Apache-2.0

package watched

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/metrics"
)

// Watch is how the watching of one resource fares.
type Watch struct {
	// Resource is what is watched, such as pods, or the apps of a Marathon.
	Resource string
	// Objects are known, and the absence of Held of them is held back.
	Objects, Held int
	// Stale is since when nobody tells of changes; the zero time means that
	// somebody does.
	Stale time.Time
}

// Source is what is watched, and how the watching of it fares. Its methods may
// be called from any goroutine.
type Source struct {
	discovery.Source

	name    string
	watches func() []Watch
}

// New returns a source that tells what s does, of a namespace and an origin
// where that says none. watches may be called from any goroutine; it may return
// several of one resource.
func New(namespace, origin string, s discovery.Source, watches func() []Watch) *Source {
	return &Source{discovery.As(namespace, origin, s), origin, watches}
}

// Name returns the origin of what is told, such as kubernetes.
func (s *Source) Name() string { return s.name }

// Confirm implements discovery.Confirmer.
func (s *Source) Confirm() int {
	if c, ok := s.Source.(discovery.Confirmer); ok {
		return c.Confirm()
	}
	return 0
}

// Stale tells what cannot be watched, and since when; empty if all can.
func (s *Source) Stale() string { return stale(s.watches()) }

func stale(watches []Watch) string {
	var since time.Time
	var resources []string
	for _, w := range watches {
		if w.Stale.IsZero() {
			continue
		}
		if since.IsZero() || w.Stale.Before(since) {
			since = w.Stale
		}
		if !slices.Contains(resources, w.Resource) {
			resources = append(resources, w.Resource)
		}
	}
	if len(resources) == 0 {
		return ""
	}
	return fmt.Sprintf("stale since %s: %s", since.UTC().Format(time.RFC3339), strings.Join(resources, ", "))
}

// Observe has a registry show how the watching fares.
func (s *Source) Observe(r *metrics.Registry) {
	r.Discovery(func(yield func(metrics.Discovery) bool) {
		for _, d := range figures(s.watches(), time.Now()) {
			if !yield(d) {
				return
			}
		}
	})
}

// figures adds up watches by resource.
func figures(watches []Watch, now time.Time) []metrics.Discovery {
	var all []metrics.Discovery
	for _, w := range watches {
		at := slices.IndexFunc(all, func(d metrics.Discovery) bool { return d.Resource == w.Resource })
		if at < 0 {
			at = len(all)
			all = append(all, metrics.Discovery{Resource: w.Resource})
		}
		d := &all[at]
		d.Objects += w.Objects
		d.HeldBack += w.Held
		if !w.Stale.IsZero() {
			d.Stale = max(d.Stale, now.Sub(w.Stale).Seconds())
		}
	}
	return all
}
