// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// A control plane that starts while Marathon is down serves what it remembers,
// to proxies that remember nothing.
func TestRestartsWhileMarathonIsDown(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks()})
	m.Deploy(web(`{"protocol": "MESOS_HTTP", "path": "/"}`))
	x := newMesh(t, m)
	x.apply(t, webGateway(x.gateway))
	await(t, "the task answers", func() bool { return x.answered(t, "/web") }, x.proxy.log.String)

	m.Stop(0)
	m.Stop(1)
	l := x.load(t)
	x.control.end(t)
	x.startControl(t)
	l.more(t, 50)
	if text := x.readiness(t); !strings.Contains(text, "marathon: stale since ") {
		t.Errorf("the control plane says nothing of Marathon being down: %s", text)
	}
	l.end(t)

	x.proxy.end(t)
	x.startProxy(t)
	await(t, "the task answers through a new proxy", func() bool { return x.answered(t, "/web") }, x.proxy.log.String)
	x.exact(t, 50, map[string]int{"/web": 50})
}
