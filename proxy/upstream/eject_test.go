// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// outcome is what becomes of one request at the instance that it was given.
type outcome func(*upstream.Walk)

func answers(status int) outcome {
	return func(w *upstream.Walk) { w.Answered(0, time.Millisecond, status) }
}

func failsBy(err error) outcome {
	return func(w *upstream.Walk) { w.Unreached(0, time.Millisecond, err) }
}

var (
	well    = answers(200)
	resets  = outcome(func(w *upstream.Walk) { w.Failed(0, time.Millisecond) })
	refuses = failsBy(fmt.Errorf("connect: %w", syscall.ECONNREFUSED))
)

// request has the instance of a port serve a request, unless it gets nothing.
func request(t *testing.T, target *upstream.Target, port string, becomes outcome) {
	t.Helper()
	var w upstream.Walk
	defer w.End()
	target.Begin(&w, routingtest.NewRequest("GET", "shop.example", "/"), 0)
	for _, i := range target.Instances() {
		if strings.HasSuffix(i.String(), ":"+port) && w.Take(i) {
			becomes(&w)
		}
	}
}

func TestFailuresInARowEject(t *testing.T) {
	repeat := func(o outcome, n int) []outcome { return slices.Repeat([]outcome{o}, n) }
	for _, tt := range []struct {
		name     string
		shape    func(*routing.Ejection)
		outcomes []outcome
		why      string // it is ejected; empty if it is not
	}{
		{"four resets do not", nil, repeat(resets, 4), ""},
		{"five resets do", nil, repeat(resets, 5), "5 requests in a row failed"},
		{"two refused connections do not", nil, repeat(refuses, 2), ""},
		{"three refused connections do", nil, repeat(refuses, 3), "3 connections in a row could not be made"},
		{"an answer begins anew", nil, slices.Concat(repeat(resets, 4), repeat(well, 1), repeat(resets, 4)), ""},
		{"and so for connections", nil, slices.Concat(repeat(refuses, 2), repeat(well, 1), repeat(refuses, 2)), ""},
		{"connections count as failures, too", nil, slices.Concat(repeat(resets, 3), repeat(refuses, 2)), "5 requests in a row failed"},
		{"answers of any status are none", nil, repeat(answers(503), 100), ""},
		{
			"but those that were named", func(e *routing.Ejection) { e.Statuses[503/64] |= 1 << (503 % 64) },
			repeat(answers(503), 5), "5 requests in a row failed",
		},
		{
			"others than those begin anew", func(e *routing.Ejection) { e.Statuses[503/64] |= 1 << (503 % 64) },
			slices.Concat(repeat(answers(503), 4), repeat(answers(502), 1), repeat(answers(503), 4)), "",
		},
		{"other bounds", func(e *routing.Ejection) { e.Failures = 2 }, repeat(resets, 2), "2 requests in a row failed"},
		{"none for connections", func(e *routing.Ejection) { e.Connects = 0 }, repeat(refuses, 4), ""},
		{"none for failures", func(e *routing.Ejection) { e.Failures = 0 }, repeat(resets, 100), ""},
		{"what the proxy lacks is not the instance's fault", nil, slices.Concat(
			repeat(failsBy(upstream.ErrFull), 9), repeat(failsBy(syscall.EMFILE), 9), repeat(failsBy(syscall.EADDRNOTAVAIL), 9)), ""},
		{"a connection that takes too long is", nil, repeat(failsBy(errors.New("timed out")), 3), "3 connections in a row could not be made"},
		{"off", func(e *routing.Ejection) { *e = routing.Ejection{} }, repeat(refuses, 100), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := watched(t, nil)
				w := routing.Watch{Ejection: routing.DefaultEjection()}
				if tt.shape != nil {
					tt.shape(&w.Ejection)
				}
				target := lead(p, fixed("81", "82", "83"), w, nil)
				for _, o := range tt.outcomes {
					request(t, target, "81", o)
				}
				synctest.Wait() // no time passes: it is done at once
				why := ""
				for i, s := range target.States() {
					if s.State == routing.StateEjected {
						why = s.Why
						if i != 0 {
							t.Errorf("%s is ejected", s.Address)
						}
					}
				}
				if why != tt.why {
					t.Fatalf("ejected for %q, want %q", why, tt.why)
				}
				want := "81 100, 82 100, 83 100"
				if tt.why != "" {
					want = "82 150, 83 150"
				}
				if got := shares(target, 300); got != want {
					t.Errorf("shares %s, want %s", got, want)
				}
			})
		})
	}
}

