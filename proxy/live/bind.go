// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"net/netip"
	"slices"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Binder makes generations. It is used by one goroutine at a time.
type Binder struct {
	Registry *metrics.Registry
	Pool     *upstream.Pool

	bound    uint64             // how many generations
	unproven []*upstream.Target // of the last one: those that are new and may have awaited instances alone
}

// Bind binds a snapshot. Parts that the present generation has already are
// carried over. Names that are new are looked up; Bind waits for that until
// ctx ends.
func (b *Binder) Bind(ctx context.Context, present *Generation, s *routing.Snapshot) *Generation {
	b.bound++
	b.unproven = nil
	next := &Generation{Snapshot: s, Serial: b.bound, gateways: make([]*Gateway, s.Slots())}
	var fresh []*upstream.Target
	for _, g := range s.Gateways() {
		var old *Gateway
		if g.Slot < len(present.gateways) {
			old = present.gateways[g.Slot]
		}
		if old != nil && old.Compiled == g {
			next.gateways[g.Slot] = old
			continue
		}
		bound, targets := b.bindGateway(old, g)
		next.gateways[g.Slot] = bound
		fresh = append(fresh, targets...)
	}
	b.Pool.Settle(ctx, fresh)
	return next
}

// Prove waits until the instances were checked once that the last Bind has made
// known, where a route has only such as get nothing before that; or until ctx
// ends.
func (b *Binder) Prove(ctx context.Context) {
	b.Pool.Prove(ctx, b.unproven)
	b.unproven = nil
}

// Retain lets go of what only former generations used.
func (b *Binder) Retain(gen *Generation) {
	var targets []*upstream.Target
	names := make(map[string][]string, len(gen.gateways))
	for _, g := range gen.Snapshot.Gateways() {
		paths := make([]string, 0, len(g.Routes))
		for i, r := range gen.Gateway(g).Routes {
			paths = append(paths, g.Routes[i].Path)
			if r.Target != nil {
				targets = append(targets, r.Target)
			}
		}
		names[g.Name] = paths
	}
	b.Pool.Retain(targets)
	b.Registry.Retain(names)
}

func (b *Binder) bindGateway(old *Gateway, g *routing.CompiledGateway) (bound *Gateway, fresh []*upstream.Target) {
	series := b.Registry.Gateway(g.Name)
	bound = &Gateway{Compiled: g, Series: series, Routes: make([]Route, len(g.Routes))}
	if old != nil && old.Compiled.Name != g.Name {
		old = nil
	}
	known := knownTargets(old)
	limits := b.bindLimits(bound, old)
	retries := knownRetries(old)
	shares := make([]metrics.Share, 0, len(g.Routes))
	total := totalWeight(g)
	for i, r := range g.Routes {
		route := Route{Series: series.Route(r.Path), Limits: limits[i]}
		route.Limits.show(route.Series)
		route.bindRetries(r, retries[r.Path])
		choosing := upstream.Choosing{
			Balance: r.Balance.Value(), Locality: g.Asked.Locality, Room: route.Limits.room(r.Load), Watch: r.Watch,
			Way: wayOf(g, r), Route: r.Path,
		}
		switch r.Target.Kind {
		case routing.TargetAddress:
			route.Target = known[r.Path]
			if route.Target == nil || !route.Target.Named() {
				route.Target = b.Pool.Target(r.Target.Host, r.Target.Port)
				fresh = append(fresh, route.Target)
			}
			route.Target = b.Pool.Balanced(route.Target, choosing)
		case routing.TargetInstances:
			route.Target = b.Pool.FixedBalanced(r.Instances, known[r.Path], choosing)
			if slices.ContainsFunc(r.Instances, func(i *routing.Instance) bool { return i.Unproven }) {
				b.unproven = append(b.unproven, route.Target)
			}
		case routing.TargetGateway, routing.TargetNone:
		}
		showInstances(route.Series, route.Target)
		bound.Routes[i] = route
		shares = append(shares, metrics.Share{Route: route.Series, Asked: float64(r.Weight) / total})
	}
	series.SetShares(shares)
	series.SetConditions(conditionKeys(g))
	bound.Conditions = series.Conditions()
	return bound, fresh
}

// wayOf returns how the instances of a route are spoken to.
func wayOf(g *routing.CompiledGateway, r *routing.CompiledRoute) upstream.Way {
	w := upstream.Way{Proxy: r.ProxyProtocol, Protocol: r.Protocol}
	if r.TLS == nil {
		return w
	}
	w.Secure, w.TLS, w.HTTP = true, *r.TLS, g.Type == routing.HTTP
	if _, err := netip.ParseAddr(r.Target.Host); err != nil && w.TLS.Name == "" {
		w.TLS.Name = r.Target.Host
	}
	return w
}

// showInstances has the series of a route tell how its instances stand. The
// routes that share series for want of room tell nothing.
func showInstances(r *metrics.Route, t *upstream.Target) {
	if t == nil || r.Path() == metrics.Other {
		r.SetInstances(nil)
		return
	}
	r.SetInstances(func() (now metrics.Instances) {
		n, watched := t.Counts()
		now.Watched = watched
		now.States = [...]int{n.Healthy, n.Unhealthy, n.Unknown, n.Ejected}
		now.Ejections, now.Panic, now.Panics = n.Ejections, n.Panic, n.Panics
		now.Checked, now.Checks = n.Checked, [...]uint64{n.ChecksPassed, n.ChecksFailed}
		return now
	})
}

// knownTargets returns the targets that a gateway had, by route path. A path
// in brackets names its address, so an equal one leads to the same place, or to
// the instances that bear it as a name.
func knownTargets(old *Gateway) map[string]*upstream.Target {
	if old == nil {
		return nil
	}
	known := make(map[string]*upstream.Target, len(old.Routes))
	for i, r := range old.Compiled.Routes {
		if t := old.Routes[i].Target; t != nil {
			known[r.Path] = t
		}
	}
	return known
}

// totalWeight returns the sum of the weights, at least 1.
func totalWeight(g *routing.CompiledGateway) float64 {
	total := routing.Weight(0)
	for _, r := range g.Routes {
		total += r.Weight
	}
	return float64(max(total, 1))
}

func conditionKeys(g *routing.CompiledGateway) []metrics.ConditionKey {
	keys := make([]metrics.ConditionKey, 0, len(g.Conditions))
	for _, r := range g.Conditions {
		keys = append(keys, metrics.ConditionKey{Route: r.Path, Condition: r.Condition.String()})
	}
	return keys
}
