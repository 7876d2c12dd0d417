// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// selects returns a gateway with a selector.
func selects(name, selector string) *routing.Gateway {
	g := gateway(name, 0)
	g.Selector = selector
	return g
}

func TestSelect(t *testing.T) {
	v1, v2 := instance("10.0.0.1", "app=shop", "version=1"), instance("10.0.0.2", "app=shop", "version=2")
	base, err := routing.ParseBaseSelector("not label(version)(2) or namespace(${namespace})")
	if err != nil {
		t.Fatal(err)
	}
	own := route("web", routing.FullWeight)
	own.Selector = "label(version)(2)"
	half := route("web", routing.FullWeight/2)
	half.Selector = "label(version)(2)"
	nothing := route("web", routing.FullWeight)
	nothing.Selector = "false"
	lost := route("web", routing.FullWeight)
	lost.Selector = "label(version)(3)"
	for _, tt := range []struct {
		name     string
		gateways []*routing.Gateway
		options  routing.SelectOptions
		want     string // routes of each gateway with their number of instances
		faults   string
	}{
		{"groups become routes", []*routing.Gateway{selects("a", "label(version)((.*))")}, routing.SelectOptions{}, "a: (1) 100%/1, (2) 0%/1", ""},
		{"a route's own selector fills that route", []*routing.Gateway{gateway("a", 0, own, route("[x:1]", 0))}, routing.SelectOptions{}, "a: web 100%/1, [x:1] 0%/0", ""},
		{"without a selector all stays", []*routing.Gateway{gateway("a", 0, route("[x:1]", routing.FullWeight))}, routing.SelectOptions{}, "a: [x:1] 100%/0", ""},
		{"the base selector counts everywhere", []*routing.Gateway{selects("a", "label(version)((.*))")}, routing.SelectOptions{Base: base, Namespace: "x"}, "a: (1) 100%/1", ""},
		{"a selector that finds nothing is told", []*routing.Gateway{selects("a", "false"), gateway("b", 0, lost)}, routing.SelectOptions{}, "a: ; b: web 100%/0", "(a SelectorFindsNothing), (b SelectorFindsNothing)"},
		{"two that find one instance are told", []*routing.Gateway{selects("a", "true"), selects("b", "label(version)(2)")}, routing.SelectOptions{}, "a: () 100%/2; b: () 100%/1", "(b InstanceClaimedTwice)"},
		{"not if one has nothing to share out", []*routing.Gateway{selects("a", "true"), gateway("b", 0, own)}, routing.SelectOptions{}, "a: () 100%/2; b: web 100%/1", ""},
		{"but if it spreads by weight", []*routing.Gateway{selects("a", "true"), gateway("b", 0, half, route("[x:1]", routing.FullWeight/2))}, routing.SelectOptions{}, "a: () 100%/2; b: web 50%/1, [x:1] 50%/0", "(b InstanceClaimedTwice)"},
		{"a selector that says that it finds nothing is not told of", []*routing.Gateway{gateway("b", 0, nothing)}, routing.SelectOptions{}, "b: web 100%/0", ""},
		{"a selector that does not parse is refused", []*routing.Gateway{selects("a", "label(x)"), selects("b", "true")}, routing.SelectOptions{}, "b: () 100%/2; broken a", "a InvalidSelectorError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := routing.NewInstances([]*routing.Instance{v2, v1})
			out, _, faults := routing.Select(nil, table(1, tt.gateways...), is, epoch, tt.options)
			var got []string
			for _, g := range out.Gateways {
				var routes []string
				for _, r := range g.Routes {
					routes = append(routes, fmt.Sprintf("%s %s/%d", r.Path, r.Weight, len(r.Instances)))
				}
				got = append(got, g.Name+": "+strings.Join(routes, ", "))
			}
			for _, name := range out.Broken {
				got = append(got, "broken "+name)
			}
			if text := strings.Join(got, "; "); text != tt.want || codes(faults) != tt.faults {
				t.Errorf("got %s, faults %s, want %s, faults %s", text, codes(faults), tt.want, tt.faults)
			}
		})
	}
}

