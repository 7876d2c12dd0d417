// SPDX-License-Identifier: Apache-2.0

package book_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/metrics"
)

// series is one series, with labels as name, value and so on.
func series(f metrics.Family, value float64, labels ...string) *controlpb.Series {
	s := &controlpb.Series{Name: f.Name, Value: value}
	for i := 0; i+1 < len(labels); i += 2 {
		s.Labels = append(s.Labels, &controlpb.Label{Name: labels[i], Value: labels[i+1]})
	}
	return s
}

// bed is a book with a clock, of which the proxies' clocks are off by a day.
type bed struct {
	*book.Book

	t     *testing.T
	clock *clock
	start time.Time
}

func newBed(t *testing.T, o book.Options) *bed {
	t.Helper()
	c := newClock()
	o.Now = c.read
	return &bed{book.New(o), t, c, c.now}
}

// tell has the proxy p, that started with the bed, tell series.
func (b *bed) tell(p string, list ...*controlpb.Series) {
	b.Counters(p, toHere, &controlpb.Counters{
		Start:  timestamppb.New(b.start.Add(24 * time.Hour)),
		At:     timestamppb.New(b.clock.now.Add(24 * time.Hour)),
		Series: list,
	})
}

// figures returns those of the route a.
func (b *bed) figures(window time.Duration) book.Figures {
	b.t.Helper()
	f, ok := b.Figures(here, "shop", "a", window)
	if !ok {
		b.t.Fatal("there are no figures")
	}
	return f
}

// requests is how many exchanges of the route a ended in 2xx.
func requests(n float64) *controlpb.Series {
	return series(metrics.Requests, n, "gateway", "shop", "route", "a", "code", "2xx")
}

func inFlight(n float64) *controlpb.Series {
	return series(metrics.RequestsInFlight, n, "gateway", "shop", "route", "a")
}

func TestWhatStandsIsThatOfConnectedProxies(t *testing.T) {
	b := newBed(t, book.Options{})
	check := func(name string, want int64, proxies int) {
		t.Helper()
		if f := b.figures(book.Short); f.InFlight != want || f.Proxies != proxies || f.Total != 10 {
			t.Errorf("%s: %d in flight at %d proxies, %d in all, want %d at %d and 10", name, f.InFlight, f.Proxies, f.Total, want, proxies)
		}
	}
	b.tell("one", requests(4), inFlight(3))
	b.tell("two", requests(6), inFlight(2))
	check("both", 5, 2)
	b.tell("one", inFlight(1))
	check("it changes", 3, 2)
	b.Left("one")
	b.Left("one")
	b.Left("nobody")
	check("one left", 2, 1)
	b.tell("one", requests(4), inFlight(7))
	check("it is back with what it had", 9, 2)
	b.tell("two", series(metrics.RequestDuration, 0, "gateway", "shop", "route", "a"))
	check("the route is gone at the other", 7, 1)
	b.tell("two", requests(0))
	check("it is back there", 7, 2)
	b.start = b.start.Add(time.Millisecond)
	b.tell("one", inFlight(1))
	check("it restarts", 1, 2)
}

