// SPDX-License-Identifier: Apache-2.0

package metrics

// RouteRetries is what a route tells of its retries.
type RouteRetries struct {
	Begun  uint64  // so far
	Spent  uint64  // wanted so far, and not allowed since the budget was spent
	Budget float64 // the share of the budget that is in use
}

// SetRetries says who tells of the retries of the route: it is handed how many
// exchanges are under way there. nil if nobody does. The last one counts.
func (t *Route) SetRetries(read func(active uint64) RouteRetries) {
	if read == nil {
		t.retries.Store(nil)
		return
	}
	t.retries.Store(&read)
}

// ReadRetries returns what the route tells of its retries while so many
// exchanges are under way, and whether there ever was one to be.
func (t *Route) ReadRetries(active uint64) (now RouteRetries, ever bool) {
	if read := t.retries.Load(); read != nil {
		now = (*read)(active)
	}
	return now, now.Begun > 0 || now.Spent > 0
}

// InFlight counts the exchanges that are under way. It takes time: it adds up
// what is counted apart where exchanges begin and end.
func (t *Route) InFlight() uint64 {
	var totals Totals
	ended := t.slots.addEnds(&totals)
	n := uint64(0)
	for by := range Ways {
		n += t.slots.begun(by)
	}
	return n - ended
}
