// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"

	"github.com/sluice-mesh/sluice/control/store"
)

// Differences is what is told between two tables.
var Differences = differences

// Events returns what the store knows of what happened.
func (p *Plane) Events(ctx context.Context, q store.EventQuery) ([]store.Event, error) {
	return p.store.Events(ctx, q)
}
