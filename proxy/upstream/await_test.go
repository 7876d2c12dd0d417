// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// unproven returns instances of which nobody says more than that they run.
func unproven(ports ...string) []*routing.Instance {
	list := fixed(ports...)
	for _, i := range list {
		i.Unproven = true
	}
	return list
}

// heed is lead in one step, as binding a table does it: nobody is chosen before
// it is said how they are looked after.
func heed(p *upstream.Pool, list []*routing.Instance, w routing.Watch, before *upstream.Target) *upstream.Target {
	target := p.FixedBalanced(list, before, upstream.Choosing{Watch: routing.PartOf(w)})
	p.Retain([]*upstream.Target{target})
	return target
}

// expectShares checks who is chosen in 300 turns.
func expectShares(t *testing.T, when string, target *upstream.Target, want string) {
	t.Helper()
	if got := shares(target, 300); got != want {
		t.Errorf("%s: %q, want %q (%+v)", when, got, want, target.States())
	}
}

const (
	at81 = "127.0.0.1:81"
	at82 = "127.0.0.1:82"
)

func TestAnUnprovenInstanceGetsNothingBeforeItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		for _, at := range []string{at81, at82} {
			w.says(at, errDown)
		}
		target := heed(p, unproven("81", "82"), watch(), nil)
		for range 20 {
			expectShares(t, "nobody answers", target, "")
			if target.Well() || target.Usable() {
				t.Error("the target is usable")
			}
			pass(time.Second) // until their checks have failed very often
		}
		for _, s := range target.States() {
			if !s.Awaited || !s.Unused || s.State != routing.StateUnhealthy || s.Why != errDown.Error() {
				t.Errorf("an instance stands as %+v, want it awaited and unhealthy", s)
			}
		}
		if n, _ := target.Counts(); n.Panic || n.Panics > 0 || n.Unhealthy != 2 {
			t.Errorf("counts %+v, want no panic, which would have unproven ones serve", n)
		}
		w.says(at82, nil)
		pass(3 * time.Second) // one check: the first success is enough
		expectShares(t, "one answers", target, "82 300")
		if !target.Well() || !target.Usable() {
			t.Error("the target is not usable")
		}
		var walk upstream.Walk
		for _, i := range target.Instances() {
			if i.String() != at81 {
				continue
			}
			target.Begin(&walk, nil, 0)
			if walk.Take(i) {
				t.Error("a client that is kept there gets to an awaited instance")
			}
			walk.End()
		}
		target.Begin(&walk, nil, 0)
		for i := walk.Next(); i != nil; i = walk.Next() {
			if i.String() == at81 {
				t.Error("what fails elsewhere is tried at an awaited instance")
			}
		}
		walk.End()
		for key := range uint64(50) {
			if i := target.ForKey(key); i.String() != at82 {
				t.Errorf("key %d leads to %s", key, i)
			}
		}
		w.says(at81, nil)
		pass(3 * time.Second)
		expectShares(t, "both answer", target, "81 150, 82 150")
	})
}

func TestAProvenInstanceIsCheckedLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		target := heed(p, unproven("81", "82"), watch(), nil)
		pass(time.Second)
		expectShares(t, "both answer", target, "81 150, 82 150")
		w.says(at81, errDown)
		pass(10 * time.Second)
		expectShares(t, "one fails", target, "82 300")
		w.says(at82, errDown)
		pass(10 * time.Second)
		expectShares(t, "too few are left", target, "81 150, 82 150")
		w.says(at81, nil)
		pass(time.Millisecond)
		for passed := w.count(at81); w.count(at81) == passed; {
			pass(100 * time.Millisecond)
		}
		expectShares(t, "one success of two that it takes", target, "81 150, 82 150")
	})
}

func TestANewUnprovenInstanceWaitsBesideThoseThatServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		how := watch()
		how.SlowStart = 100 * time.Second // in steps of 5.6 s
		target := heed(p, unproven("81"), how, nil)
		pass(time.Second)
		expectShares(t, "the first", target, "81 300")
		w.says(at82, errDown)
		target = heed(p, unproven("81", "82"), how, target)
		for range 20 {
			expectShares(t, "the second boots", target, "81 300")
			pass(time.Second)
		}
		w.says(at82, nil)
		for target.States()[1].Unused {
			pass(time.Second)
		}
		if s := target.States()[1]; s.Share != 10 {
			t.Errorf("the second stands as %+v, want it to begin with a tenth", s)
		}
		if got := shares(target, 1100); got != "81 1000, 82 100" {
			t.Errorf("the second answers: %s", got)
		}
		pass(110 * time.Second)
		expectShares(t, "some time later", target, "81 150, 82 150")
	})
}

