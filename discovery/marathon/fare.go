// SPDX-License-Identifier: Apache-2.0

package marathon

import "time"

// resourceApps is what is watched.
const resourceApps = "apps"

// Watch is how the watching of Marathon fares.
type Watch struct {
	// Resource is what is watched: apps.
	Resource string
	// Objects are known, and the absence of Held of them is held back.
	Objects, Held int
	// Listed says that a snapshot was had.
	Listed bool
	// Stale is since when Marathon does not tell of changes: when it last told
	// anything, or else when it was first asked in vain. The zero time means
	// that it does.
	Stale time.Time
	// Err is why, or what makes changes known late, such as an event stream
	// that cannot be had while snapshots can; nil if all is well.
	Err error
	// Events were received, Connects streams of them begun, and Snapshots and
	// Fetches of single apps made, all since the start.
	Events, Connects, Snapshots, Fetches uint64
}
