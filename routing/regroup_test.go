// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// epoch is when the tests of groups begin.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// groups makes a group of one instance of each name; one that is written
// NAME@N is known since minute N.
func groups(names string) []routing.Group {
	var all []routing.Group
	for i, name := range strings.Fields(names) {
		name, since, _ := strings.Cut(name, "@")
		minutes, _ := strconv.Atoi(since)
		all = append(all, routing.Group{Name: name, Instances: []*routing.Instance{{
			Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Port: 80, Ready: true, Since: epoch.Add(time.Duration(minutes) * time.Minute),
		}}})
	}
	return all
}

// writes makes the written routes of "v1 50, v2 50".
func writes(text string) []*routing.Route {
	var all []*routing.Route
	for one := range strings.SplitSeq(text, ", ") {
		if name, weight, ok := strings.Cut(one, " "); ok {
			percent, _ := strconv.ParseFloat(weight, 64)
			all = append(all, &routing.Route{Path: name, Weight: routing.Weight(percent * 100)})
		}
	}
	return all
}

func shown(routes []*routing.Route) string {
	var all []string
	for _, r := range routes {
		all = append(all, r.Path+" "+strings.TrimSuffix(r.Weight.String(), "%"))
	}
	return strings.Join(all, ", ")
}

// TestRegroup plays what happens to gateways. A step is "MINUTE: GROUPS =>
// ROUTES", where "wrote: ROUTES" changes the text before, and " !" at the end
// says that a route without weight was promoted.
func TestRegroup(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []string
	}{
		{"of several that appear one has all", []string{"0: v1 v2 => v1 100, v2 0"}},
		{"namely the one that is known for longest", []string{"3: v1@2 v2@1 => v2 100, v1 0"}},
		{"one that appears beside one with all has nothing", []string{"0: v1 => v1 100", "1: v1 v2@1 => v1 100, v2 0"}},
		{"one of two equal ones that is left has all", []string{"wrote: v1 50, v2 50", "0: v1 v2 => v1 50, v2 50", "1: v1 => v1 100"}},
		{"what is left keeps its proportion", []string{"wrote: v1 60, v2 20, v3 20", "0: v1 v2 v3 => v1 60, v2 20, v3 20", "1: v1 v3 => v1 75, v3 25"}},
		{"a new one takes what a vanished one had", []string{"wrote: v1 50, v2 50", "0: v1 v2 => v1 50, v2 50", "1: v1 v3@1 => v1 50, v3 50"}},
		{"of several new ones the oldest does", []string{"wrote: v1 50, v2 50", "0: v1 v2 => v1 50, v2 50", "3: v1 v3@2 v4@1 => v1 50, v4 50, v3 0"}},
		{"of those as old the first by name", []string{"wrote: v1 50, v2 50", "0: v1 v2 => v1 50, v2 50", "3: v1 v4@1 v3@1 => v1 50, v3 50, v4 0"}},
		{"the total is exactly 100, the largest takes what rounding leaves", []string{"wrote: v1 33, v2 33, v3 34", "0: v1 v2 v3 => v1 33, v2 33, v3 34", "1: v2 v3 => v2 49, v3 51"}},
		{"finer weights are scaled finely", []string{"wrote: v1 33.33, v2 33.33, v3 33.34", "0: v1 v2 v3 => v1 33.33, v2 33.33, v3 33.34", "1: v2 v3 => v2 49.99, v3 50.01"}},
		{"a survivor at 0 has all, and that is told", []string{"wrote: v1 0, v2 100", "0: v1 v2 => v1 0, v2 100", "1: v1 => v1 100 !"}},
		{"of several the one that is known for longest", []string{"wrote: v1 0, v3 0, v2 100", "5: v1@2 v3@1 v2 => v1 0, v3 0, v2 100", "6: v1@2 v3@1 => v1 0, v3 100 !"}},
		{"what is written stays for ever", []string{"wrote: v1 90, v2 10", "0: v1 => v1 100", "60: v1 v2 => v1 90, v2 10"}},
		{"and takes its part back from one that came instead", []string{"wrote: v1 50, v2 50", "0: v1 v3 => v1 50, v3 50", "1: v1 v2 v3 => v1 50, v2 50, v3 0", "2: v1 v3 => v1 50, v3 50"}},
		{"what blinks has its weight back", []string{"0: v1 => v1 100", "1: v1 v2@1 => v1 100, v2 0", "2: v2@1 => v2 100 !", "3: v1 v2@1 => v1 100, v2 0"}},
		{"unless it was away for too long", []string{"0: v1 => v1 100", "1: v1 v2@1 => v1 100, v2 0", "2: v2@1 => v2 100 !", "12: v2@1 => v2 100", "13: v1@13 v2@1 => v2 100, v1 0"}},
		{"even if nothing else happened meanwhile", []string{"0: v1 => v1 100", "1: v1 v2@1 => v1 100, v2 0", "2: v2@1 => v2 100 !", "30: v1@30 v2@1 => v2 100, v1 0"}},
		{"or another one came for it", []string{"0: v1 => v1 100", "1: v2@1 => v2 100", "2: v1 v2@1 => v1 0, v2 100"}},
		{"a survivor that is written 0 keeps all when the others are forgotten", []string{"wrote: v1 0", "0: v1 v2 => v1 0, v2 100", "1: v1 => v1 100 !", "30: v1 => v1 100 !", "31: v1 v3@31 => v1 0, v3 100"}},
		{"all gone for a moment", []string{"wrote: v1 70, v2 30", "0: v1 v2 => v1 70, v2 30", "1: =>", "2: v1 v2 => v1 70, v2 30"}},
		{"what is written 0 stays 0 while nothing is missing", []string{"wrote: v1 0, v2 0", "0: v1 v2 => v1 0, v2 0", "1: v1 => v1 0"}},
		{"a new one beside those has all", []string{"wrote: v1 0, v2 0", "0: v1 v2 v3 => v1 0, v2 0, v3 100"}},
		{"a shift in the text counts at once", []string{"0: v1 v2 => v1 100, v2 0", "wrote: v1 40, v2 60", "1: v1 v2 => v1 40, v2 60"}},
		{"and stays when it is taken out of the text", []string{"wrote: v1 40, v2 60", "0: v1 v2 => v1 40, v2 60", "wrote: ", "1: v1 v2 => v1 40, v2 60"}},
		{"what the text does not name has nothing if the others have all", []string{"wrote: v2 100", "0: v1 v2 => v2 100, v1 0"}},
		{"routes stand in the order of the text, then of age", []string{"wrote: v3 100", "5: v1@2 v2@1 v3@3 => v3 100, v2 0, v1 0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var written []*routing.Route
			var known []routing.KnownRoute
			for _, step := range tt.steps {
				if text, ok := strings.CutPrefix(step, "wrote: "); ok {
					written = writes(text)
					continue
				}
				minute, rest, _ := strings.Cut(step, ":")
				names, want, _ := strings.Cut(rest, "=>")
				n, _ := strconv.Atoi(minute)
				r := routing.Regroup(written, known, groups(names), epoch.Add(time.Duration(n)*time.Minute), 10*time.Minute)
				known = r.Known
				got := shown(r.Routes)
				if r.Promoted != "" {
					got += " !"
				}
				if got != strings.TrimSpace(want) {
					t.Errorf("at %s: got %s\nknown: %v", step, got, known)
				}
			}
		})
	}
}

