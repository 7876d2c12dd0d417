// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/balance"
)

// The instances change all the time while many choose; no exchange is lost
// from the counts, whichever set it began with.
func TestInstancesChangeWhileOthersChoose(t *testing.T) {
	for _, text := range all {
		t.Run(text, func(t *testing.T) {
			var turns balance.Turns
			list := members(100, 50, 100, 300, 100)
			var present atomic.Pointer[balance.Set]
			o := balance.Options{Balance: parse(t, text)}
			present.Store(balance.New(list, &turns, o))
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for n := range 500 {
						r := user(n * g)
						r.SetRandom(uint32(n))
						var w balance.Walk
						present.Load().Begin(&w, r, int64(n))
						for range 2 {
							if w.Next() < 0 {
								t.Error("nobody to choose")
							}
						}
						w.Answered(int64(n), 1)
						w.End()
					}
				})
			}
			for n := range 50 {
				present.Store(balance.New(list[n%3:], &turns, o))
			}
			wg.Wait()
			for i, m := range list {
				if got := m.Load.InFlight(); got != 0 {
					t.Errorf("%d in flight at %d after all ended", got, i)
				}
			}
		})
	}
}

// busy makes a set of n instances that have something in flight.
func busy(tb testing.TB, text string, n int) *balance.Set {
	tb.Helper()
	list := alike(n)
	list[0].Weight = 200
	s := newSet(tb, text, list)
	for i := range list {
		var w balance.Walk
		s.Begin(&w, anyRequest, 0)
		w.Take(i)
	}
	return s
}

func TestChoosingDoesNotAllocate(t *testing.T) {
	for _, text := range append(all, "uri whole len 100 depth 3") {
		for _, n := range []int{1, 2, 100} {
			s := busy(t, text, n)
			r := user(1)
			var w balance.Walk
			if got := testing.AllocsPerRun(100, func() {
				s.Begin(&w, r, 1)
				w.Next()
				w.Failed(1, 1)
				w.Next()
				w.Answered(1, 1)
				w.End()
			}); got != 0 {
				t.Errorf("%s of %d: %v allocations", text, n, got)
			}
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, text := range all {
		for _, n := range []int{2, 10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", text, n), func(b *testing.B) {
				s := busy(b, text, n)
				r := user(1)
				var w balance.Walk
				b.ReportAllocs()
				for b.Loop() {
					r.SetRandom(r.Random() + 1)
					s.Begin(&w, r, 1)
					w.Next()
					w.End()
				}
			})
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, text := range []string{"roundrobin", "hdr(X-User)"} {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", text, n), func(b *testing.B) {
				list := alike(n)
				list[0].Weight = 200
				o := balance.Options{Balance: parse(b, text)}
				var turns balance.Turns
				for b.Loop() {
					balance.New(list, &turns, o)
				}
			})
		}
	}
}
