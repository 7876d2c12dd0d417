// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// Apps below a group belong to an environment: its gateways find them, and those
// of others do not.
func TestGroupsAreEnvironments(t *testing.T) {
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks()})
	m.Deploy(strings.Replace(web(`{"protocol": "MESOS_HTTP", "path": "/"}`), `"/web", "instances"`, `"/shop/web", "instances"`, 1))
	x := newMesh(t, m, "--marathon-environment", "acme/prod=/shop")
	admin := fmt.Sprintf("127.0.0.1:%d", freeport.One(t))
	p := start(t, "proxy of acme/prod", x.dir, "proxy", "--control", x.stream, "--admin", admin, "--namespace", "acme/prod",
		"--gateway-address", "127.0.0.2", "--name", "acme", "--data-dir", filepath.Join(x.dir, "acme"))
	x.apply(t, webGateway(x.gateway))
	x.sluice(t, "apply", "-n", "acme/prod", "-f", filepath.Join(x.dir, "gateway.yaml"))
	x.ready(t, p, admin)

	at := func(host string) (status int, body string) {
		status, body, err := get(t.Context(), fmt.Sprintf("http://%s:%d/", host, x.gateway))
		if err != nil {
			return 0, err.Error()
		}
		return status, body
	}
	await(t, "the app answers in its environment", func() bool {
		status, body := at("127.0.0.2")
		return status == http.StatusOK && strings.HasPrefix(body, "/shop/web ")
	}, p.log.String)
	if status, body := at("127.0.0.1"); status != http.StatusServiceUnavailable {
		t.Errorf("in another environment it answers %d %q, want 503", status, body)
	}
}