func TestRegroupKeepsSettings(t *testing.T) {
	written := []*routing.Route{{Path: "(1)", Weight: routing.FullWeight, Condition: "has cookie beta", Strength: 5000, Metadata: map[string]any{"a": 1}}}
	r := routing.Regroup(written, nil, groups("(1) (2)"), epoch, time.Minute)
	if got := r.Routes[0]; got.Condition != "has cookie beta" || got.Strength != 5000 || got.Metadata["a"] != 1 || len(got.Instances) != 1 {
		t.Errorf("the written route became %+v", got)
	}
	if got := r.Routes[1]; got.Metadata["groups"] != "(2)" || got.Metadata["title"] != "(2)" || got.Strength != 0 {
		t.Errorf("the new route is %+v, want its name in its metadata", got)
	}
	if written[0].Instances != nil {
		t.Error("what was handed in is changed")
	}
}

// FuzzRegroup plays any history: the weights of what has instances sum to 100
// always, or to 0 if the text says so and nothing is missing.
func FuzzRegroup(f *testing.F) {
	f.Add([]byte{0b1, 0b11, 0b10, 0b1}, uint8(50))
	f.Add([]byte{0b111, 0b110, 0, 0b1011}, uint8(33))
	f.Fuzz(func(t *testing.T, steps []byte, first uint8) {
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		weight := float64(first % 101)
		written := writes(fmt.Sprintf("a %g, b %g", weight, 100-weight))
		if first > 200 {
			written = nil
		}
		var known []routing.KnownRoute
		for i, step := range steps[:min(len(steps), 50)] {
			var present []string
			for bit, name := range names {
				if step>>bit&1 == 1 {
					present = append(present, name)
				}
			}
			now := epoch.Add(time.Duration(i) * 4 * time.Minute)
			r := routing.Regroup(written, known, groups(strings.Join(present, " ")), now, 10*time.Minute)
			known = r.Known
			sum := routing.Weight(0)
			var paths []string
			for _, route := range r.Routes {
				sum += route.Weight
				paths = append(paths, route.Path)
				if route.Weight < 0 {
					t.Fatalf("step %d: %s", i, shown(r.Routes))
				}
			}
			slices.Sort(paths)
			if !slices.Equal(paths, present) || len(present) > 0 && sum != routing.FullWeight {
				t.Fatalf("step %d: of %v came %s", i, present, shown(r.Routes))
			}
		}
	})
}
