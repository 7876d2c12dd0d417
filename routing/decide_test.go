// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// way returns what a decision says, a hop after the other:
// gateway route, with the condition that held by its number from 1.
func way(d *routing.Decision) string {
	var b strings.Builder
	for i := range d.Hops[:d.Depth] {
		h := &d.Hops[i]
		if i > 0 {
			b.WriteString(" > ")
		}
		b.WriteString(h.Gateway.Name)
		if h.Held < len(h.Gateway.Conditions) {
			fmt.Fprintf(&b, " (condition %d", h.Held+1)
			if !h.Taken {
				b.WriteString(" lost")
			}
			b.WriteByte(')')
		}
		b.WriteString(": ")
		if h.Route == nil {
			b.WriteString("no route")
		} else {
			b.WriteString(h.Route.Path)
		}
	}
	if d.Reason != routing.ReasonNone {
		b.WriteString(" = " + d.Reason.String())
	}
	return b.String()
}

// TestDecideCases runs the cases of testdata/decide. A file holds cases of
// the form
//
//	=== the behaviour that the case shows
//	YAML
//	--- what is asked
//	down PATH...                       (routes that are not usable from here on)
//	COUNT GATEWAY [METHOD] TARGET [| Name: value]...
//	  COUNT WAY                        (expected, most frequent first)
//
// Each line of requests starts with fresh tickets.
func TestDecideCases(t *testing.T) {
	runCases(t, "decide", runDecideCase)
}

func runDecideCase(t *testing.T, yaml, asked string) string {
	t.Helper()
	docs, faults := routing.Read("case.yaml", []byte(yaml))
	table, more := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	s, most := routing.Compile(nil, table, routing.CompileOptions{})
	for _, f := range slices.Concat(faults, more, most) {
		if f.Severity == routing.Refused {
			t.Fatal(f)
		}
	}
	checkSnapshot(t, s)
	var got []string
	down := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSpace(asked), "\n") {
		if line == "" || strings.HasPrefix(line, " ") {
			continue
		}
		got = append(got, line)
		words := strings.Fields(line)
		if words[0] == "down" {
			clear(down)
			for _, path := range words[1:] {
				down[path] = true
			}
			continue
		}
		count, err := strconv.Atoi(words[0])
		if err != nil {
			t.Fatalf("line %q starts with no count", line)
		}
		request, fields, _ := strings.Cut(line, " | ")
		words = strings.Fields(request)[1:]
		g := s.ByName(words[0])
		if g == nil {
			t.Fatalf("line %q names no gateway", line)
		}
		method := "GET"
		if len(words) == 3 {
			method = words[1]
		}
		r := routingtest.NewRequest(method, "shop.example", words[len(words)-1], strings.Split(fields, " | ")...)
		got = append(got, decideOften(s, g, r, count, down)...)
	}
	return strings.Join(got, "\n")
}

// decideOften returns the ways that count requests take, the most frequent
// first.
func decideOften(s *routing.Snapshot, g *routing.CompiledGateway, r *routingtest.Request, count int, down map[string]bool) []string {
	draws := &routingtest.Tickets{Down: down}
	ways := map[string]int{}
	var d routing.Decision
	for range count {
		s.Decide(g, r, draws, &d)
		ways[way(&d)]++
	}
	var lines []string
	for w, n := range ways {
		lines = append(lines, fmt.Sprintf("%6d %s", n, w))
	}
	// Equal counts by text: numbers are aligned, so text order is enough.
	slices.SortFunc(lines, func(a, b string) int {
		if a[:6] != b[:6] {
			return strings.Compare(b[:6], a[:6])
		}
		return strings.Compare(a, b)
	})
	return lines
}

