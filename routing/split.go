// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

// Split is a compiled weighted choice: a periodic schedule and the counter
// from which its tickets are taken. Everything but the counter is immutable;
// all methods are safe for concurrent use. Splits come from NewSplit and
// Compile; the zero Split has no choices.
//
// With k choices of weight above 0 and a period of L tickets:
//   - the tickets from n*L up to (n+1)*L give each choice exactly its weight;
//   - the tickets from 0 up to any n give each choice its share of n to within
//     2*(1 - 1/(2k-2)), and any window of tickets to within twice that;
//   - where within its block a choice comes differs from block to block, so
//     that clients which take turns are not tied to one choice each. It does
//     so once in L tickets: weights in whole percents have blocks of at most
//     100, while those of, say, 33.33 % and 66.67 % have blocks of 10,000,
//     within which every third client may meet the same choice.
//
// A split of mode SplitRandom keeps none of these and draws each ticket on
// its own.
type Split struct {
	*schedule

	start   uint64 // seed and salt, mixed
	random  bool
	counter atomic.Pointer[counter] // nil before the first ticket
}

// counter is from where tickets are taken. It is made for the first one: most
// gateways of a large table are idle, and their counters would be most of their
// splits.
type counter struct {
	// All cores take tickets at once, so the number has cache lines of its own
	// (two, since lines are fetched in pairs).
	_    [128]byte
	next atomic.Uint64
	_    [120]byte
}

// NewSplit returns a split over the choices 0 to len(weights)-1, its counter
// at 0; nil if no weight is above 0. Weights are not negative and there are
// at most 65,536 of them. The period is their sum over their greatest common
// divisor, so a sum of 10,000 bounds it.
//
// The seed differs between proxies. The salt differs between splits, and
// between a split and the one that follows it when weights change: a split
// that always began with the same choice would starve the others if it
// changed often.
func NewSplit(weights []Weight, mode SplitMode, seed, salt uint64) *Split {
	s := newSchedule(weights)
	if s == nil {
		return nil
	}
	return newSplit(s, mode, seed, salt)
}

func newSplit(s *schedule, mode SplitMode, seed, salt uint64) *Split {
	return &Split{
		schedule: s,
		start:    mix(mix(seed) + salt),
		random:   mode == SplitRandom,
	}
}

// Next takes the next ticket. The first is 0. It allocates for that one only.
func (s *Split) Next() uint64 {
	c := s.counter.Load()
	if c == nil {
		c = s.begin()
	}
	return c.next.Add(1) - 1
}

// begin returns the counter, whoever of those that draw the first tickets made
// it.
func (s *Split) begin() *counter {
	s.counter.CompareAndSwap(nil, new(counter))
	return s.counter.Load()
}

// due returns the ticket that comes next.
func (s *Split) due() uint64 {
	if c := s.counter.Load(); c != nil {
		return c.next.Load()
	}
	return 0
}

// Pick returns the choice of a ticket. It depends on nothing but the ticket
// and the arguments that the split was made from, and never returns a choice
// of weight 0.
func (s *Split) Pick(ticket uint64) int {
	if s.random {
		return int(s.choices[s.uniform(ticket, s.period)])
	}
	// The product with a rounded reciprocal is the quotient or one less.
	block, _ := bits.Mul64(ticket, s.reciprocal)
	at := ticket - block*s.period
	if at >= s.period {
		block++
		at -= s.period
	}
	at += s.uniform(block, s.period)
	if at >= s.period {
		at -= s.period
	}
	return int(s.choices[at])
}

// Period returns the length of a block in tickets: 1 to 10,000 if the
// weights sum to 100 %.
func (s *Split) Period() int { return int(s.period) }

// uniform returns a number from 0 to bound-1 that n determines, and that
// looks random.
func (s *Split) uniform(n, bound uint64) uint64 {
	// Steps by an odd constant keep the inputs of mix apart (2^64 over the
	// golden ratio, as in D. Knuth, The Art of Computer Programming, 6.4).
	u, _ := bits.Mul64(mix(s.start+n*0x9e3779b97f4a7c15), bound)
	return u
}

// same reports whether s, which may be nil, spreads by these weights in this
// mode.
func (s *Split) same(weights []Weight, mode SplitMode) bool {
	return s != nil && s.random == (mode == SplitRandom) && slices.Equal(s.weights, weights)
}

// mix spreads every bit of x over all bits: the finalizer of SplitMix64
// (G. Steele, D. Lea, C. Flood: Fast splittable pseudorandom number
// generators, OOPSLA 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// mixText folds a text into a hash (FNV-1a, with the length to keep
// neighbouring texts apart).
func mixText(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return mix(h + uint64(len(text)))
}
