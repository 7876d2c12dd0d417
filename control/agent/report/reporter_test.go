// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"weak"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/agent/report"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// bed is a registry with a clock.
type bed struct {
	now      time.Time
	registry *metrics.Registry
	reporter *report.Reporter
}

func newBed() *bed {
	b := &bed{now: time.Unix(1_700_000_000, 0)}
	b.registry = metrics.New(metrics.Options{
		Reasons: []string{"none", "no_route", "connect_refused"},
		Now:     func() time.Time { return b.now },
	})
	b.reporter = report.New(b.registry)
	return b
}

// serve counts an exchange of a route.
func serve(r *metrics.Route, o metrics.Observation) {
	r.Begin(0)
	r.End(0, &o)
}

// text shows a message, a series a line, without what is the same in all.
func text(c *controlpb.Counters) string {
	var lines []string
	for _, s := range c.GetSeries() {
		var labels []string
		for _, l := range s.GetLabels() {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
		line := strings.TrimPrefix(s.GetName(), "sluice_") + "{" + strings.Join(labels, ",") + "} " + strconv.FormatFloat(s.GetValue(), 'g', 6, 64)
		if len(s.GetBuckets()) > 0 {
			line += fmt.Sprintf(" of %d: %.4g %v", s.GetCount(), s.GetBounds(), s.GetBuckets())
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestNextTellsWhatChanged(t *testing.T) {
	b := newBed()
	gw := b.registry.Gateway("shop")
	stable, canary := gw.Route("stable"), gw.Route("canary")
	check := func(name, want string) {
		t.Helper()
		if got := text(b.reporter.Next()); got != want {
			t.Errorf("%s: told are\n%s\nwant\n%s", name, got, want)
		}
	}
	check("of nothing, nothing", "")

	serve(stable, metrics.Observation{Code: 200, Duration: time.Second, Upstream: time.Second / 2, BytesIn: 10, BytesOut: 20})
	check("what was counted", `request_duration_seconds{gateway=shop,route=stable} 1 of 1: [0.8409 1] [0 1 0]
upstream_duration_seconds{gateway=shop,route=stable} 0.5 of 1: [0.4204 0.5] [0 1 0]
requests_total{gateway=shop,route=stable,code=2xx} 1
request_bytes_total{gateway=shop,route=stable} 10
response_bytes_total{gateway=shop,route=stable} 20
requests_in_flight{gateway=shop,route=stable} 0
route_decided_total{gateway=shop,route=stable,by=weight} 1
gateway_request_duration_seconds{gateway=shop} 1 of 1: [0.8409 1] [0 1 0]
gateway_requests_total{gateway=shop,code=2xx} 1
gateway_request_bytes_total{gateway=shop} 10
gateway_response_bytes_total{gateway=shop} 20
gateway_requests_in_flight{gateway=shop} 0`)
	check("it does not change", "")

	canary.BeginTaken(0)
	check("what is under way", `requests_in_flight{gateway=shop,route=canary} 1
route_decided_total{gateway=shop,route=canary,by=condition} 1
gateway_request_duration_seconds{gateway=shop} 1 of 1: [0.8409 1] [0 1 0]
gateway_requests_total{gateway=shop,code=2xx} 1
gateway_request_bytes_total{gateway=shop} 10
gateway_response_bytes_total{gateway=shop} 20
gateway_requests_in_flight{gateway=shop} 1`)
	check("and still is", "")
	canary.End(0, &metrics.Observation{Code: 502, Duration: 2 * time.Minute, Reason: 2})
	check("how it ended", `request_duration_seconds{gateway=shop,route=canary} 120 of 1: [64] [0 1]
requests_total{gateway=shop,route=canary,code=5xx} 1
requests_in_flight{gateway=shop,route=canary} 0
route_decided_total{gateway=shop,route=canary,by=condition} 1
proxy_errors_total{gateway=shop,route=canary,reason=connect_refused} 1
gateway_request_duration_seconds{gateway=shop} 121 of 2: [0.8409 1 64] [0 1 0 1]
gateway_requests_total{gateway=shop,code=2xx} 1
gateway_requests_total{gateway=shop,code=5xx} 1
gateway_request_bytes_total{gateway=shop} 10
gateway_response_bytes_total{gateway=shop} 20
gateway_requests_in_flight{gateway=shop} 0
gateway_proxy_errors_total{gateway=shop,reason=connect_refused} 1`)

	gw.SetShares([]metrics.Share{{Route: stable, Asked: 0.9}, {Route: canary, Asked: 0.1}})
	check("what is asked for", `route_weight_ratio{gateway=shop,route=canary,kind=asked} 0.1
route_weight_ratio{gateway=shop,route=stable,kind=asked} 0.9`)

	gw.SetConditions([]metrics.ConditionKey{{Route: "canary", Condition: "a"}, {Route: "canary", Condition: "b"}})
	check("conditions that nobody asked", "")
	gw.Conditions().Asked(0, 0, true)
	gw.Begin(0)
	gw.End(0, &metrics.Observation{Code: 503, Duration: time.Second, Reason: 1})
	check("conditions, and who reached no route", `gateway_request_duration_seconds{gateway=shop} 122 of 3: [0.8409 1 64] [0 2 0 1]
gateway_requests_total{gateway=shop,code=2xx} 1
gateway_requests_total{gateway=shop,code=5xx} 2
gateway_request_bytes_total{gateway=shop} 10
gateway_response_bytes_total{gateway=shop} 20
gateway_requests_in_flight{gateway=shop} 0
gateway_proxy_errors_total{gateway=shop,reason=no_route} 1
gateway_proxy_errors_total{gateway=shop,reason=connect_refused} 1
condition_evaluations_total{gateway=shop,route=canary,condition=a} 1
condition_matches_total{gateway=shop,route=canary,condition=a} 1
condition_selected_total{gateway=shop,route=canary,condition=a} 1`)

	gw.SetConditions(nil)
	check("nothing changes by a condition that is gone", "")
	check("but that it is", "condition_evaluations_total{gateway=shop,route=canary,condition=a} 0")

	b.registry.Retain(map[string][]string{"shop": {"stable"}})
	gw.SetShares([]metrics.Share{{Route: stable, Asked: 1}})
	check("a route that lingers is asked for nothing", `route_weight_ratio{gateway=shop,route=canary,kind=asked} 0
route_weight_ratio{gateway=shop,route=stable,kind=asked} 1`)
	b.now = b.now.Add(time.Hour)
	b.registry.Gateways()
	check("the route goes", "")
	check("and is gone", "request_duration_seconds{gateway=shop,route=canary} 0")
	b.registry.Retain(nil)
	check("a gateway that lingers is asked for nothing", "route_weight_ratio{gateway=shop,route=stable,kind=asked} 0")
	b.now = b.now.Add(time.Hour)
	b.registry.Gateways()
	check("the gateway is gone with its route", `request_duration_seconds{gateway=shop,route=stable} 0
gateway_request_duration_seconds{gateway=shop} 0`)
	check("once", "")
}

func TestResetTellsEverythingAgain(t *testing.T) {
	b := newBed()
	gw := b.registry.Gateway("shop")
	gw.SetConditions([]metrics.ConditionKey{{Route: "a", Condition: "c"}})
	route := gw.Route("a")
	gw.SetShares([]metrics.Share{{Route: route, Asked: 1}})
	route.SetInstances(func() metrics.Instances { return metrics.Instances{Watched: true, States: [4]int{1, 2}} })
	gw.Conditions().Asked(0, 0, true)
	serve(route, metrics.Observation{Code: 200, Duration: time.Second})
	gw.Route("idle")
	all := func() string {
		var messages []string
		for range 5 { // instances of idle routes take their turn
			if m := text(b.reporter.Next()); m != "" {
				messages = append(messages, m)
			}
		}
		return strings.Join(messages, "\n")
	}
	first := all()
	for _, want := range []string{"request_duration", "kind=asked", "condition_selected", "state=unhealthy} 2", "gateway_requests"} {
		if !strings.Contains(first, want) {
			t.Errorf("told are\n%s\nwithout %s", first, want)
		}
	}
	if more := all(); more != "" {
		t.Errorf("told again are\n%s", more)
	}
	b.reporter.Reset()
	sorted := func(s string) []string { l := strings.Split(s, "\n"); slices.Sort(l); return l }
	if again := all(); !slices.Equal(sorted(again), sorted(first)) {
		t.Errorf("after Reset told are\n%s\nwant\n%s", again, first)
	}
	// What goes in between is told as gone all the same.
	b.reporter.Reset()
	b.registry.Retain(nil)
	b.now = b.now.Add(time.Hour)
	b.registry.Gateways()
	if got := all(); !strings.Contains(got, "gateway_request_duration_seconds{gateway=shop} 0") || strings.Contains(got, "idle") {
		t.Errorf("told are\n%s\nwant that the gateway is gone, and nothing of the idle route", got)
	}
}

// A table of which everything changes at once comes in several messages, of
// which none is long and which leave nothing out.
func TestMessagesAreBounded(t *testing.T) {
	b := newBed()
	const gateways, routes = 20, 100
	want := map[string]bool{}
	for g := range gateways {
		gw := b.registry.Gateway("gateway " + strconv.Itoa(g))
		for i := range routes {
			route := gw.Route("a rather long name of a route " + strconv.Itoa(i))
			for d := time.Microsecond; d < time.Minute; d = d * 5 / 4 {
				serve(route, metrics.Observation{Code: 200, Duration: d, Upstream: d})
			}
			want[gw.Name()+route.Path()] = true
		}
	}
	messages := 0
	for m := b.reporter.Next(); m != nil; m = b.reporter.Next() {
		messages++
		if size := proto.Size(m); size > 1<<20+1<<16 {
			t.Errorf("message %d has %d bytes", messages, size)
		}
		for _, s := range m.GetSeries() {
			if s.GetName() == metrics.RequestDuration.Name {
				delete(want, s.GetLabels()[0].GetValue()+s.GetLabels()[1].GetValue())
			}
		}
		if messages > 1000 {
			t.Fatal("there is no end of messages")
		}
	}
	if messages < 2 || len(want) > 0 {
		t.Errorf("%d messages, which leave out %d routes", messages, len(want))
	}
}

// Who always changes does not keep others from being told.
func TestTheBusyDoNotHideTheRest(t *testing.T) {
	b := newBed()
	gw := b.registry.Gateway("shop")
	var list []*metrics.Route
	for i := range 3000 {
		list = append(list, gw.Route(strconv.Itoa(i)))
	}
	told := map[string]bool{}
	for round := 0; len(told) < len(list); round++ {
		if round == 20 {
			t.Fatalf("%d of %d routes were told of in %d messages", len(told), len(list), round)
		}
		for _, route := range list {
			for d := time.Microsecond; d < time.Minute; d *= 2 {
				serve(route, metrics.Observation{Code: 200, Duration: d, Upstream: d})
			}
		}
		for _, s := range b.reporter.Next().GetSeries() {
			if s.GetName() == metrics.RequestDuration.Name {
				told[s.GetLabels()[1].GetValue()] = true
			}
		}
	}
}

// A gateway or route that stays does not keep in memory those that came with
// it and have gone.
func TestWhatIsGoneIsLetGo(t *testing.T) {
	b := newBed()
	b.reporter.Next()
	gone := map[string]func() bool{} // by what it was
	for _, name := range []string{"stays", "goes"} {
		gw := b.registry.Gateway(name)
		for _, path := range []string{"stays", "goes"} {
			route := gw.Route(path)
			serve(route, metrics.Observation{Code: 200})
			if name == "goes" || path == "goes" {
				w := weak.Make(route)
				gone["route "+name+"/"+path] = func() bool { return w.Value() == nil }
			}
		}
		if name == "goes" {
			w := weak.Make(gw)
			gone["gateway "+name] = func() bool { return w.Value() == nil }
		}
	}
	b.reporter.Next()
	b.registry.Retain(map[string][]string{"stays": {"stays"}})
	b.now = b.now.Add(time.Hour)
	b.registry.Gateways()
	for b.reporter.Next() != nil { //nolint:revive // until all is told
	}
	for what, let := range gone {
		for deadline := time.Now().Add(time.Minute); !let(); runtime.GC() {
			if time.Now().After(deadline) {
				t.Errorf("the %s is still in memory", what)
				break
			}
		}
	}
	runtime.KeepAlive(b)
}

func TestNextDoesNotAllocateForIdleSeries(t *testing.T) {
	b := newBed()
	for i := range 100 {
		gw := b.registry.Gateway(strconv.Itoa(i))
		for j := range 3 {
			serve(gw.Route(strconv.Itoa(j)), metrics.Observation{Code: 200})
		}
	}
	b.reporter.Next()
	// The registry is listed each 64 calls.
	if got := testing.AllocsPerRun(50, func() {
		if b.reporter.Next() != nil {
			t.Error("something changed")
		}
	}); got >= 2 {
		t.Errorf("Next allocates %v times", got)
	}
}

func TestHealthTellsOfInstancesThatAreNotWell(t *testing.T) {
	b := newBed()
	since, until := time.Unix(5, 0), time.Unix(9, 0)
	route := b.registry.Gateway("shop").Route("a")
	var now []routing.InstanceState
	route.SetInstances(func() metrics.Instances {
		n := metrics.Instances{Watched: true}
		for _, s := range now {
			n.States[slices.Index(metrics.InstanceStates[:], s.State)]++
		}
		return n
	})
	for _, step := range []struct {
		name   string
		states []routing.InstanceState
		reset  bool
		want   string
	}{
		{"all are well", []routing.InstanceState{{Address: "a:1", State: "healthy"}, {Address: "b:1", State: "unknown"}}, false, ""},
		{
			"two are not",
			[]routing.InstanceState{{Address: "a:1", State: "unhealthy", Since: since, Why: "503"}, {Address: "b:1", State: "ejected", Until: until}},
			false, "a:1 unhealthy 503 since 5 b:1 ejected until 9",
		},
		{"a new session has to know", []routing.InstanceState{{Address: "a:1", State: "unhealthy"}, {Address: "b:1", State: "ejected", Until: until}}, true, "a:1 unhealthy b:1 ejected until 9"},
		{"nothing changes", []routing.InstanceState{{Address: "a:1", State: "unhealthy"}, {Address: "b:1", State: "ejected", Until: until}}, false, ""},
		{"one is well again", []routing.InstanceState{{Address: "a:1", State: "healthy"}, {Address: "b:1", State: "ejected", Until: until}}, false, "a:1 healthy"},
		{"one is gone", []routing.InstanceState{{Address: "a:1", State: "healthy"}}, false, "b:1 unknown gone"},
	} {
		t.Run(step.name, func(t *testing.T) {
			if step.reset {
				b.reporter.Reset()
			}
			now = step.states
			for range 4 { // the route is idle, and takes its turn
				b.reporter.Next()
			}
			m := b.reporter.Health(func(gateway, path string) []routing.InstanceState {
				if gateway != "shop" || path != "a" {
					t.Errorf("asked for the instances of %s %s", gateway, path)
				}
				return now
			})
			var got []string
			for _, s := range m.GetChanged() {
				got = append(got, s.GetAddress(), s.GetState())
				if s.GetWhy() != "" {
					got = append(got, s.GetWhy())
				}
				if s.GetSince() != nil {
					got = append(got, "since", strconv.FormatInt(s.GetSince().GetSeconds(), 10))
				}
				if s.GetUntil() != nil {
					got = append(got, "until", strconv.FormatInt(s.GetUntil().GetSeconds(), 10))
				}
				if s.GetGone() {
					got = append(got, "gone")
				}
			}
			if got := strings.Join(got, " "); got != step.want {
				t.Errorf("Health = %q, want %q", got, step.want)
			}
		})
	}
}

// BenchmarkNext has 10,000 gateways of 3 routes, of which some serve between
// two calls.
func BenchmarkNext(b *testing.B) {
	for _, busy := range []int{0, 10, 100, 1000} {
		b.Run(strconv.Itoa(busy)+" busy routes", func(b *testing.B) {
			bed := newBed()
			var routes []*metrics.Route
			for i := range 10_000 {
				gw := bed.registry.Gateway("gateway-" + strconv.Itoa(i))
				for j := range 3 {
					r := gw.Route("route-" + strconv.Itoa(j))
					r.SetInstances(func() metrics.Instances { return metrics.Instances{Watched: true, States: [4]int{2}} })
					routes = append(routes, r)
				}
			}
			for bed.reporter.Next() != nil { //nolint:revive // until all is told
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range busy {
					for d := time.Millisecond; d < time.Second; d *= 2 {
						serve(routes[i*7], metrics.Observation{Code: 200, Duration: d, Upstream: d})
					}
				}
				b.StartTimer()
				bed.reporter.Next()
			}
		})
	}
}
