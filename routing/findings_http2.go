// SPDX-License-Identifier: Apache-2.0

package routing

import "fmt"

// codeProtocolNoEffect is what is found in routes to instances of gRPC.
const codeProtocolNoEffect = "ProtocolWithoutEffect"

// called returns, by slot, whether clients may speak HTTP/2 to a gateway: to
// its own port or virtual hosts, or to a gateway that leads to it.
func (s *Snapshot) called() []bool {
	all := make([]bool, len(s.slots))
	for _, g := range s.gateways {
		if !g.HTTP2.Off {
			s.call(g, all, 0)
		}
	}
	return all
}

func (s *Snapshot) call(g *CompiledGateway, all []bool, depth int) {
	if all[g.Slot] && depth > 0 {
		return // and so may those behind it
	}
	all[g.Slot] = true
	for _, r := range g.Routes {
		if r.Target.Kind == TargetGateway && depth < MaxDepth {
			s.call(s.slots[r.Target.Slot], all, depth+1)
		}
	}
}

// calls looks for routes of gRPC that no call can reach.
func (f *findings) calls() {
	if f.called[f.gateway.Slot] {
		return
	}
	for _, r := range f.gateway.Routes {
		if r.Protocol == ProtocolGRPC {
			f.add(r, codeProtocolNoEffect, "sluice."+keyProtocol,
				fmt.Sprintf("no call of gRPC comes to the route: gateway %s does not speak HTTP/2 to clients, nor does one that leads to it", f.gateway.Name),
				"leave http2: none out, or write protocol: h2 or h2c")
		}
	}
}
