// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// runs is an object with instances.
func runs(t *testing.T, text string) discovery.Update {
	t.Helper()
	list, faults := routing.ReadInstances("instances.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return discovery.Update{Key: "instances.yaml", Instances: list}
}

func TestPlanResolvesSelectors(t *testing.T) {
	const (
		one  = "- {address: 10.0.0.1, port: 80, labels: {version: 1}}\n"
		two  = "- {address: 10.0.0.2, port: 80, labels: {version: 2}}\n"
		text = "name: shop\nport: 80\nselector: label(version)((.*))\n"
	)
	synctest.Test(t, func(t *testing.T) {
		p := planner.New(planner.Options{Epoch: 1})
		docs, faults := routing.Read("shop.yaml", []byte(text))
		p.Put([]discovery.Update{{Key: "shop.yaml", Documents: docs, Faults: faults}, runs(t, two)})
		table, _ := plan(p)
		if r := table.Gateways[0].Routes; len(r) != 1 || r[0].Path != "(2)" || r[0].Weight != routing.FullWeight {
			t.Fatalf("routes %+v, want (2) with all", r)
		}
		time.Sleep(time.Minute) // of the test's own clock
		p.Put([]discovery.Update{runs(t, one+two)})
		table, _ = plan(p)
		if r := table.Gateways[0].Routes; len(r) != 2 || r[0].Path != "(2)" || r[1].Path != "(1)" || r[1].Weight != 0 {
			t.Fatalf("routes %+v, want (2), which is older, then (1) with nothing", r)
		}
		if since := table.Gateways[0].Routes[1].Instances[0].Since.Sub(table.Gateways[0].Routes[0].Instances[0].Since); since != time.Minute {
			t.Errorf("the instance that came later is known since %v later, want 1m", since)
		}
		// The same again, read anew, changes nothing.
		p.Put([]discovery.Update{runs(t, one+two)})
		if again, _ := plan(p); again != table {
			t.Error("an equal list makes another table")
		}
		p.Put([]discovery.Update{runs(t, one)})
		table, faults = plan(p)
		if r := table.Gateways[0].Routes; len(r) != 1 || r[0].Weight != routing.FullWeight {
			t.Errorf("routes %+v, want (1) with all", r)
		}
		if len(faults) != 1 || faults[0].Code != "RoutePromoted" || faults[0].Severity != routing.Warning {
			t.Errorf("faults %v, want a warning that (1) takes all", faults)
		}
		s := p.Status("")
		g := s.Gateways[0].Groups
		if len(g) != 2 || g[0].Name != "(2)" || g[0].Gone == nil || len(g[0].Instances) != 0 ||
			g[1].Name != "(1)" || g[1].Gone != nil || !g[1].Promoted || g[1].Instances[0] != "10.0.0.1:80" {
			t.Errorf("groups %+v", g)
		}
		if s.Objects[0].Instances != 1 {
			t.Errorf("objects %+v, want one with an instance", s.Objects)
		}
		p.Put([]discovery.Update{runs(t, one+two)})
		table, _ = plan(p)
		if r := table.Gateways[0].Routes; len(r) != 2 || r[0].Path != "(2)" || r[0].Weight != routing.FullWeight {
			t.Errorf("routes %+v, want (2) to have its weight back", r)
		}
	})
}

// Another task may be at the address of one that has ended.
func TestASourceKnowsSinceWhenAnInstanceIsThere(t *testing.T) {
	p := planner.New(planner.Options{Epoch: 1})
	docs, faults := routing.Read("shop.yaml", []byte("{name: shop, port: 80, selector: 'true'}"))
	p.Put([]discovery.Update{{Key: "shop.yaml", Documents: docs, Faults: faults}})
	first, second := time.Unix(1000, 0), time.Unix(2000, 0)
	for _, tt := range []struct {
		name       string
		told, want time.Time
	}{
		{"when it is found", first, first},
		{"what is there next", second, second},
		{"what is told without a time stays", time.Time{}, second},
	} {
		u := runs(t, "- {address: 10.0.0.1, port: 80}\n")
		u.Instances[0].Since = tt.told
		p.Put([]discovery.Update{u})
		table, _ := plan(p)
		if got := table.Gateways[0].Routes[0].Instances[0].Since; !got.Equal(tt.want) {
			t.Errorf("%s: since %v, want %v", tt.name, got, tt.want)
		}
	}
}
