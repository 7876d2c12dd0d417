// SPDX-License-Identifier: Apache-2.0

package store

import "slices"

// Matches reports whether a query asks for an event, but for its Limit.
func (q EventQuery) Matches(e *Event) bool {
	switch {
	case q.Namespace != "" && e.Namespace != q.Namespace,
		len(q.Types) > 0 && !slices.Contains(q.Types, e.Type),
		!q.Since.IsZero() && e.Time.Before(q.Since),
		!q.Until.IsZero() && !e.Time.Before(q.Until),
		q.Before != 0 && e.ID >= q.Before:
		return false
	}
	for _, tag := range q.Tags {
		if !slices.Contains(e.Tags, tag) {
			return false
		}
	}
	return true
}

// limit returns how many events a query is answered with, at most.
func (q EventQuery) limit() int {
	if q.Limit <= 0 {
		return DefaultEvents
	}
	return min(q.Limit, MaxEvents)
}
