// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/routing"
)

// snapshotOf asks a cluster for everything.
func snapshotOf(t *testing.T, m *marathontest.Cluster) map[string]*app {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL()+"/v2/apps?embed=apps.tasks&embed=apps.deployments&embed=apps.readiness", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	apps, faults, err := readApps(answer.Body, defaultMaxAnswer)
	if err != nil || len(faults) > 0 {
		t.Fatal(answer.Status, faults, err)
	}
	return apps
}

// TestEveryMarathonSaysTheSame: the same apps lead to the same instances, from
// 1.4 to 1.11, with null where nothing is said or without.
func TestEveryMarathonSaysTheSame(t *testing.T) {
	var first []string
	for release := 4; release <= 11; release++ {
		for _, nulls := range []bool{false, true} {
			version := fmt.Sprintf("1.%d", release)
			m := marathontest.Start(t, marathontest.Options{Version: version, Nulls: nulls, Instances: 1})
			m.Deploy(`{"id":"/shop/bridge","instances":2,"labels":{"team":"shop"},
				"container":{"type":"DOCKER","docker":{"image":"example/bridge:1","network":"BRIDGE","portMappings":[
					{"containerPort":8080,"hostPort":0,"servicePort":10101,"name":"http","labels":{"VIP_0":"/bridge:80"}},
					{"containerPort":53,"hostPort":0,"servicePort":10102,"protocol":"udp"},
					{"containerPort":9100,"hostPort":0,"servicePort":10103}]}},
				"healthChecks":[{"protocol":"HTTP","path":"/health"}]}`).Finish()
			m.Deploy(`{"id":"/shop/host","instances":1,"container":{"type":"DOCKER","docker":{"image":"example/host:1","network":"HOST"}},
				"portDefinitions":[{"port":10201,"name":"http","labels":{"VIP_0":"10.1.0.1:80"}},{"port":10202}]}`).Finish()
			m.Deploy(`{"id":"/own","instances":2,"ipAddress":{},"container":{"type":"DOCKER","docker":{"image":"example/own:1","network":"USER","portMappings":[
				{"containerPort":3000,"servicePort":10301,"labels":{"VIP_0":"own:80"}}]}},
				"healthChecks":[{"protocol":"TCP"},{"protocol":"COMMAND","command":{"value":"true"}}]}`).Finish()
			m.Deploy(`{"id":"/none","instances":0}`).Finish()
			got := linesOf(t, m)
			if first == nil {
				first = got
			}
			if len(got) != 8 || !slices.Equal(got, first) {
				t.Errorf("Marathon %s, nulls %v:\n%s\nwant 8, as others say:\n%s", version, nulls, strings.Join(got, "\n"), strings.Join(first, "\n"))
			}
		}
	}
	t.Log(strings.Join(first, "\n"))
}

// linesOf returns the instances of a cluster as text, but for what is made up:
// where exactly they are, and when they began.
func linesOf(t *testing.T, m *marathontest.Cluster) (lines []string) {
	t.Helper()
	apps := snapshotOf(t, m)
	c := newCluster(translateOptions{})
	for _, id := range ids(apps) {
		list, faults := c.instances(apps[id], time.Now())
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		tasks := m.Tasks(id)
		for _, i := range list {
			if !slices.ContainsFunc(tasks, func(task marathontest.Task) bool { return reachedAt(i, task) }) {
				t.Errorf("nothing of %s is reached at %v", id, i.AddrPort())
			}
			if i.Since.IsZero() {
				t.Errorf("it is not known since when %s is there", id)
			}
			cut := *i
			cut.Address, cut.Since, cut.Node = routing.Instance{}.Address, time.Time{}, ""
			cut.Labels = slices.DeleteFunc(slices.Clone(i.Labels), func(l routing.Label) bool { return l.Name == labelAppVersion })
			if i.Declared != 0 {
				cut.Port = 0
			}
			lines = append(lines, line(&cut))
		}
	}
	return lines
}

// reachedAt reports whether an instance is where a task is.
func reachedAt(i *routing.Instance, task marathontest.Task) bool {
	if i.Declared == 0 {
		return i.Address.String() == task.IP
	}
	return i.Address.String() == task.Host && i.Index < len(task.Ports) && i.Port == task.Ports[i.Index]
}

