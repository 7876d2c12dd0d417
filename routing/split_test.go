// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// vectors are the weights on which the promises of splits are tested: usual
// ones, extreme ones, and all that are simple.
func vectors() [][]routing.Weight {
	all := [][]routing.Weight{
		{10000},
		{5000, 5000},
		{9000, 1000},
		{10000, 0},
		{0, 9000, 0, 1000, 0},
		{9999, 1},
		{5001, 4999},
		{1250, 8750},
		{3333, 6667},
		{3300, 3300, 3400},
		{3333, 3333, 3334},
		{9800, 100, 100},
		{9998, 1, 1},
		{5000, 2500, 1250, 1250},
		{1600, 1600, 1600, 1600, 1600, 2000},
		{1400, 1400, 1400, 1400, 1400, 1400, 1600},
		{4000, 3000, 2000, 1000},
		{6001, 1999, 1300, 500, 200},
		slices.Repeat([]routing.Weight{100}, 100),
		slices.Repeat([]routing.Weight{1000}, 10),
	}
	for w := routing.Weight(100); w < 10000; w += 700 {
		all = append(all, []routing.Weight{w, 10000 - w})
		for v := routing.Weight(100); v < 10000-w; v += 1900 {
			all = append(all, []routing.Weight{w, v, 10000 - w - v})
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		left := routing.Weight(10000)
		var v []routing.Weight
		for range 1 + random.IntN(12) {
			w := routing.Weight(random.IntN(int(left) + 1))
			v = append(v, w)
			left -= w
		}
		all = append(all, append(v, left))
	}
	return all
}

func sum(weights []routing.Weight) (total routing.Weight) {
	for _, w := range weights {
		total += w
	}
	return total
}

// bound returns how far a prefix of tickets may be from a share, in requests.
func bound(weights []routing.Weight) float64 {
	k := 0.0
	for _, w := range weights {
		if w > 0 {
			k++
		}
	}
	if k == 1 {
		return 0
	}
	return 2 * (1 - 1/(2*k-2))
}

// blocks returns how many blocks of a split a test looks at.
func blocks(s *routing.Split) int { return max(3, min(50, 6000/s.Period())) }

func TestSplitGivesEachBlockExactlyItsWeights(t *testing.T) {
	for _, weights := range vectors() {
		s := routing.NewSplit(weights, routing.SplitExact, 7, 11)
		total := int(sum(weights))
		for block := range blocks(s) {
			counts := make([]int, len(weights))
			for i := range s.Period() {
				counts[s.Pick(uint64(block*s.Period()+i))]++
			}
			for i, w := range weights {
				if counts[i]*total != int(w)*s.Period() {
					t.Fatalf("%v: choice %d has %d of the %d tickets of block %d", weights, i, counts[i], s.Period(), block)
				}
			}
		}
	}
}

func TestSplitKeepsEveryPrefixAndWindowNearItsShares(t *testing.T) {
	const tiny = 1e-6 // of the arithmetic
	for _, weights := range vectors() {
		s := routing.NewSplit(weights, routing.SplitExact, 3, 5)
		total := float64(sum(weights))
		counts := make([]int, len(weights))
		// The widest window is the difference of the highest and the lowest
		// prefix.
		high, low := make([]float64, len(weights)), make([]float64, len(weights))
		for ticket := range blocks(s) * s.Period() {
			counts[s.Pick(uint64(ticket))]++
			for i, w := range weights {
				off := float64(counts[i]) - float64(ticket+1)*float64(w)/total
				if math.Abs(off) > bound(weights)+tiny {
					t.Fatalf("%v: choice %d is off by %.3f after %d tickets, bound %.3f", weights, i, off, ticket+1, bound(weights))
				}
				high[i], low[i] = max(high[i], off), min(low[i], off)
				if off := high[i] - low[i]; off > 2*bound(weights)+tiny {
					t.Fatalf("%v: choice %d is off by %.3f in a window up to ticket %d, bound %.3f", weights, i, off, ticket, 2*bound(weights))
				}
			}
		}
	}
}

func TestSplitDoesNotTieClientsThatTakeTurnsToAChoice(t *testing.T) {
	const requests = 10_000
	for _, weights := range vectors() {
		for _, tt := range []struct {
			classes, sigmas, maxPeriod int
		}{
			{2, 3, 10_000},
			// So many shares are looked at that some are off by more than 3
			// sigma by chance. A class that is tied is off by tens.
			{3, 5, 100},
			{5, 5, 100},
			{10, 5, 100},
		} {
			s := routing.NewSplit(weights, routing.SplitExact, 20, 26)
			if s.Period() > tt.maxPeriod {
				continue
			}
			counts := make([][]int, tt.classes)
			for i := range counts {
				counts[i] = make([]int, len(weights))
			}
			for ticket := range requests {
				counts[ticket%tt.classes][s.Pick(uint64(ticket))]++
			}
			for class, got := range counts {
				n := float64((requests + tt.classes - 1 - class) / tt.classes)
				for i, w := range weights {
					share := float64(w) / 10000
					sigma := math.Sqrt(n * share * (1 - share))
					if off := math.Abs(float64(got[i]) - n*share); off > float64(tt.sigmas)*sigma {
						t.Errorf("%v: class %d of %d has %d of %.0f for choice %d, off by %.1f sigma",
							weights, class, tt.classes, got[i], n, i, off/sigma)
					}
				}
			}
		}
	}
}

func TestSplitIsExactForManyGoroutinesAtOnce(t *testing.T) {
	const goroutines, each = 64, 500
	weights := []routing.Weight{9000, 700, 300}
	s := routing.NewSplit(weights, routing.SplitExact, 1, 2)
	counts := make([][3]int, goroutines)
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for range each {
				counts[i][s.Pick(s.Next())]++
			}
		})
	}
	wg.Wait()
	var got [3]int
	for _, c := range counts {
		for i := range c {
			got[i] += c[i]
		}
	}
	// 32,000 tickets are 320 whole blocks of 100.
	if want := [3]int{28_800, 2_240, 960}; got != want {
		t.Errorf("counts = %v, want %v", got, want)
	}
}

