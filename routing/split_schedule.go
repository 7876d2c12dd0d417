// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// maxChoices bounds the choices of a split, since a schedule keeps each in
// two bytes.
const maxChoices = math.MaxUint16 + 1

// schedule is the order in which the choices of a split come, one period of
// it. It is immutable and shared by all splits of the same weights.
type schedule struct {
	weights    []Weight
	choices    []uint16
	period     uint64 // len(choices)
	reciprocal uint64 // 2^64 over period, rounded down and at most 2^64-1
}

// newSchedule returns the schedule of some weights, nil if none is above 0.
func newSchedule(weights []Weight) *schedule {
	choices := chair(weights)
	if choices == nil {
		return nil
	}
	period := uint64(len(choices))
	reciprocal := uint64(math.MaxUint64)
	if period > 1 {
		// 2^64 itself does not fit. One less gives the same quotient, or one
		// less where period is a power of two, which Pick makes up for.
		reciprocal /= period
	}
	return &schedule{
		weights:    slices.Clone(weights),
		choices:    choices,
		period:     period,
		reciprocal: reciprocal,
	}
}

// contender is a choice of weight above 0 while a schedule is made.
type contender struct {
	choice uint16
	weight int64
	// due is what the choice is owed, in parts of a turn of which period make
	// a whole one: its share of the turns up to and with this one, less those
	// that it had.
	due int64
}

// chair returns one period of a schedule in which every prefix gives each
// choice its share to within 1 - 1/(2k-2) turns, k being the number of
// choices of weight above 0. No order does better in general: R. Tijdeman,
// The chairman assignment problem, Discrete Mathematics 32 (1980) 323-330.
//
// A turn goes to one of those that are owed at least 1/(2k-2) of one: to the
// one that would be owed 1 - 1/(2k-2) of a turn first if it waited.
func chair(weights []Weight) []uint16 {
	contenders, period := contend(weights)
	k := int64(len(contenders))
	if k == 0 {
		return nil
	}
	if k == 1 {
		return []uint16{contenders[0].choice}
	}
	parts := 2*k - 2
	choices := make([]uint16, period)
	for n := range choices {
		var next *contender
		var slack int64 // of next, in turns times weight times parts
		for i := range contenders {
			c := &contenders[i]
			c.due += c.weight
			if c.due*parts < period {
				continue
			}
			// Compared as fractions slack/weight. The first of equals wins.
			if s := period*(parts-1) - c.due*parts; next == nil || s*next.weight < slack*c.weight {
				next, slack = c, s
			}
		}
		next.due -= period
		choices[n] = next.choice
	}
	return choices
}

// contend returns the choices of weight above 0, their weights without common
// divisor, and the sum of those.
func contend(weights []Weight) ([]contender, int64) {
	var contenders []contender
	var divisor, period int64
	for i, w := range weights {
		if w <= 0 {
			continue
		}
		contenders = append(contenders, contender{choice: uint16(i), weight: int64(w)})
		divisor = gcd(divisor, int64(w))
	}
	for i := range contenders {
		contenders[i].weight /= divisor
		period += contenders[i].weight
	}
	return contenders, period
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// schedules hands out one schedule a weight vector. It belongs to a snapshot;
// the one that follows starts from it and leaves it as it is.
type schedules struct {
	known map[string]*schedule
	// enough is the size from which those that no gateway uses any more are
	// left out.
	enough int
	owned  bool // known may be changed
}

// follow returns schedules that start from those of an earlier snapshot.
func (s *schedules) follow() schedules {
	return schedules{known: s.known, enough: s.enough}
}

// of returns the schedule of some weights, nil if none is above 0.
func (s *schedules) of(weights []Weight) *schedule {
	key := make([]byte, 0, 64)
	for _, w := range weights {
		key = binary.LittleEndian.AppendUint32(key, uint32(w))
	}
	if known, ok := s.known[string(key)]; ok {
		return known
	}
	if !s.owned {
		known := make(map[string]*schedule, len(s.known)+1)
		maps.Copy(known, s.known)
		s.known, s.owned = known, true
	}
	made := newSchedule(weights)
	s.known[string(key)] = made
	return made
}

// forget leaves out what no gateway uses, once there is much of it.
func (s *schedules) forget(gateways []*CompiledGateway) {
	if len(s.known) <= max(s.enough, 64) {
		return
	}
	used := make(map[*schedule]bool)
	for _, g := range gateways {
		for split := range g.splits {
			used[split.schedule] = true
		}
	}
	kept := make(map[string]*schedule, len(used))
	for key, one := range s.known {
		if used[one] {
			kept[key] = one
		}
	}
	s.known, s.enough, s.owned = kept, 2*len(kept), true
}

// splits yields every split of a gateway.
func (g *CompiledGateway) splits(yield func(*Split) bool) {
	if g.Weights != nil && !yield(g.Weights) {
		return
	}
	for _, r := range g.Conditions {
		if r.Taken != nil && !yield(r.Taken) {
			return
		}
		if r.Remainder != nil && !yield(r.Remainder) {
			return
		}
	}
}
