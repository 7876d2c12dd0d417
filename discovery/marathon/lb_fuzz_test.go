// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// checkCompiled compiles what updates ask for, each namespace by itself. What
// labels come to is read and compiled without a refusal, whatever they say.
func checkCompiled(t *testing.T, told map[string]discovery.Update) {
	t.Helper()
	docs := make(map[string][]*routing.Document)
	for _, key := range slices.Sorted(maps.Keys(told)) {
		u := told[key]
		docs[u.Namespace] = append(docs[u.Namespace], u.Documents...)
		for _, f := range u.Faults {
			if f.Severity != routing.Warning || f.At.Source != key {
				t.Errorf("%s: fault %v", key, f)
			}
		}
	}
	for _, list := range docs {
		table, faults := routing.Resolve(list)
		_, more := routing.Compile(nil, table, routing.CompileOptions{})
		for _, f := range append(faults, more...) {
			if f.Severity == routing.Refused {
				t.Errorf("refused: %v", f)
			}
		}
	}
}

func FuzzLabels(f *testing.F) {
	for _, row := range labelRows() {
		f.Add(strings.ReplaceAll(row.written(), "{n}", "0"), "true", "shop.example")
	}
	f.Add("HAPROXY_0_PATH", "-i /a /b", "shop.example,www.shop.example")
	f.Add("HAPROXY_0_PATH", `/%[x] /"`, "a_b.example")
	f.Add("HAPROXY_0_BACKEND_HTTP_OPTIONS", "  http-request set-header A %[src]\nhttp-response add-header X \"a b\"", "shop.example")
	f.Add("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/a~b.c", "shop.example")
	f.Add("HAPROXY_0_HTTP_BACKEND_REDIR", "/a%[path]%%", "shop.example")
	f.Add("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 ::1 fe80::1%a", "10.0.0.1")
	f.Add("HAPROXY_0_SSL_CERT", "/a b\tcrt c", "shop.example")
	f.Add("HAPROXY_0_BALANCE", "hdr(a)", "xn--a.example")
	f.Fuzz(func(t *testing.T, name, value, vhost string) {
		a := &app{id: "/shop/web", spec: &spec{ports: []port{{service: 10001, tcp: true}, {service: 0, tcp: true}}}, tasks: []task{{id: "t"}}}
		b := &app{id: "/shop/b", spec: &spec{ports: []port{{service: 10002, tcp: true}}}, tasks: []task{{id: "u"}}}
		for _, one := range []*app{a, b} {
			one.labels = []routing.Label{{Name: "HAPROXY_0_VHOST", Value: vhost}, {Name: "HAPROXY_GROUP", Value: "external"}}
		}
		if name != "HAPROXY_0_VHOST" && name != "HAPROXY_GROUP" {
			a.labels = append(a.labels, routing.Label{Name: name, Value: value})
			slices.SortFunc(a.labels, func(x, y routing.Label) int { return strings.Compare(x.Name, y.Name) })
		}
		read := readLabels(a)
		told := 0
		for _, n := range read.notes {
			if n.label == name {
				told++
			}
		}
		if ours := strings.HasPrefix(name, lbPrefix); ours && told != 1 {
			t.Errorf("label %q is told of %d times", name, told)
		}
		l := newLabels(labelOptions{groups: []string{allGroups}})
		l.put(a)
		l.put(b)
		l.settle(newCluster(translateOptions{}).alive)
		checkCompiled(t, take(l))
	})
}

// take returns what was told, by key.
func take(l *labels) map[string]discovery.Update {
	told := make(map[string]discovery.Update)
	for _, u := range l.take() {
		told[u.Key] = u
	}
	return told
}

