// SPDX-License-Identifier: Apache-2.0

package routing

// CompileWhole is Compile without the shorter way for tables that differ in
// little, which has to come to the same.
func CompileWhole(prev *Snapshot, t *Table, o CompileOptions) (*Snapshot, []*Fault) {
	if prev != nil {
		unsettled := *prev
		unsettled.settled = false
		prev = &unsettled
	}
	return Compile(prev, t, o)
}

// CompilesAgain reports whether Compile takes the shorter way for a table.
func CompilesAgain(prev *Snapshot, t *Table, o CompileOptions) bool {
	c := &compilation{
		prev: prev, table: t, options: o.withDefaults(),
		next: &Snapshot{version: t.Version, schedules: prev.schedules.follow()},
	}
	c.next.options = c.options
	_, ok := c.again()
	return ok
}
