// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

func TestLookupNames(t *testing.T) {
	// The first two are what Vamp computed.
	for _, tt := range []struct{ name, got, want string }{
		{"a gateway", routing.GatewayID("sava"), "12124c341ed3d8fef79211aef7120214a358d08d"},
		{"a route", routing.RouteID("sava", "sava1"), "4e9f1f005380e23065820c11bcad29076d59046d"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is %s, want %s", tt.name, tt.got, tt.want)
		}
	}
	seen := map[string]bool{}
	for i := range 10_000 {
		id := routing.RouteID("g", fmt.Sprintf("a/%d", i))
		if strings.HasPrefix(id, "0") || len(id) > 40 || seen[id] {
			t.Fatalf("%q: leading zeros, too long or not unique", id)
		}
		seen[id] = true
	}
}

// sticky compiles a gateway with routes a and b over addresses.
func sticky(t *testing.T, text string) (*routing.Snapshot, *routing.CompiledGateway) {
	t.Helper()
	docs, faults := routing.Read("t.yaml", []byte(text))
	table, more := routing.Resolve(docs)
	table.Version.Revision = 1
	s, last := routing.Compile(nil, table, routing.CompileOptions{Seed: 7})
	for _, f := range append(append(faults, more...), last...) {
		if f.Severity == routing.Refused {
			t.Fatal(f)
		}
	}
	return s, s.Gateways()[0]
}

const twoRoutes = `
name: g
port: 9050
sticky: route
routes:
  "[10.0.0.1:80]": {weight: 90%}
  "[10.0.0.2:80]": {weight: 10%, condition: has header X-Beta, condition_strength: 50%}
`

func TestStickyByCookie(t *testing.T) {
	s, g := sticky(t, twoRoutes)
	one, two := g.Routes[0], g.Routes[1]
	o, im := g.Sticky.Cookie, two.StrengthCookie()
	if want := "o_" + routing.GatewayID("g"); o != want {
		t.Fatalf("cookie = %s, want %s", o, want)
	}
	pair := func(name, value string) string { return name + "=" + value }
	for _, tt := range []struct {
		name    string
		fields  []string
		route   *routing.CompiledRoute // nil: whatever is drawn
		pins    routing.Pins
		tickets int
	}{
		{"a new client is drawn", nil, nil, routing.WeightsDrawn, 1},
		{"a client stays on its route", []string{"Cookie: " + pair(o, two.ID)}, two, routing.WeightsPinned, 0},
		{"also beside other cookies", []string{"Cookie: a=b; " + pair(o, one.ID) + "; c=d"}, one, routing.WeightsPinned, 0},
		{"also on a second line", []string{"Cookie: a=b", "Cookie: " + pair(o, one.ID)}, one, routing.WeightsPinned, 0},
		{"an unknown value is drawn anew", []string{"Cookie: " + pair(o, "nothing")}, nil, routing.WeightsDrawn, 1},
		{"a value cut short is drawn anew", []string{"Cookie: " + pair(o, two.ID[:20])}, nil, routing.WeightsDrawn, 1},
		{"the second of two counts if the first is unknown", []string{"Cookie: " + pair(o, "x") + "; " + pair(o, two.ID)}, two, routing.WeightsPinned, 0},
		{"another gateway's cookie is not ours", []string{"Cookie: " + pair("o_"+routing.GatewayID("h"), two.ID)}, nil, routing.WeightsDrawn, 1},
		{"a strength that was won stays won", []string{"X-Beta: 1", "Cookie: " + pair(im, two.ID)}, two, routing.StrengthPinned, 0},
		{"a strength that was lost goes to the weights", []string{"X-Beta: 1", "Cookie: " + pair(im, o)}, nil, routing.StrengthPinned | routing.WeightsDrawn, 1},
		{"both may be kept", []string{"X-Beta: 1", "Cookie: " + pair(im, o) + "; " + pair(o, one.ID)}, one, routing.StrengthPinned | routing.WeightsPinned, 0},
		{"the condition comes before the cookie of the weights", []string{"X-Beta: 1", "Cookie: " + pair(im, two.ID) + "; " + pair(o, one.ID)}, two, routing.StrengthPinned, 0},
		{"a forged strength is drawn anew", []string{"X-Beta: 1", "Cookie: " + pair(im, one.ID) + "; " + pair(o, one.ID)}, nil, 0, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			draws := &countingDraws{}
			var d routing.Decision
			s.Decide(g, routingtest.NewRequest("GET", "x", "/", tt.fields...), draws, &d)
			h := d.Last()
			if tt.route != nil && h.Route != tt.route {
				t.Errorf("route %s, want %s", h.Route.Path, tt.route.Path)
			}
			if tt.tickets >= 0 && (h.Pins != tt.pins || draws.taken != tt.tickets) {
				t.Errorf("pins %b and %d tickets, want %b and %d", h.Pins, draws.taken, tt.pins, tt.tickets)
			}
			if tt.tickets < 0 && h.Pins&routing.StrengthDrawn == 0 {
				t.Errorf("pins %b, want the strength drawn anew", h.Pins)
			}
		})
	}
}

