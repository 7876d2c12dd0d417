// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"sync"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// places hands on whose the Kubernetes namespaces are, to who may come later.
type places struct {
	mu  sync.Mutex // guards the fields below, and calls of to
	now kubernetes.Places
	to  func(kubernetes.Places) // nil while nobody asks
}

func (p *places) put(now kubernetes.Places) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
	if p.to != nil {
		p.to(now)
	}
}

// Places has f called with whose the Kubernetes namespaces are, and then whenever
// that is another. Calls do not overlap, and f must not block.
func (s *Source) Places(f func(kubernetes.Places)) {
	p := s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = f
	f(p.now)
}
