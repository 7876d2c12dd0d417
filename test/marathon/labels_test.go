// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// painted is one of two apps of a deployment group, as tools that deploy blue
// beside green for marathon-lb write it.
func painted(colour string, port, instances int) string {
	return fmt.Sprintf(`{"id": "/web-%[1]s", "instances": %[3]d,
 "container": {"type": "DOCKER", "docker": {"image": "web:%[1]s", "network": "BRIDGE", "portMappings": [{"containerPort": 3000}]}},
 "healthChecks": [{"protocol": "HTTP", "portIndex": 0}],
 "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_PORT": "%[2]d", "HAPROXY_0_MODE": "http", "HAPROXY_DEPLOYMENT_GROUP": "web",
   "HAPROXY_DEPLOYMENT_COLOUR": "%[1]s", "HAPROXY_DEPLOYMENT_STARTED_AT": "2026-01-0%[4]dT00:00:00.000000"}}`,
		colour, port, instances, map[string]int{"blue": 1, "green": 2}[colour])
}

// Labels alone make a gateway, and move it from one colour to the other while
// clients ask it. No request fails.
func TestLabelsMoveAPortFromBlueToGreen(t *testing.T) {
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks()})
	x := newMesh(t, m, "--marathon-lb-groups", "external")
	m.Deploy(painted("blue", x.gateway, 2))
	await(t, "blue answers", func() bool { return x.answered(t, "/web-blue") }, x.proxy.log.String)
	if text := x.status(t); !strings.Contains(text, fmt.Sprintf("marathon-lb/%d", x.gateway)) {
		t.Errorf("the gateway of the port is not there:\n%s", text)
	}

	l := x.load(t)
	m.Deploy(painted("green", x.gateway, 1)) // takes the place of one of two
	await(t, "both answer", func() bool {
		by := x.count(t, 8)
		return by["/web-green"] > 0 && by["/web-blue"] > 0
	}, x.control.log.String)
	await(t, "one task of blue rests", func() bool {
		asked := make(map[string]bool)
		for range 8 {
			_, body, err := get(t.Context(), x.url())
			asked[body] = err == nil
		}
		return len(asked) == 2
	}, x.control.log.String)
	m.Scale("/web-green", 2)
	await(t, "green has all requests", func() bool { return x.count(t, 8)["/web-green"] == 8 }, x.control.log.String)
	m.Remove("/web-blue")
	l.more(t, 100)
	l.end(t)
	x.exact(t, 100, map[string]int{"/web-green": 100})
}

// What a label keeps out stays out: an app whose password cannot be asked for
// has no port, and the warning says so.
func TestALabelThatCannotBeHonouredIsTold(t *testing.T) {
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks()})
	x := newMesh(t, m, "--marathon-lb-groups", "external")
	m.Deploy(fmt.Sprintf(`{"id": "/secret", "instances": 1,
 "container": {"type": "DOCKER", "docker": {"image": "secret", "network": "BRIDGE", "portMappings": [{"containerPort": 3000}]}},
 "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_PORT": "%d", "HAPROXY_0_MODE": "http", "HAPROXY_0_AUTH": "realm:me:crypt-hash"}}`, x.gateway))
	await(t, "the label is told of", func() bool {
		text := x.status(t)
		return strings.Contains(text, "labels/apps/secret") && strings.Contains(text, "HAPROXY_0_AUTH")
	}, x.control.log.String)
	if text := x.status(t); strings.Contains(text, "crypt-hash") || strings.Contains(text, fmt.Sprintf("marathon-lb/%d", x.gateway)) {
		t.Errorf("the port is offered, or its password is shown:\n%s", text)
	}
}

// status returns how gateways and apps stand.
func (x *mesh) status(t *testing.T) string {
	t.Helper()
	status, body, err := get(t.Context(), "http://"+x.api+"/api/v1/status")
	if err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	return body
}
