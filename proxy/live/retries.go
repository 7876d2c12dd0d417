// SPDX-License-Identifier: Apache-2.0

package live

import (
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/limit"
	"github.com/sluice-mesh/sluice/routing"
)

var defaultRetries = routing.DefaultRetries()

// RetriesOf returns what a route says of retries, or the default.
func RetriesOf(r *routing.CompiledRoute) *routing.Retries {
	if r.Retries == nil {
		return &defaultRetries
	}
	return r.Retries
}

// knownRetries returns the budgets that the routes of a gateway had, by path.
func knownRetries(old *Gateway) map[string]*limit.Budget {
	if old == nil {
		return nil
	}
	known := make(map[string]*limit.Budget, len(old.Routes))
	for i, r := range old.Compiled.Routes {
		known[r.Path] = old.Routes[i].Retries
	}
	return known
}

// bindRetries gives a route its budget, the one it had if it is not new, and
// has its series tell of it.
func (t *Route) bindRetries(r *routing.CompiledRoute, had *limit.Budget) {
	if t.Retries = had; had == nil {
		t.Retries = new(limit.Budget)
	}
	if t.Series.Path() == metrics.Other {
		t.Series.SetRetries(nil) // of many routes, for want of room
		return
	}
	budget, asked := t.Retries, RetriesOf(r)
	t.Series.SetRetries(func(active uint64) metrics.RouteRetries {
		return metrics.RouteRetries{
			Begun: budget.Begun(), Spent: budget.Spent(),
			Budget: float64(budget.InFlight()) / float64(max(asked.Allowed(active), 1)),
		}
	})
}

// Retry asks whether the exchange may try once more, by what its route says of
// retries: whether fewer are under way there than may be. The retry is under
// way until the exchange ends; further ones take its place. What is free may
// always, and is not under way.
func (x *Exchange) Retry(asked *routing.Retries, free bool) bool {
	if x.retrying != nil {
		x.retrying.Again()
		return true
	}
	h := x.Decision.Last()
	route := &x.Generation.Gateway(h.Gateway).Routes[h.Route.Index]
	if free {
		route.Retries.Again()
		return true
	}
	if !route.Retries.Take(asked.Allowed(route.Series.InFlight())) {
		return false
	}
	x.retrying = route.Retries
	return true
}

// endRetry ends the retry, if there is one.
func (x *Exchange) endRetry() {
	if x.retrying != nil {
		x.retrying.Give()
		x.retrying = nil
	}
}