// ejectedUntil returns for how much longer the instance of a position is left
// alone; 0 if it is not.
func ejectedUntil(target *upstream.Target, at int) time.Duration {
	for i, s := range target.States() {
		if i == at && s.State == routing.StateEjected {
			return time.Until(s.Until)
		}
	}
	return 0
}

func TestEjectionsLastLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := watched(t, nil)
		target := lead(p, fixed("81", "82"), routing.Watch{Ejection: routing.DefaultEjection()}, nil)
		eject := func(want time.Duration) {
			t.Helper()
			for range 3 {
				request(t, target, "81", refuses)
			}
			synctest.Wait()
			if got := ejectedUntil(target, 0); got != want {
				t.Errorf("ejected for %v, want %v", got, want)
			}
			if got := shares(target, 10); got != "82 10" {
				t.Errorf("shares while it is ejected: %s", got)
			}
			pass(want + time.Second)
			if got := shares(target, 10); got != "81 5, 82 5" {
				t.Errorf("shares once it is back: %s", got)
			}
		}
		for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10} {
			eject(time.Duration(n) * 30 * time.Second)
		}
		pass(4*30*time.Second - 2*time.Second) // four of the eleven are forgotten, less what passed
		eject(time.Duration(11-3+1) * 30 * time.Second)
		pass(time.Hour)
		eject(30 * time.Second)
		if n, _ := target.Counts(); n.Ejections[upstream.CauseConnects] != 13 || n.Ejected != 0 {
			t.Errorf("Counts() = %+v, want 13 ejections", n)
		}
	})
}

func TestMoreFailuresThanOthersEject(t *testing.T) {
	for _, tt := range []struct {
		name     string
		failed   [3]int // of 100 requests each
		requests [3]int
		want     string
	}{
		{"by as much as is written", [3]int{40, 10, 10}, [3]int{100, 100, 100}, "81 ejected"},
		{"not by less", [3]int{39, 10, 10}, [3]int{100, 100, 100}, ""},
		{"not where all fail alike", [3]int{90, 90, 90}, [3]int{100, 100, 100}, ""},
		{"not with too few requests", [3]int{100, 0, 0}, [3]int{19, 100, 100}, ""},
		{"with just enough", [3]int{100, 0, 0}, [3]int{20, 100, 100}, "81 ejected"},
		{"not if the others had too few", [3]int{100, 0, 0}, [3]int{100, 9, 10}, ""},
		{"one is the most of three", [3]int{90, 100, 0}, [3]int{100, 100, 200}, "82 ejected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := watched(t, nil)
				w := routing.Watch{Ejection: routing.DefaultEjection()}
				w.Ejection.Errors, w.Ejection.Failures = 3000, 0
				target := lead(p, fixed("81", "82", "83"), w, nil)
				pass(1500 * time.Millisecond) // the window is open
				for i, port := range []string{"81", "82", "83"} {
					for n := range tt.requests[i] {
						becomes := well
						if n*tt.failed[i]%100 < tt.failed[i] {
							becomes = resets
						}
						request(t, target, port, becomes)
					}
				}
				synctest.Wait()
				if got := states(target); got != "" {
					t.Errorf("before the window is over: %s", got)
				}
				pass(11 * time.Second)
				var got []string
				for state := range strings.SplitSeq(states(target), ", ") {
					if strings.HasSuffix(state, "ejected") {
						got = append(got, state)
					}
				}
				if strings.Join(got, ", ") != tt.want {
					t.Errorf("%v, want %q", target.States(), tt.want)
				}
				pass(11 * time.Second) // what was judged once is not judged again
				if n, _ := target.Counts(); n.Ejections[upstream.CauseErrors] > 1 {
					t.Errorf("%d ejections", n.Ejections[upstream.CauseErrors])
				}
			})
		})
	}
}

