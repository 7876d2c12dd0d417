// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// numbered joins the texts that a format makes of numbers from 0 on.
func numbered(n int, format, separator string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(parts, separator)
}

// asking returns an app with one port, a task, and labels besides those by
// which it is offered at shop.example.
func asking(id string, service int, labels map[string]string) *app {
	all := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.example"}
	maps.Copy(all, labels)
	s := &spec{ports: []port{{service: service, tcp: true}}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s.labels = append(s.labels, routing.Label{Name: name, Value: all[name]})
	}
	return &app{id: id, spec: s, tasks: []task{{id: id, state: stateRunning}}}
}

func TestLabelsOfOneAppDoNotTakeTheHostFromAnother(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"more paths than a condition holds": {"HAPROXY_0_PATH": numbered(800, "/%d", " ")},
		"more paths without regard to case": {"HAPROXY_0_PATH": "-i " + numbered(800, "/%d", " ")},
		"paths and networks beyond one condition": {
			"HAPROXY_0_PATH": numbered(240, "/%d", " "), "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": numbered(100, "2001:db8:1111:2222:3333:4444:5555:%x/128", " "),
		},
		"a path with a mark":                  {"HAPROXY_0_PATH": "-i /a#b"},
		"a path with a backslash":             {"HAPROXY_0_PATH": `-i /a\`},
		"a mark in a path that is taken away": {"HAPROXY_0_PATH": "/a", "HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH": "/a#b"},
		"a root that is too long":             {"HAPROXY_0_PATH": "/", "HAPROXY_0_HTTP_BACKEND_REDIR": "/" + strings.Repeat("%", 4000)},
		"more lines than are read":            {"HAPROXY_BACKEND_HTTP_OPTIONS": numbered(100_000, "http-request set-header X-%d a", "\n")},
		"more certificates than can be shown": {"HAPROXY_0_SSL_CERT": numbered(100_000, "/etc/%d.pem", " ")},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLabels(labelOptions{groups: []string{allGroups}})
			l.put(asking("/a", 10001, labels))
			l.put(asking("/b", 10002, map[string]string{"HAPROXY_0_PATH": "/b", "HAPROXY_0_BACKEND_WEIGHT": "10"}))
			l.settle(newCluster(translateOptions{}).alive)
			told := take(l)
			checkCompiled(t, told)
			host := told["labels/marathon-lb/shop.example"]
			if len(host.Documents) != 1 {
				t.Errorf("the host is told as %v", host)
			}
			if wrong := told["labels/apps/a"].Faults; len(wrong) != 1 {
				t.Errorf("of the app is told %v, want one fault", wrong)
			}
		})
	}
}

func TestARootMayHaveAFragment(t *testing.T) {
	l := newLabels(labelOptions{groups: []string{allGroups}})
	l.put(asking("/a", 10001, map[string]string{"HAPROXY_0_HTTP_BACKEND_REDIR": "/app/#!/home"}))
	told := take(l)
	checkCompiled(t, told)
	if len(told["labels/apps/a"].Faults) > 0 {
		t.Errorf("it is told that %v", told["labels/apps/a"].Faults)
	}
}

func TestStickyPortsThatAreCalledTheSameHaveGatewaysOfTheirOwn(t *testing.T) {
	l := newLabels(labelOptions{groups: []string{allGroups}})
	l.put(asking("/a/b", 10001, map[string]string{"HAPROXY_0_PATH": "/x", "HAPROXY_0_STICKY": "true"}))
	l.put(asking("/a_b", 10001, map[string]string{"HAPROXY_0_PATH": "/y", "HAPROXY_0_STICKY": "true"}))
	l.put(asking("/c", 10002, nil))
	told := take(l)
	checkCompiled(t, told)
	if n := len(told["labels/marathon-lb/shop.example"].Documents); n != 3 {
		t.Errorf("the host has %d gateways, want 3", n)
	}
}

func TestRawTextIsNamedWithoutWhatItSays(t *testing.T) {
	a := asking("/a", 10001, map[string]string{"HAPROXY_0_BACKEND_HTTP_OPTIONS": `http-request set-header Authorization "Basic c2VjcmV0" if TRUE`})
	l := newLabels(labelOptions{groups: []string{allGroups}})
	l.put(a)
	faults := take(l)["labels/apps/a"].Faults
	if len(faults) != 1 || !strings.Contains(faults[0].Problem, "set-header Authorization") || strings.Contains(faults[0].Problem, "c2Vj") {
		t.Errorf("it is told that %v", faults)
	}
}

func TestMigrateShowsNothingThatLetsSomebodyIn(t *testing.T) {
	const answer = `{"apps": [{"id": "/a", "ports": [10001], "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_AUTH": "realm:me:c2Vj",
		"HAPROXY_0_BACKEND_HTTP_OPTIONS": "http-request set-header Authorization \"Basic c2Vj\"",
		"HAPROXY_HEAD": "userlist a\n  user me insecure-password c2Vj"}}]}`
	report, err := Migrate(strings.NewReader(answer), MigrateOptions{})
	if err != nil || len(report.Labels) != 4 {
		t.Fatal(report, err)
	}
	for _, l := range report.Labels {
		if l.Label == "HAPROXY_GROUP" && l.Value != "external" {
			t.Errorf("the group is shown as %q", l.Value)
		}
		if strings.Contains(l.Value+l.Note, "c2Vj") {
			t.Errorf("of %s %q is shown, and %q", l.Label, l.Value, l.Note)
		}
	}
}

func TestMigrateNamesTheAppWhoseLabelsCount(t *testing.T) {
	const answer = `{"apps": [{"id": "/a", "ports": [10001], "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.example"}},
		{"id": "/b-blue", "ports": [10002], "labels": {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "b",
			"HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-03T00:00:00Z"}},
		{"id": "/b-green", "ports": [10003], "labels": {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "b",
			"HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-02T00:00:00Z", "HAPROXY_0_VHOST": "shop.example"}}]}`
	report, err := Migrate(strings.NewReader(answer), MigrateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range report.Labels {
		if l.Label == "HAPROXY_0_VHOST" && (l.Result == Wrong) != (l.App == "/b-green") || l.App == "/b-blue" && l.Result == Wrong {
			t.Errorf("%s of %s is %v: %s", l.Label, l.App, l.Result, l.Note)
		}
	}
}

func TestAPortThatIsAskedForIsNotOneThatWasMadeUp(t *testing.T) {
	l := newLabels(labelOptions{groups: []string{allGroups}})
	l.put(asking("/a", 0, nil))
	l.take()
	n := l.made[portOf{"/a", 0}]
	l.put(asking("/b", n, map[string]string{"HAPROXY_0_VHOST": "b.example"}))
	told := take(l)
	checkCompiled(t, told)
	if u := told[fmt.Sprintf("labels/marathon-lb/%d", n)]; len(u.Documents) != 1 || len(u.Faults) > 0 {
		t.Errorf("the port that is asked for is told as %v", u)
	}
	other := l.made[portOf{"/a", 0}]
	if u := told[fmt.Sprintf("labels/marathon-lb/%d", other)]; other == 0 || other == n || len(u.Documents) != 1 {
		t.Errorf("the port that is made up is %d after %d, told as %v", other, n, u)
	}
	l.put(asking("/a", 0, map[string]string{"HAPROXY_0_PATH": "/a"}))
	if l.take(); l.made[portOf{"/a", 0}] != other {
		t.Errorf("another port is made up when the app changes, %d after %d", l.made[portOf{"/a", 0}], other)
	}
}
