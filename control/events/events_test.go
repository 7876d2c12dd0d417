// SPDX-License-Identifier: Apache-2.0

package events_test

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

const here = store.DefaultNamespace

func TestExpand(t *testing.T) {
	for _, tt := range []struct{ name, tags, want string }{
		{"a plain tag stays", "deployed", "deployed"},
		{"a tag with a colon is both", "gateways:shop", "gateways gateways:shop"},
		{"only the first colon splits", "name:a:b", "name name:a:b"},
		{"each comes once", "gateways:a gateways:b gateways", "gateways gateways:a gateways:b"},
		{"nothing is before a colon", ":b", ":b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(events.Expand(strings.Fields(tt.tags)...), " "); got != tt.want {
				t.Errorf("Expand(%s) = %s, want %s", tt.tags, got, tt.want)
			}
		})
	}
}

// show writes an event as type, tags and data.
func show(e store.Event) string {
	return e.Type + " " + strings.Join(e.Tags, ",") + " " + e.Data
}

func TestEventsAreTaggedAsVampTaggedThem(t *testing.T) {
	gw := &routing.Gateway{
		Name: "shop", Port: routing.Port{Number: 8080},
		Routes: []*routing.Route{{Path: "shop/a", Weight: 5000, Condition: "c", Strength: 1250, Instances: []*routing.Instance{{Address: netip.MustParseAddr("10.0.0.1"), Port: 80}}}},
	}
	shown := `{"name":"shop","port":"8080/http","routes":[{"name":"shop/a","weight":"50%","condition":"c","condition_strength":"12.5%","instances":1}]}`
	key := store.Key{Namespace: here, Kind: "gateways", Name: "shop"}
	for _, tt := range []struct {
		name  string
		event store.Event
		want  string
	}{
		{"a write", events.Archive(key, "update", "ann", "name: <shop>\n"), `archive gateways,gateways:shop,archive,archive:update,author,author:ann "name: <shop>\n"`},
		{"a deletion", events.Archive(key, "delete", "ann", ""), `archive gateways,gateways:shop,archive,archive:delete,author,author:ann null`},
		{"deployed", events.Deployed(here, gw), "event gateways,gateways:shop,deployed " + shown},
		{"undeployed", events.Undeployed(here, &routing.Gateway{Name: "shop"}), `event gateways,gateways:shop,undeployed {"name":"shop"}`},
		{"a proxy joined", events.ProxyJoined(here, "edge-1"), "event proxies,proxies:edge-1,proxy,proxy:joined null"},
		{"a proxy left", events.ProxyLeft(here, "edge-1", "lost"), `event proxies,proxies:edge-1,proxy,proxy:left "lost"`},
		{"a proxy refused", events.ProxyRefused(here, "edge-1", "shop", "port taken"), `event proxies,proxies:edge-1,proxy,proxy:refused,gateways,gateways:shop "port taken"`},
		{"a proxy refused a table", events.ProxyRefused(here, "edge-1", "", "bad"), `event proxies,proxies:edge-1,proxy,proxy:refused "bad"`},
		{"held back", events.HeldBack(here, "a.yaml", "it is empty"), `event absence,absence:heldback {"what":"a.yaml","reason":"it is empty"}`},
		{"slow", events.SlowConvergence(here, 7, 12*time.Second, "edge-1"), `event convergence,convergence:slow,change,change:7 {"change":7,"took_seconds":12,"last_proxy":"edge-1"}`},
		{"health", events.Health(here, "shop", "", 0), "health gateways,gateways:shop,gateway,health 0.0"},
		{"health of a route", events.Health(here, "shop", "shop/a", 1), "health gateways,gateways:shop,route,routes,routes:shop/a,health 1.0"},
		{"a figure", events.Metric(here, "shop", "", "rate", 1.5), "metrics gateways,gateways:shop,gateway,metrics,metrics:rate 1.5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := show(tt.event); got != tt.want || tt.event.Namespace != here {
				t.Errorf("%s: %s\nwant %s", tt.event.Namespace, got, tt.want)
			}
		})
	}
}

