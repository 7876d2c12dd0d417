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

// allOf is the share of requests that end at the entrance of a gateway: all of
// them.
func allOf(g *CompiledGateway, reason string) Share {
	s := nowhere()
	s.Gateway, s.Reason = g.Name, reason
	return s
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

// stand is where a request is on its way: at a gateway, with the path that
// rewrites gave it. Between two stands of one gateway nothing else differs.
type stand struct {
	gateway *CompiledGateway
	path    string // empty until a rewrite applied
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
	w := &wander{snapshot: s, live: live, ways: make(map[stand][]way)}
	start := stand{gateway: g}
	w.visit(start, r)
	slices.Reverse(w.order)
	shares := map[stand]*big.Rat{start: certain}
	for _, here := range w.order {
		for _, way := range w.ways[here] {
			share := new(big.Rat).Mul(shares[here], way.share)
			if way.route != nil {
				add(f.taken, branch{here.gateway, way.route}, share)
			}
			if way.to != nil {
				add(shares, *way.to, share)
				add(f.reached, way.to.gateway, share)
				continue
			}
			end := ending{here.gateway, way.route, way.reason}
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

// way is a chance, and the stand to which it leads; nil if it ends the walk.
type way struct {
	chance

	to *stand
}

// wander finds the stands that requests may come to, each behind those that it
// leads to. There are no cycles.
type wander struct {
	snapshot *Snapshot
	live     Live
	ways     map[stand][]way
	order    []stand
}

func (w *wander) visit(here stand, r conditions.Request) {
	w.ways[here] = []way{}
	var ways []way
	for _, c := range w.snapshot.chances(here.gateway, r, w.live) {
		one := way{chance: c}
		if c.reason == ReasonNone && c.route.Target.Kind == TargetGateway {
			next, path := rewriteFor(r, c.route)
			one.to = &stand{w.snapshot.slots[c.route.Target.Slot], path}
			if _, known := w.ways[*one.to]; !known {
				w.visit(*one.to, next)
			}
		}
		ways = append(ways, one)
	}
	w.ways[here] = ways
	w.order = append(w.order, here)
}

// rewriteFor returns r as the rewrites of a route leave it, and the path that
// it has then; empty if no rewrite ever applied.
func rewriteFor(r conditions.Request, route *CompiledRoute) (next conditions.Request, path string) {
	before, rewrote := r.(*rewritten)
	if route.Edits != nil && len(route.Edits.Rewrites) > 0 {
		after := &rewritten{Request: r}
		if rewrote {
			after = &rewritten{Request: before.Request, path: before.path, applied: before.applied}
		}
		after.apply(route.Edits.Rewrites)
		if after.applied {
			return after, after.path
		}
	}
	if rewrote {
		return r, before.path
	}
	return r, ""
}

// chances returns the ways that requests like r may take at g, over all
// draws. They sum to 1. It has g choose again and again, each time with
// another outcome of the draws that are made, so that no rule of choosing
// stands here twice.
func (s *Snapshot) chances(g *CompiledGateway, r conditions.Request, live Live) (all []chance) {
	p := &prober{Live: live}
	var explore func(share *big.Rat)
	explore = func(share *big.Rat) {
		p.drawn, p.open = 0, nil
		var hop Hop
		reason := s.choose(&hop, g, r, p)
		if p.open == nil {
			all = append(all, chance{hop.Route, reason, share})
			return
		}
		split := p.open
		weights := s.outcomes(g, split, p)
		total := int64(0)
		for _, w := range weights {
			total += int64(w)
		}
		tickets := split.tickets()
		for choice, w := range weights {
			if w == 0 {
				continue
			}
			p.tickets = append(p.tickets, tickets[choice])
			explore(new(big.Rat).Mul(share, big.NewRat(int64(w), total)))
			p.tickets = p.tickets[:len(p.tickets)-1]
		}
	}
	explore(certain)
	return all
}

// prober are draws that follow a list and note the first draw behind its end.
type prober struct {
	Live
	tickets []uint64
	drawn   int
	open    *Split
}

// Ticket returns the ticket of the list, and any if it has come to its end.
func (p *prober) Ticket(s *Split) uint64 {
	p.drawn++
	if p.drawn <= len(p.tickets) {
		return p.tickets[p.drawn-1]
	}
	if p.open == nil {
		p.open = s
	}
	return 0
}

// outcomes returns the weights of the choices of a split of g. Draws among
// routes go on until they fall on a usable one if g redistributes: what
// cannot serve then counts for nothing.
func (s *Snapshot) outcomes(g *CompiledGateway, split *Split, draws Draws) []Weight {
	if slices.ContainsFunc(g.Conditions, func(c *CompiledRoute) bool { return c.Taken == split }) ||
		g.Asked.Unavailable != UnavailableRedistribute || s.usableWeight(g, draws) == 0 {
		return split.weights
	}
	weights := slices.Clone(split.weights)
	for i, r := range g.Routes {
		if !s.usable(g, r, draws) {
			weights[i] = 0
		}
	}
	return weights
}

// tickets returns for each choice of weight above 0 a ticket that falls on it.
func (s *Split) tickets() map[int]uint64 {
	wanted := 0
	for _, w := range s.weights {
		if w > 0 {
			wanted++
		}
	}
	found := make(map[int]uint64, wanted)
	for ticket := uint64(0); len(found) < wanted; ticket++ {
		found[s.Pick(ticket)] = ticket
	}
	return found
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
			if e.route.Target.leaves() {
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

// leaves reports whether a target leads out of the gateways.
func (t *Target) leaves() bool { return t.Kind != TargetNone && t.Kind != TargetGateway }