// TestADeploymentStepByStep: old tasks keep what their version said and take
// traffic until they are told to end, new ones from when all checks have passed.
func TestADeploymentStepByStep(t *testing.T) {
	for _, version := range []string{"1.4", "1.11"} {
		t.Run(version, func(t *testing.T) {
			m := marathontest.Start(t, marathontest.Options{Version: version, Instances: 1, ByHand: true, Killing: true})
			deploy := func(n int) *marathontest.Deployment {
				return m.Deploy(fmt.Sprintf(`{"id":"/web","instances":2,"labels":{"version":"%d"},
					"container":{"type":"DOCKER","docker":{"image":"example/web:%d","network":"USER","portMappings":[{"containerPort":%d}]}},"ipAddress":{},
					"healthChecks":[{"protocol":"HTTP"}],"readinessChecks":[{"name":"ready","timeoutSeconds":3000}]}`, n, n, 3000+n))
			}
			c := newCluster(translateOptions{})
			see := func() string {
				list, faults := c.instances(snapshotOf(t, m)["/web"], time.Now())
				if len(faults) > 0 {
					t.Fatal(faults)
				}
				var all []string
				for _, i := range list {
					ready := "waits"
					if i.Ready {
						ready = "ready"
					}
					all = append(all, fmt.Sprintf("%s:%d version %s %s", strings.TrimPrefix(i.Image, "example/"), i.Port, i.Labels[0].Value, ready))
				}
				slices.Sort(all)
				return strings.Join(all, ", ")
			}
			const (
				old, fresh               = "web:1:3001 version 1 ready", "web:2:3002 version 2 ready"
				oldWaiting, freshWaiting = "web:1:3001 version 1 waits", "web:2:3002 version 2 waits"
			)
			both := func(a, b string) string { return a + ", " + a + ", " + b + ", " + b }
			first := deploy(1)
			for _, step := range []struct {
				phase marathontest.Phase
				want  string
			}{
				{marathontest.Begun, ""},
				{marathontest.Staged, ""},
				{marathontest.Running, oldWaiting + ", " + oldWaiting},
				{marathontest.Healthy, oldWaiting + ", " + oldWaiting},
				{marathontest.Ready, old + ", " + old},
				{marathontest.Over, old + ", " + old},
			} {
				first.StepTo(step.phase)
				if got := see(); got != step.want {
					t.Errorf("the first version, %v: %s, want %s", step.phase, got, step.want)
				}
			}
			second := deploy(2)
			for _, step := range []struct {
				phase marathontest.Phase
				want  string
			}{
				{marathontest.Begun, old + ", " + old},
				{marathontest.Staged, old + ", " + old},
				{marathontest.Running, both(old, freshWaiting)},
				{marathontest.Healthy, both(old, freshWaiting)},
				{marathontest.Ready, both(old, fresh)},
				{marathontest.Killing, both(oldWaiting, fresh)},
				{marathontest.Over, fresh + ", " + fresh},
			} {
				second.StepTo(step.phase)
				if got := see(); got != step.want {
					t.Errorf("the second version, %v: %s, want %s", step.phase, got, step.want)
				}
			}
		})
	}
}

// TestAChangeOfLeaderTakesNothingOut, although the next one knows nothing of
// how tasks fare.
func TestAChangeOfLeaderTakesNothingOut(t *testing.T) {
	m := marathontest.Start(t, marathontest.Options{Instances: 2})
	m.Deploy(`{"id":"/web","instances":3,"portDefinitions":[{"port":10001}],"healthChecks":[{"protocol":"HTTP"}]}`).Finish()
	sick := m.Tasks("/web")[1].ID
	m.SetHealth(sick, false)
	c := newCluster(translateOptions{})
	see := func() (ready, unknown int) {
		a := snapshotOf(t, m)["/web"]
		for i := range a.tasks {
			if a.tasks[i].health == healthUnknown {
				unknown++
			}
		}
		list, _ := c.instances(a, time.Now())
		for _, i := range list {
			if i.Ready {
				ready++
			}
		}
		return ready, unknown
	}
	expect := func(when string, wantReady, wantUnknown int) {
		t.Helper()
		if ready, unknown := see(); ready != wantReady || unknown != wantUnknown {
			t.Errorf("%s, %d tasks are ready and %d unknown, want %d and %d", when, ready, unknown, wantReady, wantUnknown)
		}
	}
	expect("before", 2, 0)
	m.Elect(1)
	expect("when nothing is known", 2, 3)
	m.Recheck()
	expect("when all was found alive", 3, 0)
}