// countingDraws counts the tickets that are taken.
type countingDraws struct{ taken int }

func (d *countingDraws) Ticket(s *routing.Split) uint64 { d.taken++; return s.Next() }

func (*countingDraws) Usable(*routing.CompiledGateway, *routing.CompiledRoute) bool { return true }

func (*countingDraws) Open(*routing.CompiledGateway, *routing.CompiledRoute) uint64 { return 0 }

func TestWeightZeroDrainsOrCuts(t *testing.T) {
	text := `
name: g
port: 9050
sticky: route
sluice: {affinity: {at_zero: %s}}
routes: {"[10.0.0.1:80]": {weight: 100%%}, "[10.0.0.2:80]": {weight: 0%%}}
`
	for _, tt := range []struct {
		mode string
		want int // the route of who was on the second
	}{{"drain", 1}, {"cut", 0}} {
		s, g := sticky(t, fmt.Sprintf(text, tt.mode))
		var d routing.Decision
		r := routingtest.NewRequest("GET", "x", "/", "Cookie: "+g.Sticky.Cookie+"="+g.Routes[1].ID)
		s.Decide(g, r, &countingDraws{}, &d)
		if d.Last().Route.Index != tt.want {
			t.Errorf("at_zero %s leads to route %d, want %d", tt.mode, d.Last().Route.Index, tt.want)
		}
	}
}

func TestAllWeightsZeroStillServeWhoIsThere(t *testing.T) {
	s, g := sticky(t, "{name: g, port: 9050, sticky: route, routes: {\"[10.0.0.1:80]\": {weight: 0%}, \"[10.0.0.2:80]\": {weight: 0%}}}")
	var d routing.Decision
	s.Decide(g, routingtest.NewRequest("GET", "x", "/", "Cookie: "+g.Sticky.Cookie+"="+g.Routes[1].ID), &countingDraws{}, &d)
	if d.Reason != routing.ReasonNone || d.Last().Route != g.Routes[1] {
		t.Errorf("reason %v, want the route of the cookie", d.Reason)
	}
	s.Decide(g, routingtest.NewRequest("GET", "x", "/"), &countingDraws{}, &d)
	if d.Reason != routing.ReasonNoRoute {
		t.Errorf("reason %v, want no_route for a new client", d.Reason)
	}
}

// keyed compiles a gateway whose users have a key, with weights in percent.
func keyed(t *testing.T, weights ...int) (*routing.Snapshot, *routing.CompiledGateway) {
	t.Helper()
	var b strings.Builder
	b.WriteString("name: g\nport: 9050\nsluice: {affinity: {key: header(x-user)}}\nroutes:\n")
	for i, w := range weights {
		fmt.Fprintf(&b, "  \"[10.0.0.%d:80]\": {weight: %d%%}\n", i+1, w)
	}
	return sticky(t, b.String())
}

// places decides for n users.
func places(t *testing.T, n int, weights ...int) []int {
	t.Helper()
	s, g := keyed(t, weights...)
	got := make([]int, n)
	draws := &countingDraws{}
	var d routing.Decision
	for i := range got {
		s.Decide(g, routingtest.NewRequest("GET", "x", "/", fmt.Sprintf("X-User: user-%d", i)), draws, &d)
		got[i] = d.Last().Route.Index
	}
	if draws.taken != 0 {
		t.Errorf("%d tickets were taken, want none", draws.taken)
	}
	return got
}

func TestRaisingAWeightMovesUsersOnlyIntoItsRoute(t *testing.T) {
	const n = 20_000
	for _, tt := range []struct {
		name          string
		before, after []int
		raised        int
	}{
		{"10 to 20 of two", []int{90, 10}, []int{80, 20}, 1},
		{"0 to 1 of two", []int{100, 0}, []int{99, 1}, 1},
		{"50 to 100 of two", []int{50, 50}, []int{0, 100}, 1},
		{"of three whose others keep their ratio", []int{60, 30, 10}, []int{40, 20, 40}, 2},
		{"a third one beside two", []int{50, 50, 0}, []int{40, 40, 20}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, after := places(t, n, tt.before...), places(t, n, tt.after...)
			moved := 0
			for i := range before {
				if before[i] == after[i] {
					continue
				}
				moved++
				if after[i] != tt.raised {
					t.Fatalf("user %d moved from route %d to %d", i, before[i], after[i])
				}
			}
			want := float64(tt.after[tt.raised]-tt.before[tt.raised]) / 100 * n
			if sigma := math.Sqrt(want); math.Abs(float64(moved)-want) > 4*sigma {
				t.Errorf("%d users moved, want about %.0f", moved, want)
			}
		})
	}
}

