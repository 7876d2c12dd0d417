// SPDX-License-Identifier: Apache-2.0

package agent

import "time"

// Status is how a proxy stands with its control plane, ready to be shown as
// JSON.
type Status struct {
	// Connected reports a session in which a table came.
	Connected bool `json:"connected"`
	// Server is the address of that session or of the last attempt, Name what
	// the server calls itself.
	Server string `json:"server,omitempty"`
	Name   string `json:"name,omitempty"`
	// Since is from when on that is so. What is served may be stale from there
	// on if Connected is false, for what Why says.
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
	// Version is that of the table that serves, Received of the one that the
	// control plane has sent last; empty if there is none.
	Version  string `json:"version"`
	Received string `json:"received"`
	// HeldBack are gateways that seem to be gone and are kept, by name.
	HeldBack []HeldBack `json:"held_back"`
	// Refused are gateways that do not serve as they were sent, by name.
	Refused []Refused `json:"refused"`
	// Reconnects counts the sessions after the first, Ignored the tables and
	// sessions that were not believed, by reason.
	Reconnects uint64            `json:"reconnects"`
	Ignored    map[string]uint64 `json:"ignored"`
	// Disk is how the last good tables are kept; nil if they are not.
	Disk *Disk `json:"disk"`
}

// HeldBack is a gateway that is kept as it was.
type HeldBack struct {
	Gateway string    `json:"gateway"`
	Why     string    `json:"why"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"` // or later, while there is no session
}

// Refused is a gateway that does not serve as it was sent.
type Refused struct {
	Gateway string   `json:"gateway"`
	Reasons []string `json:"reasons"`
}

// Disk is how the last good tables on disk fare.
type Disk struct {
	Loaded      string    `json:"loaded,omitempty"` // version that the process began with
	Version     string    `json:"version,omitempty"`
	Saved       time.Time `json:"saved,omitzero"`
	Generations int       `json:"generations"`
	Damaged     int       `json:"damaged"` // files, now and when the process began
	Quarantined []string  `json:"quarantined,omitempty"`
	Pending     bool      `json:"pending"`
	Writes      uint64    `json:"writes"`
	Failures    uint64    `json:"failures"`
	Error       string    `json:"error,omitempty"`
}
