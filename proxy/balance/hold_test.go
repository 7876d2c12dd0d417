// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/proxy/balance"
)

func TestHoldOutlivesItsWalk(t *testing.T) {
	list := members(100)
	s := newSet(t, "leastconn", list)
	var w balance.Walk
	s.Begin(&w, anyRequest, 0)
	w.Next()
	h := w.Hold()
	w.End()
	if n := list[0].Load.InFlight(); n != 1 {
		t.Errorf("%d in flight after the walk, want the one that is held", n)
	}
	if w.Next() >= 0 {
		t.Error("the walk goes on")
	}
	h.End(0)
	h.End(0)
	if n := list[0].Load.InFlight(); n != 0 {
		t.Errorf("%d in flight after the hold, want 0", n)
	}
	none := w.Hold()
	none.End(0)
	if n := list[0].Load.InFlight(); n != 0 {
		t.Errorf("%d in flight after a hold of nothing, want 0", n)
	}
}
