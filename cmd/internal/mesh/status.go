// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
)

// Status is how a mesh stands, as /status shows it.
type Status struct {
	Build boot.Build `json:"build"`
	// Table is what serves; nil before the first one.
	Table    *TableStatus          `json:"table"`
	Gateways []proxy.GatewayStatus `json:"gateways"`
	// Faults are those of the present texts, refused ones and warnings.
	Faults []FaultStatus `json:"faults"`
	// Sources is what the planner knows of the files.
	Sources any `json:"sources"`
}

// TableStatus names the table that serves.
type TableStatus struct {
	Version    string    `json:"version"`
	Published  time.Time `json:"published"`
	AgeSeconds float64   `json:"age_seconds"`
}

// FaultStatus is one standing fault.
type FaultStatus struct {
	Text     string `json:"text"` // file:line:col: path: what is wrong; what is allowed
	Code     string `json:"code"`
	Severity string `json:"severity"` // refused or warning
}

// Status returns how the mesh stands. It is safe for concurrent use.
func (m *Mesh) Status() Status {
	s := Status{
		Build:    m.build,
		Gateways: m.server.Status(),
		Faults:   []FaultStatus{},
		Sources:  m.planner.Status(),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapshot != nil {
		s.Table = &TableStatus{
			Version:    m.snapshot.Version().String(),
			Published:  m.changed,
			AgeSeconds: time.Since(m.changed).Seconds(),
		}
	}
	for _, f := range m.faults {
		severity := "refused"
		if f.Severity == routing.Warning {
			severity = "warning"
		}
		s.Faults = append(s.Faults, FaultStatus{Text: f.Error(), Code: f.Code, Severity: severity})
	}
	return s
}
