// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/limit"
)

// roomy returns a set of n members that take most exchanges each.
func roomy(t *testing.T, algorithm string, n int, most int64) (*balance.Set, []balance.Member) {
	t.Helper()
	list := alike(n)
	room := balance.Room{Most: most, Crowd: limit.NewCrowd(limit.Waiting{Most: 10, Time: time.Second})}
	return balance.New(list, new(balance.Turns), balance.Options{Balance: parse(t, algorithm), Room: room}), list
}

// Whatever the algorithm and however many members there are, all of their room
// is found, and no more.
func TestWalksFindAllRoomThereIs(t *testing.T) {
	const n, most = 40, 3
	for _, algorithm := range []string{"roundrobin", "leastconn", "first", "first(2)", "source", "uri", "random", "ewma"} {
		t.Run(algorithm, func(t *testing.T) {
			set, list := roomy(t, algorithm, n, most)
			walks := make([]balance.Walk, n*most+1)
			for i := range walks {
				set.Begin(&walks[i], anyRequest, 0)
				at := walks[i].Next()
				if i == n*most {
					if at >= 0 || !walks[i].Full() {
						t.Errorf("Next() = %d, full %v with all members full", at, walks[i].Full())
					}
					break
				}
				if at < 0 || walks[i].Full() {
					t.Fatalf("exchange %d finds no member though there is room", i)
				}
			}
			for i, l := range list {
				if l.Load.InFlight() != most {
					t.Errorf("member %d has %d in flight, want %d", i, l.Load.InFlight(), most)
				}
			}
			last := &walks[n*most]
			walks[7].End()
			if at := last.Next(); at < 0 || last.Full() {
				t.Error("a member is not found that has room again")
			}
			for i := range walks {
				walks[i].End()
			}
			for i, l := range list {
				if l.Load.InFlight() != 0 {
					t.Errorf("member %d has %d in flight at the end, want none", i, l.Load.InFlight())
				}
			}
		})
	}
}

func TestTakeRefusesAFullMember(t *testing.T) {
	set, list := roomy(t, "roundrobin", 2, 1)
	var a, b balance.Walk
	set.Begin(&a, anyRequest, 0)
	set.Begin(&b, anyRequest, 0)
	if !a.Take(1) || b.Take(1) || !b.Full() {
		t.Fatal("a member that takes one takes two")
	}
	if at := b.Next(); at != 0 || b.Full() {
		t.Errorf("Next() = %d, want the other member", at)
	}
	b.End()
	a.End()
	if list[0].Load.InFlight() != 0 || list[1].Load.InFlight() != 0 {
		t.Error("something is in flight at the end")
	}
}

func TestRoomUnderContention(t *testing.T) {
	const most = 3
	set, list := roomy(t, "leastconn", 2, most)
	var found, over atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			var w balance.Walk
			for range 2000 {
				set.Begin(&w, anyRequest, 0)
				if w.Next() >= 0 {
					found.Add(1)
					for _, l := range list {
						if l.Load.InFlight() > most {
							over.Add(1)
						}
					}
				}
				w.End()
			}
		})
	}
	wg.Wait()
	if over.Load() > 0 || found.Load() == 0 {
		t.Errorf("%d times more than %d were in flight, %d exchanges found room", over.Load(), most, found.Load())
	}
	for i, l := range list {
		if l.Load.InFlight() != 0 {
			t.Errorf("member %d has %d in flight at the end, want none", i, l.Load.InFlight())
		}
	}
}
