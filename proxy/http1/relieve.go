// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"cmp"
	"slices"

	"github.com/sluice-mesh/sluice/proxy/gate"
	"github.com/sluice-mesh/sluice/proxy/live"
)

// Refusal returns the answer to a client whose connection is not let in.
func Refusal(reason live.Reason) []byte {
	return appendFailure(nil, failure{reason: reason, status: reason.Status(), close: true})
}

// spare does what an exchange can do while memory is not calm: its answer is
// the last one of the connection, or it is refused. It reports whether the
// exchange goes on.
func (c *conn) spare(l gate.Level) bool {
	c.w.plan.close = true
	if l != gate.Short {
		return true
	}
	c.refuse(live.Overloaded)
	return false
}

const (
	// idleShare is the part of the connections that wait which CloseIdle
	// closes: with four calls a second half of them are gone after three.
	idleShare = 16
	// idleLeast is how many it closes at least.
	idleLeast = 64
)

// CloseIdle closes a part of the connections that wait for a request, those
// first that have waited longest.
func CloseIdle(listeners []*Listener) {
	type waiting struct {
		conn *conn
		due  int64
	}
	var all []waiting
	for _, l := range listeners {
		for _, c := range l.all() {
			// Who is in an exchange is not due. The others that do not wait
			// for a request find out when they are woken, go on, and are not asked
			// again: their next answer will be the last one anyway.
			if due := c.DueAt(); due != 0 && !c.unwanted.Load() {
				all = append(all, waiting{c, due})
			}
		}
	}
	slices.SortFunc(all, func(a, b waiting) int { return cmp.Compare(a.due, b.due) })
	for _, w := range all[:min(len(all), max(len(all)/idleShare, idleLeast))] {
		w.conn.unwanted.Store(true)
		w.conn.Wake()
	}
}
