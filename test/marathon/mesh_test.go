// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// mesh is a control plane that watches a Marathon, and a proxy of it.
type mesh struct {
	dir                  string
	api, stream, admin   string // host:port
	gateway              int    // the port of the gateway that is asked
	args                 []string
	control, proxy       *process
	marathon             *marathontest.Cluster
	tasks                *tasks // what the Marathon starts, for those who ask
	controls, proxyDatas int    // how many there were
}

// newMesh starts both, and waits until they are ready.
func newMesh(t *testing.T, m *marathontest.Cluster, args ...string) *mesh {
	t.Helper()
	ports, err := freeport.Take(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	local := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	x := &mesh{dir: t.TempDir(), api: local(0), stream: local(1), admin: local(2), gateway: ports[3], marathon: m}
	x.args = append([]string{
		"control", "--data-dir", filepath.Join(x.dir, "control"), "--api", x.api, "--stream", x.stream,
		"--marathon", strings.Join(m.URLs(), ","),
	}, args...)
	x.startControl(t)
	x.startProxy(t)
	return x
}

func (x *mesh) startControl(t *testing.T) {
	t.Helper()
	x.controls++
	x.control = start(t, fmt.Sprintf("control plane %d", x.controls), x.dir, x.args...)
	x.ready(t, x.control, x.api)
}

// startProxy starts a proxy that remembers nothing, in place of one that has
// ended.
func (x *mesh) startProxy(t *testing.T) {
	t.Helper()
	x.proxyDatas++
	name := fmt.Sprintf("proxy %d", x.proxyDatas)
	x.proxy = start(t, name, x.dir, "proxy", "--control", x.stream, "--admin", x.admin,
		"--gateway-address", "127.0.0.1", "--data-dir", filepath.Join(x.dir, name), "--drain", "2s")
	x.ready(t, x.proxy, x.admin)
}

// ready waits until a process says that it is ready at an address.
func (x *mesh) ready(t *testing.T, p *process, address string) {
	t.Helper()
	await(t, p.name+" is ready", func() bool {
		if p.ended() {
			t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.log)
		}
		status, _, err := get(t.Context(), "http://"+address+"/readyz")
		return err == nil && status == http.StatusOK
	}, p.log.String)
}

// readiness returns what the control plane says of itself.
func (x *mesh) readiness(t *testing.T) string {
	t.Helper()
	_, body, err := get(t.Context(), "http://"+x.api+"/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// sluice runs a command that asks the control plane, which must succeed.
func (x *mesh) sluice(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = x.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + x.dir, "SLUICE_HOST=http://" + x.api}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sluice %s: %v\n%s\n%s", strings.Join(args, " "), err, out, x.control.log)
	}
}

// apply writes a gateway and waits until the proxy serves it.
func (x *mesh) apply(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(x.dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x.sluice(t, "apply", "-f", file, "--wait")
}

// metric returns the value of a metric of the control plane or the proxy, as
// its exposition has it; empty if it is not there.
func metric(t *testing.T, address, series string) string {
	t.Helper()
	_, body, err := get(t.Context(), "http://"+address+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// get asks once, over a connection of its own.
func get(ctx context.Context, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// url is where the gateway is asked.
func (x *mesh) url() string { return fmt.Sprintf("http://127.0.0.1:%d/", x.gateway) }

// count asks the gateway n times, one after the other, and returns how many
// answers each app gave. All must be good.
func (x *mesh) count(t *testing.T, n int) map[string]int {
	t.Helper()
	by := make(map[string]int)
	for range n {
		status, body, err := get(t.Context(), x.url())
		if err != nil || status != http.StatusOK {
			t.Fatalf("a request is answered with %d %q, %v", status, body, err)
		}
		app, _, _ := strings.Cut(body, " ")
		by[app]++
	}
	return by
}

// answered reports whether a request is answered well, by a task of an app.
func (x *mesh) answered(t *testing.T, app string) bool {
	t.Helper()
	status, body, err := get(t.Context(), x.url())
	return err == nil && status == http.StatusOK && strings.HasPrefix(body, app+" ")
}
