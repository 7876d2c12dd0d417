// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

func weigh(r *metrics.Route, n int) {
	for i := range uint32(n) {
		r.Begin(i)
	}
}

func TestAchievedShare(t *testing.T) {
	r := metrics.New(metrics.Options{Linger: -1})
	gw := r.Gateway("shop")
	a, b := gw.Route("a"), gw.Route("b")
	check := func(when string, want ...metrics.ShareTotals) {
		t.Helper()
		if got := gw.ReadShares(); !slices.Equal(got, want) {
			t.Errorf("%s: shares = %+v, want %+v", when, got, want)
		}
	}
	check("before any")
	weigh(a, 5) // before the window
	gw.SetShares([]metrics.Share{{Route: a, Asked: 0.9}, {Route: b, Asked: 0.1}})
	check("at first", metrics.ShareTotals{Route: a, Asked: 0.9}, metrics.ShareTotals{Route: b, Asked: 0.1})
	weigh(a, 7)
	weigh(b, 1)
	a.BeginTaken(0)
	seven := []metrics.ShareTotals{
		{Route: a, Asked: 0.9, Achieved: 0.875, Decided: 8, ByRequest: 0.875, Requests: 8},
		{Route: b, Asked: 0.1, Achieved: 0.125, Decided: 8, ByRequest: 0.125, Requests: 8},
	}
	check("after some", seven...)
	gw.SetShares([]metrics.Share{{Route: a, Asked: 0.9}, {Route: b, Asked: 0.1}})
	check("the same vector goes on", seven...)
	gw.SetShares([]metrics.Share{{Route: a, Asked: 0.5}, {Route: b, Asked: 0.5}})
	check("another starts anew", metrics.ShareTotals{Route: a, Asked: 0.5}, metrics.ShareTotals{Route: b, Asked: 0.5})
	weigh(b, 4)
	check("and counts", metrics.ShareTotals{Route: a, Asked: 0.5, Decided: 4, Requests: 4},
		metrics.ShareTotals{Route: b, Asked: 0.5, Achieved: 1, Decided: 4, ByRequest: 1, Requests: 4})
	gw.SetShares([]metrics.Share{{Route: b, Asked: 0.25}, {Route: b, Asked: 0.75}})
	check("a series that stands for several adds up", metrics.ShareTotals{Route: b, Asked: 1})
}

func TestGatewayThatIsGoneAsksForNothing(t *testing.T) {
	r := metrics.New(metrics.Options{})
	gw := r.Gateway("shop")
	gw.SetShares([]metrics.Share{{Route: gw.Route("a"), Asked: 1}})
	r.Retain(nil)
	if got := gw.ReadShares(); len(got) != 0 {
		t.Errorf("shares = %+v, want none", got)
	}
	r.Gateway("shop")
	if got := gw.ReadShares(); len(got) != 1 {
		t.Errorf("shares of one that came back = %+v, want them", got)
	}
}

func TestSharesByRequestCountClientsThatStay(t *testing.T) {
	r := metrics.New(metrics.Options{})
	g := r.Gateway("g")
	a, b := g.Route("a"), g.Route("b")
	shares := []metrics.Share{{Route: a, Asked: 0.5}, {Route: b, Asked: 0.5}}
	g.SetShares(shares)
	a.Begin(0)
	b.Begin(1)
	for i := range uint32(6) {
		b.BeginKept(i)
	}
	got := g.ReadShares()
	if got[0].Achieved != 0.5 || got[0].ByRequest != 0.125 || got[1].ByRequest != 0.875 || got[1].Requests != 8 || got[1].Decided != 2 {
		t.Errorf("shares = %+v", got)
	}
	g.SetShares([]metrics.Share{{Route: a, Asked: 1}, {Route: b, Asked: 0}})
	if got := g.ReadShares(); got[1].Requests != 0 || got[1].ByRequest != 0 {
		t.Errorf("shares after a change = %+v, want a new window", got)
	}
}
