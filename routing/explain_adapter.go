// SPDX-License-Identifier: Apache-2.0

package routing

import "github.com/sluice-mesh/sluice/conditions"

// clause is one part of a condition, and what became of it.
type clause struct {
	Text         string
	Holds, Asked bool
	Saw          string
}

// explainCondition tells of a condition as a whole.
func explainCondition(c *conditions.Condition, r conditions.Request) (bool, []clause) {
	holds := c.Holds(r)
	return holds, []clause{{Text: c.String(), Holds: holds, Asked: true}}
}
