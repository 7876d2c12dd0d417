// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// maxIll bounds how many instances of one proxy are known not to be well.
const maxIll = 10_000

type illKey struct{ gateway, route, address string }

// Ill is an instance that is not well.
type Ill struct {
	Gateway string    `json:"gateway"`
	Route   string    `json:"route"`
	Address string    `json:"address"`        // address:port
	State   string    `json:"state"`          // unhealthy or ejected
	Why     string    `json:"why,omitempty"`  // for people; of the proxy that found it last
	Since   time.Time `json:"since,omitzero"` // by the clock of that proxy
	Until   time.Time `json:"until,omitzero"` // of an ejection
	Proxies int       `json:"proxies"`        // that say so

	namespace string
}

// Health takes in how instances stand, as a proxy sees them. The arguments
// are as for [Book.Counters].
func (b *Book) Health(proxy string, namespaceOf func(gateway string) string, h *controlpb.Health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.proxy(proxy)
	if p == nil {
		b.leftOut.Add(0, int64(len(h.GetChanged())))
		return
	}
	p.present = true
	for _, s := range h.GetChanged() {
		b.instance(p, namespaceOf, s)
	}
}

func (b *Book) instance(p *proxy, namespaceOf func(string) string, s *controlpb.InstanceState) {
	k := illKey{s.GetGateway(), s.GetRoute(), s.GetAddress()}
	ill := s.GetState() == routing.StateUnhealthy || s.GetState() == routing.StateEjected
	if s.GetGone() || !ill {
		delete(p.ill, k)
		return
	}
	namespace := namespaceOf(k.gateway)
	if namespace == "" || max(len(k.gateway), len(k.route), len(k.address), len(s.GetWhy())) > maxLabel {
		return
	}
	if _, known := p.ill[k]; !known && len(p.ill) >= maxIll {
		b.leftOut.Add(0, 1)
		return
	}
	i := Ill{Gateway: k.gateway, Route: k.route, Address: k.address, State: s.GetState(), Why: s.GetWhy(), namespace: namespace}
	if s.GetSince().IsValid() {
		i.Since = s.GetSince().AsTime()
	}
	if s.GetUntil().IsValid() {
		i.Until = s.GetUntil().AsTime()
	}
	p.ill[k] = i
}

// recover forgets the instances of what is gone.
func (p *proxy) recover(gone key) {
	for k := range p.ill {
		if k.gateway == gone.gateway && (gone.kind == kindGateway || gone.kind == kindRoute && k.route == gone.route) {
			delete(p.ill, k)
		}
	}
}

// Ill returns the instances of a namespace that are not well, as connected
// proxies see them, by gateway, route and address; of one gateway unless its
// name is empty.
func (b *Book) Ill(namespace, gateway string) []Ill {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[illKey]Ill{}
	for _, p := range b.proxies {
		for k, i := range p.ill {
			if i.namespace != namespace || gateway != "" && k.gateway != gateway {
				continue
			}
			before := found[k]
			if before.Since.After(i.Since) {
				i = before
			}
			i.Proxies = before.Proxies + 1
			found[k] = i
		}
	}
	list := make([]Ill, 0, len(found))
	for _, i := range found {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b Ill) int {
		return cmp.Or(strings.Compare(a.Gateway, b.Gateway), strings.Compare(a.Route, b.Route), strings.Compare(a.Address, b.Address))
	})
	return list
}
