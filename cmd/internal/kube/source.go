// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/metrics"
)

// Source is what a cluster says, and how the watching of it fares.
type Source struct {
	discovery.Source

	watches   func() []kubernetes.Watch
	ingresses *ingresses
}

// Source returns what the cluster says: what stands in no environment is of a
// namespace. It is remembered in a file; empty means that it is not.
func (c *Cluster) Source(namespace, file string, log *slog.Logger) *Source {
	i := &ingresses{known: make(map[string]kubernetes.IngressObject)}
	s := kubernetes.New(kubernetes.Options{
		Client: c.Client, Namespaces: c.Namespaces, Environments: c.Environments, File: file, Log: log,
		IngressClass: c.ingressClass, WithoutSecrets: !c.secrets, Ingress: i.put,
	})
	return &Source{discovery.As(namespace, kubernetes.Origin, s), s.Watches, i}
}

// Confirm implements discovery.Confirmer.
func (s *Source) Confirm() int {
	if c, ok := s.Source.(discovery.Confirmer); ok {
		return c.Confirm()
	}
	return 0
}

// Stale tells what cannot be watched, and since when; empty if all can.
func (s *Source) Stale() string { return stale(s.watches()) }

func stale(watches []kubernetes.Watch) string {
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
func figures(watches []kubernetes.Watch, now time.Time) []metrics.Discovery {
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
