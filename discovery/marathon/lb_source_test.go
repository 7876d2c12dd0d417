// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon"
	"github.com/sluice-mesh/sluice/routing"
)

// bearing returns an app with one task and labels, written as JSON.
func bearing(id, host, labels string) string {
	return strings.Replace(running(id, host), `"instances"`, `"labels":{`+labels+`},"instances"`, 1)
}

// gateways returns the names of the gateways that are known, sorted.
func (w *watching) gateways() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, u := range w.state {
		for _, d := range u.Documents {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// rests reports whether the instances of an app bear the label of those that
// rest.
func (w *watching) rests(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.state[key].Instances, func(i *routing.Instance) bool {
		return slices.ContainsFunc(i.Labels, func(l routing.Label) bool { return l.Name == "sluice:rests" })
	})
}

func TestGatewaysOfLabelsAreRemembered(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "marathon.json")
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript()
		m.put("/web", bearing("/web", "10.0.0.1", `"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"shop.example","HAPROXY_0_PORT":"9000"`))
		o := marathon.Options{Dial: n.dial, File: file, Groups: []string{"external"}}
		stop := n.serve(t, "m:80", m)
		w := watch(t, o)
		w.after(time.Minute)
		const want = "marathon-lb/9000 marathon-lb/shop.example"
		expect(t, "at first", w.gateways(), want)
		w.end()
		stop()
		w = watch(t, o)
		w.after(time.Minute)
		expect(t, "while Marathon is down", w.gateways(), want)
		n.serve(t, "m:80", m)
		w.after(time.Minute)
		expect(t, "once it is back", w.gateways(), want)
	})
}

func TestTheOtherAppOfADeploymentGroupIsToldAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		m := newScript()
		colour := func(id, host, started string) {
			m.put(id, bearing(id, host, `"HAPROXY_DEPLOYMENT_GROUP":"web","HAPROXY_DEPLOYMENT_STARTED_AT":"`+started+`"`))
		}
		colour("/blue", "10.0.0.1", "2026-01-01T00:00:00Z")
		n.serve(t, "m:80", m)
		w := watch(t, marathon.Options{Dial: n.dial})
		w.after(time.Minute)
		colour("/green", "10.0.0.2", "2026-01-02T00:00:00Z")
		m.event("status_update_event", "/green")
		w.after(time.Second)
		if !w.rests("apps/blue") || w.rests("apps/green") {
			t.Error("blue does not rest, or green does")
		}
		m.put("/green", "")
		m.event("app_terminated_event", "/green")
		w.after(time.Second)
		if w.rests("apps/blue") {
			t.Error("blue rests though green is gone")
		}
	})
}
