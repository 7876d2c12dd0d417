// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

// slowBucketOf is BucketOf as it is specified: the first bucket whose bound is
// not below the duration, in exact arithmetic.
func slowBucketOf(d time.Duration) int {
	seconds := big.NewRat(int64(d), int64(time.Second))
	for i := range metrics.Bounds {
		if bound := new(big.Rat).SetFloat64(metrics.Bound(i)); seconds.Cmp(bound) <= 0 {
			return i
		}
	}
	return metrics.Bounds
}

func TestBoundsAreQuarterPowers(t *testing.T) {
	if got, want := metrics.Bound(0), math.Ldexp(1, -14); got != want {
		t.Errorf("Bound(0) = %v, want %v", got, want)
	}
	if got, want := metrics.Bound(metrics.Bounds-1), 64.0; got != want {
		t.Errorf("the last bound = %v, want %v", got, want)
	}
	for i := range metrics.Bounds {
		want := math.Exp2(float64(metrics.FirstIndex+i) / 4)
		if got := metrics.Bound(i); math.Abs(got-want) > 4e-16*want {
			t.Errorf("Bound(%d) = %v, want %v", i, got, want)
		}
	}
}

func TestBucketOfAtEveryBound(t *testing.T) {
	for i := range metrics.Bounds {
		// The longest duration that is not above the bound.
		exact, _ := new(big.Rat).Mul(new(big.Rat).SetFloat64(metrics.Bound(i)), big.NewRat(1e9, 1)).Float64()
		at := time.Duration(exact)
		for d := at - 2; d <= at+2; d++ {
			if got, want := metrics.BucketOf(d), slowBucketOf(d); got != want {
				t.Errorf("BucketOf(%d ns) = %d, want %d", d, got, want)
			}
		}
	}
}

func TestBucketOfEveryMagnitude(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for length := range 63 {
		for range 200 {
			d := time.Duration(1<<length + rng.Int64N(1<<length))
			if got, want := metrics.BucketOf(d), slowBucketOf(d); got != want {
				t.Fatalf("BucketOf(%d ns) = %d, want %d", d, got, want)
			}
		}
	}
}

func TestBucketOfEdges(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    time.Duration
		want int
	}{
		{"a clock that went back", -time.Second, 0},
		{"the least", math.MinInt64, 0},
		{"nothing", 0, 0},
		{"one second is on a bound", time.Second, -metrics.FirstIndex},
		{"just above one second", time.Second + 1, -metrics.FirstIndex + 1},
		{"64 s are on the last bound", 64 * time.Second, metrics.Bounds - 1},
		{"longer ones", 64*time.Second + 1, metrics.Bounds},
		{"the most", math.MaxInt64, metrics.Bounds},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := metrics.BucketOf(tt.d); got != tt.want {
				t.Errorf("BucketOf(%d) = %d, want %d", tt.d, got, tt.want)
			}
		})
	}
}

func FuzzBucketOf(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(time.Second))
	f.Add(int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, nanos int64) {
		d := time.Duration(nanos)
		if got, want := metrics.BucketOf(d), slowBucketOf(d); got != want {
			t.Errorf("BucketOf(%d ns) = %d, want %d", d, got, want)
		}
	})
}
