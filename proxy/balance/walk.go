// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
)

// MaxAttempts bounds the instances of one walk.
const MaxAttempts = 16

// Walk chooses the instance of one exchange, and the next ones if it cannot be
// reached. The zero Walk has none. It belongs to one goroutine and may be used
// again after End.
type Walk struct {
	set   *Set
	turn  uint64 // whose turn it is, or random bits
	key   uint64
	keyed bool
	now   int64
	load  *Load // of the present instance; nil if there is none
	full  bool  // the last one that was sought had no room
	n     int   // how many were tried
	tried [MaxAttempts]int32
}

// Begin looks at the request, which is not used later, and begins a walk at
// time now, in nanoseconds on any clock. A walk that has not ended is ended.
func (s *Set) Begin(w *Walk, r conditions.Request, now int64) {
	w.End()
	w.set, w.now, w.n, w.full = s, now, 0, false
	w.key, w.keyed = 0, false
	if s.ring != nil {
		w.key, w.keyed = key(&s.ring.by, r)
	}
	switch {
	case len(s.members) < 2 || w.keyed || s.algorithm == routing.BalanceFirst:
		w.turn = 0
	case s.algorithm == routing.BalanceRandom, s.algorithm == routing.BalanceEWMA:
		w.turn = mix(uint64(r.Random()) * 0x9e3779b97f4a7c15)
	default:
		w.turn = s.turns.next.Add(1) - 1
	}
}

// Next returns the position, among the members that the set was made of, of
// the instance to try next; -1 if all were tried, or MaxAttempts of them, or if
// those that are left are full. A full one is passed over for those behind it. The
// exchange counts as in flight there, and no longer at the one before.
//
// Later ones follow the same algorithm, without those that were tried. Once no
// near instance is left, those follow that locality had passed over.
func (w *Walk) Next() int {
	w.leave()
	w.full = false
	s := w.set
	if s == nil || w.n == len(w.tried) || w.n >= len(s.members) {
		return -1
	}
	i := w.choose()
	if i < 0 {
		i = w.after(s.near+int(w.turn%uint64(len(s.members))), s.near, len(s.members))
	}
	return w.takeFrom(i)
}

// Take makes a given member the next one, whatever the algorithm says and even
// if it takes nothing by itself any more; it reports whether it was not tried
// yet and has room. at is its position among the members that the set was made of.
func (w *Walk) Take(at int) bool {
	if w.set == nil || w.n == len(w.tried) {
		return false
	}
	for i := range w.set.members {
		if w.set.members[i].at == at {
			if w.wasTried(i) {
				return false
			}
			return w.take(i)
		}
	}
	return w.enter((*w.set.loads)[at])
}

// Answered notes how long the present instance took to answer, at time now.
func (w *Walk) Answered(now int64, took time.Duration) {
	if w.load != nil && w.set.algorithm == routing.BalanceEWMA {
		w.load.Observe(now, took)
	}
}

// Failed notes that the present instance did not answer in some time.
func (w *Walk) Failed(now int64, took time.Duration) { w.Answered(now, max(took, failed)) }

// End ends the walk: the exchange is in flight no longer. Ending it again does
// nothing.
func (w *Walk) End() {
	w.leave()
	w.set = nil
}

// choose returns a near member that was not tried, -1 if there is none.
func (w *Walk) choose() int {
	s := w.set
	switch s.algorithm {
	case routing.BalanceLeastConn:
		return w.least()
	case routing.BalanceFirst:
		return w.first()
	case routing.BalanceRandom:
		return w.bestOf(max(s.number, 1), w.fuller)
	case routing.BalanceEWMA:
		return w.bestOf(2, w.slower)
	default:
		if w.keyed {
			return w.onRing()
		}
		return w.next()
	}
}

// next takes members in turn. Equal weights rotate; others follow the exact
// schedule of routing.Split, so that every run of choices has its shares to
// within less than two: R. Tijdeman, The chairman assignment problem, Discrete
// Mathematics 32 (1980). HAProxy's roundrobin is smooth as well; its static-rr
// is the same with weights that cannot change.
func (w *Walk) next() int {
	s := w.set
	if w.n > 0 {
		// The ones whose turn comes next, as long as that finds others.
		for turn := w.turn + 1; turn < w.turn+lookAhead; turn++ {
			if i := s.inTurn(turn); !w.wasTried(i) {
				return i
			}
		}
	}
	return w.after(s.inTurn(w.turn), 0, s.near)
}

// lookAhead bounds the turns that a retry looks at: one instance may have most
// of them.
const lookAhead = 32

