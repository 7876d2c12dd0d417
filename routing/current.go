// SPDX-License-Identifier: Apache-2.0

package routing

import "sync/atomic"

// Current publishes the snapshot on which requests are decided. The zero
// Current holds an empty snapshot, which has no gateway. It is safe for
// concurrent use and must not be copied once it is used.
type Current struct{ p atomic.Pointer[Snapshot] }

// empty is what a Current holds before the first snapshot.
var empty Snapshot

// Load returns the published snapshot, never nil. Load it once a request:
// two loads may see two tables.
func (c *Current) Load() *Snapshot {
	if s := c.p.Load(); s != nil {
		return s
	}
	return &empty
}

// Publish makes next current if its version is newer than that of the
// current one, and reports whether it did. The first snapshot is always
// newer.
func (c *Current) Publish(next *Snapshot) bool {
	for {
		old := c.p.Load()
		if old != nil && !next.version.Newer(old.version) {
			return false
		}
		if c.p.CompareAndSwap(old, next) {
			return true
		}
	}
}
