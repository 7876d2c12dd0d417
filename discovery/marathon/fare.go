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
	// anything, or else when it was first asked in vain, or was not waited for
	// any longer. The zero time means that it does.
	Stale time.Time
	// Err is why, or what makes changes known late, such as an event stream
	// that cannot be had while snapshots can; nil if all is well.
	Err error
}

// Traffic is how much was heard of Marathon since the start.
type Traffic struct {
	// Events were received of Connects streams. Snapshots of everything were
	// made, and Fetches of single apps.
	Events, Connects, Snapshots, Fetches uint64
}

// Traffic returns how much was heard of Marathon.
func (s *Source) Traffic() Traffic {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.traffic
}

// Watches returns how the watching of apps fares: one Watch. It is stale while
// Marathon does not answer; while only its events cannot be had it is not, but
// Err says so.
func (s *Source) Watches() []Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []Watch{{
		Resource: resourceApps, Objects: len(s.apps), Held: s.held, Listed: s.ready, Stale: s.stale, Err: s.trouble(),
	}}
}
