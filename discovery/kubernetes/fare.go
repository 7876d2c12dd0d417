// SPDX-License-Identifier: Apache-2.0

package kubernetes

import "time"

// Watch is how the watching of one resource fares.
type Watch struct {
	// Resource is what is watched, such as ingresses.networking.k8s.io.
	Resource string
	// Namespace is the Kubernetes namespace; empty means all.
	Namespace string
	// Objects are known, and the absence of Held of them is held back.
	Objects, Held int
	// Listed says that a list was had.
	Listed bool
	// Stale is since when the API server does not tell of changes: when it
	// last told anything, or else when it was first asked in vain. The zero
	// time means that it does.
	Stale time.Time
	// Err is why; nil while it tells.
	Err error
}

// Watches returns how the watching of each resource fares.
func (s *Source) Watches() []Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Watch
	for _, g := range s.groups {
		for _, w := range g.watched {
			one := Watch{
				Resource: w.resource.String(), Namespace: w.namespace,
				Listed: w.listed, Stale: w.stale, Err: w.why,
			}
			one.Objects, one.Held = w.count()
			all = append(all, one)
		}
	}
	return all
}

// Sure reports whether it can be told which gateways there are not: all objects
// that hold some were listed, and are heard of.
func (s *Source) Sure() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		if !g.asks {
			continue
		}
		for _, w := range g.watched {
			if !w.settled() || !w.sure() {
				return false
			}
		}
	}
	return true
}
