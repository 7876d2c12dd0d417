// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"fmt"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// web is an app; checks are the text of its health checks.
func web(checks string) string {
	return `{"id": "/web", "instances": 1, "healthChecks": [` + checks + `],
 "container": {"type": "DOCKER", "docker": {"image": "example/web:1", "network": "BRIDGE",
   "portMappings": [{"containerPort": 8080, "labels": {"VIP_0": "/web:80"}}]}}}`
}

// webGateway leads to it by the name that it has in the cluster.
func webGateway(port int) string {
	return fmt.Sprintf("name: web\nport: %d/http\nroutes:\n  \"[web.marathon.l4lb.thisdcos.directory:80]\": {}\n", port)
}

// hear waits until the control plane has asked Marathon for everything once
// more, and has taken in the answer: it asks again only then.
func (x *mesh) hear(t *testing.T) {
	t.Helper()
	before := x.marathon.Count("/v2/apps")
	await(t, "Marathon is asked for everything", func() bool { return x.marathon.Count("/v2/apps") >= before+2 }, x.control.log.String)
}

// second returns the task of an app that is not first; false if there is none
// yet.
func second(m *marathontest.Cluster, app, first string) (marathontest.Task, bool) {
	for _, task := range m.Tasks(app) {
		if task.ID != first && len(task.Ports) > 0 {
			return task, true
		}
	}
	return marathontest.Task{}, false
}

// A task that runs is not one that answers. Marathon's health checks say which
// does; without any, the proxy looks for itself.
func TestTasksWaitUntilTheyAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, checks string
		// answer has a new task answer, which does not before.
		answer func(d *marathontest.Deployment, listen func())
	}{
		{
			"by the health checks of Marathon", `{"protocol": "MESOS_HTTP", "path": "/"}`,
			func(d *marathontest.Deployment, _ func()) { d.Finish() },
		},
		{
			"by connecting, where Marathon makes no checks", "",
			func(_ *marathontest.Deployment, listen func()) { listen() },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTasks()
			m := marathontest.Start(t, marathontest.Options{Runner: s, ByHand: true})
			m.Deploy(web(tt.checks)).Finish()
			first := m.Tasks("/web")[0].ID
			x := newMesh(t, m, "--marathon-resync", "500ms")
			x.apply(t, webGateway(x.gateway))
			await(t, "the first task answers", func() bool { return x.answered(t, "/web") }, x.proxy.log.String)

			listen := func() {}
			if tt.checks == "" {
				listen = s.boot(t)
			}
			d := m.Scale("/web", 2)
			d.StepTo(marathontest.Running)
			fresh, ok := second(m, "/web", first)
			if !ok {
				t.Fatalf("there is no second task: %v", m.Tasks("/web"))
			}
			x.hear(t)
			x.exact(t, 100, map[string]int{"/web": 100})
			if n := s.of(fresh.ID); n > 0 {
				t.Errorf("the task that does not answer yet was asked %d times", n)
			}
			for _, outcome := range []string{"connected", "failed"} {
				if n := metric(t, x.admin, `sluice_retries_total{outcome="`+outcome+`"}`); n != "" && n != "0" {
					t.Errorf("%s requests were tried again (%s): they met the task that does not answer", n, outcome)
				}
			}

			tt.answer(d, listen)
			await(t, "the second task is asked", func() bool { return x.answered(t, "/web") && s.of(fresh.ID) > 0 }, x.proxy.log.String)
			d.Finish()
		})
	}
}
