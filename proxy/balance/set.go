// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"math"
	"sync/atomic"

	"github.com/sluice-mesh/sluice/routing"
)

// Member is an instance as it is chosen.
type Member struct {
	// Key names it, alike in all proxies: hashes are made of it. Only where the
	// balance is Keyed.
	Key    string
	Place  Place
	Weight int  // its share: 0 takes nothing
	Ready  bool // it may be chosen
	// Percent is the part of its weight that it takes for now, while it starts
	// slowly: 1 to 99. 0 means all of it.
	Percent int
	Load    *Load
}

// eligible reports whether the member may be chosen.
func (m *Member) eligible() bool { return m.Ready && m.Weight > 0 }

// share returns the weight with which a member takes part for now.
func (m *Member) share() float64 {
	if m.Percent > 0 {
		return float64(m.Weight*m.Percent) / 100
	}
	return float64(m.Weight)
}

// Keyed reports whether an algorithm hashes what stands in a request, and the
// keys of members.
func Keyed(a routing.BalanceAlgorithm) bool {
	switch a {
	case routing.BalanceSource, routing.BalanceURI, routing.BalanceURLParam, routing.BalanceHeader:
		return true
	default:
		return false
	}
}

// Options say how to choose.
type Options struct {
	Balance  routing.Balance // the default means round robin
	Locality routing.Locality
	Own      Place // where the proxy runs
	Room     Room
}

// Turns counts the choices that are made in turn. It outlives sets, so that a
// set that comes in the place of another one goes on where that one was. The
// zero Turns begin at 0.
type Turns struct {
	_    [128]byte // the counter is written by every request
	next atomic.Uint64
	_    [120]byte
}

// Follow goes on where other is.
func (t *Turns) Follow(other *Turns) { t.next.Store(other.next.Load()) }

// Set holds the instances of a route and how they are chosen. Everything but
// the loads is immutable, so choosing takes no lock; when instances come or go
// there is a new Set. The zero Set is empty. Sets are not copied.
//
// There is one for each route, and most of them have one member, which stands
// in the Set itself.
type Set struct {
	asked     routing.Part[routing.Balance]
	algorithm routing.BalanceAlgorithm // that is asked for
	number    int                      // as in routing.Balance
	allowed   Room
	turns     *Turns
	loads     *[]*Load // of all that Init was handed; nil if each may be chosen
	// members are those that may be chosen: first the near ones, then those
	// that only come when all of the near ones were tried.
	members []member
	near    int
	total   int64          // weights of the near ones
	split   *routing.Split // over the near ones; nil if their weights are equal
	ring    *ring          // over the near ones; nil unless keys are hashed

	looked *looked // at the near ones; nil unless there are more than few
	only   [1]member
}

// looked is what all near ones had in flight when it was last looked at; only
// used where looking each time would be too much.
type looked struct {
	_     [128]byte
	busy  atomic.Int64
	times atomic.Uint64
	_     [112]byte
}

type member struct {
	load   *Load
	weight int64
	at     int // position among the members that Init was handed
}

// New returns the set of some members, as Init makes it.
func New(members []Member, turns *Turns, o Options) *Set {
	s := &Set{}
	s.Init(members, turns, o)
	return s
}

// Init makes the zero Set the set of some members, of which it keeps nothing
// but the loads. The turns may be shared with the set before it; nil will do for
// fewer than two members.
func (s *Set) Init(members []Member, turns *Turns, o Options) {
	s.asked, s.algorithm, s.number = routing.PartOf(o.Balance), o.Balance.Algorithm, o.Balance.Number
	s.allowed, s.turns = o.Room, turns
	n, last := eligible(members)
	if n < len(members) {
		s.loads = loadsOf(members)
	}
	if n == 1 { // most often; nothing then depends on its weight
		s.only[0] = member{load: members[last].Load, weight: 1, at: last}
		s.members, s.near, s.total = s.only[:], 1, 1
		return
	}
	able := make([]Member, 0, n)
	places := make([]int, 0, n)
	for i := range members {
		if m := &members[i]; m.eligible() {
			able, places = append(able, *m), append(places, i)
		}
	}
	weights := near(able, o.Own, o.Locality)
	exact := whole(weights)
	keys := make([]string, 0, len(able))
	shares := make([]float64, 0, len(able))
	s.members = make([]member, 0, len(able))
	for _, wanted := range []bool{true, false} {
		for i, m := range able {
			if weights[i] > 0 != wanted {
				continue
			}
			s.members = append(s.members, member{load: m.Load, weight: exact[i], at: places[i]})
			if wanted {
				keys, shares = append(keys, m.Key), append(shares, weights[i])
				s.total += exact[i]
			}
		}
	}
	if s.near = len(keys); s.near > few {
		s.looked = new(looked)
	}
	s.index(keys, shares, &o.Balance)
}