func TestSplitsOfSeveralProxiesAddTheirBoundsAtMost(t *testing.T) {
	const proxies = 5
	weights := []routing.Weight{9000, 700, 300}
	splits := make([]*routing.Split, proxies)
	for i := range splits {
		splits[i] = routing.NewSplit(weights, routing.SplitExact, uint64(i+1), 9)
	}
	random := rand.New(rand.NewPCG(3, 4))
	var counts [3]int
	for n := 1; n <= 20_000; n++ {
		s := splits[random.IntN(proxies)]
		counts[s.Pick(s.Next())]++
		for i, w := range weights {
			off := math.Abs(float64(counts[i]) - float64(n)*float64(w)/10000)
			if off > proxies*bound(weights)+1e-6 {
				t.Fatalf("choice %d is off by %.2f after %d requests to %d proxies", i, off, n, proxies)
			}
		}
	}
}

func TestSplitsOfDifferentSeedsDoNotRunInStep(t *testing.T) {
	weights := []routing.Weight{5000, 5000}
	a := routing.NewSplit(weights, routing.SplitExact, 1, 9)
	b := routing.NewSplit(weights, routing.SplitExact, 2, 9)
	equal := 0
	for ticket := range uint64(10_000) {
		if a.Pick(ticket) == b.Pick(ticket) {
			equal++
		}
	}
	if equal < 4_500 || equal > 5_500 {
		t.Errorf("two proxies agree on %d of 10000 tickets, want about half", equal)
	}
}

func TestSplitPickDependsOnItsArgumentsOnly(t *testing.T) {
	weights := []routing.Weight{3333, 3333, 3334}
	a := routing.NewSplit(weights, routing.SplitExact, 1, 2)
	b := routing.NewSplit(weights, routing.SplitExact, 1, 2)
	for range 100 {
		b.Next()
	}
	for ticket := range uint64(30_000) {
		if a.Pick(ticket) != b.Pick(ticket) {
			t.Fatalf("ticket %d: %d and %d", ticket, a.Pick(ticket), b.Pick(ticket))
		}
	}
}

func TestSplitNextCountsFromZero(t *testing.T) {
	s := routing.NewSplit([]routing.Weight{10000}, routing.SplitExact, 0, 0)
	for want := range uint64(5) {
		if got := s.Next(); got != want {
			t.Fatalf("Next() = %d, want %d", got, want)
		}
	}
}

func TestSplitPickHoldsForAnyTicket(t *testing.T) {
	for _, weights := range vectors() {
		s := routing.NewSplit(weights, routing.SplitExact, 3, 4)
		period := uint64(s.Period())
		// Whole blocks at the far end, around which a rounded division fails
		// first.
		for _, block := range []uint64{1<<32/period - 1, 1 << 40, 1<<63/period - 1, math.MaxUint64/period - 1} {
			counts := make([]uint64, len(weights))
			for i := range period {
				counts[s.Pick(block*period+i)]++
			}
			for i, w := range weights {
				if counts[i]*uint64(sum(weights)) != uint64(w)*period {
					t.Fatalf("%v: choice %d has %d of the %d tickets of block %d", weights, i, counts[i], period, block)
				}
			}
		}
		if c := s.Pick(math.MaxUint64); weights[c] == 0 {
			t.Errorf("%v: the last ticket picks choice %d of weight 0", weights, c)
		}
	}
}