// TestChangesComeToWhatAFreshStartDoes makes random changes: after each, what
// was told is what labels that begin with all apps as they are would tell.
func TestChangesComeToWhatAFreshStartDoes(t *testing.T) {
	alive := newCluster(translateOptions{}).alive
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := labelOptions{groups: []string{"external"}, space: func(id string) string {
			if strings.HasPrefix(id, "/eu/") {
				return "vamp/eu"
			}
			return ""
		}}
		l := newLabels(o)
		apps := make(map[string]*app)
		told := make(map[string]discovery.Update)
		for step := range 40 {
			id := []string{"/a", "/b", "/eu/a", "/eu/b", "/c"}[r.IntN(5)]
			if r.IntN(5) == 0 {
				l.remove(id)
				delete(apps, id)
			} else {
				apps[id] = randomApp(r, id)
				l.put(apps[id])
			}
			if r.IntN(3) == 0 {
				continue // several changes at once
			}
			l.settle(alive)
			for _, u := range l.take() {
				if told[u.Key] = u; u.Gone {
					delete(told, u.Key)
				}
			}
			fresh := newLabels(o)
			for _, a := range apps {
				fresh.put(a)
			}
			fresh.settle(alive)
			if got, want := summary(told), summary(take(fresh)); got != want {
				t.Fatalf("seed %d, step %d: got\n%swant\n%s", seed, step, got, want)
			}
			for id := range apps {
				if got, want := fmt.Sprint(l.resting(id)), fmt.Sprint(fresh.resting(id)); got != want {
					t.Fatalf("seed %d, step %d: of %s rest %s, want %s", seed, step, id, got, want)
				}
			}
			checkCompiled(t, told)
		}
	}
}

// summary returns what was told as a text.
func summary(told map[string]discovery.Update) string {
	var lines []string
	for key, u := range told {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s", key, u.Namespace)
		for _, f := range u.Faults {
			fmt.Fprintf(&b, "\n  %v", f)
		}
		table, _ := routing.Resolve(u.Documents)
		for _, g := range table.Gateways {
			fmt.Fprintf(&b, "\n  %s %v %s %v", g.Name, g.Port, g.Sticky, g.VirtualHosts)
			for _, route := range g.Routes {
				fmt.Fprintf(&b, "\n    %s %s %s %s", route.Path, route.Selector, route.Condition, route.Weight)
			}
		}
		lines = append(lines, b.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// randomApp returns an app with labels that meet those of others.
func randomApp(r *rand.Rand, id string) *app {
	a := &app{id: id, spec: &spec{ports: []port{{service: 10001 + r.IntN(3), tcp: true}, {service: 10005 + r.IntN(2), tcp: true}}}, instances: 2}
	for i := range r.IntN(3) {
		a.tasks = append(a.tasks, task{id: fmt.Sprint(id, ".", i), state: stateRunning, health: healthAlive})
	}
	labels := map[string][]string{
		"HAPROXY_GROUP":                 {"external", "external", "internal"},
		"HAPROXY_0_VHOST":               {"x.example", "x.example,y.example", "z.example"},
		"HAPROXY_0_PATH":                {"/a", "/a /b", "-i /a"},
		"HAPROXY_0_STICKY":              {"true"},
		"HAPROXY_1_VHOST":               {"x.example"},
		"HAPROXY_1_PORT":                {"10001", "9000", "wrong"},
		"HAPROXY_DEPLOYMENT_GROUP":      {"g", "h"},
		"HAPROXY_DEPLOYMENT_STARTED_AT": {"2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
		"HAPROXY_0_BACKEND_WEIGHT":      {"3", "7"},
		"HAPROXY_0_NOTHING":             {"x"},
		"HAPROXY_0_REDIRECT_TO_HTTPS":   {"true"},
		"HAPROXY_0_HTTP_BACKEND_REDIR":  {"/en"},
	}
	var names []string
	for name := range labels {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if r.IntN(2) == 0 {
			a.labels = append(a.labels, routing.Label{Name: name, Value: labels[name][r.IntN(len(labels[name]))]})
		}
	}
	return a
}
