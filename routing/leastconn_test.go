// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// leastConn returns a snapshot of one tcp gateway between whose routes the
// least connections decide.
func leastConn(t *testing.T, routes ...*routing.Route) *routing.Snapshot {
	t.Helper()
	g := tcp(gateway("db", 5432, routes...))
	g.BetweenRoutes = routing.BetweenLeastConn
	s, faults := compile(table(1, g))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return s
}

func TestLeastConnectionsBetweenRoutes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		weights []routing.Weight
		down    string
		stay    bool // connections stay open
		want    map[string]int
	}{
		{"those that stay are spread by weight", []routing.Weight{7000, 3000}, "", true, map[string]int{"[a:1]": 70, "[b:1]": 30}},
		{"also where one is small", []routing.Weight{9900, 100}, "", true, map[string]int{"[a:1]": 99, "[b:1]": 1}},
		{"one after the other they are spread evenly", []routing.Weight{7000, 3000}, "", false, map[string]int{"[a:1]": 50, "[b:1]": 50}},
		{"weight 0 gets none", []routing.Weight{5000, 5000, 0}, "", true, map[string]int{"[a:1]": 50, "[b:1]": 50}},
		{"a route that cannot serve is passed over", []routing.Weight{5000, 2500, 2500}, "[a:1]", true, map[string]int{"[b:1]": 50, "[c:1]": 50}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var routes []*routing.Route
			for i, w := range tt.weights {
				routes = append(routes, route("["+string(rune('a'+i))+":1]", w))
			}
			s := leastConn(t, routes...)
			draws := &routingtest.Tickets{Busy: map[string]uint64{}, Down: map[string]bool{tt.down: true}}
			got := map[string]int{}
			for range 100 {
				var d routing.Decision
				s.Decide(s.ByName("db"), routingtest.NewRequest("", "", ""), draws, &d)
				if d.Reason != routing.ReasonNone {
					t.Fatalf("decision %q", way(&d))
				}
				path := d.Last().Route.Path
				got[path]++
				if tt.stay {
					draws.Busy[path]++
				}
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("connections by route: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLeastConnectionsWithoutAnythingThatServes(t *testing.T) {
	s := leastConn(t, route("[a:1]", half), route("[b:1]", half))
	var d routing.Decision
	s.Decide(s.ByName("db"), routingtest.NewRequest("", "", ""), &routingtest.Tickets{Down: map[string]bool{"[a:1]": true, "[b:1]": true}}, &d)
	if d.Reason != routing.ReasonNoInstance || d.Last().Route == nil {
		t.Errorf("decision %q, want a route and no instance", way(&d))
	}
}

func TestExplainTellsOfLeastConnections(t *testing.T) {
	s := leastConn(t, route("[a:1]", 7000), route("[b:1]", 3000))
	e, err := s.Explain(routing.ExplainRequest{Method: "GET", URL: "http://x/", Gateway: "db", WhyNot: "[b:1]"}, routing.ExplainOptions{
		Live: reachable{open: map[string]uint64{"[a:1]": 7, "[b:1]": 4}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := e.Hops[0]
	if h.Via != "leastconn" || h.Route != "[a:1]" || len(h.Open) != 2 || h.Open[1] != (routing.OpenConnections{Route: "[b:1]", Weight: "30%", Connections: 4}) {
		t.Errorf("the hop is %+v", h)
	}
	if len(e.Shares) != 1 || e.Shares[0].Fraction != "1" || !e.Shares[0].Chosen {
		t.Errorf("the shares are %+v, want all to [a:1]", e.Shares)
	}
	text := e.Format()
	for _, want := range []string{"The fewest connections for its weight has [a:1]:", "[b:1]: 4 open, weight 30%"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told in:\n%s", want, text)
		}
	}
	if e.WhyNot.Reason != routing.WhyWeights || !strings.Contains(e.WhyNot.Text, "fewer connections") {
		t.Errorf("why not: %+v", e.WhyNot)
	}
}