// least takes the member with the least in flight for its weight, as HAProxy's
// leastconn does. An idle one is never beaten. Idle ones are taken in turn, by
// weight; if the one whose turn it is has something to do, others are drawn, so
// that its share does not all go to the one behind it.
func (w *Walk) least() int {
	s := w.set
	i := s.inTurn(w.turn)
	for k := range probes {
		if s.members[i].load.inFlight.Load() == 0 && !w.wasTried(i) {
			return i
		}
		i = s.drawn(mix((w.turn*probes + uint64(k) + 1) * 0x9e3779b97f4a7c15))
	}
	return w.leastFrom(i)
}

// probes is how many members are looked at before all of them are.
const probes = 8

// leastFrom looks at all near members. Of equals it is the first one from i on.
func (w *Walk) leastFrom(i int) int {
	s := w.set
	best, busy := -1, int64(0)
	for range s.near {
		if !w.wasTried(i) {
			m := &s.members[i]
			n := m.load.inFlight.Load()
			if n == 0 {
				return i
			}
			// (n+1)/weight, compared without division.
			if best < 0 || (n+1)*s.members[best].weight < (busy+1)*m.weight {
				best, busy = i, n
			}
		}
		if i++; i == s.near {
			i = 0
		}
	}
	return best
}

// first takes the first member in order that has room, so that the others can
// be done without, as HAProxy's first does; how much fills one is said here,
// since there is no queue. If all are full, it is the one with the least in
// flight.
func (w *Walk) first() int {
	s := w.set
	full := int64(s.number)
	for i := range s.members[:s.near] {
		if !w.wasTried(i) && (full == 0 || s.members[i].load.inFlight.Load() < full) {
			return i
		}
	}
	return w.leastFrom(0)
}

// bestOf draws some members by weight, all different, and takes the best of
// them (M. Mitzenmacher: The power of two choices in randomized load
// balancing, IEEE TPDS 12, 2001). Of equals it is the one drawn first, so that
// idle instances are taken by weight.
func (w *Walk) bestOf(draws int, worse func(a, b int) bool) int {
	s := w.set
	best := -1
	seed := w.turn + uint64(w.n)<<32
	var drawn [MaxAttempts]int32
	for n := range min(draws, s.near) {
		i := s.drawn(mix(seed + uint64(n)*0x9e3779b97f4a7c15))
		// In place of one that was drawn before comes the one behind it.
		for k := 0; w.wasTried(i) || among(drawn[:n], i); k++ {
			if k == s.near {
				return best
			}
			if i++; i == s.near {
				i = 0
			}
		}
		drawn[n] = int32(i)
		if best < 0 || worse(best, i) {
			best = i
		}
	}
	return best
}

// fuller reports whether a has more in flight for its weight than b.
func (w *Walk) fuller(a, b int) bool {
	x, y := &w.set.members[a], &w.set.members[b]
	return x.load.inFlight.Load()*y.weight > y.load.inFlight.Load()*x.weight
}

// slower reports whether an exchange would take longer at a than at b: what
// answers take there, by their peak EWMA, times all that wait for one, for the
// weight. This is the balancer of Finagle and Linkerd, on two that are drawn.
func (w *Walk) slower(a, b int) bool {
	x, y := &w.set.members[a], &w.set.members[b]
	return x.load.cost(w.now)*float64(y.weight) > y.load.cost(w.now)*float64(x.weight)
}

// onRing takes the first member from the key on that has room. If none is
// found soon, which takes more than a bad chance, it is the first one.
func (w *Walk) onRing() int {
	r := w.set.ring
	at := r.find(w.key)
	home := -1
	last := -1
	for k := range min(len(r.points), maxPoints) {
		i := r.member(at + k)
		if i == last || w.wasTried(i) {
			continue
		}
		last = i
		if home < 0 {
			home = i
		}
		if w.set.room(i) {
			return i
		}
	}
	if home < 0 {
		return w.after(r.member(at), 0, w.set.near)
	}
	return home
}

// maxPoints bounds the points of the ring that a choice looks at. At least a
// fifth of the capacity always has room, so that 64 would do nearly always.
const maxPoints = 512

// after returns the first member that was not tried from one on, round the
// members from low to high-1; -1 if there is none.
func (w *Walk) after(from, low, high int) int {
	for k := range high - low {
		if i := low + (from-low+k)%(high-low); !w.wasTried(i) {
			return i
		}
	}
	return -1
}

func (w *Walk) wasTried(i int) bool { return among(w.tried[:w.n], i) }

func among(list []int32, i int) bool {
	for _, one := range list {
		if int(one) == i {
			return true
		}
	}
	return false
}
