// SPDX-License-Identifier: Apache-2.0

package metrics

// Share is what a route was asked to get of the requests that the weights of
// its gateway decide.
type Share struct {
	Route *Route
	Asked float64 // 0 to 1
}

// ShareTotals compares what a route was asked to get with what it got since
// the shares of its gateway last changed.
type ShareTotals struct {
	Route    *Route
	Asked    float64 // 0 to 1
	Achieved float64 // 0 to 1; 0 while Decided is
	Decided  uint64  // requests of the gateway that the weights decided
	// ByRequest counts, beside what was decided, the requests of clients that
	// stay on their route: 0 to 1; 0 while Requests is.
	ByRequest float64
	Requests  uint64 // Decided, and those of clients that stay
}

// share is a Share with the counts at which its window began.
type share struct {
	Share
	start, startKept uint64
}

// SetShares says what the routes of the gateway were asked to get. Another
// vector than the present one starts a new window; the same one changes
// nothing. Requests that were decided before the change and counted after it
// fall into the new window.
func (g *Gateway) SetShares(shares []Share) {
	g.registry.mu.Lock()
	defer g.registry.mu.Unlock()
	next := make([]share, 0, len(shares))
	at := make(map[*Route]int, len(shares))
	for _, s := range shares {
		if i, ok := at[s.Route]; ok { // routes above the limit share a series
			next[i].Asked += s.Asked
			continue
		}
		at[s.Route] = len(next)
		next = append(next, share{Share: s})
	}
	if sameShares(g.shares, next) {
		return
	}
	for i := range next {
		next[i].start = next[i].Route.slots.begun(ByWeight)
		next[i].startKept = next[i].Route.slots.begun(ByClient)
	}
	g.shares = next
	g.shape.Add(1)
}

func sameShares(a, b []share) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Share != b[i].Share {
			return false
		}
	}
	return true
}

// ReadShares returns the shares in the order they were set; none for a
// gateway that Retain found gone.
func (g *Gateway) ReadShares() []ShareTotals {
	g.registry.mu.Lock()
	defer g.registry.mu.Unlock()
	if g.left != never {
		return nil
	}
	totals := make([]ShareTotals, len(g.shares))
	got, all := make([]uint64, len(g.shares)), make([]uint64, len(g.shares))
	var decided, requests uint64
	for i, s := range g.shares {
		got[i] = s.Route.slots.begun(ByWeight) - s.start
		all[i] = got[i] + s.Route.slots.begun(ByClient) - s.startKept
		decided += got[i]
		requests += all[i]
	}
	for i, s := range g.shares {
		totals[i] = ShareTotals{
			Route: s.Route, Asked: s.Asked, Decided: decided, Requests: requests,
			Achieved: ratio(got[i], decided), ByRequest: ratio(all[i], requests),
		}
	}
	return totals
}

// ratio returns part of whole, 0 if there is nothing.
func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
