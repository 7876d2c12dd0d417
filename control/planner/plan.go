// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Plan is what one namespace comes to. It is immutable.
type Plan struct {
	Namespace string // organisation/environment
	// Table has its ports assigned, and only gateways that compile: others are
	// named in Broken. Gateways that did not change are the same pointers as in
	// the plan before.
	Table *routing.Table
	// Snapshot is the table, compiled.
	Snapshot *routing.Snapshot
	// Faults are all that stand, those of compiling among them.
	Faults []*routing.Fault
	// Changes are those that were taken in since the plan before. The table
	// may be equal to that of the plan before all the same: then it has its
	// version.
	Changes []discovery.Change
}
