// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync/atomic"
	"time"
)

// Durations is a histogram of what happens seldom, such as changes. It is made
// by [Registry.Durations] and safe for concurrent use.
type Durations struct {
	buckets [Buckets]atomic.Uint64
	sum     atomic.Int64 // in nanoseconds
}

// Observe counts a duration.
func (d *Durations) Observe(took time.Duration) {
	d.buckets[BucketOf(took)].Add(1)
	d.sum.Add(int64(took))
}

// Read fills h with what was counted.
func (d *Durations) Read(h *Histogram) {
	for i := range d.buckets {
		h.Counts[i] = d.buckets[i].Load()
	}
	h.Sum = time.Duration(d.sum.Load())
}

// Durations returns the histogram of a name and labels, always the same one.
// Names are as for Counter.
func (r *Registry) Durations(name, help string, labels ...Label) *Durations {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.value(Family{Name: name, Help: help, Kind: KindHistogram}, labels)
	if v.durations == nil {
		v.durations = new(Durations)
	}
	return v.durations
}
