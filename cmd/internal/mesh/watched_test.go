// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/mesh"
	"github.com/sluice-mesh/sluice/cmd/internal/watched"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// silent is a source that has nothing to say.
type silent struct{}

func (silent) Run(ctx context.Context, sink func(discovery.Batch)) error {
	sink(discovery.Batch{Listed: true})
	<-ctx.Done()
	return nil
}

// Beside the text, two things are watched of which one does not answer. The text
// serves, and what is stale is shown wherever one looks.
func TestWatchedSourcesAreShown(t *testing.T) {
	since := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	of := func(name, resource string, stale time.Time) *watched.Source {
		return watched.New("", name, silent{}, func() []watched.Watch {
			return []watched.Watch{{Resource: resource, Objects: 7, Held: 1, Stale: stale}}
		})
	}
	port := freeport.One(t)
	m, _ := start(t, mesh.Text{Name: "lab.yaml", YAML: []byte(gateway(port, origin(t, "hello"), "100%"))},
		of("kubernetes", "pods", time.Time{}), of("marathon", "apps", since))
	<-m.First()
	wantBody(t, fmt.Sprintf("http://127.0.0.1:%d/", port), "hello")
	wantBody(t, "http://"+m.Admin()+"/readyz?verbose", "marathon: stale since 2026-11-21T12:00:00Z: apps")
	wantBody(t, "http://"+m.Admin()+"/status", `"stale": "stale since 2026-11-21T12:00:00Z: apps"`)
	wantBody(t, "http://"+m.Admin()+"/metrics", `sluice_discovery_objects{resource="pods"} 7`)
	wantBody(t, "http://"+m.Admin()+"/metrics", `sluice_discovery_held_back{resource="apps"} 1`)
	if _, body, err := get(t.Context(), "http://"+m.Admin()+"/readyz?verbose"); err != nil || strings.Contains(body, "kubernetes: stale") {
		t.Errorf("/readyz says %q (%v) of what is watched", body, err)
	}
}