func TestKeysShareAsAsked(t *testing.T) {
	const n = 50_000
	weights := []int{55, 30, 14, 1}
	counts := make([]float64, len(weights))
	for _, place := range places(t, n, weights...) {
		counts[place]++
	}
	for i, w := range weights {
		want := float64(w) / 100 * n
		if math.Abs(counts[i]-want) > 4*math.Sqrt(want) {
			t.Errorf("route %d has %.0f users, want about %.0f", i, counts[i], want)
		}
	}
}

func TestWhoHasNoKeyIsDrawn(t *testing.T) {
	s, g := keyed(t, 50, 50)
	draws := &countingDraws{}
	var d routing.Decision
	s.Decide(g, routingtest.NewRequest("GET", "x", "/"), draws, &d)
	if draws.taken != 1 || d.Last().Pins != routing.WeightsDrawn {
		t.Errorf("%d tickets, pins %b; want one, drawn", draws.taken, d.Last().Pins)
	}
}

func TestStrengthByKeyIsMonotone(t *testing.T) {
	taken := func(strength int) map[int]bool {
		s, g := sticky(t, fmt.Sprintf("{name: g, port: 9050, sluice: {affinity: {key: cookie(id)}}, routes: {\"[10.0.0.1:80]\": {weight: 100%%}, "+
			"\"[10.0.0.2:80]\": {weight: 0%%, condition: has header X-Beta, condition_strength: %d%%}}}", strength))
		got := map[int]bool{}
		var d routing.Decision
		for i := range 5000 {
			s.Decide(g, routingtest.NewRequest("GET", "x", "/", "X-Beta: 1", fmt.Sprintf("Cookie: id=u%d", i)), &countingDraws{}, &d)
			if d.Last().Taken {
				got[i] = true
			}
		}
		return got
	}
	ten, twenty := taken(10), taken(20)
	for i := range ten {
		if !twenty[i] {
			t.Fatalf("user %d was taken at 10 %% and is not at 20 %%", i)
		}
	}
	if n := len(ten); n < 410 || n > 590 {
		t.Errorf("%d of 5,000 taken at 10 %%", n)
	}
	if n := len(twenty); n < 880 || n > 1120 {
		t.Errorf("%d of 5,000 taken at 20 %%", n)
	}
}

func TestKeyByAddress(t *testing.T) {
	s, g := sticky(t, "{name: g, port: 9050, sluice: {affinity: {key: ip}}, routes: {\"[10.0.0.1:80]\": {weight: 50%}, \"[10.0.0.2:80]\": {weight: 50%}}}")
	seen := map[string]int{}
	for range 3 {
		for i := range 50 {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			for _, a := range []netip.Addr{addr, netip.AddrFrom16(addr.As16())} {
				r := routingtest.NewRequest("GET", "x", "/")
				r.Conn().Client = netip.AddrPortFrom(a, 1234)
				var d routing.Decision
				s.Decide(g, r, &countingDraws{}, &d)
				if was, known := seen[addr.String()]; known && was != d.Last().Route.Index {
					t.Fatalf("%s moved", a)
				}
				seen[addr.String()] = d.Last().Route.Index
			}
		}
	}
}

func TestStickyDecideDoesNotAllocate(t *testing.T) {
	s, g := sticky(t, twoRoutes)
	ks, kg := keyed(t, 50, 50)
	r := routingtest.NewRequest("GET", "x", "/", "X-Beta: 1", "X-User: u", "Cookie: a=b; "+g.Sticky.Cookie+"="+g.Routes[1].ID)
	draws := &countingDraws{}
	var d routing.Decision
	for name, f := range map[string]func(){
		"cookie": func() { s.Decide(g, r, draws, &d) },
		"key":    func() { ks.Decide(kg, r, draws, &d) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func BenchmarkSticky(b *testing.B) {
	t := &testing.T{}
	s, g := sticky(t, twoRoutes)
	ks, kg := keyed(t, 50, 30, 20)
	var d routing.Decision
	draws := &countingDraws{}
	b.Run("cookie", func(b *testing.B) {
		r := routingtest.NewRequest("GET", "x", "/", "Cookie: a=b; session=0123456789; "+g.Sticky.Cookie+"="+g.Routes[1].ID)
		b.ReportAllocs()
		for b.Loop() {
			s.Decide(g, r, draws, &d)
		}
	})
	b.Run("key", func(b *testing.B) {
		r := routingtest.NewRequest("GET", "x", "/", "X-User: user-1")
		b.ReportAllocs()
		for b.Loop() {
			ks.Decide(kg, r, draws, &d)
		}
	})
}
