// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync"
	"testing"
	"unsafe"
)

// own returns how many shards have a cell of their own.
func own(s *series) (n int) {
	base := s.slots.shared().cell.Load()
	for i := range s.slots {
		if s.slots[i].cell.Load() != base {
			n++
		}
	}
	return n
}

// Where counts lie cannot be seen from outside, only how much they cost.
func TestBusySeriesSpread(t *testing.T) {
	for _, tt := range []struct {
		name          string
		shards, begun int
		spare         int64
		want          int
	}{
		{"an idle one keeps one cell", 4, spreadEvery - 1, 10, 0},
		{"a busy one takes more one by one", 4, spreadEvery, 10, 1},
		{"up to one for each shard", 4, 20 * spreadEvery, 10, 4},
		{"a single shard has its cell", 1, 2 * spreadEvery, 10, 0},
		{"none are left to take", 4, 20 * spreadEvery, 3, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := New(Options{Shards: tt.shards})
			r.spare.Store(tt.spare)
			route := r.Gateway("shop").Route("canary")
			for i := range tt.begun {
				// The shard changes after each whole round, so that every one
				// comes to the end of a round.
				route.Begin(uint32(i / spreadEvery))
			}
			if got := own(&route.series); got != tt.want {
				t.Errorf("%d shards have a cell of their own, want %d", got, tt.want)
			}
			if got := r.spare.Load(); got != tt.spare-int64(tt.want) {
				t.Errorf("%d cells are left, want %d", got, tt.spare-int64(tt.want))
			}
			var totals Totals
			route.Read(&totals)
			if totals.InFlight != uint64(tt.begun) {
				t.Errorf("in flight = %d, want %d", totals.InFlight, tt.begun)
			}
			r.o.Linger = -1
			r.Retain(nil)
			for i := range 20 * spreadEvery {
				route.Begin(uint32(i / spreadEvery))
			}
			if got := r.spare.Load(); got != tt.spare {
				t.Errorf("%d cells are left once the route is gone, want %d", got, tt.spare)
			}
		})
	}
}

// A line of 64 bytes that two cells share, or that a cell begins in, makes
// counting wait for others, or for one line more.
func TestCellsBeginOnLines(t *testing.T) {
	r := New(Options{Shards: 4})
	for range 100 {
		route := r.Gateway("shop").Route("canary")
		route.End(0, &Observation{Code: 503})
		for c := range route.slots.cells {
			if at := uintptr(unsafe.Pointer(c)); at%128 != 0 {
				t.Errorf("a cell begins at %#x", at)
			}
		}
		for rest := range route.slots.rests {
			if at := uintptr(unsafe.Pointer(rest)); at%128 != 0 {
				t.Errorf("a rest begins at %#x", at)
			}
		}
		r.o.Linger = -1
		r.Retain(nil)
	}
	if at := unsafe.Offsetof(cell{}.buckets); at != 64 {
		t.Errorf("the counts of every exchange take %d bytes, want 64", at)
	}
}

// A shard with a cell of its own has a rest of its own as well, so that those
// who answer with 304 or 404 do not wait for each other either.
func TestBusySeriesSpreadTheirRest(t *testing.T) {
	route := New(Options{Shards: 4}).Gateway("shop").Route("canary")
	rests := func() (n int) {
		for range route.slots.rests {
			n++
		}
		return n
	}
	if got := rests(); got != 0 {
		t.Errorf("an idle route has %d rests, want none", got)
	}
	for shard := range uint32(4) {
		route.End(shard, &Observation{Code: 404})
	}
	if got := rests(); got != 1 {
		t.Errorf("a route has %d rests, want one for all shards", got)
	}
	for range 2 * spreadEvery {
		route.Begin(1)
		route.End(1, &Observation{Code: 404})
	}
	if got := rests(); got != 2 {
		t.Errorf("a route of one busy shard has %d rests, want 2", got)
	}
	var totals Totals
	route.Read(&totals)
	if got := totals.Requests[Class4xx]; got != 4+2*spreadEvery {
		t.Errorf("%d requests, want %d", got, 4+2*spreadEvery)
	}
}

func TestIdleSeriesHaveNoCell(t *testing.T) {
	r := New(Options{Shards: 4})
	route := r.Gateway("shop").Route("canary")
	var totals Totals
	route.Read(&totals)
	if route.slots.shared().cell.Load() != &idle || own(&route.series) != 0 {
		t.Error("a series that counted nothing has a cell")
	}
	var wg sync.WaitGroup
	const exchanges = 100
	for shard := range uint32(8) {
		wg.Go(func() {
			for range exchanges {
				route.Begin(shard)
				route.End(shard+1, &Observation{Code: 200})
				route.Read(&Totals{})
			}
		})
	}
	wg.Wait()
	route.Read(&totals)
	if got := totals.Requests[Class2xx]; got != 8*exchanges || totals.InFlight != 0 {
		t.Errorf("%d requests, %d in flight; want %d and 0", got, totals.InFlight, 8*exchanges)
	}
	for by := range Ways {
		if idle.begun[by].Load() != 0 {
			t.Error("something was counted in the cell of all idle series")
		}
	}
	for i := range idle.buckets {
		if idle.buckets[i].ok.Load() != 0 {
			t.Error("something ended in the cell of all idle series")
		}
	}
}