func TestWhoIsNotAwaited(t *testing.T) {
	unwatched := routing.Watch{Health: routing.DefaultHealth(routing.HealthNone)}
	byHTTP := watch()
	byHTTP.Health = routing.DefaultHealth(routing.HealthHTTP)
	for _, tt := range []struct {
		name string
		then func(*testing.T, *upstream.Pool, *world) *upstream.Target
		want string
	}{
		{"an instance of which somebody says that it answers", func(_ *testing.T, p *upstream.Pool, _ *world) *upstream.Target {
			return heed(p, fixed("81"), watch(), nil)
		}, "81 300"},
		{"one that is not to be checked", func(_ *testing.T, p *upstream.Pool, _ *world) *upstream.Target {
			return heed(p, unproven("81"), unwatched, nil)
		}, "81 300"},
		{"one that served before it was to be checked", func(_ *testing.T, p *upstream.Pool, _ *world) *upstream.Target {
			return heed(p, unproven("81"), watch(), heed(p, unproven("81"), unwatched, nil))
		}, "81 300"},
		{"one that a look-up had found", func(_ *testing.T, p *upstream.Pool, _ *world) *upstream.Target {
			return p.FixedBalanced(unproven("81"), p.Target("127.0.0.1", 81), upstream.Choosing{Watch: routing.PartOf(watch())})
		}, "81 300"},
		{"one that bears the name by which others were found", func(_ *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			w.says(at81, errDown)
			w.says(at82, errDown)
			name := p.Balanced(p.Target("127.0.0.1", 80), upstream.Choosing{Watch: routing.PartOf(watch())})
			return heed(p, unproven("81", "82"), watch(), name)
		}, "81 150, 82 150"},
		{"not even if somebody says so only later", func(t *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			t.Helper()
			w.says(at81, errDown)
			target := heed(p, unproven("81"), watch(), nil)
			pass(time.Minute)
			expectShares(t, "before", target, "")
			return heed(p, fixed("81"), watch(), target)
		}, "81 300"},
		{"once the check is given up", func(t *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			t.Helper()
			w.says(at81, errDown)
			return heed(p, unproven("81"), unwatched, heed(p, unproven("81"), watch(), nil))
		}, "81 300"},
		{"one that was proven, and is checked in another way", func(t *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			t.Helper()
			target := heed(p, unproven("81"), watch(), nil)
			pass(time.Second)
			w.says(at81, errDown)
			return heed(p, unproven("81"), byHTTP, target)
		}, "81 300"},
		{"one that was proven, when others come", func(t *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			t.Helper()
			target := heed(p, unproven("81"), watch(), nil)
			pass(time.Second)
			w.says(at81, errDown)
			w.says(at82, errDown)
			return heed(p, unproven("82", "81"), watch(), target)
		}, "81 300"},
		{"one that another route knows", func(t *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			t.Helper()
			first := heed(p, unproven("81"), watch(), nil)
			pass(time.Second)
			w.says(at81, errDown)
			second := p.FixedBalanced(unproven("81"), nil, upstream.Choosing{Watch: routing.PartOf(watch())})
			p.Retain([]*upstream.Target{first, second})
			return second
		}, "81 300"},
		{"but one that was gone, and is there again", func(t *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			t.Helper()
			target := heed(p, unproven("81", "82"), watch(), nil)
			pass(time.Second)
			target = heed(p, unproven("82"), watch(), target)
			pass(time.Second)
			w.says(at81, errDown)
			return heed(p, unproven("81", "82"), watch(), target)
		}, "82 300"},
		{"but one that was not ready", func(_ *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			w.says(at81, errDown)
			list := unproven("81")
			list[0].Ready = false
			return heed(p, unproven("81"), watch(), heed(p, list, unwatched, nil))
		}, ""},
		{"but one that bears a name by which nothing was found", func(_ *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			w.says(at81, errDown)
			return heed(p, unproven("81"), watch(), p.Target("nowhere.invalid", 80))
		}, ""},
		{"but one that is awaited while the check changes", func(t *testing.T, p *upstream.Pool, w *world) *upstream.Target {
			t.Helper()
			w.says(at81, errDown)
			target := heed(p, unproven("81"), watch(), nil)
			pass(time.Minute)
			return heed(p, unproven("81"), byHTTP, target)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, w := watched(t, nil)
				expectShares(t, "at once", tt.then(t, p, w), tt.want)
			})
		})
	}
}