func TestDecideSharesAreExactOverWholePeriods(t *testing.T) {
	firefox := routingtest.NewRequest("GET", "shop.example", "/", "User-Agent: Firefox")
	other := routingtest.NewRequest("GET", "shop.example", "/", "User-Agent: Chrome")
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		// s + (1-s)*w, in tickets: s of 100 are taken, and of whole periods
		// of what is left each route gets its weight.
		strength := routing.Weight(random.IntN(101) * 100)
		w := routing.Weight(random.IntN(101) * 100)
		v := routing.Weight(random.IntN(int(full-w)/100+1) * 100)
		g := gateway("shop", 9000, route("[a:1]", full-w-v), when("[b:1]", w, "user-agent == Firefox", strength), route("[c:1]", v))
		s, faults := compile(table(1, g))
		if len(faults) != 0 {
			t.Fatal(faults)
		}
		counts := func(r *routingtest.Request) [3]int {
			var n [3]int
			var draws routingtest.Tickets
			var d routing.Decision
			for range 10_000 {
				s.Decide(s.ByName("shop"), r, &draws, &d)
				n[d.Last().Route.Index]++
			}
			return n
		}
		// 10,000 requests of which (10,000 - strength) go to the weights:
		// whole hundreds, which are whole periods of weights in percents.
		left := int(full - strength)
		want := [3]int{left * int(full-w-v) / 10_000, int(strength) + left*int(w)/10_000, left * int(v) / 10_000}
		if got := counts(firefox); got != want {
			t.Errorf("weights %v, %v, %v, strength %v: matching requests split %v, want %v", full-w-v, w, v, strength, got, want)
		}
		want = [3]int{int(full - w - v), int(w), int(v)}
		if got := counts(other); got != want {
			t.Errorf("weights %v, %v, %v: other requests split %v, want %v", full-w-v, w, v, got, want)
		}
	}
}

func TestDecideKeepsSequencesApart(t *testing.T) {
	// Requests that match and that do not come in turn. Each kind keeps its
	// shares exactly, which a common counter would not grant.
	s, _ := compile(table(1, gateway("shop", 9000, route("[a:1]", 8000), when("[b:1]", 2000, "user-agent == Firefox", half))))
	g := s.ByName("shop")
	requests := []*routingtest.Request{
		routingtest.NewRequest("GET", "shop.example", "/", "User-Agent: Firefox"),
		routingtest.NewRequest("GET", "shop.example", "/"),
	}
	var counts [2][2]int
	var d routing.Decision
	for i := range 2_000 {
		s.Decide(g, requests[i%2], &routingtest.Counters{}, &d)
		counts[i%2][d.Last().Route.Index]++
	}
	if want := [2][2]int{{400, 600}, {800, 200}}; counts != want {
		t.Errorf("counts = %v, want %v", counts, want)
	}
}

func TestDecideRedistributesByWeight(t *testing.T) {
	var routes []*routing.Route
	for i, w := range []routing.Weight{5000, 3000, 1000, 1000} {
		routes = append(routes, route(fmt.Sprintf("[%d:1]", i), w))
	}
	routes[1].Path, routes[0].Path, routes[2].Path, routes[3].Path = "[b:1]", "[a:1]", "[c:1]", "[d:1]"
	g := gateway("shop", 9000, routes...)
	g.Unavailable = routing.UnavailableRedistribute
	s, faults := compile(table(1, g))
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	draws := &routingtest.Tickets{Down: map[string]bool{"[a:1]": true, "[c:1]": true}}
	counts := map[string]int{}
	var d routing.Decision
	for range 4_000 {
		s.Decide(s.ByName("shop"), routingtest.NewRequest("GET", "", "/"), draws, &d)
		counts[d.Last().Route.Path]++
	}
	// Of each ten tickets four count: three for b, one for d.
	if counts["[b:1]"] != 3_000 || counts["[d:1]"] != 1_000 {
		t.Errorf("counts = %v, want 3000 of b and 1000 of d", counts)
	}
}

func TestDecideBoundsTheTicketsOfARedistribution(t *testing.T) {
	g := gateway("shop", 9000, route("[a:1]", 9996), route("[b:1]", 3), route("[c:1]", 1))
	g.Unavailable = routing.UnavailableRedistribute
	s, faults := compile(table(1, g))
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	draws := &routingtest.Tickets{Down: map[string]bool{"[a:1]": true}}
	shop := s.ByName("shop")
	counts := map[string]int{}
	const requests = 20_000
	var d routing.Decision
	for range requests {
		before := draws.Taken(shop.Weights)
		s.Decide(shop, routingtest.NewRequest("GET", "", "/"), draws, &d)
		if spent := draws.Taken(shop.Weights) - before; spent > 257 {
			t.Fatalf("one request took %d tickets", spent)
		}
		counts[d.Last().Route.Path]++
	}
	// Drawn by weight, three to one: sigma is 61.
	if b := counts["[b:1]"]; b < 14_800 || b > 15_200 || counts["[a:1]"] != 0 {
		t.Errorf("counts = %v, want about 15000 of b and 5000 of c", counts)
	}
}

