// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// labelled returns an app with a host, a path and a service port.
func labelled(n int) *app {
	a := &app{
		id: fmt.Sprintf("/group-%d/app-%d", n%50, n), instances: 4,
		spec: &spec{ports: []port{{service: 10101 + n, tcp: true}}, labels: []routing.Label{
			{Name: "HAPROXY_0_PATH", Value: fmt.Sprintf("/app-%d", n)},
			{Name: "HAPROXY_0_VHOST", Value: fmt.Sprintf("host-%d.example", n/2)},
			{Name: "HAPROXY_GROUP", Value: "external"},
		}},
	}
	for i := range 4 {
		a.tasks = append(a.tasks, task{id: fmt.Sprintf("app-%d.%d", n, i), state: stateRunning, health: healthAlive})
	}
	return a
}

// BenchmarkLabels measures what the labels of 5,000 apps take: all of them at
// the start, an app whose labels changed, and one of which only tasks did.
func BenchmarkLabels(b *testing.B) {
	const n = 5000
	apps := make([]*app, n)
	for i := range apps {
		apps[i] = labelled(i)
	}
	alive := newCluster(translateOptions{}).alive
	start := func() *labels {
		l := newLabels(labelOptions{groups: []string{"external"}})
		for _, a := range apps {
			l.put(a)
		}
		l.settle(alive)
		l.take()
		return l
	}
	b.Run("start", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			start()
		}
	})
	l := start()
	b.Run("labels of one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			a := labelled(7)
			a.labels[0].Value = fmt.Sprintf("/path-%d", i%2)
			l.put(a)
			l.settle(alive)
			if got := len(l.take()); got != 1 {
				b.Fatalf("%d updates", got)
			}
		}
	})
	b.Run("tasks of one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			a := *apps[8]
			a.tasks = a.tasks[:1+i%3]
			l.put(&a)
			l.settle(alive)
			if got := len(l.take()); got != 0 {
				b.Fatalf("%d updates", got)
			}
		}
	})
}
