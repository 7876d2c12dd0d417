// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
)

// holds reports whether the namespace is not to be planned yet: an origin that
// had objects before the process was started has none in the first listing,
// which may only seem so. Proxies keep what they serve meanwhile.
//
// What sources say later is believed: they know best what they have seen, and
// hold back themselves what they are not sure of.
func (s *space) holds(now time.Time) bool {
	if s.last.Table != nil || s.believed {
		return false
	}
	missing := s.missing()
	switch {
	case len(missing) == 0:
		s.held = nil
	case s.held == nil:
		s.p.heldBack++
		s.held = &discovery.Held{
			Since: now, Until: now.Add(holdFor),
			Why: "nothing of " + strings.Join(missing, ", ") + " was found after the start, where there was something before it",
		}
	case !now.Before(s.held.Until):
		// The plan may have to wait for its revision, and the hold is over all
		// the same.
		s.held, s.believed = nil, true
	}
	return s.held != nil
}

// missing returns the origins that had objects and have none.
func (s *space) missing() []string {
	return slices.DeleteFunc(slices.Clone(s.memory.origins), func(origin string) bool { return s.origins[origin] > 0 })
}
