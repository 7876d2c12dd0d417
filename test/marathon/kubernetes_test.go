// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// A control plane may watch a Kubernetes cluster besides: that one of both does
// not answer is no reason not to serve what the other says.
func TestWatchesKubernetesBesides(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := `{"apiVersion": "v1", "kind": "Config", "current-context": "test",
 "clusters": [{"name": "test", "cluster": {"server": "http://` + net.JoinHostPort("127.0.0.1", strconv.Itoa(freeport.One(t))) + `"}}],
 "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}], "users": [{"name": "test", "user": {}}]}`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks()})
	m.Deploy(web(`{"protocol": "MESOS_HTTP", "path": "/"}`))
	x := newMesh(t, m, "--kubeconfig", config, "--service-type", "none")
	x.apply(t, webGateway(x.gateway))
	await(t, "the task answers", func() bool { return x.answered(t, "/web") }, x.proxy.log.String)
	await(t, "the cluster is stale, and Marathon is not", func() bool {
		text := x.readiness(t)
		return strings.Contains(text, "kubernetes: stale since ") && !strings.Contains(text, "marathon: stale")
	}, func() string { return x.readiness(t) })
	if n := metric(t, x.api, `sluice_discovery_objects{resource="apps"}`); n != "1" {
		t.Errorf("%q apps are known, want 1", n)
	}
	if n := metric(t, x.api, `sluice_discovery_objects{resource="pods"}`); n != "0" {
		t.Errorf("%q pods are known, want 0", n)
	}
}
