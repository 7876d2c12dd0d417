// SPDX-License-Identifier: Apache-2.0

package mesh

import "github.com/sluice-mesh/sluice/cmd/internal/node"

// Status is how a mesh stands, as /status shows it.
type Status struct {
	node.Status
	// Sources is what the planner knows of the files.
	Sources any `json:"sources"`
}

// Status returns how the mesh stands. It is safe for concurrent use.
func (m *Mesh) Status() Status { return m.status(m.node.Status()) }

func (m *Mesh) status(s node.Status) Status {
	return Status{Status: s, Sources: m.planner.Status("")}
}
