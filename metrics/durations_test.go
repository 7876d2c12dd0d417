// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestDurationsCountInTheirBuckets(t *testing.T) {
	r := metrics.New(metrics.Options{})
	d := r.Durations("sluice_x_seconds", "X.", metrics.Label{Name: "kind", Value: "a"})
	if other := r.Durations("sluice_x_seconds", "X.", metrics.Label{Name: "kind", Value: "a"}); other != d {
		t.Error("the histogram of equal labels is another one")
	}
	took := []time.Duration{-time.Second, 0, time.Millisecond, time.Millisecond, time.Second, time.Hour}
	var wg sync.WaitGroup
	for _, one := range took {
		wg.Go(func() { d.Observe(one) })
	}
	wg.Wait()
	for _, v := range r.Values() {
		if v.Family.Name != "sluice_x_seconds" {
			continue
		}
		want := metrics.Histogram{Sum: time.Hour + 2*time.Millisecond}
		for _, one := range took {
			want.Counts[metrics.BucketOf(one)]++
		}
		if v.Histogram == nil || *v.Histogram != want {
			t.Errorf("read %v, want %v", v.Histogram, want)
		}
		return
	}
	t.Error("the histogram is not among the values")
}
