// SPDX-License-Identifier: Apache-2.0

package node

import (
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
)

// Status is how a node stands, as /status shows it.
type Status struct {
	Build boot.Build `json:"build"`
	// Table is what serves; nil before the first one.
	Table    *TableStatus          `json:"table"`
	Gateways []proxy.GatewayStatus `json:"gateways"`
	// Faults are those of the present texts, refused ones and warnings.
	Faults []FaultStatus `json:"faults"`
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

// Status returns how the node stands.
func (n *Node) Status() Status {
	s := Status{
		Build:    n.build,
		Gateways: n.server.Status(),
		Faults:   []FaultStatus{},
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.snapshot != nil {
		s.Table = &TableStatus{
			Version:    n.snapshot.Version().String(),
			Published:  n.changed,
			AgeSeconds: time.Since(n.changed).Seconds(),
		}
	}
	for _, f := range n.faults {
		severity := "refused"
		if f.Severity == routing.Warning {
			severity = "warning"
		}
		s.Faults = append(s.Faults, FaultStatus{Text: f.Error(), Code: f.Code, Severity: severity})
	}
	return s
}

// status is what /status shows.
func (n *Node) status() any {
	if n.o.Status == nil {
		return n.Status()
	}
	return n.o.Status(n.Status())
}
