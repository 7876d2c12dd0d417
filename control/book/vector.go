// SPDX-License-Identifier: Apache-2.0

package book

import (
	"slices"

	"github.com/sluice-mesh/sluice/metrics"
)

// field names a number that only grows.
type field uint16

// The fields. What was counted of a condition has fields of its own; so have
// the buckets of both histograms and the reasons.
const (
	fieldClass     field = 0 // and one each for the classes
	fieldBytesIn         = fieldClass + field(metrics.Classes)
	fieldBytesOut        = fieldBytesIn + 1
	fieldDecided         = fieldBytesOut + 1 // and one each for the ways
	fieldSum             = fieldDecided + field(metrics.Ways)
	fieldUpstream        = fieldSum + 1      // sums are in nanoseconds
	fieldAnswered        = fieldUpstream + 1 // how many exchanges the instances took part in
	fieldEvaluated       = fieldAnswered + 1
	fieldMatched         = fieldEvaluated + 1
	fieldSelected        = fieldMatched + 1
	fieldEjected         = fieldSelected + 1 // and one each for the causes
	fieldBucket    field = 64                // and one each for the buckets of durations
	fieldAsked           = fieldBucket + field(metrics.Buckets)
	fieldReason          = fieldAsked + field(metrics.Buckets) // and one each for the reasons
)

// windowed reports whether a field is kept by window. Of what instances took
// the mean has to do.
func (f field) windowed() bool { return f < fieldAsked || f >= fieldReason }

// vector holds numbers by field; those that are not there are 0. The zero
// vector is empty. Most series have few of some hundred fields.
type vector struct {
	fields []field // ascending
	values []uint64
}

func (v *vector) at(f field) uint64 {
	if i, ok := slices.BinarySearch(v.fields, f); ok {
		return v.values[i]
	}
	return 0
}

// ref returns where a field stands, which is made if it is not there. It is
// valid until the next call.
func (v *vector) ref(f field) *uint64 {
	i, ok := slices.BinarySearch(v.fields, f)
	if !ok {
		v.fields = slices.Insert(v.fields, i, f)
		v.values = slices.Insert(v.values, i, 0)
	}
	return &v.values[i]
}

func (v *vector) add(f field, n uint64) {
	if n > 0 {
		*v.ref(f) += n
	}
}

// addAll adds another vector.
func (v *vector) addAll(o *vector) {
	for i, f := range o.fields {
		v.add(f, o.values[i])
	}
}

// reset makes all 0 and keeps the room.
func (v *vector) reset() {
	v.fields, v.values = v.fields[:0], v.values[:0]
}

// histogram returns the buckets that begin at a field, and the sum.
func (v *vector) histogram(buckets, sum field) (h metrics.Histogram) {
	at, _ := slices.BinarySearch(v.fields, buckets)
	for ; at < len(v.fields) && v.fields[at] < buckets+field(metrics.Buckets); at++ {
		h.Counts[v.fields[at]-buckets] = v.values[at]
	}
	h.Sum = nanoseconds(v.at(sum))
	return h
}
