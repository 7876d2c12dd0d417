// SPDX-License-Identifier: Apache-2.0

package balance

import "github.com/sluice-mesh/sluice/proxy/limit"

// Hold keeps an exchange in flight at an instance when its walk is over: what
// lives on for hours must not hold on to the set that it was chosen from. The
// zero Hold holds nothing. It belongs to one goroutine.
type Hold struct {
	load  *Load
	crowd *limit.Crowd // told when there is room again; may be nil
}

// Hold ends the walk. What was in flight is from now on in the Hold that it
// returns, and no longer than until that ends.
func (w *Walk) Hold() Hold {
	h := Hold{load: w.load}
	if w.load != nil {
		h.crowd = w.set.allowed.Crowd
	}
	w.load = nil
	w.End()
	return h
}

// End ends the hold at time now: the exchange is in flight no longer. Ending it
// again does nothing.
func (h *Hold) End(now int64) {
	if h.load == nil {
		return
	}
	h.load.inFlight.Add(-1)
	h.load = nil
	if h.crowd != nil {
		h.crowd.Tell(now)
	}
}