func TestDecideSpendsNoTicketsWhereNothingIsUsable(t *testing.T) {
	g := gateway("shop", 9000, route("[a:1]", half), route("[b:1]", half))
	g.Unavailable = routing.UnavailableRedistribute
	s, _ := compile(table(1, g))
	draws := &routingtest.Tickets{Down: map[string]bool{"[a:1]": true, "[b:1]": true}}
	var d routing.Decision
	s.Decide(s.ByName("shop"), routingtest.NewRequest("GET", "", "/"), draws, &d)
	if d.Reason != routing.ReasonNoInstance || d.Last().Route == nil {
		t.Errorf("decision %q", way(&d))
	}
	if n := draws.Taken(s.ByName("shop").Weights); n != 1 {
		t.Errorf("%d tickets taken, want the first one only", n)
	}
}

// flaky says that a route is usable when it is first asked and not after.
type flaky struct{ routingtest.Tickets }

func (f *flaky) Usable(_ *routing.CompiledGateway, r *routing.CompiledRoute) bool {
	if r.Index == 0 || f.Down[r.Path] {
		return false
	}
	f.Down[r.Path] = true
	return true
}

func TestDecideEndsWhenRoutesFailWhileItLooks(t *testing.T) {
	g := gateway("shop", 9000, route("[a:1]", 9999), route("[b:1]", 1))
	g.Unavailable = routing.UnavailableRedistribute
	s, _ := compile(table(1, g))
	draws := &flaky{routingtest.Tickets{Down: map[string]bool{}}}
	var d routing.Decision
	for range 3 {
		s.Decide(s.ByName("shop"), routingtest.NewRequest("GET", "", "/"), draws, &d)
	}
	if d.Reason != routing.ReasonNoInstance {
		t.Errorf("decision %q, want no instance", way(&d))
	}
}

func TestDecideReusesADecision(t *testing.T) {
	s, _ := compile(table(1, to("a", 9000, "b"), to("b", 9001, addr), gateway("none", 9002)))
	var d routing.Decision
	r := routingtest.NewRequest("GET", "", "/")
	for _, tt := range []struct{ gateway, want string }{
		{"a", "a: b > b: " + addr},
		{"none", "none: no route = no_route"},
		{"b", "b: " + addr},
	} {
		s.Decide(s.ByName(tt.gateway), r, &routingtest.Counters{}, &d)
		if got := way(&d); got != tt.want {
			t.Errorf("decision %q, want %q", got, tt.want)
		}
	}
}

// deciding returns a gateway of five routes with three conditions on fields,
// and a request of ten fields, of which the last but one decides.
func deciding(tb testing.TB) (*routing.Snapshot, *routing.CompiledGateway, *routingtest.Request) {
	tb.Helper()
	s, faults := compile(table(1, gateway("shop", 9000,
		when("[a:1]", 1000, "header X-Canary contains yes", full),
		when("[b:1]", 1000, "has header X-Beta", half),
		when("[c:1]", 1000, "header X-Group contains staff", half),
		route("[d:1]", 3000), route("[e:1]", 4000))))
	if len(faults) != 0 {
		tb.Fatal(faults)
	}
	return s, s.ByName("shop"), routingtest.NewRequest("GET", "shop.example", "/cart?item=1",
		"Host: shop.example", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
		"Accept: text/html", "Accept-Language: en", "Accept-Encoding: gzip", "Connection: keep-alive",
		"Cookie: session=0123456789abcdef", "Referer: https://shop.example/", "X-Group: staff", "X-Last: 1")
}

func TestDecideDoesNotAllocate(t *testing.T) {
	s, g, r := deciding(t)
	draws := &routingtest.Counters{Down: map[string]bool{}}
	var d routing.Decision
	for _, down := range []bool{false, true} {
		draws.Down["[d:1]"] = down
		if n := testing.AllocsPerRun(1_000, func() { s.Decide(g, r, draws, &d) }); n != 0 {
			t.Errorf("with a route down = %t: %.1f allocations, want 0", down, n)
		}
	}
}