// A proxy that runs for long and is heard for the first time does not look
// like a burst, and what it counted while nobody heard it was spread over that
// time.
func TestWhatWasNotHeardIsSpread(t *testing.T) {
	b := newBed(t, book.Options{})
	b.clock.pass(time.Hour)
	b.tell("p", requests(3600*5))
	for window, name := range map[time.Duration]string{book.Short: "10 s", book.Middle: "a minute", book.Long: "5 min"} {
		if f := b.figures(window); math.Abs(f.Rate-5) > 0.2 || f.Total != 3600*5 {
			t.Errorf("%s after an hour in which nobody listened: %.2f/s, %d in all, want 5/s", name, f.Rate, f.Total)
		}
	}
	b.clock.pass(time.Second)
	b.tell("p", requests(3600*5+10))
	if f := b.figures(book.Short); f.Requests < 55 || f.Requests > 65 {
		t.Errorf("%d requests in 10 s, want 10 more than 5/s", f.Requests)
	}
	b.Left("p")
	b.clock.pass(100 * time.Second)
	// All is told anew, in two messages of which the second comes later.
	b.tell("p", series(metrics.RequestsInFlight, 1, "gateway", "shop", "route", "b"))
	b.clock.pass(time.Second)
	b.tell("p", requests(3600*5+10+101*20))
	if f := b.figures(book.Short); math.Abs(f.Rate-20) > 2 {
		t.Errorf("after a gap: %.2f/s, want 20/s", f.Rate)
	}
	b.clock.pass(2 * time.Minute)
	b.tell("p", requests(3600*5+10+101*20+30))
	if f := b.figures(book.Short); f.Requests != 30 {
		t.Errorf("after two quiet minutes: %d requests in 10 s, want the 30 of now", f.Requests)
	}
	b.clock.pass(10 * time.Minute)
	if f := b.figures(book.Long); f.Requests != 0 || f.Rate != 0 || f.P99 != 0 || f.Total != 3600*5+10+101*20+30 {
		t.Errorf("after ten quiet minutes: %+v", f)
	}
}

// Figures do not cover the time before there was anything to count.
func TestFiguresOfANewRouteAreOfItsTime(t *testing.T) {
	b := newBed(t, book.Options{})
	for range 4 {
		b.clock.pass(time.Second)
		b.tell("p", requests(10*b.clock.now.Sub(b.start).Seconds()))
	}
	if f := b.figures(book.Long); f.Covers != 4 || f.Rate != 10 || f.Window != 300 {
		t.Errorf("figures of %v s of %v are %v/s, want 10/s of 4 s", f.Covers, f.Window, f.Rate)
	}
}

// A gateway has been there for as long as its routes, so its rate is the sum of
// theirs.
func TestAGatewayCoversWhatItsRoutesCover(t *testing.T) {
	b := newBed(t, book.Options{})
	b.tell("p", series(metrics.RouteWeight, 1, "gateway", "shop", "route", "a", "kind", "asked"))
	b.clock.pass(8 * time.Second)
	b.tell("p", requests(16), series(metrics.GatewayRequests, 16, "gateway", "shop", "code", "2xx"))
	g, _ := b.Gateway(here, "shop", book.Short)
	if g.Rate != 2 || g.Routes[0].Rate != 2 || g.Covers != 8 {
		t.Errorf("%v/s of the gateway and %v/s of its route in %v s, want 2/s in 8 s", g.Rate, g.Routes[0].Rate, g.Covers)
	}
}

func TestQuantilesAndMeans(t *testing.T) {
	b := newBed(t, book.Options{})
	// Buckets of another shape count where their upper bounds are.
	h := series(metrics.RequestDuration, 99*0.01+5, "gateway", "shop", "route", "a")
	h.Bounds, h.Buckets, h.Count = []float64{0.005, 0.01, 5}, []uint64{0, 99, 1, 0}, 100
	b.tell("p", h)
	f := b.figures(book.Short)
	if f.P50 < 0.008 || f.P50 > 0.011 || f.P90 < f.P50 || f.P90 > 0.012 || f.P99 < f.P90 || f.P99 > 5.7 || math.Abs(f.Mean-0.0599) > 1e-9 {
		t.Errorf("p50 %v, p90 %v, p99 %v, mean %v", f.P50, f.P90, f.P99, f.Mean)
	}
}

