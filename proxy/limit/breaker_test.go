// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/limit"
	"github.com/sluice-mesh/sluice/routing"
)

// half opens when half of at least 10 exchanges in 10 s fail.
var half = routing.Breaker{Errors: 50_00, Over: 10 * time.Second, AtLeast: 10, OpenFor: 5 * time.Second, Trials: 3}

// end has n exchanges begin and end at a time, and reports whether all might
// begin.
func end(t *testing.T, b *limit.Breaker, n int, now int64, how limit.Ending, took time.Duration) {
	t.Helper()
	for i := range n {
		p, wait := b.Enter(now)
		if wait != 0 {
			t.Fatalf("exchange %d at %v has to wait for %v", i, time.Duration(now), wait)
		}
		b.Leave(p, now, how, took)
	}
}

func wantMode(t *testing.T, b *limit.Breaker, now int64, want limit.Mode) {
	t.Helper()
	if got := b.Mode(now); got != want {
		t.Fatalf("at %v the breaker is %v, want %v", time.Duration(now), got, want)
	}
}

func TestBreakerOpensTriesAndCloses(t *testing.T) {
	b := limit.NewBreaker(half)
	end(t, b, 100, ms(1000), limit.Well, 0)
	end(t, b, 99, ms(1050), limit.Badly, 0)
	end(t, b, 1, ms(1200), limit.Well, 0)
	wantMode(t, b, ms(1200), limit.Closed) // 99 of 200
	end(t, b, 1, ms(1350), limit.Badly, 0)
	wantMode(t, b, ms(1351), limit.Closed) // 100 of 201
	end(t, b, 1, ms(1450), limit.Badly, 0)
	wantMode(t, b, ms(1451), limit.Open) // 101 of 202
	if _, wait := b.Enter(ms(1500)); wait <= 4900*time.Millisecond || wait > 5*time.Second {
		t.Errorf("an exchange has to wait for %v, want 5s less 50ms", wait)
	}
	// After 5 s three may try.
	now := ms(6500)
	wantMode(t, b, now, limit.HalfOpen)
	var trials []limit.Pass
	for i := range 4 {
		p, wait := b.Enter(now)
		if (wait == 0) != (i < 3) {
			t.Fatalf("trial %d has to wait for %v", i, wait)
		}
		trials = append(trials, p)
	}
	b.Leave(trials[0], now, limit.Well, 0)
	b.Leave(trials[1], now, limit.Untold, 0) // its client went away
	p, wait := b.Enter(now)
	if wait != 0 {
		t.Fatalf("the place of a trial that told nothing is not given to another")
	}
	b.Leave(p, now, limit.Well, 0)
	wantMode(t, b, now, limit.HalfOpen)
	b.Leave(trials[2], now, limit.Well, 0)
	wantMode(t, b, now, limit.Closed)
	if b.Opened() != 1 {
		t.Errorf("it opened %d times, want once", b.Opened())
	}
	// What was before does not count any more.
	end(t, b, 8, now+ms(200), limit.Badly, 0)
	end(t, b, 1, now+ms(400), limit.Badly, 0)
	wantMode(t, b, now+ms(401), limit.Closed)
}

func TestBreakerOpensAnewWithTheFirstTrialThatFails(t *testing.T) {
	b := limit.NewBreaker(half)
	end(t, b, 1, ms(1000), limit.Well, 0)
	end(t, b, 20, ms(1050), limit.Badly, 0)
	end(t, b, 1, ms(1100), limit.Badly, 0)
	wantMode(t, b, ms(1101), limit.Open)
	first, _ := b.Enter(ms(6200))
	second, _ := b.Enter(ms(6200))
	b.Leave(first, ms(6300), limit.Badly, 0)
	wantMode(t, b, ms(6301), limit.Open)
	// A trial of the time before says nothing of this one.
	b.Leave(second, ms(11_400), limit.Well, 0)
	wantMode(t, b, ms(11_299), limit.Open)
	wantMode(t, b, ms(11_400), limit.HalfOpen)
	end(t, b, 3, ms(11_400), limit.Well, 0)
	wantMode(t, b, ms(11_400), limit.Closed)
	if b.Opened() != 2 {
		t.Errorf("it opened %d times, want twice", b.Opened())
	}
}