// Whoever boots is asked often at first, and then no more often than others.
func TestAnAwaitedInstanceIsCheckedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		w.says(at81, errDown)
		began := time.Now()
		heed(p, unproven("81"), watch(), nil)
		pass(time.Minute)
		w.mu.Lock()
		asked := w.asked[netip.MustParseAddrPort(at81)]
		w.mu.Unlock()
		if first := asked[0].Sub(began); first != 0 {
			t.Errorf("the first check comes after %v, want it at once", first)
		}
		const second = time.Second
		for k, want := range []time.Duration{second / 4, second / 2, second, 2 * second, 2 * second, 2 * second} {
			if got := asked[k+1].Sub(asked[k]); got < want*9/10 || got > want*11/10 {
				t.Errorf("%v between the checks %d and %d, want %v and a tenth more or less", got, k, k+1, want)
			}
		}
	})
}

// A check that others began may be due in two seconds.
func TestAnAwaitedInstanceHurriesACheckThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		w.says(at81, errDown)
		other := heed(p, fixed("81"), watch(), nil)
		for w.count(at81) == 0 {
			pass(10 * time.Millisecond)
		}
		w.says(at81, nil)
		target := p.FixedBalanced(unproven("81"), nil, upstream.Choosing{Watch: routing.PartOf(watch())})
		p.Retain([]*upstream.Target{other, target})
		pass(time.Millisecond)
		expectShares(t, "at once", target, "81 300")
	})
}

func TestProveWaitsForTheFirstChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		slow := func(ctx context.Context) error {
			select {
			case <-time.After(30 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w.hears(at81, slow)
		w.hears(at82, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		wait := func(target *upstream.Target) time.Duration {
			began := time.Now()
			p.Prove(ctx, []*upstream.Target{target})
			return time.Since(began)
		}
		target := heed(p, unproven("81"), watch(), nil)
		if took := wait(target); took != 30*time.Millisecond {
			t.Errorf("it took %v to prove what answers after 30ms", took)
		}
		expectShares(t, "once it is proven", target, "81 300")
		target = heed(p, unproven("81", "82"), watch(), target)
		if took := wait(target); took != 0 {
			t.Errorf("it took %v where one serves already", took)
		}
		target = heed(p, unproven("82"), watch(), nil)
		if took := wait(target); took != 70*time.Millisecond {
			t.Errorf("it took %v for what never answers, want what was left of 100ms", took)
		}
		if took := wait(heed(p, fixed("83"), watch(), nil)); took != 0 {
			t.Errorf("it took %v where nothing is awaited", took)
		}
	})
}

// Until tables are let go of, the target before follows its name.
func TestWhatIsKnownStaysWhenANameMovesThatServedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := watched(t, nil)
		var moved atomic.Bool
		p.SetFind(func(string) []netip.Addr {
			if moved.Load() {
				return []netip.Addr{netip.MustParseAddr("127.0.0.4"), netip.MustParseAddr("127.0.0.5")}
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
		})
		how := upstream.Choosing{Watch: routing.PartOf(routing.Watch{Ejection: routing.DefaultEjection()})}
		name := p.Target("vip.test.", 80)
		p.Settle(t.Context(), []*upstream.Target{name})
		before := p.Balanced(name, how)
		target := p.FixedBalanced(fixed("81", "82"), before, how)
		for range 3 {
			request(t, target, "81", refuses)
		}
		synctest.Wait()
		expectShares(t, "one fails", target, "82 300")
		moved.Store(true)
		pass(10 * time.Second)
		if got := instances(before); got != "127.0.0.4:80 127.0.0.5:80" {
			t.Errorf("the name leads to %s", got)
		}
		expectShares(t, "the name moves", p.FixedBalanced(fixed("81", "82", "83"), target, how), "82 150, 83 150")
	})
}
