// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// TestWhatIsRememberedIsOfTheTasksThatThereAre: it neither outlives them nor
// grows with versions.
func TestWhatIsRememberedIsOfTheTasksThatThereAre(t *testing.T) {
	c := newCluster(translateOptions{})
	for n := range 100 {
		c.instances(one(t, fmt.Sprintf(`{"id":"/web","version":"v%d","healthChecks":[{}],"ports":[1],"tasks":[
			{"id":"t%d","version":"v%d","host":"10.0.0.1","ports":[31001],"healthCheckResults":[{"alive":true}]},
			{"id":"t%d","version":"v%d","host":"10.0.0.1","ports":[31002],"healthCheckResults":[{"alive":true}]}]}`, n, n, n, n-1, n-1)), noon)
	}
	m := c.apps["/web"]
	if len(m.tasks) != 2 || len(m.older) != 1 || m.of("v99") == nil || m.of("v98") == nil || m.of("v97") != nil {
		t.Errorf("%d tasks and %d older versions are remembered, want those that there are", len(m.tasks), len(m.older))
	}
	c.forget("/web")
	if len(c.apps) != 0 {
		t.Errorf("%d apps are remembered, want none", len(c.apps))
	}
	if _, ok := c.due("/web"); ok {
		t.Error("an app that is forgotten changes by time")
	}
}

// TestATaskIsAlive if it runs and its checks say so, or last said so.
func TestATaskIsAlive(t *testing.T) {
	for _, tt := range []struct {
		name, checks, before, now string
		want                      bool
	}{
		{"that says so", `[{}]`, ``, `"healthCheckResults":[{"alive":true}]`, true},
		{"not if it says no", `[{}]`, `"healthCheckResults":[{"alive":true}]`, `"healthCheckResults":[{"alive":false}]`, false},
		{"that last said so", `[{}]`, `"healthCheckResults":[{"alive":true}]`, `"state":"TASK_RUNNING"`, true},
		{"not if nothing was ever said", `[{}]`, ``, `"state":"TASK_RUNNING"`, false},
		{"that nobody checks", `[]`, ``, `"state":"TASK_RUNNING"`, true},
		{"not if it ends", `[]`, ``, `"state":"TASK_KILLING"`, false},
		{"not if Marathon has lost it", `[{}]`, ``, `"state":"TASK_LOST","healthCheckResults":[{"alive":true}]`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(translateOptions{})
			app := func(task string) *app {
				return one(t, `{"id":"/web","healthChecks":`+tt.checks+`,"ports":[1],"tasks":[{"id":"t","host":"10.0.0.1","ports":[31001],`+task+`}]}`)
			}
			if tt.before != "" {
				c.instances(app(tt.before), noon)
			}
			a := app(tt.now)
			if got := c.alive(a, &a.tasks[0]); got != tt.want {
				t.Errorf("alive is %v, want %v", got, tt.want)
			}
			c.instances(a, noon)
			if got := c.alive(a, &a.tasks[0]); got != tt.want {
				t.Errorf("alive is %v once instances are made, want %v", got, tt.want)
			}
		})
	}
}

// TestTasksThatRestSaySo, and the others of their app do not.
func TestTasksThatRestSaySo(t *testing.T) {
	c := newCluster(translateOptions{})
	c.resting = func(id string) map[string]bool {
		return map[string]bool{"a": id == "/web-blue"}
	}
	list, _ := c.instances(one(t, `{"id":"/web-blue","labels":{"HAPROXY_DEPLOYMENT_GROUP":"/web"},"ports":[10001],"tasks":[
		{"id":"a","host":"10.0.0.1","ports":[31001]},{"id":"b","host":"10.0.0.1","ports":[31002]}]}`), noon)
	rests := routing.Label{Name: labelRests, Value: "/web"}
	if len(list) != 2 || !slices.Contains(list[0].Labels, rests) || slices.ContainsFunc(list[1].Labels, func(l routing.Label) bool { return l.Name == labelRests }) {
		t.Errorf("the labels are %v, want %v on the first alone", list, rests)
	}
	if !list[0].Ready {
		t.Error("a task that rests is not Ready: what it has begun it could not finish")
	}
}

func TestNamesOfHostsToLookUp(t *testing.T) {
	for _, tt := range []struct{ name, networks, tasks, want string }{
		{"names, each once", "host", `{"id":"1","host":"b"},{"id":"2","host":"a"},{"id":"3","host":"b"}`, "a b"},
		{"no addresses, no empty ones", "host", `{"id":"1","host":"10.0.0.1"},{"id":"2","host":"fd00::1"},{"id":"3","host":""},{"id":"4"}`, ""},
		{"not where tasks have their own address", "container", `{"id":"1","host":"a","version":"v2"}`, ""},
		{"but of tasks of an older version that may have none", "container", `{"id":"1","host":"a","version":"v1"}`, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := one(t, `{"id":"/web","version":"v2","networks":[{"mode":"`+tt.networks+`"}],"tasks":[`+tt.tasks+`]}`)
			if got := strings.Join(a.hostNames(), " "); got != tt.want {
				t.Errorf("hostNames() = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestAHostThatIsFoundLater brings its instances with the next look.
func TestAHostThatIsFoundLater(t *testing.T) {
	found := make(map[string]netip.Addr)
	c := newCluster(translateOptions{Resolve: func(host string) (netip.Addr, bool) {
		a, ok := found[host]
		return a, ok
	}})
	a := one(t, `{"id":"/web","ports":[10001],"tasks":[{"id":"t","host":"agent","ports":[31001]},{"id":"u","host":"agent","ports":[31002]}]}`)
	if list, faults := c.instances(a, noon); len(list) != 0 || len(faults) != 1 || faults[0].Severity != routing.Warning || faults[0].Name != "/web" {
		t.Errorf("instances are %v, %v, want none and one warning", list, faults)
	}
	found["agent"] = netip.MustParseAddr("::ffff:10.0.0.1")
	if list, faults := c.instances(a, noon); len(list) != 2 || len(faults) != 0 || list[0].AddrPort().String() != "10.0.0.1:31001" {
		t.Errorf("instances are %v, %v, want two at 10.0.0.1", list, faults)
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	var tasks []string
	for n := range 200 {
		tasks = append(tasks, fmt.Sprintf(`{"id":"%d","host":"agent-%d","ports":[31001]}`, n, n))
	}
	_, faults := newCluster(translateOptions{}).instances(one(t, `{"id":"/web","ports":[1],"tasks":[`+strings.Join(tasks, ",")+`]}`), noon)
	if len(faults) != maxComplaints+1 || !strings.Contains(faults[maxComplaints].Problem, "more") {
		t.Errorf("there are %d faults, the last %v, want %d and that there are more", len(faults), faults[len(faults)-1], maxComplaints)
	}
}