func TestBreakerDoesNotWaitForTrialsForEver(t *testing.T) {
	b := limit.NewBreaker(half)
	end(t, b, 1, ms(1000), limit.Well, 0)
	end(t, b, 20, ms(1050), limit.Badly, 0)
	end(t, b, 1, ms(1100), limit.Badly, 0)
	for i := range 4 {
		if _, wait := b.Enter(ms(6200)); (wait == 0) != (i < 3) {
			t.Fatalf("trial %d has to wait for %v", i, wait)
		}
	}
	if _, wait := b.Enter(ms(11_000)); wait == 0 {
		t.Error("further trials begin before the time is up once more")
	}
	end(t, b, 1, ms(11_200), limit.Well, 0)
	end(t, b, 2, ms(11_300), limit.Well, 0)
	wantMode(t, b, ms(11_300), limit.Closed)
}

func TestBreakerOpensByLatency(t *testing.T) {
	b := limit.NewBreaker(routing.Breaker{
		Slow: 10_00, SlowerThan: 500 * time.Millisecond, Over: 10 * time.Second, AtLeast: 10, OpenFor: time.Second, Trials: 1,
	})
	end(t, b, 89, ms(1000), limit.Badly, 500*time.Millisecond) // errors do not count, and no more than the bound is fast
	end(t, b, 10, ms(1050), limit.Well, 501*time.Millisecond)
	end(t, b, 1, ms(1200), limit.Well, time.Millisecond)
	wantMode(t, b, ms(1200), limit.Closed) // 10 of 100 are not more than a tenth
	end(t, b, 1, ms(1300), limit.Well, time.Second)
	wantMode(t, b, ms(1301), limit.Open)
	p, _ := b.Enter(ms(2400))
	b.Leave(p, ms(2400), limit.Well, time.Second)
	wantMode(t, b, ms(2401), limit.Open)
	end(t, b, 1, ms(3500), limit.Badly, time.Millisecond)
	wantMode(t, b, ms(3500), limit.Closed)
}

func TestBreakerForgetsWhatIsLongerAgoThanItsWindow(t *testing.T) {
	b := limit.NewBreaker(half)
	end(t, b, 1, ms(1000), limit.Well, 0)
	end(t, b, 100, ms(1050), limit.Well, 0)
	end(t, b, 30, ms(1200), limit.Badly, 0)
	// Within the window it counts, and later it does not, though nobody looked
	// meanwhile.
	end(t, b, 9, ms(10_900), limit.Badly, 0)
	wantMode(t, b, ms(10_901), limit.Closed) // 31 of 132
	end(t, b, 1, ms(13_400), limit.Badly, 0)
	wantMode(t, b, ms(13_401), limit.Open) // 10 of 10
}

func TestBreakerNeedsEnoughToJudge(t *testing.T) {
	b := limit.NewBreaker(half)
	for i := range int64(9) {
		end(t, b, 1, ms(1000+200*i), limit.Badly, 0)
	}
	wantMode(t, b, ms(3000), limit.Closed)
}

// All at once: the breaker opens once, and lets as many try as it should.
func TestBreakerUnderContention(t *testing.T) {
	b := limit.NewBreaker(half)
	b.Leave(limit.Pass{}, ms(100), limit.Well, 0)
	var wg sync.WaitGroup
	for g := range int64(8) {
		wg.Go(func() {
			for i := range int64(1000) {
				b.Leave(limit.Pass{}, ms(1000+i)+g, limit.Badly, time.Second)
			}
		})
	}
	wg.Wait()
	wantMode(t, b, ms(2500), limit.Open)
	if b.Opened() != 1 {
		t.Fatalf("it opened %d times, want once", b.Opened())
	}
	var mu sync.Mutex // guards trials
	var trials []limit.Pass
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if p, wait := b.Enter(ms(9000)); wait == 0 {
					mu.Lock()
					trials = append(trials, p)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(trials) != int(half.Trials) {
		t.Fatalf("%d try, want 3", len(trials))
	}
	for _, p := range trials {
		wg.Go(func() { b.Leave(p, ms(9000), limit.Well, 0) })
	}
	wg.Wait()
	wantMode(t, b, ms(9000), limit.Closed)
}

func TestBreakerDoesNotAllocate(t *testing.T) {
	b := limit.NewBreaker(half)
	now := ms(1)
	if n := testing.AllocsPerRun(1000, func() {
		now += ms(30)
		p, _ := b.Enter(now)
		b.Leave(p, now, limit.Well, time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkBreaker(b *testing.B) {
	one := limit.NewBreaker(half)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := ms(1)
		for pb.Next() {
			now += 1000
			p, _ := one.Enter(now)
			one.Leave(p, now, limit.Well, time.Millisecond)
		}
	})
}
