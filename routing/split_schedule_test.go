// SPDX-License-Identifier: Apache-2.0

// Schedules are shared out of sight, so this is tested from inside.
package routing

import (
	"math/rand/v2"
	"testing"
)

func twoRoutes(name string, port int, w Weight) *Gateway {
	return &Gateway{
		Name: name, Port: Port{Number: port},
		Routes: []*Route{{Path: "[a:1]", Weight: w}, {Path: "[b:1]", Weight: FullWeight - w}},
	}
}

func TestSplitsOfTheSameWeightsShareTheirSchedule(t *testing.T) {
	s, _ := Compile(nil, &Table{Gateways: []*Gateway{twoRoutes("a", 1, 9000), twoRoutes("b", 2, 9000), twoRoutes("c", 3, 8000)}}, CompileOptions{})
	a, b, c := s.ByName("a").Weights, s.ByName("b").Weights, s.ByName("c").Weights
	if a.schedule != b.schedule || a.schedule == c.schedule || a == b {
		t.Errorf("schedules %p, %p and %p; want the first two alike", a.schedule, b.schedule, c.schedule)
	}
	next, _ := Compile(s, &Table{Gateways: []*Gateway{twoRoutes("d", 4, 9000)}}, CompileOptions{})
	if next.ByName("d").Weights.schedule != a.schedule {
		t.Error("the schedule of the snapshot before was made again")
	}
}

func TestSchedulesThatNothingUsesAreForgotten(t *testing.T) {
	var s *Snapshot
	stays := twoRoutes("stays", 1, 5000)
	for i := range 2_000 {
		changes := twoRoutes("changes", 2, Weight(100+4*i))
		s, _ = Compile(s, &Table{Version: Version{Revision: uint64(i)}, Gateways: []*Gateway{stays, changes}}, CompileOptions{})
		if n := len(s.schedules.known); n > 65 {
			t.Fatalf("%d schedules are kept for 2 gateways after %d changes", n, i+1)
		}
	}
	if _, made := s.schedules.known[string([]byte{0x88, 0x13, 0, 0, 0x88, 0x13, 0, 0})]; !made {
		t.Error("the schedule of a gateway that stayed was forgotten")
	}
}

func TestAnEarlierSnapshotKeepsItsSchedules(t *testing.T) {
	first, _ := Compile(nil, &Table{Gateways: []*Gateway{twoRoutes("a", 1, 9000)}}, CompileOptions{})
	before := len(first.schedules.known)
	Compile(first, &Table{Gateways: []*Gateway{twoRoutes("a", 1, 8000)}}, CompileOptions{})
	if got := len(first.schedules.known); got != before {
		t.Errorf("the snapshot before has %d schedules, had %d", got, before)
	}
}

// TestSchedulesMeetTijdemansBound looks at every prefix of the schedules of
// all small weights, and of some large ones.
func TestSchedulesMeetTijdemansBound(t *testing.T) {
	tried := 0
	var walk func(weights []Weight, left Weight)
	walk = func(weights []Weight, left Weight) {
		if left == 0 {
			checkBound(t, weights)
			tried++
			return
		}
		for w := Weight(1); w <= left; w++ {
			walk(append(weights, w), left-w)
		}
	}
	for total := Weight(1); total <= 13; total++ {
		walk(nil, total)
	}
	if tried != 1<<13-1 {
		t.Errorf("%d compositions were tried, want %d", tried, 1<<13-1)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var weights []Weight
		for left := FullWeight; left > 0; {
			w := 1 + Weight(random.IntN(int(left)))
			weights = append(weights, w)
			left -= w
		}
		checkBound(t, weights)
	}
	for _, rare := range []int{2, 10, 100} {
		weights := []Weight{FullWeight - Weight(rare)}
		for range rare {
			weights = append(weights, 1)
		}
		checkBound(t, weights)
	}
}

// checkBound counts in parts of a request, so that nothing is rounded.
func checkBound(t *testing.T, weights []Weight) {
	t.Helper()
	s := newSchedule(weights)
	k, sum := int64(len(weights)), int64(0)
	for _, w := range weights {
		sum += int64(w)
	}
	off := make([]int64, k) // times sum
	for n, c := range s.choices {
		off[c] += sum
		for i, w := range weights {
			off[i] -= int64(w)
			// |off| <= 1 - 1/(2k-2), and 0 if there is only one choice.
			if o := max(off[i], -off[i]); k == 1 && o > 0 || o*(2*k-2) > sum*(2*k-3) && k > 1 {
				t.Fatalf("%v: choice %d is off by %d/%d after %d turns", weights, i, off[i], sum, n+1)
			}
		}
	}
}