// FuzzDecide holds what any decision holds, whatever the table.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(1))
	f.Add(uint64(2))
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		prev, _ := compile(table(1, randomTable(random)...))
		s, _ := routing.Compile(prev, table(2, randomTable(random)...), routing.CompileOptions{Seed: seed})
		checkSnapshot(t, s)
		draws := &routingtest.Counters{Down: map[string]bool{"[a:1]": random.IntN(2) == 0, "[b:1]": random.IntN(4) == 0}}
		var d routing.Decision
		for range 20 {
			r := routingtest.NewRequest("GET", "shop.example", "/", "User-Agent: "+[]string{"Firefox", "Chrome", "curl"}[random.IntN(3)])
			for _, g := range s.Gateways() {
				s.Decide(g, r, draws, &d)
				checkDecision(t, s, g, r, draws, &d)
			}
		}
	})
}

// randomTable returns gateways that lead to each other at random.
func randomTable(random *rand.Rand) (all []*routing.Gateway) {
	names := []string{"a", "b", "c/d", "e/f/g"}
	for i, name := range names {
		g := gateway(name, 9000+random.IntN(6))
		g.Port.Type = routing.PortType(random.IntN(8) / 7)
		g.Unavailable = routing.UnavailableMode(random.IntN(2))
		left := full
		paths := []string{"[a:1]", "[b:1]", "[c:1]", names[random.IntN(len(names))], "gone"}
		random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		for _, path := range paths[:random.IntN(len(paths)+1)] {
			w := routing.Weight(random.IntN(int(left)/100+1) * 100)
			left -= w
			r := route(path, w)
			if random.IntN(2) == 0 {
				r.Condition = []string{"user-agent == Firefox", "not user-agent == Firefox", "user-agent == Chrome"}[random.IntN(3)]
				r.Strength = routing.Weight(random.IntN(5) * 2500)
			}
			g.Routes = append(g.Routes, r)
		}
		if n := len(g.Routes); n > 0 {
			g.Routes[n-1].Weight += left
			if random.IntN(8) == 0 {
				for _, r := range g.Routes {
					r.Weight = 0
				}
			}
		}
		if i == 0 || random.IntN(6) > 0 {
			all = append(all, g)
		}
	}
	return all
}

// checkDecision fails unless a decision follows from conditions, weights and
// what is usable.
func checkDecision(t *testing.T, s *routing.Snapshot, g *routing.CompiledGateway, r *routingtest.Request, draws routing.Draws, d *routing.Decision) {
	t.Helper()
	if d.Depth < 1 || d.Hops[0].Gateway != g {
		t.Fatalf("%s: the walk does not start there", way(d))
	}
	for i := range d.Hops[:d.Depth] {
		h := &d.Hops[i]
		for j, c := range h.Gateway.Conditions {
			if holds := c.Condition.Holds(r); j <= h.Held && holds != (j == h.Held) {
				t.Errorf("%s: hop %d: condition %d holds = %t", way(d), i, j+1, holds)
			}
		}
		if h.Route == nil {
			if i != d.Depth-1 || d.Reason != routing.ReasonNoRoute || h.Gateway.Weights != nil {
				t.Errorf("%s: no route, while there are weights or the walk goes on", way(d))
			}
			continue
		}
		redistributes := h.Gateway.Asked.Unavailable == routing.UnavailableRedistribute
		if h.Taken && h.Route != h.Gateway.Conditions[h.Held] && !redistributes {
			t.Errorf("%s: hop %d was taken by another route", way(d), i)
		}
		if !h.Taken && h.Route.Weight == 0 {
			t.Errorf("%s: hop %d has a route of weight 0", way(d), i)
		}
		usable := h.Route.Target.Kind == routing.TargetAddress && draws.Usable(h.Gateway, h.Route) ||
			h.Route.Target.Kind == routing.TargetGateway && len(s.Slot(h.Route.Target.Slot).Routes) > 0
		if last := i == d.Depth-1; !last && (!usable || s.Slot(h.Route.Target.Slot) != d.Hops[i+1].Gateway) {
			t.Errorf("%s: hop %d does not lead to the next", way(d), i)
		} else if last && usable != (d.Reason == routing.ReasonNone) {
			t.Errorf("%s: usable = %t", way(d), usable)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	s, g, r := deciding(b)
	draws := &routingtest.Counters{}
	plain := routingtest.NewRequest("GET", "shop.example", "/")
	var d routing.Decision
	for _, bm := range []struct {
		name    string
		request *routingtest.Request
	}{
		{"5 routes, 3 conditions, 10 fields", r},
		{"5 routes, 3 conditions, no fields", plain},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(g, bm.request, draws, &d)
			}
		})
	}
}
