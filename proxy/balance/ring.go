// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"math"
	"math/bits"
	"slices"

	"github.com/sluice-mesh/sluice/routing"
)

// ring places instances on a circle of hashes, each at a number of points that
// its weight alone determines; a key belongs to the first point at or after
// its hash (D. Karger et al.: Consistent hashing and random trees, STOC 1997).
//
// It was chosen over other consistent hashes for what it keeps. When an
// instance goes, its keys move and no others: Maglev's tables move a few
// percent of the others as well. Any instance may go: jump hashing only lets
// the last one. And a key has an order of all instances, which bounded loads
// and retries follow, without weighing each instance as rendezvous hashing
// does. Price: shares are even only to within a tenth or so; the bound on
// loads makes up for it when it matters.
type ring struct {
	// points holds the hash in the upper half and the member in the lower one,
	// sorted.
	points []uint64
	// starts holds for each value of the upper bits of a hash where the points
	// with that value begin.
	starts []int32
	shift  int
	by     routing.Balance // what of a request is hashed
}

// pointsEach is how many points an instance of weight 100 has.
const pointsEach = 160

func newRing(keys []string, weights []float64) *ring {
	var points []uint64
	for i, w := range weights {
		n := int(math.Round(pointsEach * w / 100))
		seed := hashText(keys[i])
		for j := range min(max(n, 1), 16*pointsEach) {
			points = append(points, mix(seed+uint64(j)*0x9e3779b97f4a7c15)&^math.MaxUint32|uint64(i))
		}
	}
	slices.Sort(points)
	width := bits.Len(uint(len(points)))
	r := &ring{points: points, starts: make([]int32, 1<<width), shift: 64 - width}
	at := 0
	for prefix := range r.starts {
		for at < len(points) && points[at]>>r.shift < uint64(prefix) {
			at++
		}
		r.starts[prefix] = int32(at)
	}
	return r
}

// find returns the position of the first point at or after a hash.
func (r *ring) find(hash uint64) int {
	hash &^= math.MaxUint32
	at := int(r.starts[hash>>r.shift])
	for at < len(r.points) && r.points[at] < hash {
		at++
	}
	if at == len(r.points) {
		return 0
	}
	return at
}

// member returns the member of a point, counted on round the circle.
func (r *ring) member(at int) int {
	if at >= len(r.points) {
		at -= len(r.points)
	}
	return int(uint32(r.points[at]))
}