// eligible returns how many members may be chosen, and the last of them.
func eligible(members []Member) (n, last int) {
	for i := range members {
		if members[i].eligible() {
			n, last = n+1, i
		}
	}
	return n, last
}

func loadsOf(members []Member) *[]*Load {
	loads := make([]*Load, len(members))
	for i := range members {
		loads[i] = members[i].Load
	}
	return &loads
}

// index prepares what choosing looks up.
func (s *Set) index(keys []string, weights []float64, b *routing.Balance) {
	if s.near < 2 {
		return
	}
	if Keyed(s.algorithm) {
		s.ring = newRing(keys, weights)
		s.ring.by = *b
	}
	mode := routing.SplitExact
	if s.algorithm == routing.BalanceRandom || s.algorithm == routing.BalanceEWMA {
		mode = routing.SplitRandom
	}
	if s.total != int64(s.near)*s.members[0].weight || !s.equal() {
		s.split = routing.NewSplit(s.quanta(), mode, 0, 0)
	}
}

func (s *Set) equal() bool {
	for i := range s.members[:s.near] {
		if s.members[i].weight != s.members[0].weight {
			return false
		}
	}
	return true
}

// maxPeriod bounds the period of a split, which is made in as many steps as
// there are instances, times the period.
const maxPeriod = 10_000

// quanta returns the weights of the near ones, at least 1 each and rounded
// where their sum would be a longer period than maxPeriod, or than four turns
// of each of very many.
func (s *Set) quanta() []routing.Weight {
	most := int64(max(maxPeriod, 4*s.near))
	if s.near > 250 {
		most = int64(max(4*s.near, 1000))
	}
	quanta := make([]routing.Weight, s.near)
	for i := range quanta {
		w := s.members[i].weight
		if s.total > most {
			w = max(1, int64(math.Round(float64(w)*float64(most)/float64(s.total))))
		}
		quanta[i] = routing.Weight(w)
	}
	return quanta
}

// whole returns weights as whole numbers in the same proportion, without a
// common divisor where they were whole; fractions are kept to a thousandth.
func whole(weights []float64) []int64 {
	scale := 1.0
	for _, w := range weights {
		if w != math.Trunc(w) {
			scale = 1000
		}
	}
	numbers := make([]int64, len(weights))
	var divisor int64
	for i, w := range weights {
		if w > 0 {
			numbers[i] = max(1, int64(math.Round(w*scale)))
		}
		divisor = gcd(divisor, numbers[i])
	}
	for i := range numbers {
		numbers[i] /= max(divisor, 1)
	}
	return numbers
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Balance returns how the set chooses.
func (s *Set) Balance() routing.Balance { return s.asked.Value() }

// Usable reports whether there is anything to choose.
func (s *Set) Usable() bool { return len(s.members) > 0 }

// inTurn returns the near member of a turn.
func (s *Set) inTurn(turn uint64) int {
	switch {
	case s.near == 1:
		return 0
	case s.split != nil:
		return s.split.Pick(turn)
	default:
		return int(turn % uint64(s.near))
	}
}

// drawn returns a near member by weight, from random bits.
func (s *Set) drawn(random uint64) int {
	switch {
	case s.near == 1:
		return 0
	case s.split != nil:
		return s.split.Pick(random)
	default:
		return int(uniform(random, uint64(s.near)))
	}
}

const (
	// few is up to how many instances are asked for their load each time.
	few = 64
	// lookEvery is after how many choices the load of more of them is looked
	// at again.
	lookEvery = 64
	// calm is how much an instance may have in flight however little the
	// others have. Without it, two requests at a time would tear a key apart
	// where there is little to do.
	calm = 8
)

// room reports whether a near member may take one more under the bound on
// loads: at most 1.25 times its share of all that is in flight, rounded up
// (V. Mirrokni, M. Thorup, M. Zadimoghaddam: Consistent hashing with bounded
// loads, arXiv:1608.01350, 2016), or calm if that is more.
func (s *Set) room(i int) bool {
	m := &s.members[i]
	busy := m.load.inFlight.Load()
	if most := s.allowed.Most; most > 0 && busy >= most {
		return false
	}
	if busy < calm {
		return true
	}
	all := s.inFlight() + 1
	return busy < (5*all*m.weight+4*s.total-1)/(4*s.total)
}

// inFlight returns what the near members have in flight: now, or with many of
// them as of a moment ago.
func (s *Set) inFlight() int64 {
	if s.looked != nil && s.looked.times.Add(1)%lookEvery != 1 {
		return s.looked.busy.Load()
	}
	var sum int64
	for i := range s.members[:s.near] {
		sum += s.members[i].load.inFlight.Load()
	}
	if s.looked != nil {
		s.looked.busy.Store(sum)
	}
	return sum
}
