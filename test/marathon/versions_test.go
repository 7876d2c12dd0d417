// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

const (
	oldApp, newApp     = "/simple-service-1.0.0", "/simple-service-1.1.0"
	oldRoute, newRoute = "[simple-service-1.0.0.marathon.l4lb.thisdcos.directory:3000]", "[simple-service-1.1.0.marathon.l4lb.thisdcos.directory:3000]"
)

// service is a version of the simple service, which is an app of its own.
func service(version string) string {
	return fmt.Sprintf(`{"id": "/simple-service-%[1]s", "instances": 2,
 "container": {"type": "DOCKER", "docker": {"image": "magneticio/simpleservice:%[1]s", "network": "BRIDGE",
   "portMappings": [{"containerPort": 3000, "labels": {"VIP_0": "/simple-service-%[1]s:3000"}}]}},
 "labels": {"HAPROXY_0_MODE": "http", "HAPROXY_0_VHOST": "simpleservice%[2]s.mycompany.com", "HAPROXY_GROUP": "external"}}`,
		version, strings.ReplaceAll(version, ".", ""))
}

// documented is the gateway that the manual shows, on another port.
func documented(t *testing.T, port int) string {
	t.Helper()
	manual, err := os.ReadFile("../../docs/marathon.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- file: simpleservice.yaml -->\n```yaml\n(.*?)```").FindSubmatch(manual)
	if m == nil || !strings.Contains(string(m[1]), "port: 8080/http") {
		t.Fatal("docs/marathon.md does not show simpleservice.yaml with port 8080/http")
	}
	return strings.Replace(string(m[1]), "port: 8080/http", "port: "+strconv.Itoa(port)+"/http", 1)
}

// Two versions stand beside each other as apps of their own; traffic moves from
// the one to the other, and the old one is removed. No request fails.
func TestVersionsReplaceEachOther(t *testing.T) {
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks()})
	m.Deploy(service("1.0.0"))
	x := newMesh(t, m)
	m.Deploy(service("1.1.0"))
	x.apply(t, documented(t, x.gateway))
	asked := 0
	for _, app := range []string{oldApp, newApp} {
		await(t, app+" answers", func() bool { asked++; return x.answered(t, app) }, x.proxy.log.String)
	}
	x.count(t, asked%2) // the schedule of 50 % each repeats after two requests
	x.exact(t, 200, map[string]int{oldApp: 100, newApp: 100})

	// Changed weights begin anew, so that whole rounds are exact at once.
	x.weigh(t, 25)
	x.exact(t, 200, map[string]int{oldApp: 150, newApp: 50})

	l := x.load(t)
	for _, percent := range []int{50, 75, 90, 100} {
		x.weigh(t, percent)
		l.more(t, 50)
	}
	l.end(t)
	x.exact(t, 200, map[string]int{newApp: 200})

	l = x.load(t)
	m.Remove(oldApp)
	l.more(t, 100)
	l.end(t)
	if got := m.Tasks(oldApp); len(got) > 0 {
		t.Fatalf("the old version has tasks: %v", got)
	}
	x.exact(t, 200, map[string]int{newApp: 200})
}

// weigh gives the new version a share in percent, and the old one the rest.
func (x *mesh) weigh(t *testing.T, percent int) {
	t.Helper()
	x.sluice(t, "weight", "simpleservice",
		fmt.Sprintf("%s=%d%%", oldRoute, 100-percent), fmt.Sprintf("%s=%d%%", newRoute, percent), "--wait=1m")
}

// exact asks n times and compares who answered.
func (x *mesh) exact(t *testing.T, n int, want map[string]int) {
	t.Helper()
	if got := x.count(t, n); !maps.Equal(got, want) {
		t.Errorf("of %d requests, %v were answered, want %v", n, got, want)
	}
}