func TestDifferencesOfRoutes(t *testing.T) {
	route := func(change func(*routing.Route)) *routing.Route {
		r := &routing.Route{Path: "a", Weight: 10_000}
		if change != nil {
			change(r)
		}
		return r
	}
	condition := func(text string, strength routing.Weight) func(*routing.Route) {
		return func(r *routing.Route) { r.Condition, r.Strength = text, strength }
	}
	at := func(addresses ...string) func(*routing.Route) {
		return func(r *routing.Route) {
			for _, a := range addresses {
				r.Instances = append(r.Instances, &routing.Instance{Address: netip.MustParseAddr(a), Port: 80})
			}
		}
	}
	for _, tt := range []struct {
		name       string
		was, is    *routing.Route
		ofSelector bool
		want       string
	}{
		{"nothing", route(nil), route(nil), false, ""},
		{"added", nil, route(nil), false, "added"},
		{"removed", route(nil), nil, false, "removed"},
		{"the weight", route(nil), route(func(r *routing.Route) { r.Weight = 1 }), false, "weightupdated"},
		{"a condition comes", route(nil), route(condition("c", 10_000)), false, "conditionadded conditionstrengthadded"},
		{"a condition goes", route(condition("c", 10_000)), route(nil), false, "conditionremoved conditionstrengthremoved"},
		{"a condition changes", route(condition("c", 10_000)), route(condition("d", 10_000)), false, "conditionupdated"},
		{"the strength", route(condition("c", 10_000)), route(condition("c", 1)), false, "conditionstrengthupdated"},
		{"a condition and its strength", route(condition("c", 10_000)), route(condition("d", 1)), false, "conditionupdated conditionstrengthupdated"},
		{"a strength without a condition means nothing", route(condition("", 10_000)), route(condition("", 1)), false, ""},
		{"the targets", route(at("10.0.0.1")), route(at("10.0.0.1", "10.0.0.2")), false, "targetschanged"},
		{"the targets of a selector of the gateway", route(at("10.0.0.1")), route(at("10.0.0.2")), true, ""},
		{"all", route(at("10.0.0.1")), route(func(r *routing.Route) { r.Weight, r.Condition = 0, "c" }), false, "conditionadded conditionstrengthadded weightupdated targetschanged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gateway := func(r *routing.Route) *routing.Gateway {
				g := &routing.Gateway{Name: "shop", Routes: []*routing.Route{{Path: "other"}}}
				if r != nil {
					g.Routes = append(g.Routes, r)
				}
				if tt.ofSelector {
					g.Selector = "kind(app)"
				}
				return g
			}
			before, after := gateway(tt.was), gateway(tt.is)
			var got []string
			for _, e := range events.Differences(here, before, after) {
				what := strings.TrimPrefix(e.Tags[3], "route:")
				if want := "gateways,gateways:shop,route,route:" + what + ",routes,routes:a"; strings.Join(e.Tags, ",") != want || e.Type != events.TypeEvent {
					t.Errorf("%s %v, want an event with %s", e.Type, e.Tags, want)
				}
				got = append(got, what)
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("Differences = %q, want %q", got, tt.want)
			}
		})
	}
	if got := events.Differences(here, nil, &routing.Gateway{Name: "shop", Routes: []*routing.Route{{Path: "a"}}}); got != nil {
		t.Errorf("a gateway that came differs by %v", got)
	}
}

// Whatever stands in an event, a store takes it.
func FuzzEventsFit(f *testing.F) {
	f.Add("shop", "text")
	f.Add(strings.Repeat("é", 300), strings.Repeat("\x00\"<é", 5000))
	f.Add("\xff\n:", strings.Repeat("a", 1<<14))
	s, err := store.Open(f.TempDir(), store.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	f.Fuzz(func(t *testing.T, name, text string) {
		if name == "" {
			return
		}
		var routes []*routing.Route
		for i := range 30 {
			routes = append(routes, &routing.Route{Path: name + strconv.Itoa(i), Condition: text})
		}
		list := []store.Event{
			events.Archive(store.Key{Namespace: here, Kind: "gateways", Name: name}, "update", name, text),
			events.Deployed(here, &routing.Gateway{Name: name, Selector: text, Routes: routes}),
			events.ProxyRefused(here, name, name, text),
			events.HeldBack(here, name, text),
			events.SlowConvergence(here, 1, time.Second, name),
			events.Health(here, name, name, 1),
		}
		for _, e := range list {
			if !json.Valid([]byte(e.Data)) || !utf8.ValidString(e.Data) {
				t.Errorf("the value of %v is no JSON: %q", e.Tags, e.Data)
			}
		}
		if _, err := s.AppendEvents(t.Context(), list...); err != nil {
			t.Error(err)
		}
	})
}

// A recorder tells of health when it changes, and of figures as many as it
// may.
func TestRecorderTellsWhatVampsWorkflowsTold(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	started := now
	b := book.New(book.Options{Now: func() time.Time { return now }})
	count := func(codes map[string]float64) {
		c := &controlpb.Counters{Start: timestamppb.New(started), At: timestamppb.New(now)}
		for code, n := range codes {
			labels := []*controlpb.Label{{Name: "gateway", Value: "shop"}, {Name: "code", Value: code}}
			c.Series = append(c.Series, &controlpb.Series{Name: metrics.GatewayRequests.Name, Labels: labels, Value: n})
			labels = append(labels[:2:2], &controlpb.Label{Name: "route", Value: "a"})
			c.Series = append(c.Series, &controlpb.Series{Name: metrics.Requests.Name, Labels: labels, Value: n})
		}
		b.Counters("p", func(string) string { return here }, c)
	}
	r := &events.Recorder{Book: b, Namespaces: func() []string { return []string{here} }}
	look := func() string {
		var lines []string
		for _, e := range r.Look() {
			lines = append(lines, show(e))
		}
		return strings.Join(lines, "\n")
	}
	count(map[string]float64{"2xx": 1})
	if got := look(); got != "" {
		t.Errorf("all is well: told are\n%s", got)
	}
	now = now.Add(time.Second)
	count(map[string]float64{"2xx": 2, "5xx": 1})
	ill := `health gateways,gateways:shop,gateway,health 0.0
health gateways,gateways:shop,route,routes,routes:a,health 0.0`
	if got := look(); got != ill {
		t.Errorf("one failed: told are\n%s\nwant\n%s", got, ill)
	}
	if got := look(); got != "" {
		t.Errorf("nothing changed: told are\n%s", got)
	}
	r.Metrics = 3
	if got, want := look(), `metrics gateways,gateways:shop,gateway,metrics,metrics:rate 3
metrics gateways,gateways:shop,gateway,metrics,metrics:responseTime 0`; got != want {
		t.Errorf("with figures told are\n%s\nwant\n%s", got, want)
	}
	r.Metrics = 0
	now = now.Add(2 * time.Minute)
	if got, want := look(), strings.ReplaceAll(ill, "0.0", "1.0"); got != want {
		t.Errorf("all is well again: told are\n%s\nwant\n%s", got, want)
	}
}
