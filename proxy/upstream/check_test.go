// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

var errDown = errors.New("it is down")

// world answers the checks of a test, by address. It is safe for concurrent
// use.
type world struct {
	mu     sync.Mutex
	answer map[netip.AddrPort]func(context.Context) error // nil is a success
	asked  map[netip.AddrPort][]time.Time
	now    int // under way
	most   int
}

// watched runs a pool whose checks are answered by a world, until the bubble's
// test ends.
func watched(t *testing.T, shape func(*upstream.Options)) (*upstream.Pool, *world) {
	t.Helper()
	p, _ := newPool(shape)
	w := &world{answer: make(map[netip.AddrPort]func(context.Context) error), asked: make(map[netip.AddrPort][]time.Time)}
	p.SetAsk(w.ask)
	runPool(t, p)
	return p, w
}

func (w *world) ask(ctx context.Context, at netip.AddrPort) error {
	w.mu.Lock()
	w.asked[at] = append(w.asked[at], time.Now())
	answer := w.answer[at]
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	if answer == nil {
		return nil
	}
	return answer(ctx)
}

// says has an address answer checks with err from now on.
func (w *world) says(at string, err error) {
	w.hears(at, func(context.Context) error { return err })
}

func (w *world) hears(at string, answer func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer[netip.MustParseAddrPort(at)] = answer
}

// count returns how often an address was asked.
func (w *world) count(at string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked[netip.MustParseAddrPort(at)])
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// watch is a Watch of checks by tcp, all its times those of Vamp.
func watch() routing.Watch {
	return routing.Watch{Health: routing.DefaultHealth(routing.HealthTCP), Ejection: routing.DefaultEjection()}
}

// lead returns a target of instances that are looked after.
func lead(p *upstream.Pool, list []*routing.Instance, w routing.Watch, before *upstream.Target) *upstream.Target {
	target := p.Balanced(p.Fixed(list, before), upstream.Choosing{Watch: routing.PartOf(w)})
	p.Retain([]*upstream.Target{target})
	return target
}

// states returns how instances stand, such as "81 healthy, 82 ejected".
func states(target *upstream.Target) string {
	var all []string
	for _, s := range target.States() {
		_, port, _ := strings.Cut(s.Address, ":")
		all = append(all, port+" "+s.State)
	}
	return strings.Join(all, ", ")
}

// shares counts who is chosen in n turns, such as "81 50, 82 50".
func shares(target *upstream.Target, n int) string {
	count := make(map[string]int)
	for range n {
		count[pick(target)]++
	}
	var all []string
	for _, i := range target.Instances() {
		if c := count[i.String()]; c > 0 {
			_, port, _ := strings.Cut(i.String(), ":")
			all = append(all, fmt.Sprintf("%s %d", port, c))
		}
	}
	return strings.Join(all, ", ")
}

func TestChecksDecideWhoServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		w.says("127.0.0.1:81", errDown)
		target := lead(p, fixed("81", "82", "83"), watch(), nil)
		if got, want := states(target), "81 unknown, 82 unknown, 83 unknown"; got != want {
			t.Errorf("at first: %s, want %s", got, want)
		}
		if got, want := shares(target, 300), "81 100, 82 100, 83 100"; got != want {
			t.Errorf("what is not known yet does not serve: %s, want %s", got, want)
		}
		for w.count("127.0.0.1:81") < 2 {
			pass(100 * time.Millisecond)
		}
		if got := shares(target, 300); got != "81 100, 82 100, 83 100" {
			t.Errorf("after two failures: %s", got)
		}
		pass(3 * time.Second)
		if got, want := states(target), "81 unhealthy, 82 healthy, 83 healthy"; got != want {
			t.Errorf("after three failures: %s, want %s", got, want)
		}
		if got, want := shares(target, 300), "82 150, 83 150"; got != want {
			t.Errorf("the shares of the others: %s, want %s", got, want)
		}
		if s := target.States()[0]; s.Why != "it is down" || s.Since.IsZero() {
			t.Errorf("it is unhealthy since %v for %q", s.Since, s.Why)
		}

		n := w.count("127.0.0.1:81")
		w.says("127.0.0.1:81", nil)
		for w.count("127.0.0.1:81") == n {
			pass(100 * time.Millisecond)
		}
		if got, want := states(target), "81 unhealthy, 82 healthy, 83 healthy"; got != want {
			t.Errorf("after one success: %s, want %s", got, want)
		}
		pass(2300 * time.Millisecond)
		if got, want := shares(target, 300), "81 100, 82 100, 83 100"; got != want {
			t.Errorf("after two successes: %s, want %s", got, want)
		}
	})
}

func TestChecksComeInTheirPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		began := time.Now()
		lead(p, fixed("81"), watch(), nil)
		pass(time.Minute)
		at := w.asked[netip.MustParseAddrPort("127.0.0.1:81")]
		if first := at[0].Sub(began); first > 2*time.Second {
			t.Errorf("the first check came after %v", first)
		}
		different := false
		for i := 1; i < len(at); i++ {
			apart := at[i].Sub(at[i-1])
			if apart < 1800*time.Millisecond || apart > 2200*time.Millisecond {
				t.Errorf("checks are %v apart, want 2 s give or take a tenth", apart)
			}
			different = different || apart != at[1].Sub(at[0])
		}
		if len(at) < 25 || !different {
			t.Errorf("%d checks in a minute, different times apart: %t", len(at), different)
		}
	})
}

func TestChecksThatGetNoAnswerFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		w.hears("127.0.0.1:81", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		h := watch()
		h.Health.Timeout = 5 * time.Second // longer than the period: the next comes at once
		target := lead(p, fixed("81", "82"), h, nil)
		pass(18 * time.Second)
		if got, want := states(target), "81 unhealthy, 82 healthy"; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if why := target.States()[0].Why; why != "no answer in time" {
			t.Errorf("why: %q", why)
		}
		if n := w.count("127.0.0.1:81"); n < 3 || n > 4 {
			t.Errorf("%d checks of 5 s each in 18 s", n)
		}
	})
}

func TestAFaultInACheckIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		w.hears("127.0.0.1:81", func(context.Context) error { panic("at the disco") })
		target := lead(p, fixed("81", "82"), watch(), nil)
		pass(10 * time.Second)
		if s := target.States()[0]; s.State != routing.StateUnhealthy || s.Why != "a fault in the check: at the disco" {
			t.Errorf("%s since %s", s.State, s.Why)
		}
	})
}

func TestRoutesThatAskTheSameShareChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		other := watch()
		other.Health.Panic, other.SlowStart = 0, time.Minute // not what is asked
		rarer := watch()
		rarer.Health.Every = time.Minute
		var targets []*upstream.Target
		for _, h := range []routing.Watch{watch(), other, rarer} {
			targets = append(targets, p.Balanced(p.Fixed(fixed("81", "82"), nil), upstream.Choosing{Watch: routing.PartOf(h)}))
		}
		p.Retain(targets)
		if n := p.Checks(); n != 4 {
			t.Errorf("%d checks of two instances, asked in two ways; want 4", n)
		}
		pass(20 * time.Second)
		if n := w.count("127.0.0.1:81"); n < 10 || n > 13 {
			t.Errorf("%d checks in 20 s, want those of one route each 2 s, and the first of the other", n)
		}
		p.Retain(targets[2:])
		if n := p.Checks(); n != 2 {
			t.Errorf("%d checks are left, want 2", n)
		}
		before := w.count("127.0.0.1:81")
		pass(30 * time.Second)
		if n := w.count("127.0.0.1:81") - before; n > 1 {
			t.Errorf("%d checks in 30 s that nobody wants any more", n)
		}
		p.Retain(nil)
		if n := p.Checks(); n != 0 {
			t.Errorf("%d checks are left of nothing", n)
		}
	})
}

func TestChecksUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, func(o *upstream.Options) { o.Checks = 8 })
		var ports []string
		for port := range 100 {
			ports = append(ports, strconv.Itoa(1000+port))
			w.hears("127.0.0.1:"+ports[port], func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
		}
		lead(p, fixed(ports...), watch(), nil)
		pass(2*time.Second + 100/8*2*time.Second + 4*time.Second)
		if w.most != 8 {
			t.Errorf("%d checks were under way at once, want the bound, 8", w.most)
		}
		for _, port := range ports {
			if w.count("127.0.0.1:"+port) == 0 {
				t.Errorf("%s was not checked in its turn", port)
			}
		}
	})
}

func TestAChangeOfTheTableKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		w.says("127.0.0.1:81", errDown)
		h := watch()
		target := lead(p, fixed("81", "82", "83"), h, nil)
		pass(10 * time.Second)
		since := target.States()[0].Since

		target = lead(p, fixed("81", "82", "84", "85"), h, target)
		if got, want := states(target), "81 unhealthy, 82 healthy, 84 unknown, 85 unknown"; got != want {
			t.Errorf("other instances: %s, want %s", got, want)
		}
		h.Health.Every = 7 * time.Second
		target = lead(p, target.Fixed(), h, target)
		if got, want := states(target), "81 unhealthy, 82 healthy, 84 unknown, 85 unknown"; got != want {
			t.Errorf("another period: %s, want %s", got, want)
		}
		if got := target.States()[0].Since; got != since {
			t.Errorf("since %v, want %v", got, since)
		}
		if got, want := shares(target, 300), "82 100, 84 100, 85 100"; got != want {
			t.Errorf("shares %s, want %s", got, want)
		}
		h.Health = routing.Health{Kind: routing.HealthNone}
		target = lead(p, target.Fixed(), h, target)
		if got, want := shares(target, 400), "81 100, 82 100, 84 100, 85 100"; got != want {
			t.Errorf("without checks: %s, want %s", got, want)
		}
	})
}

func TestPanic(t *testing.T) {
	for _, tt := range []struct {
		name  string
		panic routing.Weight
		down  []string
		want  string // shares of 4 instances in 400 turns
		is    bool
	}{
		{"half of them are enough", 5000, []string{"81", "82"}, "83 200, 84 200", false},
		{"below half of them all are used", 5000, []string{"81", "82", "83"}, "81 100, 82 100, 83 100, 84 100", true},
		{"if all are down all are used", 5000, []string{"81", "82", "83", "84"}, "81 100, 82 100, 83 100, 84 100", true},
		{"another share", 2500, []string{"81", "82", "83"}, "84 400", false},
		{"never", 0, []string{"81", "82", "83", "84"}, "", false},
		{"all must be usable", 10000, []string{"81"}, "81 100, 82 100, 83 100, 84 100", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, w := watched(t, nil)
				for _, port := range tt.down {
					w.says("127.0.0.1:"+port, errDown)
				}
				h := watch()
				h.Health.Panic = tt.panic
				target := lead(p, fixed("81", "82", "83", "84"), h, nil)
				pass(10 * time.Second)
				n, ok := target.Counts()
				if !ok || n.Unhealthy != len(tt.down) || n.Healthy != 4-len(tt.down) || n.Panic != tt.is || n.Panics > 1 || tt.is != (n.Panics == 1) {
					t.Errorf("Counts() = %+v, %t", n, ok)
				}
				if got := shares(target, 400); got != tt.want {
					t.Errorf("shares %q, want %q", got, tt.want)
				}
				if usable := tt.want != ""; target.Usable() != usable || target.Well() != (len(tt.down) < 4) {
					t.Errorf("Usable() = %t, Well() = %t", target.Usable(), target.Well())
				}
				for _, port := range tt.down {
					w.says("127.0.0.1:"+port, nil)
				}
				pass(10 * time.Second)
				if got, want := shares(target, 400), "81 100, 82 100, 83 100, 84 100"; got != want {
					t.Errorf("once all are well again: %s, want %s", got, want)
				}
				if n, _ := target.Counts(); n.Panic {
					t.Error("the panic is not over")
				}
			})
		})
	}
}

// BenchmarkChecks makes the checks of very many instances, each of which
// answers at once; a check is one step.
func BenchmarkChecks(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p, _ := newPool(nil)
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			all := make(chan struct{})
			var once sync.Once
			p.SetAsk(func(context.Context, netip.AddrPort) error {
				if _, more := <-left; !more {
					once.Do(func() { close(all) })
				}
				return nil
			})
			list := make([]*routing.Instance, n)
			for i := range list {
				list[i] = &routing.Instance{Address: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Port: 80, Ready: true}
			}
			h := watch()
			h.Health.Every = time.Nanosecond // due at once
			lead(p, list, h, nil)
			ctx, cancel := context.WithCancel(b.Context())
			b.ReportAllocs()
			b.ResetTimer()
			done := make(chan struct{})
			go func() {
				p.Run(ctx)
				close(done)
			}()
			<-all
			b.StopTimer()
			cancel()
			<-done
		})
	}
}
