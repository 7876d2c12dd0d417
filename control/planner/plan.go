// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Plan is what one namespace comes to. It is immutable.
type Plan struct {
	Namespace string // organisation/environment
	// Table is what proxies are to serve: every port is assigned, and every
	// gateway compiles beside the others. A gateway that is refused is there in
	// its last good form; if it has none it is named in Broken. Gateways that did
	// not change are the same pointers as in the plan before.
	Table *routing.Table
	// Snapshot is the table, compiled. Gateways that did not change are the
	// same pointers as in the snapshot before.
	Snapshot *routing.Snapshot
	// Secrets are those of the namespace that gateways of the table name, sorted.
	// They may differ from those of the plan before while the table does not.
	// They are for the proxies of the namespace alone, and for no eye or log.
	Secrets []*routing.Secret
	// Faults are all that stand, those of compiling among them, in the order
	// of their places.
	Faults []*routing.Fault
	// Changes are those that were taken in since the plan before. The table
	// may be equal to that of the plan before all the same: then it is the same
	// pointer, with its version.
	Changes []discovery.Change
}
