// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
)

// Explain says what would become of a request now, on the generation that
// serves. No ticket is taken for it. An error is a *routing.ExplainError.
func (s *Server) Explain(r routing.ExplainRequest) (*routing.Explanation, error) {
	return s.explainOn(s.handle.Load(), r)
}

// explainOn explains on a generation, which need not serve any more.
func (s *Server) explainOn(gen *live.Generation, r routing.ExplainRequest) (*routing.Explanation, error) {
	e, err := gen.Snapshot.Explain(r, routing.ExplainOptions{
		VirtualHostsPort:    s.options.VirtualHostsPort,
		VirtualHostsTLSPort: s.options.VirtualHostsTLSPort,
		Live:                present{gen},
		Vouched:             s.options.Trust.Vouches,
		Client:              s.options.Trust.Client,
		Headers:             s.options.Trust.Added,
		CallStatus:          live.CallStatus,
	})
	if err != nil {
		return nil, err
	}
	if g := gen.Snapshot.ByName(e.Entrance.Gateway); g != nil {
		if err := s.failure(g); err != nil {
			e.Entrance.Problem = err.Error()
		}
	}
	return e, nil
}

// present shows what is usable in a generation.
type present struct{ *live.Generation }

// States returns how the instances behind a route stand.
func (p present) States(g *routing.CompiledGateway, r *routing.CompiledRoute) []routing.InstanceState {
	if t := p.Gateway(g).Routes[r.Index].Target; t != nil {
		return t.States()
	}
	return nil
}

// Instances returns the addresses behind a route.
func (p present) Instances(g *routing.CompiledGateway, r *routing.CompiledRoute) (addresses []string) {
	t := p.Gateway(g).Routes[r.Index].Target
	if t == nil {
		return nil
	}
	for _, i := range t.Instances() {
		addresses = append(addresses, i.String())
	}
	return addresses
}
