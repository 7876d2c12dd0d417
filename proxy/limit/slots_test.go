// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/limit"
)

// present is a client that stays.
type present struct{}

func (present) Gone() bool { return false }

// leaving is a client that leaves once it is told to.
type leaving struct{ gone atomic.Bool }

func (l *leaving) Gone() bool { return l.gone.Load() }

// ms is a time of a test, in milliseconds since its beginning.
func ms(n int64) int64 { return n * int64(time.Millisecond) }

// wait starts a wait whose outcome can be had later, and sees it stand in
// line.
func wait(s *limit.Slots, now int64, c limit.Client) <-chan limit.Outcome {
	out := make(chan limit.Outcome, 1)
	go func() { out <- s.Wait(now, c) }()
	synctest.Wait()
	return out
}

// settled returns the outcomes that are known by now; -1 for those that are
// not.
func settled(waits ...<-chan limit.Outcome) []int {
	synctest.Wait()
	got := make([]int, len(waits))
	for i, w := range waits {
		got[i] = -1
		select {
		case o := <-w:
			got[i] = int(o)
		default:
		}
	}
	return got
}

func wantSettled(t *testing.T, when string, got []int, want ...int) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: outcomes %v, want %v", when, got, want)
		}
	}
}

const (
	waiting  = -1
	granted  = int(limit.Granted)
	refused  = int(limit.Refused)
	timedOut = int(limit.TimedOut)
	gone     = int(limit.Gone)
)

func TestSlotsHoldAtMostTheirNumber(t *testing.T) {
	s := limit.NewSlots(2, limit.Waiting{})
	for i := range 3 {
		if got := s.Enter(); got != (i < 2) {
			t.Fatalf("Enter() number %d of two slots = %v", i+1, got)
		}
	}
	if o := s.Wait(0, present{}); o != limit.Refused {
		t.Errorf("Wait() = %v without a queue, want Refused", o)
	}
	s.Leave(0)
	if !s.Enter() || s.Taken() != 2 {
		t.Errorf("a slot that was given back cannot be taken; %d are taken", s.Taken())
	}
}

func TestSlotsServeTheFirstFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limit.NewSlots(1, limit.Waiting{Most: 2, Time: 100 * time.Millisecond})
		s.Enter()
		a, b := wait(s, 0, present{}), wait(s, ms(1), present{})
		if c := wait(s, ms(2), present{}); settled(c)[0] != refused {
			t.Error("a third one waits in a queue of two")
		}
		if s.Waiting() != 2 || s.Enter() {
			t.Errorf("%d wait, or somebody got past them", s.Waiting())
		}
		s.Leave(ms(10))
		wantSettled(t, "after one slot came free", settled(a, b), granted, waiting)
		s.Leave(ms(11))
		wantSettled(t, "after two", settled(b), granted)
		s.Leave(ms(12))
		if s.Taken() != 0 || s.Waiting() != 0 {
			t.Errorf("%d taken and %d waiting at the end", s.Taken(), s.Waiting())
		}
	})
}

// A line that does not become empty within the time that one may wait serves
// the newest, and the oldest makes room for who comes.
func TestSlotsServeTheNewestUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limit.NewSlots(1, limit.Waiting{Most: 2, Time: 100 * time.Millisecond})
		s.Enter()
		old, mid := wait(s, 0, present{}), wait(s, ms(60), present{})
		s.Leave(ms(90))
		wantSettled(t, "within the time", settled(old, mid), granted, waiting)
		a := wait(s, ms(110), present{})
		b := wait(s, ms(120), present{}) // the line is full: mid goes
		wantSettled(t, "as somebody comes to the full line", settled(mid, a, b), refused, waiting, waiting)
		s.Leave(ms(130))
		wantSettled(t, "under overload", settled(a, b), waiting, granted)
		s.Leave(ms(140))
		wantSettled(t, "with one left", settled(a), granted)
		c, d := wait(s, ms(150), present{}), wait(s, ms(151), present{})
		s.Leave(ms(160))
		wantSettled(t, "after the line was empty", settled(c, d), granted, waiting)
		s.Leave(ms(170))
		s.Leave(ms(170))
		if got := settled(d); got[0] != granted || s.Taken() != 0 {
			t.Errorf("outcome %v, %d taken at the end", got, s.Taken())
		}
	})
}

func TestSlotsAreNotWaitedForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limit.NewSlots(1, limit.Waiting{Most: 1, Time: 60 * time.Millisecond})
		s.Enter()
		began := time.Now()
		if o := s.Wait(0, present{}); o != limit.TimedOut || time.Since(began) != 60*time.Millisecond {
			t.Errorf("Wait() = %v after %v, want TimedOut after 60ms", o, time.Since(began))
		}
		if s.Waiting() != 0 {
			t.Errorf("%d wait, want none", s.Waiting())
		}
		s.Leave(0)
		if s.Taken() != 0 {
			t.Errorf("%d taken, want none", s.Taken())
		}
	})
}

func TestSlotsAreNotKeptForClientsThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := limit.NewSlots(1, limit.Waiting{Most: 2, Time: time.Second})
		s.Enter()
		client := new(leaving)
		a := wait(s, 0, client)
		client.gone.Store(true)
		began := time.Now()
		if o := <-a; o != limit.Gone || time.Since(began) > 25*time.Millisecond {
			t.Errorf("outcome %v after %v, want Gone within 25ms", o, time.Since(began))
		}
		// One that leaves between two looks gives the slot on to the next.
		client.gone.Store(false)
		b, c := wait(s, 0, client), wait(s, 0, present{})
		client.gone.Store(true)
		s.Leave(0)
		wantSettled(t, "after the first left", settled(b, c), gone, granted)
		s.Leave(0)
		if s.Taken() != 0 || s.Waiting() != 0 {
			t.Errorf("%d taken and %d waiting at the end", s.Taken(), s.Waiting())
		}
	})
}

func TestSlotsCanBeMoreAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := limit.Waiting{Most: 3, Time: time.Minute}
		s := limit.NewSlots(1, w)
		s.Enter()
		a, b, c := wait(s, 0, present{}), wait(s, 0, present{}), wait(s, 0, present{})
		s.Set(3, w)
		wantSettled(t, "with two slots more", settled(a, b, c), granted, granted, waiting)
		s.Set(1, w)
		s.Leave(0)
		s.Leave(0)
		wantSettled(t, "while more are taken than there are", settled(c), waiting)
		s.Leave(0)
		wantSettled(t, "once there is one", settled(c), granted)
		if s.Taken() != 1 || s.Enter() {
			t.Errorf("%d taken, want the one that there is", s.Taken())
		}
	})
}

// However many come at once: never more than the number are inside, nobody is
// forgotten, and nothing is left over.
func TestSlotsUnderContention(t *testing.T) {
	const limitOf, goroutines, rounds = 4, 32, 300
	s := limit.NewSlots(limitOf, limit.Waiting{Most: goroutines, Time: time.Minute})
	var inside, served, over atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				if !s.Enter() && s.Wait(0, present{}) != limit.Granted {
					t.Error("somebody is turned away from a queue that has room")
					return
				}
				if inside.Add(1) > limitOf {
					over.Add(1)
				}
				served.Add(1)
				inside.Add(-1)
				s.Leave(0)
			}
		})
	}
	wg.Wait()
	if n := over.Load(); n > 0 {
		t.Errorf("%d times more than %d were inside at once", n, limitOf)
	}
	if n := served.Load(); n != goroutines*rounds {
		t.Errorf("%d were served, want %d", n, goroutines*rounds)
	}
	if s.Taken() != 0 || s.Waiting() != 0 {
		t.Errorf("%d taken and %d waiting at the end", s.Taken(), s.Waiting())
	}
}

// seeker finds something once there is some.
type seeker struct {
	leaving
	room *atomic.Int64
}

func (s *seeker) Found() bool {
	for n := s.room.Load(); n > 0; n = s.room.Load() {
		if s.room.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

func TestCrowdIsToldOfRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limit.NewCrowd(limit.Waiting{Most: 2, Time: 50 * time.Millisecond})
		var room atomic.Int64
		seek := func() (*seeker, <-chan limit.Outcome) {
			s, out := &seeker{room: &room}, make(chan limit.Outcome, 1)
			go func() { out <- c.Wait(0, s) }()
			synctest.Wait()
			return s, out
		}
		_, a := seek()
		_, b := seek()
		if _, third := seek(); settled(third)[0] != refused || c.Waiting() != 2 {
			t.Errorf("a third one waits in a queue of two; %d do", c.Waiting())
		}
		room.Add(1)
		c.Tell(0)
		wantSettled(t, "once told", settled(a, b), granted, waiting)
		c.Tell(0) // for nothing: somebody else was faster
		wantSettled(t, "told of what is gone", settled(b), waiting)
		room.Add(1) // by somebody who does not tell
		time.Sleep(10 * time.Millisecond)
		wantSettled(t, "after a look of its own", settled(b), granted)
		client, d := seek()
		client.gone.Store(true)
		time.Sleep(10 * time.Millisecond)
		wantSettled(t, "after the client left", settled(d), gone)
		_, e := seek()
		time.Sleep(50 * time.Millisecond)
		wantSettled(t, "when the time is up", settled(e), timedOut)
		if c.Waiting() != 0 {
			t.Errorf("%d wait at the end", c.Waiting())
		}
	})
}

func TestSlotsDoNotAllocate(t *testing.T) {
	s := limit.NewSlots(1, limit.Waiting{})
	if n := testing.AllocsPerRun(1000, func() {
		if s.Enter() {
			s.Leave(0)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkSlots(b *testing.B) {
	b.Run("free", func(b *testing.B) {
		s := limit.NewSlots(1<<20, limit.Waiting{})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if s.Enter() {
					s.Leave(0)
				}
			}
		})
	})
	b.Run("handed over", func(b *testing.B) {
		s := limit.NewSlots(1, limit.Waiting{Most: 1 << 10, Time: time.Minute})
		b.SetParallelism(8)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if s.Enter() || s.Wait(0, present{}) == limit.Granted {
					s.Leave(0)
				}
			}
		})
	})
}
