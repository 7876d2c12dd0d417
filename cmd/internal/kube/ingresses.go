// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"sync"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// ingresses hands on which Ingresses are served, to who may come later.
type ingresses struct {
	mu    sync.Mutex // guards the fields below, and calls of to
	known map[string]kubernetes.IngressObject
	to    func(o kubernetes.IngressObject, gone bool) // nil while nobody asks
}

func (i *ingresses) put(o kubernetes.IngressObject, gone bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if gone {
		delete(i.known, o.Key())
	} else {
		i.known[o.Key()] = o
	}
	if i.to != nil {
		i.to(o, gone)
	}
}

// Ingresses has f called with each Ingress that is served, and then whenever
// one changes; gone says that it is served no more. Calls do not overlap, and f
// must not block.
func (s *Source) Ingresses(f func(o kubernetes.IngressObject, gone bool)) {
	i := s.ingresses
	i.mu.Lock()
	defer i.mu.Unlock()
	i.to = f
	for _, o := range i.known {
		f(o, false)
	}
}
