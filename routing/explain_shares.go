// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"math/big"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// Share is the part of the requests like the explained one that ends in one
// place.
type Share struct {
	Percent   string   `json:"percent"`         // to 0.01 %, such as "33.33%"; see Fraction for all of it
	Fraction  string   `json:"fraction"`        // exact, such as "1/3" or "1"
	Gateway   string   `json:"gateway"`         // the last one
	Route     string   `json:"route,omitempty"` // of that gateway
	Address   string   `json:"address,omitempty"`
	Instances []string `json:"instances,omitempty"`
	Reason    string   `json:"reason,omitempty"` // why it is answered by the proxy itself
	Chosen    bool     `json:"chosen,omitempty"` // the explained request ends here

	share *big.Rat
}

var certain = big.NewRat(1, 1)

// nowhere is the share of requests that no gateway takes: all of them.
func nowhere() Share {
	return Share{Percent: percent(certain), Fraction: certain.RatString(), Reason: ReasonNoGateway, Chosen: true, share: certain}
}

// percent writes a share of 1 to 0.01 %. What is not nothing, or not all, is
// not shown as if it were.
func percent(share *big.Rat) string {
	hundredths := new(big.Rat).Mul(share, big.NewRat(int64(FullWeight), 1))
	doubled := new(big.Int).Lsh(hundredths.Num(), 1) // half up: (2n+d)/2d
	doubled.Add(doubled, hundredths.Denom())
	rounded := Weight(doubled.Quo(doubled, new(big.Int).Lsh(hundredths.Denom(), 1)).Int64())
	switch {
	case rounded == 0 && share.Sign() > 0:
		return "<0.01%"
	case rounded == FullWeight && share.Cmp(certain) < 0:
		return ">99.99%"
	default:
		return rounded.String()
	}
}

// chance is a way that requests may take at a gateway.
type chance struct {
	route  *CompiledRoute // nil if there is none
	reason Reason
	share  *big.Rat // of those that come to the gateway
}

// ending is where requests end.
type ending struct {
	gateway *CompiledGateway
	route   *CompiledRoute // nil if there is none
	reason  Reason
}

// branch is a route of a gateway.
type branch struct {
	gateway *CompiledGateway
	route   *CompiledRoute
}

// flow is how requests that are all alike spread, over all draws.
type flow struct {
	reached map[*CompiledGateway]*big.Rat // by how many each gateway is reached
	taken   map[branch]*big.Rat           // how many take each route
	ended   map[ending]*big.Rat
	endings []ending // in the order found
}

// flowFrom returns how requests like r spread from gateway g on. Draws of
// different splits are independent of each other, so shares multiply along
// the way.
func (s *Snapshot) flowFrom(g *CompiledGateway, r conditions.Request, live Live) flow {
	f := flow{
		reached: map[*CompiledGateway]*big.Rat{g: certain},
		taken:   make(map[branch]*big.Rat),
		ended:   make(map[ending]*big.Rat),
	}
	draws := &lookedAt{Live: live}
	chances := make(map[*CompiledGateway][]chance)
	for _, g := range s.reachable(g, r, draws, chances) {
		here := f.reached[g]
		for _, c := range chances[g] {
			share := new(big.Rat).Mul(here, c.share)
			if c.route != nil {
				add(f.taken, branch{g, c.route}, share)
			}
			if c.reason == ReasonNone && c.route.Target.Kind == TargetGateway {
				add(f.reached, s.slots[c.route.Target.Slot], share)
				continue
			}
			end := ending{g, c.route, c.reason}
			if f.ended[end] == nil {
				f.endings = append(f.endings, end)
			}
			add(f.ended, end, share)
		}
	}
	return f
}

func add[K comparable](to map[K]*big.Rat, key K, share *big.Rat) {
	if old := to[key]; old != nil {
		share = new(big.Rat).Add(old, share)
	}
	to[key] = share
}

// reachable returns the gateways that requests may come to from g, each
// before those that it leads to, and the chances at each. There are no
// cycles.
func (s *Snapshot) reachable(g *CompiledGateway, r conditions.Request, draws Draws, chances map[*CompiledGateway][]chance) []*CompiledGateway {
	var order []*CompiledGateway
	var visit func(g *CompiledGateway)
	visit = func(g *CompiledGateway) {
		chances[g] = s.chances(g, r, draws)
		for _, c := range chances[g] {
			if c.reason != ReasonNone || c.route.Target.Kind != TargetGateway {
				continue
			}
			if to := s.slots[c.route.Target.Slot]; chances[to] == nil {
				visit(to)
			}
		}
		order = append(order, g)
	}
	visit(g)
	slices.Reverse(order)
	return order
}

// chances returns the ways that requests like r may take at g, over all
// draws, by the rules of Decide. They sum to 1.
func (s *Snapshot) chances(g *CompiledGateway, r conditions.Request, draws Draws) []chance {
	left := certain // what no condition takes
	var firsts []chance
	for _, c := range g.Conditions {
		if !c.Condition.Holds(r) {
			continue
		}
		if c.Strength > 0 {
			firsts = append(firsts, chance{route: c, share: big.NewRat(int64(c.Strength), int64(FullWeight))})
		}
		left = big.NewRat(int64(FullWeight-c.Strength), int64(FullWeight))
		break
	}
	if left.Sign() > 0 {
		firsts = append(firsts, spread(g.Routes, left)...)
	}
	var all []chance
	for _, c := range firsts {
		all = append(all, s.settled(g, c, draws)...)
	}
	return all
}

// spread spreads a share over routes by weight.
func spread(routes []*CompiledRoute, share *big.Rat) (all []chance) {
	total := int64(0)
	for _, r := range routes {
		total += int64(r.Weight)
	}
	if total == 0 {
		return []chance{{reason: ReasonNoRoute, share: share}}
	}
	for _, r := range routes {
		if r.Weight > 0 {
			all = append(all, chance{route: r, share: new(big.Rat).Mul(share, big.NewRat(int64(r.Weight), total))})
		}
	}
	return all
}

// settled returns what becomes of a route that was chosen.
func (s *Snapshot) settled(g *CompiledGateway, c chance, draws Draws) []chance {
	if c.route == nil || s.usable(g, c.route, draws) {
		return []chance{c}
	}
	if g.Asked.Unavailable == UnavailableRedistribute && s.usableWeight(g, draws) > 0 {
		var usable []*CompiledRoute
		for _, r := range g.Routes {
			if s.usable(g, r, draws) {
				usable = append(usable, r)
			}
		}
		return spread(usable, c.share)
	}
	c.reason = ReasonNoInstance
	return []chance{c}
}

// shares tells of the flow: the largest share first.
func (x *explainer) shares() []Share {
	last := x.decision.Last()
	all := make([]Share, 0, len(x.flow.endings))
	for _, e := range x.flow.endings {
		one := Share{
			Gateway: e.gateway.Name, Reason: e.reason.String(), share: x.flow.ended[e],
			Chosen: e == ending{last.Gateway, last.Route, x.decision.Reason},
		}
		if e.route != nil {
			one.Route, one.Address = e.route.Path, e.route.Target.Address
			if e.route.Target.Kind == TargetAddress {
				one.Instances = x.live.Instances(e.gateway, e.route)
			}
		}
		one.Percent, one.Fraction = percent(one.share), one.share.RatString()
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b Share) int {
		if c := b.share.Cmp(a.share); c != 0 {
			return c
		}
		return strings.Compare(a.Gateway, b.Gateway)
	})
	return all
}