func TestGatewayTellsOfRoutesAndConditions(t *testing.T) {
	b := newBed(t, book.Options{})
	route := func(path string, more ...string) []string {
		return append([]string{"gateway", "shop", "route", path}, more...)
	}
	b.tell("p",
		series(metrics.GatewayRequests, 8, "gateway", "shop", "code", "2xx"),
		series(metrics.GatewayRequests, 2, "gateway", "shop", "code", "5xx"),
		series(metrics.RouteWeight, 0.9, route("a", "kind", "asked")...),
		series(metrics.RouteWeight, 0.1, route("b", "kind", "asked")...),
		series(metrics.RouteDecided, 6, route("a", "by", "weight")...),
		series(metrics.RouteDecided, 2, route("b", "by", "weight")...),
		series(metrics.RouteDecided, 9, route("b", "by", "condition")...),
		series(metrics.ProxyErrors, 3, route("b", "reason", "connect_refused")...),
		series(metrics.InstancesKnown, 3, route("b", "state", "healthy")...),
		series(metrics.InstancesKnown, 1, route("b", "state", "ejected")...),
		series(metrics.InstanceEjections, 2, route("b", "cause", "failures")...),
		series(metrics.ConditionEvaluations, 10, route("b", "condition", "c")...),
		series(metrics.ConditionMatches, 5, route("b", "condition", "c")...),
		series(metrics.ConditionSelected, 4, route("b", "condition", "c")...),
	)
	g, ok := b.Gateway(here, "shop", book.Short)
	if !ok || len(g.Routes) != 2 || len(g.Conditions) != 1 {
		t.Fatalf("Gateway = %+v, %v", g, ok)
	}
	if g.ErrorRatio != 0.2 || g.Errors != 2 || g.Health() != 0 || !maps.Equal(g.Codes, map[string]uint64{"2xx": 8, "5xx": 2}) {
		t.Errorf("the gateway: %+v", g.Figures)
	}
	a, c := g.Routes[0], g.Routes[1]
	if a.Route != "a" || a.Asked != 0.9 || a.Achieved != 0.75 || a.HealthyShare != 1 || a.Health() != 1 {
		t.Errorf("route a: %+v", a)
	}
	if c.Asked != 0.1 || c.Achieved != 0.25 || c.Decided != 2 || c.HealthyShare != 0.75 || c.Ejections != 2 || c.Reasons["connect_refused"] != 3 ||
		!maps.Equal(c.Instances, map[string]int64{"healthy": 3, "ejected": 1}) {
		t.Errorf("route b: %+v", c)
	}
	if got, want := g.Conditions[0], (book.ConditionFigures{Route: "b", Condition: "c", Evaluations: 10, Matches: 5, Selected: 4, MatchRate: 5, MatchRatio: 0.5}); got != want {
		t.Errorf("the condition: %+v, want %+v", got, want)
	}
	if got := b.Gateways(here); len(got) != 1 || got[0] != "shop" {
		t.Errorf("Gateways = %v", got)
	}
	if _, ok := b.Gateway(here, "none", book.Short); ok {
		t.Error("there are figures of a gateway that nobody told of")
	}
}

func TestNamespacesAreApart(t *testing.T) {
	b := newBed(t, book.Options{})
	c := &controlpb.Counters{
		Start: timestamppb.New(b.start), At: timestamppb.New(b.start),
		Series: []*controlpb.Series{requests(5), series(metrics.Requests, 7, "gateway", "secret", "route", "a", "code", "2xx")},
	}
	b.Counters("p", func(gateway string) string {
		return map[string]string{"shop": "acme/test"}[gateway] // secret is not of this proxy
	}, c)
	if _, ok := b.Figures(here, "shop", "a", book.Short); ok {
		t.Error("another namespace has the figures")
	}
	if f, ok := b.Figures("acme/test", "shop", "a", book.Short); !ok || f.Requests != 5 {
		t.Errorf("the figures are %+v, %v", f, ok)
	}
	if shown := text(t, b.Book); strings.Contains(shown, "secret") || !strings.Contains(shown, `sluice_mesh_requests_total{code="2xx",gateway="shop",namespace="acme/test",route="a"} 5`) {
		t.Errorf("shown are\n%s", shown)
	}
}

