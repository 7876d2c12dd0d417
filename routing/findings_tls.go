// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"

	"github.com/sluice-mesh/sluice/conditions"
)

// shown returns, by slot, of what kinds the facts are that the connections of
// a gateway may tell: its own, and those of gateways that lead to it.
func (s *Snapshot) shown() []conditions.Facts {
	all := make([]conditions.Facts, len(s.slots))
	for _, g := range s.gateways {
		s.show(g, g.shows(), all, 0)
	}
	return all
}

func (s *Snapshot) show(g *CompiledGateway, facts conditions.Facts, all []conditions.Facts, depth int) {
	if depth > 0 && all[g.Slot]|facts == all[g.Slot] {
		return // and so have those behind it
	}
	all[g.Slot] |= facts
	for _, r := range g.Routes {
		if r.Target.Kind == TargetGateway && depth < MaxDepth {
			s.show(s.slots[r.Target.Slot], facts, all, depth+1)
		}
	}
}

// shows returns of what kinds the facts are that the connections to the
// gateway's own port or virtual hosts tell.
func (g *CompiledGateway) shows() conditions.Facts {
	t := g.Asked.TLS
	switch {
	case t == nil && g.Type == TCP:
		return conditions.FactName | conditions.FactProtocol | conditions.FactHello
	case t == nil:
		return 0
	}
	facts := conditions.FactName | conditions.FactTLS
	if g.Type == HTTP {
		facts |= conditions.FactProtocol // none is agreed on for bytes
	}
	if t.ClientAuth != ClientAuthNone {
		facts |= conditions.FactCertificate
	}
	return facts
}

// unseen are the kinds of facts that connections may lack, and the remedy.
var unseen = []struct {
	fact          conditions.Facts
	what, allowed string
}{
	{conditions.FactCertificate, "the certificate of the client, and none of the gateway's clients is asked for one", "write sluice: {tls: {client_auth: optional, ...}}, or leave the test out"},
	{conditions.FactTLS, "TLS that ends here, and none does", "write sluice: {tls: ...}, or sni where TLS passes through a tcp port"},
	{conditions.FactName, "TLS, and the gateway has none", "write sluice: {tls: ...}, or leave the test out"},
	{conditions.FactProtocol, "a protocol of TLS, and none is agreed on", "write sluice: {tls: ...} at an http port; a tcp port with tls agrees on no protocol"},
	{conditions.FactHello, "TLS that passes through, and none does", "write sni or ssl_fc_sni where TLS ends here; http ports let none pass"},
}

// facts looks for tests of what no connection of the gateway tells.
func (f *findings) facts(r *CompiledRoute) {
	lacking := r.Condition.Asks() &^ (f.shown[f.gateway.Slot] | conditions.FactRequest)
	if lacking == 0 {
		return
	}
	for _, u := range unseen {
		if lacking&u.fact == 0 {
			continue
		}
		for _, test := range r.Condition.TestsOf(u.fact) {
			f.add(r, codeTestNoEffect, pathOfCondition, fmt.Sprintf("%s asks for %s", quote(test), u.what), u.allowed)
		}
	}
}