// Whatever fails, comes and goes, no more than half of the instances are
// ejected, and the others take the requests evenly.
func TestNeverMoreThanHalfAreEjected(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			p, world := watched(t, nil)
			w := watch()
			w.Ejection.Time = 10 * time.Second
			if seed%2 == 0 {
				w.Health = routing.Health{Kind: routing.HealthNone}
			}
			var target *upstream.Target
			for range 60 {
				var ports []string
				for port := range 1 + r.IntN(12) {
					ports = append(ports, strconv.Itoa(100+port+r.IntN(3)*12))
				}
				target = lead(p, fixed(ports...), w, target)
				for range r.IntN(200) {
					request(t, target, ports[r.IntN(len(ports))], []outcome{well, resets, resets, refuses, refuses}[r.IntN(5)])
				}
				for _, port := range ports {
					world.says("127.0.0.1:"+port, []error{nil, nil, errDown}[r.IntN(3)])
				}
				pass(time.Duration(r.IntN(5000)) * time.Millisecond)
				n, _ := target.Counts()
				if len(ports) > 1 && 2*n.Ejected > len(ports) || len(ports) == 1 && n.Ejected > 0 {
					t.Fatalf("seed %d: %d of %d are ejected", seed, n.Ejected, len(ports))
				}
				used := len(ports) - n.Ejected - n.Unhealthy
				if n.Panic || n.Ejected+n.Unhealthy == 0 || 2*used < len(ports) {
					used = len(ports)
				}
				each := strings.Split(shares(target, 10*used), ", ")
				if len(each) != used {
					t.Fatalf("seed %d: %d of %d serve, want %d: %v, %+v", seed, len(each), len(ports), used, each, n)
				}
				for _, share := range each {
					if !strings.HasSuffix(share, " 10") {
						t.Fatalf("seed %d: shares %v, want 10 each", seed, each)
					}
				}
			}
		})
	}
}

func TestAChangeOfTheTableKeepsEjections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := watched(t, nil)
		w := routing.Watch{Ejection: routing.DefaultEjection()}
		target := lead(p, fixed("81", "82", "83"), w, nil)
		for range 3 {
			request(t, target, "81", refuses)
		}
		for range 2 {
			request(t, target, "82", refuses)
		}
		synctest.Wait()
		w.Ejection.Time = time.Minute
		target = lead(p, fixed("81", "82", "84", "85"), w, target)
		if got := ejectedUntil(target, 0); got != 30*time.Second {
			t.Errorf("it is ejected for %v, want what was left", got)
		}
		request(t, target, "82", refuses)
		synctest.Wait()
		if got := ejectedUntil(target, 1); got != time.Minute {
			t.Errorf("failures from before the change are forgotten: ejected for %v", got)
		}
		// Half of fewer is less: who would have been back first is.
		target = lead(p, fixed("81", "82", "84"), w, target)
		if a, b := ejectedUntil(target, 0), ejectedUntil(target, 1); a != 0 || b != time.Minute {
			t.Errorf("ejected for %v and %v, want the later one only", a, b)
		}
		w.Ejection = routing.Ejection{}
		target = lead(p, target.Fixed(), w, target)
		if got := shares(target, 300); got != "81 100, 82 100, 84 100" {
			t.Errorf("shares without ejection: %s", got)
		}
	})
}

func TestClientsDoNotStayWithWhatIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := watched(t, nil)
		target := lead(p, fixed("81", "82"), routing.Watch{Ejection: routing.DefaultEjection()}, nil)
		kept := target.ForKey(42)
		_, port, _ := strings.Cut(kept.String(), ":")
		for range 3 {
			request(t, target, port, refuses)
		}
		synctest.Wait()
		if i := target.ForKey(42); i == nil || i == kept {
			t.Errorf("the key stays with %v", i)
		}
		var w upstream.Walk
		defer w.End()
		target.Begin(&w, routingtest.NewRequest("GET", "shop.example", "/"), 0)
		if w.Take(kept) {
			t.Error("an ejected instance is taken")
		}
		if i := w.Next(); i == nil || i == kept {
			t.Errorf("%v comes instead", i)
		}
		pass(31 * time.Second)
		if target.ForKey(42) != kept {
			t.Error("the key does not come back")
		}
	})
}

// order returns the ports in which a walk tries instances.
func order(target *upstream.Target) string {
	var w upstream.Walk
	defer w.End()
	target.Begin(&w, routingtest.NewRequest("GET", "shop.example", "/"), 0)
	var ports []string
	for i := w.Next(); i != nil; i = w.Next() {
		_, port, _ := strings.Cut(i.String(), ":")
		ports = append(ports, port)
	}
	return strings.Join(ports, " ")
}

// Who has nobody else to try again with asks those that are ejected, not those
// whose checks fail.
func TestEjectedInstancesAreTheLastResort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, world := watched(t, nil)
		w := watch()
		w.Ejection = routing.DefaultEjection()
		target := lead(p, fixed("81", "82", "83", "84"), w, nil)
		pass(10 * time.Second)
		for range 3 {
			request(t, target, "84", refuses)
		}
		synctest.Wait()
		for range 12 {
			if got := order(target); !strings.HasSuffix(got, " 84") || len(got) != len("81 82 83 84") {
				t.Errorf("tried in the order %q, want 84 at the end", got)
			}
		}
		world.says("127.0.0.1:84", errDown)
		for !strings.Contains(states(target), "84 unhealthy") {
			pass(100 * time.Millisecond)
		}
		if got := order(target); strings.Contains(got, "84") || len(got) != len("81 82 83") {
			t.Errorf("tried in the order %q, want nothing of 84, whose checks fail", got)
		}
	})
}

// alike compares shares. The schedule of unequal weights may stand anywhere, so
// a run of three instances differs by up to 3 from its share.
func alike(t *testing.T, got, want string) {
	t.Helper()
	as, bs := strings.Split(got, ", "), strings.Split(want, ", ")
	same := len(as) == len(bs)
	for i := range min(len(as), len(bs)) {
		var portA, portB, a, b int
		if _, err := fmt.Sscan(as[i]+" "+bs[i], &portA, &a, &portB, &b); err != nil {
			t.Fatalf("shares %q and %q: %v", got, want, err)
		}
		same = same && portA == portB && max(a-b, b-a) <= 3
	}
	if !same {
		t.Errorf("shares %s, want %s", got, want)
	}
}

func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, world := watched(t, nil)
		w := watch()
		w.SlowStart = 100 * time.Second
		target := lead(p, fixed("81", "82"), w, nil)
		if got := shares(target, 100); got != "81 50, 82 50" {
			t.Errorf("those that were there from the beginning: %s", got)
		}
		pass(10 * time.Second)
		target = lead(p, fixed("81", "82", "83"), w, target)
		for _, tt := range []struct {
			after time.Duration
			turns int
			want  string
		}{
			{0, 210, "81 100, 82 100, 83 10"},
			{6 * time.Second, 430, "81 200, 82 200, 83 30"},
			{50 * time.Second, 260, "81 100, 82 100, 83 60"},
			{50 * time.Second, 300, "81 100, 82 100, 83 100"},
		} {
			pass(tt.after)
			alike(t, shares(target, tt.turns), tt.want)
		}
		if s := target.States()[2]; s.Share != 0 {
			t.Errorf("it takes %d%% in the end", s.Share)
		}

		world.says("127.0.0.1:82", errDown)
		pass(10 * time.Second)
		world.says("127.0.0.1:82", nil)
		for strings.Contains(states(target), "unhealthy") {
			pass(100 * time.Millisecond)
		}
		alike(t, shares(target, 210), "81 100, 82 10, 83 100")
		if s := target.States()[1]; s.Share != 10 {
			t.Errorf("it takes %d%%, want 10", s.Share)
		}
		pass(2 * time.Minute)
		for range 3 {
			request(t, target, "83", refuses)
		}
		pass(31 * time.Second)
		alike(t, shares(target, 210), "81 100, 82 100, 83 10")
	})
}