func TestTheBookIsBounded(t *testing.T) {
	registry := metrics.New(metrics.Options{Shards: 1})
	b := newBed(t, book.Options{MaxProxies: 2, MaxSeries: 3, MaxRows: 5, Registry: registry})
	of := func(route string) *controlpb.Series {
		return series(metrics.Requests, 1, "gateway", "shop", "route", route, "code", "2xx")
	}
	leftOut := registry.ControlSeriesLeftOut()
	b.tell("one", of("a"), of("b"), of("c"), of("d"))
	if got := leftOut.Value(); got != 1 {
		t.Errorf("%d left out, want the fourth series", got)
	}
	b.tell("two", of("a"), of("b"), of("c"))
	if got := leftOut.Value(); got != 2 {
		t.Errorf("%d left out, want the sixth row, too", got)
	}
	b.tell("three", of("a"), of("b"))
	if got := leftOut.Value(); got != 4 {
		t.Errorf("%d left out, want all of the third proxy, too", got)
	}
	b.Left("one")
	b.tell("three", of("a"))
	if f := b.figures(book.Short); f.Total != 3 {
		t.Errorf("%d requests, want that a proxy which left makes room", f.Total)
	}
	// The one that was forgotten comes back: what it tells was counted in.
	b.Left("two")
	b.tell("one", of("a"))
	b.clock.pass(time.Second)
	b.tell("one", series(metrics.Requests, 5, "gateway", "shop", "route", "a", "code", "2xx"))
	if f := b.figures(book.Short); f.Total != 7 {
		t.Errorf("%d requests, want the 3 and 4 more", f.Total)
	}
}

// What nobody tells of is forgotten in the end.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	b := newBed(t, book.Options{})
	b.tell("p", requests(1))
	b.tell("q", requests(1))
	b.Left("q")
	b.tell("p", series(metrics.RequestDuration, 0, "gateway", "shop", "route", "a"))
	for range 70 {
		b.clock.pass(time.Minute)
		b.tell("p", series(metrics.GatewayRequestsInFlight, 1, "gateway", "other"))
	}
	if got := b.Gateways(here); len(got) != 1 || got[0] != "other" {
		t.Errorf("after more than an hour there are %v, want the one that is told of", got)
	}
}

// An idle route stays known by its weight, until it is said to be gone.
func TestIdleRoutesAreKnownByTheirWeight(t *testing.T) {
	b := newBed(t, book.Options{MaxRows: 2})
	asked := func(route string, share float64) *controlpb.Series {
		return series(metrics.RouteWeight, share, "gateway", "shop", "route", route, "kind", "asked")
	}
	show := func() (shown []string) {
		g, _ := b.Gateway(here, "shop", book.Long)
		for _, r := range g.Routes {
			shown = append(shown, fmt.Sprint(r.Route, " ", r.Asked))
		}
		return shown
	}
	idle := func() {
		for range 20 {
			b.clock.pass(time.Minute)
			b.tell("p", inFlight(1))
		}
	}
	b.tell("p", asked("a", 0.9), asked("b", 0.1), asked("c", 0), inFlight(1))
	idle()
	if got, want := show(), []string{"a 0.9", "b 0.1", "c 0"}; !slices.Equal(got, want) {
		t.Errorf("after a while there are %v, want %v", got, want)
	}
	b.tell("p", asked("a", 1), series(metrics.RequestDuration, 0, "gateway", "shop", "route", "b"))
	if got, want := show(), []string{"a 1", "b 0", "c 0"}; !slices.Equal(got, want) {
		t.Errorf("when one is gone there are %v, want %v", got, want)
	}
	idle()
	if got, want := show(), []string{"a 1", "c 0"}; !slices.Equal(got, want) {
		t.Errorf("a while after that there are %v, want %v", got, want)
	}
}

func TestIllInstances(t *testing.T) {
	b := newBed(t, book.Options{})
	state := func(address, word string, since int64) *controlpb.InstanceState {
		return &controlpb.InstanceState{Gateway: "shop", Route: "a", Address: address, State: word, Since: timestamppb.New(time.Unix(since, 0)), Why: fmt.Sprintf("%s since %d", word, since)}
	}
	tell := func(p string, list ...*controlpb.InstanceState) {
		b.Health(p, toHere, &controlpb.Health{Changed: list})
	}
	ill := func() string {
		var list []string
		for _, i := range b.Ill(here, "") {
			list = append(list, fmt.Sprintf("%s %s by %d: %s", i.Address, i.State, i.Proxies, i.Why))
		}
		return strings.Join(list, "; ")
	}
	tell("p", state("a:1", "unhealthy", 5), state("b:1", "ejected", 6), state("c:1", "healthy", 1))
	tell("q", state("a:1", "ejected", 7))
	if got, want := ill(), "a:1 ejected by 2: ejected since 7; b:1 ejected by 1: ejected since 6"; got != want {
		t.Errorf("Ill = %s, want %s", got, want)
	}
	tell("p", state("a:1", "healthy", 9))
	gone := state("b:1", "unknown", 9)
	gone.Gone = true
	tell("p", gone)
	if got, want := ill(), "a:1 ejected by 1: ejected since 7"; got != want {
		t.Errorf("Ill = %s, want %s", got, want)
	}
	b.Left("q")
	if got := ill(); got != "" {
		t.Errorf("Ill = %s, want none of who left", got)
	}
	b.Health("p", func(string) string { return "" }, &controlpb.Health{Changed: []*controlpb.InstanceState{state("a:1", "unhealthy", 5)}})
	if got := ill(); got != "" {
		t.Errorf("Ill = %s, want none of a gateway that the proxy does not serve", got)
	}
}

