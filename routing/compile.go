// SPDX-License-Identifier: Apache-2.0

package routing

// CompileOptions shape a snapshot.
type CompileOptions struct {
	// Seed differs between proxies, so that their splits do not run in step.
	Seed uint64
	// PortMin and PortMax bound assigned ports. Zero means 40000 and 45000.
	PortMin, PortMax int
	// VirtualHostsDomain, if not empty, gives every gateway an automatic
	// virtual host below it.
	VirtualHostsDomain string
}

// Compile makes the snapshot of a table. prev is the snapshot that it will
// follow, nil for the first one.
func Compile(prev *Snapshot, t *Table, o CompileOptions) (*Snapshot, []*Fault) {
	_, _, _ = prev, t, o
	return &Snapshot{}, nil
}
