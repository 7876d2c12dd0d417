// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// Whatever befalls Marathon, what is known of it serves; what cannot be known is
// shown, and over when Marathon answers again.
func TestMarathonFailsUnderLoad(t *testing.T) {
	served := newTasks()
	m := marathontest.Start(t, marathontest.Options{Runner: served})
	m.Deploy(strings.Replace(web(`{"protocol": "HTTP", "path": "/"}`), `"instances": 1`, `"instances": 3`, 1))
	x := newMesh(t, m, "--marathon-resync", "1s")
	x.tasks = served
	x.apply(t, webGateway(x.gateway))
	await(t, "the tasks answer", func() bool { return x.answered(t, "/web") }, x.proxy.log.String)

	for _, tt := range []struct {
		name string
		run  func(t *testing.T, l *load)
	}{
		{"every Marathon is down", x.down},
		{"every answer is an error page", x.errorPages},
		{"answers break off", x.cut},
		{"there seem to be no apps", x.empty},
		{"another master leads, and knows no health", x.elect},
		{"events are lost", x.lose},
		{"Marathon hangs", x.hang},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := x.load(t)
			l.more(t, 20)
			tt.run(t, l)
			l.more(t, 20)
			l.end(t)
			x.fresh(t)
		})
	}
}

// stale waits until the control plane says that it hears nothing.
func (x *mesh) stale(t *testing.T) {
	t.Helper()
	await(t, "it is shown that Marathon does not answer", func() bool {
		seconds := metric(t, x.api, `sluice_discovery_stale_seconds{resource="apps"}`)
		return strings.Contains(x.readiness(t), "marathon: stale since ") && seconds != "" && seconds != "0"
	}, func() string { return x.readiness(t) + x.control.log.String() })
}

// fresh waits until the control plane says that it hears all again.
func (x *mesh) fresh(t *testing.T) {
	t.Helper()
	await(t, "it is shown that Marathon answers again", func() bool {
		return !strings.Contains(x.readiness(t), "stale") &&
			metric(t, x.api, `sluice_discovery_stale_seconds{resource="apps"}`) == "0" &&
			metric(t, x.api, `sluice_discovery_held_back{resource="apps"}`) == "0"
	}, func() string { return x.readiness(t) + x.control.log.String() })
}

func (x *mesh) down(t *testing.T, l *load) {
	t.Helper()
	x.marathon.Stop(0)
	x.marathon.Stop(1)
	x.stale(t)
	l.more(t, 50)
	for i := range 2 {
		if err := x.marathon.Resume(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	x.marathon.Elect(0)
	x.marathon.Recheck()
}

func (x *mesh) errorPages(t *testing.T, l *load) {
	t.Helper()
	x.broken(t, l, marathontest.Fault{
		Path: "/v2/apps*", Status: http.StatusServiceUnavailable, Body: "<html>come back later</html>",
		Header: http.Header{"Content-Type": {"text/html"}},
	})
}

func (x *mesh) cut(t *testing.T, l *load) {
	t.Helper()
	x.broken(t, l, marathontest.Fault{Path: "/v2/apps*", Cut: 100})
}

func (x *mesh) broken(t *testing.T, l *load, f marathontest.Fault) {
	t.Helper()
	heal := x.marathon.Break(f)
	defer heal()
	x.stale(t)
	l.more(t, 50)
}

func (x *mesh) empty(t *testing.T, l *load) {
	t.Helper()
	heal := x.marathon.Break(marathontest.Fault{
		Path: "/v2/apps", Status: http.StatusOK, Body: `{"apps": []}`, Header: http.Header{"Content-Type": {"application/json"}},
	})
	defer heal()
	await(t, "the absence is held back", func() bool {
		return metric(t, x.api, `sluice_discovery_held_back{resource="apps"}`) == "1"
	}, x.control.log.String)
	l.more(t, 50)
}

func (x *mesh) elect(t *testing.T, l *load) {
	t.Helper()
	before := x.marathon.Count("/v2/apps")
	x.marathon.Elect(1 - x.marathon.Leader())
	await(t, "the new leader is asked", func() bool { return x.marathon.Count("/v2/apps") > before+1 }, x.control.log.String)
	l.more(t, 50)
	x.marathon.Recheck()
}

// lose has a task fail its checks, of which no event tells.
func (x *mesh) lose(t *testing.T, l *load) {
	t.Helper()
	if err := x.marathon.AwaitStreams(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	gone := x.marathon.Tasks("/web")[0]
	x.marathon.DropEvents(100)
	defer x.marathon.DropEvents(0)
	x.marathon.SetHealth(gone.ID, false)
	asked := func() bool {
		before := x.tasks.of(gone.ID)
		l.more(t, 30) // it would have a third of them
		return x.tasks.of(gone.ID) > before
	}
	await(t, "the task is left alone", func() bool { return !asked() }, x.control.log.String)
	x.marathon.SetHealth(gone.ID, true)
	await(t, "the task is asked again", asked, x.control.log.String)
}

// hang has Marathon take questions and answer none, which it takes most of a
// minute to call a failure; what is heard afterwards counts.
func (x *mesh) hang(t *testing.T, l *load) {
	t.Helper()
	heal := x.marathon.Break(marathontest.Fault{Hang: true})
	before := x.marathon.Count("/v2/apps")
	await(t, "Marathon is asked", func() bool { return x.marathon.Count("/v2/apps") > before }, x.control.log.String)
	l.more(t, 200)
	heal()
}
