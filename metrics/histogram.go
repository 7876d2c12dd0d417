// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"math"
	"math/big"
	"math/bits"
	"time"
)

// The shape of a histogram. Bound i is 2^((FirstIndex+i)/4) seconds, so that
// four buckets make a doubling: what Prometheus calls a native histogram of
// schema 2.
const (
	// Schema is the resolution: 2^Schema buckets in a doubling.
	Schema = 2
	// FirstIndex is the native index of the lowest bound, 2^-14 s or 61 µs.
	FirstIndex = -14 << Schema
	// LastIndex is the native index of the highest bound, 2^6 s or 64 s.
	LastIndex = 6 << Schema
	// Bounds is the number of bounds.
	Bounds = LastIndex - FirstIndex + 1
	// Buckets is the number of buckets: one up to each bound, which belongs to
	// it, and one above the highest.
	Buckets = Bounds + 1
)

// Histogram is a reading of durations. The zero Histogram is empty.
type Histogram struct {
	// Counts holds how many durations fell into each bucket: bucket i is above
	// bound i-1 and at most bound i, the last one is above all bounds.
	Counts [Buckets]uint64
	// Sum is the total of the durations.
	Sum time.Duration
}

// Count returns the number of durations.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Bound returns bound i in seconds, 0 <= i < Bounds. It is the double nearest
// to 2^((FirstIndex+i)/4).
func Bound(i int) float64 { return bounds[i] }

// BucketOf returns the bucket that counts d. It is exact: bucket i is the
// first whose bound is not below d.
func BucketOf(d time.Duration) int { return int(bucketOf(int64(d))) }

var (
	bounds  = makeBounds()
	uppers  = makeUppers()
	guesses = makeGuesses()
)

// makeBounds returns the bounds in seconds.
func makeBounds() (b [Bounds]float64) {
	// 2^0, 2^(1/4), 2^(1/2) and 2^(3/4).
	steps := [1 << Schema]float64{
		1,
		1.1892071150027210667174999705604759152929720924638,
		math.Sqrt2,
		1.6817928305074290860622509524664297900800685247064,
	}
	for i := range b {
		index := FirstIndex + i
		b[i] = math.Ldexp(steps[index&(1<<Schema-1)], index>>Schema)
	}
	return b
}

// makeUppers returns, for each bucket, the longest duration in it, in
// nanoseconds. Durations are whole nanoseconds, so comparing with these is
// comparing with the bounds, without the rounding of a division by 1e9.
func makeUppers() (u [Buckets]int64) {
	second := big.NewFloat(1e9)
	for i, bound := range bounds {
		// 53 bits times 30 bits: exact in 128.
		u[i], _ = new(big.Float).SetPrec(128).Mul(big.NewFloat(bound), second).Int64()
	}
	u[Bounds] = math.MaxInt64
	return u
}

// guessBits is how many bits behind the leading one tell durations apart in
// guesses.
const guessBits = 3

// makeGuesses returns the bucket of the shortest duration which has a given
// length in bits and given bits behind its leading one. Durations that agree
// in these differ by less than 9/8, and bounds by 2^(1/4), which is more: so
// the bucket is the guess or the one after it.
func makeGuesses() (g [65][1 << guessBits]uint8) {
	for length := guessBits + 1; length < 64; length++ {
		for lead := range g[length] {
			shortest := int64(1<<guessBits+lead) << (length - guessBits - 1)
			for uppers[g[length][lead]] < shortest {
				g[length][lead]++
			}
		}
	}
	return g
}

// bucketOf returns the bucket of a duration in nanoseconds.
func bucketOf(d int64) uint8 {
	if d <= uppers[0] {
		return 0 // negative ones too
	}
	length := bits.Len64(uint64(d))
	i := guesses[length][d>>(length-guessBits-1)&(1<<guessBits-1)]
	if d > uppers[i] {
		i++
	}
	return i
}
