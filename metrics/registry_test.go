// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

// shown lists what is shown: gateway/route, or gateway/ if it has none.
func shown(r *metrics.Registry) string {
	var names []string
	for _, g := range r.Gateways() {
		routes := g.Routes()
		if len(routes) == 0 {
			names = append(names, g.Name()+"/")
		}
		for _, t := range routes {
			names = append(names, g.Name()+"/"+t.Path())
		}
	}
	return strings.Join(names, " ")
}

func TestBindingTwiceGivesTheSame(t *testing.T) {
	r := metrics.New(metrics.Options{})
	gw := r.Gateway("shop")
	route := gw.Route("canary")
	for range 3 {
		r.Retain(map[string][]string{"shop": {"canary"}})
		if r.Gateway("shop") != gw || gw.Route("canary") != route {
			t.Fatal("series that stay are others after a table")
		}
	}
	if gw.Name() != "shop" || route.Path() != "canary" {
		t.Errorf("names = %q, %q, want shop, canary", gw.Name(), route.Path())
	}
}

func TestWhatIsGoneLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New(metrics.Options{Linger: time.Minute})
		shop, api := r.Gateway("shop"), r.Gateway("api")
		a := shop.Route("a")
		shop.Route("b")
		api.Route("c")
		a.Begin(0)
		r.Retain(map[string][]string{"shop": {"b"}})
		if got, want := shown(r), "api/c shop/a shop/b"; got != want {
			t.Errorf("at once: %s, want %s", got, want)
		}
		time.Sleep(59 * time.Second)
		r.Retain(map[string][]string{"shop": {"b"}}) // a second table does not start the time anew
		a.End(0, &metrics.Observation{Code: 200})
		if shop.Route("a") != a {
			t.Error("a route that came back in time has other series")
		}
		if got := read(a); got.InFlight != 0 || got.Requests[metrics.Class2xx] != 1 {
			t.Errorf("a route that came back in time = %+v, want its count", got)
		}
		time.Sleep(time.Second)
		if got, want := shown(r), "shop/a shop/b"; got != want {
			t.Errorf("after a minute: %s, want %s", got, want)
		}
		if got := r.Gateway("api"); got == api {
			t.Error("a gateway that came back too late has its old series")
		}
		api.Begin(0) // what still holds the old ones may go on
		api.End(0, &metrics.Observation{Code: 200})
		if got := read(r.Gateway("api")); got != (metrics.Totals{}) {
			t.Errorf("a gateway that came back too late = %+v, want no counts", got)
		}
	})
}

func TestNegativeLingerDropsAtOnce(t *testing.T) {
	r := metrics.New(metrics.Options{Linger: -1})
	r.Gateway("shop").Route("a")
	r.Gateway("api")
	r.Retain(map[string][]string{"shop": nil})
	if got, want := shown(r), "shop/"; got != want {
		t.Errorf("shown = %s, want %s", got, want)
	}
}

func TestSeriesAreLimited(t *testing.T) {
	r := metrics.New(metrics.Options{MaxGateways: 2, MaxRoutes: 3, Linger: -1})
	for g := range 4 {
		gw := r.Gateway(fmt.Sprint("g", g))
		for p := range 3 {
			gw.Route(fmt.Sprint("r", p)).Begin(0)
		}
	}
	if got, want := shown(r), "g0/r0 g0/r1 g0/r2 g1/other other/other"; got != want {
		t.Errorf("shown = %s, want %s", got, want)
	}
	if got := read(r.Gateway("g3").Route("r1")).InFlight; got != 6 {
		t.Errorf("in flight above the limit = %d, want 6", got)
	}
	gw := r.Gateway("g1")
	gw.SetConditions([]metrics.ConditionKey{{Route: "r0", Condition: "x"}, {Route: "r1", Condition: "y"}})
	gw.Conditions().Asked(0, 1, true)
	got := gw.ReadConditions()
	want := metrics.ConditionTotals{
		ConditionKey: metrics.ConditionKey{Route: "other", Condition: "other"},
		Evaluations:  2, Matches: 1, Selected: 1,
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("conditions above the limit = %+v, want %+v", got, want)
	}
	names := map[string][]string{"g1": {"r0", "r1", "r2"}, "g2": {"r0"}, "g3": {"r0"}}
	r.Retain(names)
	if got, want := shown(r), "g1/other other/other"; got != want {
		t.Errorf("shown once there is room = %s, want %s", got, want)
	}
	r.Gateway("g1").Route("r0")
	r.Retain(names)
	if got, want := shown(r), "g1/other g1/r0 other/other"; got != want {
		t.Errorf("shown after the next table = %s, want %s", got, want)
	}
	for _, v := range r.Values() {
		if v.Family.Name == metrics.SeriesOverflow.Name && v.Value < 8 {
			t.Errorf("%s = %v, want each binding above the limit", v.Family.Name, v.Value)
		}
	}
}

func TestGatewaysMayBeNamedOther(t *testing.T) {
	r := metrics.New(metrics.Options{MaxGateways: 1, MaxRoutes: 1})
	if r.Gateway("other") != r.Gateway("too many") {
		t.Error("two gateways have the label other")
	}
}

func TestNamesAreMadeValid(t *testing.T) {
	r := metrics.New(metrics.Options{})
	gw := r.Gateway("sh\xffop")
	if got := gw.Name(); got != "sh\uFFFDop" {
		t.Errorf("Name = %q", got)
	}
	gw.Route("a\xfe")
	r.Retain(map[string][]string{"sh\xffop": {"a\xfe"}})
	if got, want := shown(r), "sh\uFFFDop/a\uFFFD"; got != want {
		t.Errorf("shown = %q, want %q", got, want)
	}
}

func TestBindingCountingAndReadingAtOnce(t *testing.T) {
	r := metrics.New(metrics.Options{Linger: -1})
	var all sync.WaitGroup
	for w := range uint32(4) {
		all.Go(func() {
			for i := range 200 {
				name := fmt.Sprint("g", i%3)
				gw := r.Gateway(name)
				route := gw.Route(fmt.Sprint("r", i%5))
				gw.SetShares([]metrics.Share{{Route: route, Asked: 1}})
				gw.SetConditions([]metrics.ConditionKey{{Route: route.Path(), Condition: strconv.Itoa(i % 7)}})
				route.Begin(w)
				gw.Conditions().Asked(w, 0, true)
				route.End(w, &metrics.Observation{Code: 200})
				r.Retain(map[string][]string{name: {route.Path()}})
			}
		})
	}
	for range 200 {
		for _, g := range r.Gateways() {
			g.ReadShares()
			g.ReadConditions()
			for _, route := range g.Routes() {
				if got := read(route).InFlight; got > 4*200 {
					t.Errorf("in flight = %d: ends are counted whose beginnings are not", int64(got))
				}
			}
		}
	}
	all.Wait()
}