// A proxy without traffic tells of its instances alone, once, and is connected
// all the same.
func TestAProxyThatTellsOfInstancesAloneIsRemembered(t *testing.T) {
	b := newBed(t, book.Options{MaxProxies: 2})
	unhealthy := func(p, address string) {
		b.Health(p, toHere, &controlpb.Health{Changed: []*controlpb.InstanceState{
			{Gateway: "shop", Route: "a", Address: address, State: "unhealthy"},
		}})
	}
	ill := func() string {
		var list []string
		for _, i := range b.Ill(here, "") {
			list = append(list, i.Address)
		}
		return strings.Join(list, " ")
	}
	unhealthy("idle", "a:1")
	for range 70 {
		b.clock.pass(time.Minute)
		b.tell("busy", requests(1))
	}
	if got := ill(); got != "a:1" {
		t.Errorf("after more than an hour %q is ill, want a:1 still", got)
	}
	b.tell("third", requests(1))
	if got := ill(); got != "a:1" {
		t.Errorf("%q is ill, want that a third proxy takes nobody's place who is there", got)
	}
	b.Left("idle")
	b.tell("third", requests(1))
	unhealthy("third", "b:1")
	if f := b.figures(book.Short); ill() != "b:1" || f.Total != 2 {
		t.Errorf("%q is ill and %d requests, want that the third took the place of who left", ill(), f.Total)
	}
	// Who comes back counts as before.
	b.Left("third")
	b.clock.pass(time.Second)
	unhealthy("third", "c:1")
	b.tell("third", requests(5))
	if f := b.figures(book.Short); f.Total != 6 || f.Proxies != 2 {
		t.Errorf("%d requests at %d proxies, want 6 at 2", f.Total, f.Proxies)
	}
}

// Whatever a proxy sends, the book stays whole: totals do not fall, and all
// can be shown.
func FuzzCounters(f *testing.F) {
	c := newClock()
	p := newProxy("p", c)
	e := exchange{route: "a", outcome: metrics.Observation{Code: 503, Duration: time.Second, Upstream: time.Second, Reason: 1}}
	e.begin(p).End(0, &e.outcome)
	seed, err := proto.Marshal(p.reporter.Next())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, seed)
	f.Add(seed, []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		b := newBed(t, book.Options{MaxProxies: 2, MaxSeries: 100, MaxRows: 100})
		var before uint64
		for _, data := range [][]byte{first, second, first} {
			m := new(controlpb.Counters)
			if proto.Unmarshal(data, m) != nil {
				return
			}
			b.Counters("p", toHere, m)
			b.clock.pass(time.Second)
			text(t, b.Book)
			var now uint64
			for _, name := range b.Gateways(here) {
				g, ok := b.Gateway(here, name, book.Short)
				if !ok || g.InFlight < 0 || math.IsNaN(g.Mean) || math.IsNaN(g.P99) {
					t.Fatalf("the figures of %q are %+v", name, g)
				}
				for _, r := range g.Routes {
					now += min(r.Total, 1<<40)
				}
			}
			if now < min(before, 1<<40) {
				t.Fatalf("totals fell from %d to %d", before, now)
			}
			before = now
		}
	})
}
