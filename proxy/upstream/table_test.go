// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Whatever comes and goes, an address that is spoken to in one way is one
// instance, in two ways two that share what is in flight, and what nothing leads
// to any more is forgotten. The same holds if all have the same hash.
func TestInstancesAreFoundByAddressAndWay(t *testing.T) {
	for _, alike := range []bool{false, true} {
		p, _ := swept(t, nil)
		if alike {
			p.HashAlike()
		}
		draw := rand.New(rand.NewPCG(1, 2))
		ways := []upstream.Way{{}, {Secure: true, TLS: routing.DialTLS{Name: "a"}}, {Protocol: routing.ProtocolH2}}
		type key struct {
			at  netip.AddrPort
			way upstream.Way
		}
		known := make(map[key]*upstream.Instance)
		for round := range 200 {
			present := make(map[key]*upstream.Instance)
			var targets []*upstream.Target
			for range draw.IntN(12) {
				k := key{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(draw.IntN(6))}), 80), ways[draw.IntN(len(ways))]}
				one := &routing.Instance{Address: k.at.Addr(), Port: 80, Ready: true}
				target := p.FixedBalanced([]*routing.Instance{one}, nil, upstream.Choosing{Way: k.way})
				i := target.Instances()[0]
				if was := known[k]; was != nil && was != i {
					t.Fatalf("round %d: %v in the way %v is another instance than before", round, k.at, k.way)
				}
				for o, other := range present {
					if same := o == k; (other == i) != same {
						t.Fatalf("round %d: %v and %v are the same instance: %v, want %v", round, o, k, other == i, same)
					}
					var w upstream.Walk
					target.Begin(&w, nil, 0)
					w.Next()
					if got, want := other.InFlight() == 1, o.at == k.at; got != want {
						t.Fatalf("round %d: %v counts what is in flight at %v: %v, want %v", round, o, k, got, want)
					}
					w.End()
				}
				known[k], present[k] = i, i
				targets = append(targets, target)
			}
			p.Retain(targets)
			if got := p.Instances(); got != len(present) {
				t.Fatalf("round %d: %d instances are known, want %d", round, got, len(present))
			}
			known = present
		}
	}
}