// With very many instances making the choice anew takes long: it is not made for
// each that fails.
func TestManyInstancesAreChosenAnewNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := watched(t, nil)
		var ports []string
		for port := range 100 {
			ports = append(ports, strconv.Itoa(1000+port))
		}
		target := lead(p, fixed(ports...), routing.Watch{Ejection: routing.DefaultEjection()}, nil)
		pass(1500 * time.Millisecond)
		served := func() int { return len(strings.Split(shares(target, 1000), ", ")) }
		for i, want := range []int{99, 99, 99} { // the first passes at once
			for range 3 {
				request(t, target, ports[i], refuses)
			}
			synctest.Wait()
			if got := served(); got != want {
				t.Errorf("%d serve after %d failed, want %d", got, i+1, want)
			}
		}
		pass(time.Second)
		if got := served(); got != 97 {
			t.Errorf("%d serve a second later, want 97", got)
		}
	})
}

func TestCountingOutcomesDoesNotAllocate(t *testing.T) {
	p, _ := newPool(nil)
	w := watch()
	w.Ejection.Errors = 3000
	w.Ejection.Statuses[7] = 1
	target := lead(p, fixed("81", "82"), w, nil)
	r := routingtest.NewRequest("GET", "shop.example", "/")
	var walk upstream.Walk
	if n := testing.AllocsPerRun(100, func() {
		target.Begin(&walk, r, 1)
		walk.Next()
		walk.Unreached(1, 1, syscall.ECONNREFUSED)
		walk.Next()
		walk.Failed(1, 1)
		walk.Answered(1, 1, 200)
		walk.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReviewsMakeNoGarbage(t *testing.T) {
	p, _ := newPool(nil)
	w := watch()
	w.SlowStart, w.Ejection.Errors = time.Minute, 3000
	lead(p, fixed("81", "82", "83"), w, nil)
	p.Review()
	if n := testing.AllocsPerRun(100, p.Review); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkReview is what is done once a second where nothing happens.
func BenchmarkReview(b *testing.B) {
	p, _ := newPool(nil)
	var all []*upstream.Target
	for route := range 1000 {
		var list []*routing.Instance
		for i := range 10 {
			list = append(list, &routing.Instance{Address: netip.AddrFrom4([4]byte{10, byte(route >> 8), byte(route), byte(i)}), Port: 80, Ready: true})
		}
		all = append(all, p.Balanced(p.Fixed(list, nil), upstream.Choosing{Watch: routing.PartOf(watch())}))
	}
	p.Retain(all)
	b.ReportAllocs()
	for b.Loop() {
		p.Review()
	}
}

// BenchmarkWalk is one request: chosen, answered and counted.
func BenchmarkWalk(b *testing.B) {
	off, on, shares := routing.Watch{}, watch(), watch()
	on.Health = routing.Health{Kind: routing.HealthNone}
	shares.Health, shares.Ejection.Errors = on.Health, 3000
	for _, tt := range []struct {
		name string
		list []*routing.Instance
		w    routing.Watch
	}{
		{"one instance", fixed("81"), on},
		{"off", fixed("81", "82"), off},
		{"failures in a row", fixed("81", "82"), on},
		{"shares of failures", fixed("81", "82"), shares},
	} {
		b.Run(tt.name, func(b *testing.B) {
			p, _ := newPool(nil)
			target := lead(p, tt.list, tt.w, nil)
			r := routingtest.NewRequest("GET", "shop.example", "/")
			var walk upstream.Walk
			b.ReportAllocs()
			for b.Loop() {
				target.Begin(&walk, r, 1)
				walk.Next()
				walk.Answered(1, 1, 200)
				walk.End()
			}
		})
	}
}
