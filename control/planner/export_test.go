// SPDX-License-Identifier: Apache-2.0

package planner

// NewWhole returns a planner that does everything again for each plan, which
// others have to come to the same as.
func NewWhole(o Options) *Planner {
	p := New(o)
	p.whole = true
	return p
}