// versions returns instances of as many versions.
func versions(n int) *routing.Instances {
	var list []*routing.Instance
	for i := range n {
		list = append(list, instance(fmt.Sprintf("10.0.%d.%d", i/256, i%256), "app=shop", fmt.Sprintf("version=%d", i)))
	}
	return routing.NewInstances(list)
}

func TestSelectBoundsGroups(t *testing.T) {
	asked := table(1, selects("a", "label(version)((.*))"))
	good, selection, _ := routing.Select(nil, asked, versions(1000), epoch, routing.SelectOptions{})
	if n := len(good.Gateways[0].Routes); n != 1000 {
		t.Fatalf("%d routes, want 1000", n)
	}
	out, after, faults := routing.Select(selection, asked, versions(10_000), epoch, routing.SelectOptions{})
	if len(out.Gateways) != 0 || len(out.Broken) != 1 || codes(faults) != "a TooManyGroups" || !strings.Contains(faults[0].Problem, "10000 groups") {
		t.Errorf("10,000 groups: %d gateways, broken %v, faults %v", len(out.Gateways), out.Broken, faults)
	}
	if len(after.Known("a")) != 1000 || len(after.Groups("a")) != 1000 {
		t.Errorf("%d routes and %d groups are remembered, want the 1000 that serve", len(after.Known("a")), len(after.Groups("a")))
	}
}

func TestSelectRemembers(t *testing.T) {
	asked := table(1, selects("a", "label(version)((.*))"))
	_, selection, _ := routing.Select(nil, asked, versions(1), epoch, routing.SelectOptions{})
	out, selection, _ := routing.Select(selection, asked, versions(2), epoch, routing.SelectOptions{})
	if got := shown(out.Gateways[0].Routes); got != "(0) 100, (1) 0" {
		t.Errorf("routes %s, want the first to keep all", got)
	}
	// A text that is broken for a while forgets nothing.
	broken := &routing.Table{Broken: []string{"a"}}
	_, selection, _ = routing.Select(selection, broken, versions(2), epoch, routing.SelectOptions{})
	if n := len(selection.Known("a")); n != 2 {
		t.Errorf("%d routes are known, want 2", n)
	}
	_, selection, _ = routing.Select(selection, table(2), versions(2), epoch, routing.SelectOptions{})
	if n := len(selection.Known("a")); n != 0 {
		t.Errorf("%d routes of a gateway that is gone are known", n)
	}
	if asked.Gateways[0].Routes != nil {
		t.Error("the table that was handed in is changed")
	}
}

func BenchmarkSelect(b *testing.B) {
	var gateways []*routing.Gateway
	var list []*routing.Instance
	for i := range 1000 {
		gateways = append(gateways, selects(fmt.Sprintf("g%d", i), fmt.Sprintf("label(app)(app%d) and label(version)((.*))", i)))
		for k := range 10 {
			list = append(list, instance(fmt.Sprintf("10.%d.%d.%d", k, i/256, i%256), fmt.Sprintf("app=app%d", i), fmt.Sprintf("version=%d", k%2)))
		}
	}
	asked := table(1, gateways...)
	b.Run("1000 gateways, 10000 instances", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = routing.Select(nil, asked, routing.NewInstances(list), time.Time{}, routing.SelectOptions{})
		}
	})

	gateways, list = nil, nil
	for i := range 5000 {
		gateways = append(gateways, selects(fmt.Sprintf("g%d", i), fmt.Sprintf(`(id(/shop/web%d-1\.0) or id(/shop/web%d-1\.1)) and index(0)`, i, i)))
		for k := range 4 {
			one := instance(fmt.Sprintf("10.%d.%d.%d", k, i/256, i%256))
			one.Name = fmt.Sprintf("web%d-1.%d", i, k%2)
			one.ID = "/shop/" + one.Name
			list = append(list, one)
		}
	}
	asked = table(1, gateways...)
	b.Run("5000 gateways that ask for apps by ID, 20000 instances", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = routing.Select(nil, asked, routing.NewInstances(list), time.Time{}, routing.SelectOptions{})
		}
	})
}
