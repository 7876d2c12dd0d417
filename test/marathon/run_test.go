// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// One process without a store serves what it finds in Marathon: a selector gives
// each version a route, and labels of marathon-lb make hosts.
func TestRunsWithoutStore(t *testing.T) {
	ports, err := freeport.Take(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks(), Users: map[string]string{"sluice": "pa55word"}})
	for i, version := range []string{"1.0.0", "1.1.0"} {
		m.Deploy(strings.Replace(service(version), `"containerPort": 3000`, fmt.Sprintf(`"containerPort": 3000, "servicePort": %d`, ports[3+i]), 1))
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"gateway.yaml": fmt.Sprintf("name: service\nport: %d/http\nselector: id(simple-service-(.*))\nroutes:\n  (1.0.0): {weight: 50%%}\n  (1.1.0): {weight: 50%%}\n", ports[0]),
		"marathon":     "sluice:pa55word\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := &mesh{dir: dir, gateway: ports[0], admin: fmt.Sprintf("127.0.0.1:%d", ports[1]), marathon: m}
	x.proxy = start(t, "run", dir, "run", "-f", "gateway.yaml", "--marathon", strings.Join(m.URLs(), ","),
		"--marathon-basic-auth-file", "marathon", "--marathon-lb-groups", "external", "--marathon-resync", "1s",
		"--gateway-address", "127.0.0.1", "--admin", x.admin, "--virtual-hosts-port", strconv.Itoa(ports[2]))
	x.ready(t, x.proxy, x.admin)

	for _, app := range []string{oldApp, newApp} {
		await(t, app+" answers by the selector", func() bool { return x.answered(t, app) }, x.proxy.log.String)
	}
	for host, app := range map[string]string{
		"simpleservice100.mycompany.com": oldApp, "SimpleService110.mycompany.com": newApp,
	} {
		await(t, host+" answers", func() bool {
			return strings.HasPrefix(getHost(t.Context(), ports[2], host), app+" ")
		}, x.proxy.log.String)
	}

	m.Stop(0)
	m.Stop(1)
	await(t, "it is shown that Marathon does not answer", func() bool {
		_, ready, err := get(t.Context(), "http://"+x.admin+"/readyz?verbose")
		_, status, err2 := get(t.Context(), "http://"+x.admin+"/status")
		seconds := metric(t, x.admin, `sluice_discovery_stale_seconds{resource="apps"}`)
		return err == nil && err2 == nil && strings.Contains(ready, "marathon: stale since ") &&
			strings.Contains(status, `"stale": "stale since `) && seconds != "" && seconds != "0"
	}, func() string {
		_, status, _ := get(t.Context(), "http://"+x.admin+"/status")
		return status + x.proxy.log.String()
	})
	x.count(t, 20)
	x.proxy.end(t)
	if strings.Contains(x.proxy.log.String(), "pa55word") {
		t.Errorf("a password is logged:\n%s", x.proxy.log)
	}
}

// getHost returns what a virtual host answers, or the reason why it does not.
func getHost(ctx context.Context, port int, host string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), http.NoBody)
	if err != nil {
		return err.Error()
	}
	r.Host, r.Close = host, true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