func TestSplitPeriod(t *testing.T) {
	for _, tt := range []struct {
		weights []routing.Weight
		want    int
	}{
		{[]routing.Weight{10000}, 1},
		{[]routing.Weight{0, 10000}, 1},
		{[]routing.Weight{5000, 5000}, 2},
		{[]routing.Weight{9000, 1000}, 10},
		{[]routing.Weight{3300, 3300, 3400}, 100},
		{[]routing.Weight{1250, 8750}, 8},
		{[]routing.Weight{1, 9999}, 10000},
		{[]routing.Weight{3, 3}, 2},
	} {
		s := routing.NewSplit(tt.weights, routing.SplitExact, 0, 0)
		if got := s.Period(); got != tt.want {
			t.Errorf("%v: Period() = %d, want %d", tt.weights, got, tt.want)
		}
	}
}

func TestSplitOfNothingIsNil(t *testing.T) {
	for _, weights := range [][]routing.Weight{nil, {}, {0}, {0, 0, 0}} {
		if s := routing.NewSplit(weights, routing.SplitExact, 0, 0); s != nil {
			t.Errorf("NewSplit(%v) = %v, want nil", weights, s)
		}
	}
}

func TestRandomSplitDrawsEachTicketByItself(t *testing.T) {
	weights := []routing.Weight{9000, 0, 700, 300}
	s := routing.NewSplit(weights, routing.SplitRandom, 5, 6)
	const tickets = 100_000
	counts := make([]int, len(weights))
	for ticket := range uint64(tickets) {
		counts[s.Pick(ticket)]++
	}
	for i, w := range weights {
		share := float64(w) / 10000
		off := math.Abs(float64(counts[i]) - tickets*share)
		if sigma := math.Sqrt(tickets * share * (1 - share)); off > 3*sigma {
			t.Errorf("choice %d has %d tickets, off by %.0f with sigma %.0f", i, counts[i], off, sigma)
		}
	}
	// Exact blocks would be the sign of a schedule.
	exact := 0
	for block := range uint64(1_000) {
		n := 0
		for i := range uint64(100) {
			if s.Pick(block*100+i) == 0 {
				n++
			}
		}
		if n == 90 {
			exact++
		}
	}
	if exact > 300 {
		t.Errorf("%d of 1000 runs of 100 tickets have exactly 90 of choice 0, want about 130", exact)
	}
}

func TestSplitDoesNotAllocate(t *testing.T) {
	for _, mode := range []routing.SplitMode{routing.SplitExact, routing.SplitRandom} {
		s := routing.NewSplit([]routing.Weight{9000, 1000}, mode, 1, 2)
		if n := testing.AllocsPerRun(100, func() { s.Pick(s.Next()) }); n != 0 {
			t.Errorf("mode %d: %.0f allocations a pick, want 0", mode, n)
		}
	}
}

// FuzzSplit holds the promises of a split for any weights.
func FuzzSplit(f *testing.F) {
	f.Add([]byte{90, 10}, uint64(1), uint64(2))
	f.Add([]byte{33, 33, 34}, uint64(1), uint64(2))
	f.Add([]byte{0, 255, 1}, uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, raw []byte, seed, salt uint64) {
		weights := make([]routing.Weight, min(len(raw), 8))
		for i := range weights {
			weights[i] = routing.Weight(raw[i])
		}
		s := routing.NewSplit(weights, routing.SplitExact, seed, salt)
		total := int(sum(weights))
		if s == nil {
			if total != 0 {
				t.Fatalf("no split of %v", weights)
			}
			return
		}
		counts := make([]int, len(weights))
		for ticket := range 2 * s.Period() {
			counts[s.Pick(uint64(ticket))]++
			for i, w := range weights {
				off := float64(counts[i]) - float64(ticket+1)*float64(w)/float64(total)
				if math.Abs(off) > bound(weights)+1e-6 {
					t.Fatalf("%v: choice %d is off by %.3f after %d tickets", weights, i, off, ticket+1)
				}
			}
		}
		for i, w := range weights {
			if counts[i]*total != int(w)*2*s.Period() {
				t.Fatalf("%v: choice %d has %d of two periods of %d", weights, i, counts[i], s.Period())
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	for _, weights := range [][]routing.Weight{{10000}, {9000, 1000}, {3333, 3333, 3334}} {
		s := routing.NewSplit(weights, routing.SplitExact, 1, 2)
		b.Run(fmt.Sprintf("pick of period %d", s.Period()), func(b *testing.B) {
			b.ReportAllocs()
			var ticket uint64
			for b.Loop() {
				s.Pick(ticket)
				ticket++
			}
		})
	}
	s := routing.NewSplit([]routing.Weight{9000, 1000}, routing.SplitExact, 1, 2)
	b.Run("next and pick", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Pick(s.Next())
		}
	})
	b.Run("next and pick, all cores", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.Pick(s.Next())
			}
		})
	})
}
