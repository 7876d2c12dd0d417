// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/proxy/admin"
)

// Status is how a mesh stands, as /status shows it.
type Status struct {
	node.Status
	// Sources is what the planner knows of the files.
	Sources any `json:"sources"`
	// Watched tells how the watching of clusters fares.
	Watched []WatchStatus `json:"watched,omitempty"`
}

// WatchStatus is how the watching of a cluster fares.
type WatchStatus struct {
	Name string `json:"name"` // kubernetes or marathon
	// Stale says what cannot be watched, and since when; empty if all can.
	// What is known of it serves on.
	Stale string `json:"stale,omitempty"`
}

// Status returns how the mesh stands. It is safe for concurrent use.
func (m *Mesh) Status() Status { return m.status(m.node.Status()) }

func (m *Mesh) status(s node.Status) Status {
	out := Status{Status: s, Sources: m.planner.Status("")}
	for _, w := range m.watched {
		out.Watched = append(out.Watched, WatchStatus{Name: w.Name(), Stale: w.Stale()})
	}
	return out
}

// ready tells what a probe should know. What is known of a cluster serves,
// however old it is.
func (m *Mesh) ready() []admin.Check {
	var all []admin.Check
	for _, w := range m.watched {
		all = append(all, admin.Check{Name: w.Name(), OK: true, Detail: w.Stale()})
	}
	return all
}
