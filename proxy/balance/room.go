// SPDX-License-Identifier: Apache-2.0

package balance

import "github.com/sluice-mesh/sluice/proxy/limit"

// Room bounds what each instance has in flight. The zero Room does not.
// Comparable.
type Room struct {
	Most int64
	// Crowd is told when there is room again. It must be there if Most is not
	// 0.
	Crowd *limit.Crowd
}

// Full reports whether the last Next, or Take, returned nothing since those
// that are left have as much in flight as they may.
func (w *Walk) Full() bool { return w.full }

// take makes i the next member, if it has room.
func (w *Walk) take(i int) bool {
	m := &w.set.members[i]
	if !w.enter(m.load) {
		return false
	}
	w.tried[w.n] = int32(i)
	w.n++
	return true
}

// takeFrom makes i the next member or, as long as they are full, the ones
// behind it: the near ones first.
func (w *Walk) takeFrom(i int) int {
	s := w.set
	if i >= 0 && w.take(i) {
		return s.members[i].at
	}
	if s.allowed.Most == 0 {
		return -1
	}
	for _, part := range [...][2]int{{0, s.near}, {s.near, len(s.members)}} {
		low, high := part[0], part[1]
		for k := range high - low {
			one := low + (max(i, low)-low+k)%(high-low)
			if !w.wasTried(one) && w.take(one) {
				return s.members[one].at
			}
		}
	}
	return -1
}

// enter counts the exchange in flight at a member, unless that is full.
func (w *Walk) enter(l *Load) bool {
	w.leave()
	if most := w.set.allowed.Most; most == 0 {
		l.inFlight.Add(1)
	} else if !l.enter(most) {
		w.full = true
		return false
	}
	w.load, w.full = l, false
	return true
}

// enter counts an exchange if that makes no more than most of them.
func (l *Load) enter(most int64) bool {
	for {
		n := l.inFlight.Load()
		if n >= most {
			return false
		}
		if l.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (w *Walk) leave() {
	if w.load == nil {
		return
	}
	w.load.inFlight.Add(-1)
	w.load = nil
	if w.set.allowed.Most > 0 {
		w.set.allowed.Crowd.Tell(w.now)
	}
}
