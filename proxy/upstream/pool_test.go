// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/proxy/upstream/upstreamtest"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// running runs a pool that asks a name server, until the test ends or the
// returned function is called.
func running(t *testing.T, s *upstreamtest.NameServer, shape func(*upstream.Options)) (p *upstream.Pool, end func()) {
	t.Helper()
	p, _ = newPool(func(o *upstream.Options) {
		o.Resolver = upstream.ResolverAt(s.Addr())
		if shape != nil {
			shape(o)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		p.Run(ctx)
		close(done)
	}()
	end = func() {
		cancel()
		<-done
	}
	t.Cleanup(end)
	return p, end
}

// often looks names up often enough for a test, and gives each look-up time
// enough.
func often(o *upstream.Options) { o.LookupEvery = 50 * time.Millisecond }

func instances(target *upstream.Target) string {
	var list []string
	for _, i := range target.Instances() {
		list = append(list, i.String())
	}
	return strings.Join(list, " ")
}

func TestFirstLookup(t *testing.T) {
	for _, tt := range []struct {
		name  string
		addrs []string
		want  string
	}{
		{"an address", []string{"127.0.0.1"}, "127.0.0.1:80"},
		{"several, sorted", []string{"127.0.0.3", "127.0.0.1", "127.0.0.2"}, "127.0.0.1:80 127.0.0.2:80 127.0.0.3:80"},
		{"one twice", []string{"127.0.0.1", "127.0.0.1"}, "127.0.0.1:80"},
		{"IPv4 before IPv6", []string{"::1", "127.0.0.1"}, "127.0.0.1:80"},
		{"IPv6 if there is nothing else", []string{"::2", "::1"}, "[::1]:80 [::2]:80"},
		{"none", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := running(t, upstreamtest.ServeNames(t, tt.addrs...), nil)
			target := p.Target("shop.test.", 80)
			if target.Usable() {
				t.Error("a name is usable before it was looked up")
			}
			p.Settle(t.Context(), []*upstream.Target{target})
			if got := instances(target); got != tt.want || target.Usable() != (tt.want != "") {
				t.Errorf("instances = %q, want %q", got, tt.want)
			}
			if failed := target.LookupError() != nil; failed != (tt.want == "") {
				t.Errorf("LookupError() = %v", target.LookupError())
			}
		})
	}
}

func TestAddressesAreNotLookedUp(t *testing.T) {
	s := upstreamtest.ServeNames(t)
	p, _ := running(t, s, nil)
	for host, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:80", "::1": "[::1]:80", "::ffff:127.0.0.1": "127.0.0.1:80",
	} {
		target := p.Target(host, 80)
		p.Settle(t.Context(), []*upstream.Target{target})
		if got := instances(target); got != want || target.LookupError() != nil {
			t.Errorf("%s leads to %q, %v; want %q", host, got, target.LookupError(), want)
		}
	}
	if p.Target("127.0.0.1", 80).Instances()[0] != p.Target("::ffff:127.0.0.1", 80).Instances()[0] {
		t.Error("one address in two forms is two instances")
	}
}

func TestLookupsFollowChanges(t *testing.T) {
	s := upstreamtest.ServeNames(t, "127.0.0.1", "127.0.0.2")
	p, _ := running(t, s, often)
	target := p.Target("shop.test.", 80)
	p.Settle(t.Context(), []*upstream.Target{target})
	eventually(t, "it is found", func() bool { return instances(target) == "127.0.0.1:80 127.0.0.2:80" })
	stays := target.Instances()[1]
	s.Set(0, "127.0.0.2", "127.0.0.3")
	eventually(t, "the change is seen", func() bool { return instances(target) == "127.0.0.2:80 127.0.0.3:80" })
	if target.Instances()[0] != stays {
		t.Error("an instance that stays was replaced, and its connections with it")
	}
}

func TestLookupRetiresWhatIsGone(t *testing.T) {
	o := listen(t)
	s := upstreamtest.ServeNames(t, "127.0.0.1")
	p, _ := running(t, s, often)
	target := p.Target("shop.test.", int(o.addr.Port()))
	p.Settle(t.Context(), []*upstream.Target{target})
	eventually(t, "it is found", target.Usable)
	gone := target.Instances()[0]
	gone.Put(0, dial(t, gone), socket.Now(), time.Minute)
	if n := p.Idle(); n != 1 {
		t.Fatalf("%d connections are idle, want 1", n)
	}
	s.Set(0, "127.0.0.2")
	if _, err := io.Copy(io.Discard, o.next(t)); err != nil {
		t.Errorf("the instance that is gone saw %v, want its idle connection to end in order", err)
	}
	busy := dial(t, gone)
	gone.Put(0, busy, socket.Now(), time.Minute)
	if busy.Close() {
		t.Error("a connection to an instance that is gone was kept")
	}
}

// lines is a log that may be written to from any goroutine.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

func TestFailedLookupsKeepTheLastGoodAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		code byte
	}{
		{"the name does not exist", upstreamtest.NameError},
		{"the server fails", upstreamtest.ServerFailure},
		{"the answer is empty", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log lines
			s := upstreamtest.ServeNames(t, "127.0.0.1")
			p, _ := running(t, s, func(o *upstream.Options) {
				often(o)
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
			})
			target := p.Target("shop.test.", 80)
			p.Settle(t.Context(), []*upstream.Target{target})
			eventually(t, "it is found", target.Usable)
			before := target.Instances()[0]
			s.Set(tt.code)
			eventually(t, "the failure is seen", func() bool { return target.LookupError() != nil })
			for seen, n := s.Questions("shop.test"), 0; n < seen+3; n = s.Questions("shop.test") {
				if list := target.Instances(); len(list) != 1 || list[0] != before {
					t.Fatalf("instances = %q, want the last good one", instances(target))
				}
			}
			s.Set(0, "127.0.0.1")
			eventually(t, "it works again", func() bool { return target.LookupError() == nil })
			if target.Instances()[0] != before {
				t.Error("the instance was replaced though its address is the same")
			}
			eventually(t, "the log tells both", func() bool {
				return log.count("name look-up fails") >= 1 && log.count("works again") >= 1
			})
			if a, b := log.count("name look-up fails"), log.count("works again"); a-b > 1 || b > a {
				t.Errorf("%d failures and %d recoveries in the log, want them to alternate", a, b)
			}
		})
	}
}

func TestSettleGivesUpWithItsContext(t *testing.T) {
	s := upstreamtest.ServeNames(t, "127.0.0.1")
	release := s.Block()
	p, _ := running(t, s, nil)
	targets := []*upstream.Target{p.Target("shop.test.", 80), p.Target("shop.test.", 80)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5 {
		p.Settle(ctx, targets)
	}
	if targets[0].Usable() {
		t.Error("usable before the answer came")
	}
	release()
	p.Settle(t.Context(), targets)
	if instances(targets[0]) != "127.0.0.1:80" || instances(targets[1]) != "127.0.0.1:80" {
		t.Errorf("instances = %q and %q, want the look-up to have gone on", instances(targets[0]), instances(targets[1]))
	}
	if n := s.Questions("shop.test"); n != 1 {
		t.Errorf("the name was asked for %d times, want one look-up for all", n)
	}
}

func TestRetain(t *testing.T) {
	s := upstreamtest.ServeNames(t, "127.0.0.1")
	p, _ := running(t, s, often)
	stays, goes := p.Target("stays.test.", 80), p.Target("goes.test.", 80)
	literal := p.Target("127.0.0.9", 80)
	p.Settle(t.Context(), []*upstream.Target{stays, goes, literal})
	eventually(t, "both are found", func() bool { return stays.Usable() && goes.Usable() })
	shared := stays.Instances()[0]
	if goes.Instances()[0] != shared {
		t.Error("one address behind two names is two instances")
	}
	p.Retain([]*upstream.Target{stays})
	if n := p.Names(); n != 1 {
		t.Errorf("%d names are left, want 1", n)
	}
	if !goes.Usable() || !literal.Usable() {
		t.Error("whoever still holds a target finds nothing behind it")
	}
	// What was under way when the name was forgotten may still come.
	for from, n := s.Questions("stays.test"), 0; n < from+2; n = s.Questions("stays.test") {
		if stays.Instances()[0] != shared {
			t.Fatal("an instance that is needed by another name was replaced")
		}
	}
	eventually(t, "a forgotten name is asked for no more", func() bool {
		asked := s.Questions("goes.test")
		for from, n := s.Questions("stays.test"), 0; n < from+3; n = s.Questions("stays.test") {
			runtime.Gosched()
		}
		return s.Questions("goes.test") == asked
	})
	if again := p.Target("goes.test.", 80); again.Usable() {
		t.Error("a forgotten name is known without a look-up")
	}
}

func TestRunEndsWithNothingLeft(t *testing.T) {
	o := listen(t)
	s := upstreamtest.ServeNames(t, "127.0.0.1")
	release := s.Block()
	defer release()
	p, end := running(t, s, nil)
	i := o.target(p).Instances()[0]
	idle, busy := dial(t, i), dial(t, i)
	i.Put(0, idle, socket.Now(), time.Minute)
	hanging := p.Target("shop.test.", 80)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Settle(ctx, []*upstream.Target{hanging})
	eventually(t, "the name is asked for", func() bool { return s.Questions("shop.test") == 1 })
	began := time.Now()
	end()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Run took %v to end: it waited for a look-up that hangs", took)
	}
	if n := p.Idle(); n != 0 {
		t.Errorf("%d connections are idle, want 0", n)
	}
	i.Put(0, busy, socket.Now(), time.Minute)
	if busy.Close() {
		t.Error("a connection was kept after the end")
	}
	if late := p.Target("late.test.", 80); late.Usable() {
		t.Error("a name is known without a look-up")
	} else {
		p.Settle(ctx, []*upstream.Target{late}) // starts nothing that nobody waits for
	}
	if n := s.Questions("late.test"); n != 0 {
		t.Errorf("%d look-ups after the end", n)
	}
}

// pick returns the instance that serves the next request.
func pick(t *upstream.Target) string {
	var w upstream.Walk
	defer w.End()
	t.Begin(&w, routingtest.NewRequest("GET", "shop.example", "/"), socket.Now())
	if i := w.Next(); i != nil {
		return i.String()
	}
	return ""
}

func TestWalk(t *testing.T) {
	s := upstreamtest.ServeNames(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	p, _ := running(t, s, nil)
	target := p.Target("shop.test.", 80)
	p.Settle(t.Context(), []*upstream.Target{target})
	counts := map[string]int{}
	for range 300 {
		var w upstream.Walk
		target.Begin(&w, routingtest.NewRequest("GET", "shop.example", "/"), socket.Now())
		seen := map[*upstream.Instance]bool{}
		for i := w.Next(); i != nil; i = w.Next() {
			if len(seen) == 0 {
				counts[i.String()]++
			}
			seen[i] = true
			if n := i.InFlight(); n != 1 {
				t.Fatalf("%d exchanges are in flight, want this one", n)
			}
		}
		if len(seen) != 3 {
			t.Fatalf("a walk leads to %d instances, want all 3", len(seen))
		}
		w.End()
	}
	for addr, n := range counts {
		if n != 100 {
			t.Errorf("%s was picked %d times of 300, want 100", addr, n)
		}
	}
	for _, i := range target.Instances() {
		if i.InFlight() != 0 {
			t.Errorf("%d exchanges are in flight at %v after all ended", i.InFlight(), i)
		}
	}
	if other := p.Target("shop.test.", 80); pick(other) != "127.0.0.1:80" {
		t.Error("the turns of one route move those of another")
	}
}

func TestTake(t *testing.T) {
	p, _ := newPool(nil)
	target := p.Fixed(fixed("81", "82", "83"), nil)
	r := routingtest.NewRequest("GET", "shop.example", "/")
	for _, i := range target.Instances() {
		var w upstream.Walk
		target.Begin(&w, r, socket.Now())
		if !w.Take(i) || i.InFlight() != 1 {
			t.Errorf("%v is not taken", i)
		}
		if w.Take(i) {
			t.Errorf("%v is taken twice", i)
		}
		for next := w.Next(); next != nil; next = w.Next() {
			if next == i {
				t.Errorf("%v comes again", i)
			}
		}
		w.End()
	}
	var w upstream.Walk
	target.Begin(&w, r, socket.Now())
	if w.Take(p.Target("127.0.0.1", 84).Instances()[0]) {
		t.Error("an instance of another target is taken")
	}
}

func TestBalanced(t *testing.T) {
	p, _ := newPool(func(o *upstream.Options) { o.Own = balance.Place{Zone: "a"} })
	list := fixed("81", "82", "83")
	list[1].Zone = "a"
	list[2].Weight = 300
	plain := p.Fixed(list, nil)
	for range 5 {
		pick(plain) // a whole period of the weights
	}
	zone := upstream.Choosing{
		Balance:  routing.Balance{Algorithm: routing.BalanceStaticRR},
		Locality: routing.Locality{Prefer: routing.NearnessZone, Enough: routing.FullWeight / 10},
	}
	near := p.Balanced(plain, zone)
	if near == plain || near.Choosing() != zone {
		t.Fatal("the target chooses as before")
	}
	if p.Balanced(near, zone) != near {
		t.Error("a target that chooses so already was replaced")
	}
	for range 10 {
		if got := pick(near); got != "127.0.0.1:82" {
			t.Errorf("%s serves, want the instance of the own zone", got)
		}
	}
	counts := map[string]int{}
	for range 500 {
		counts[pick(plain)]++
	}
	if counts["127.0.0.1:81"] != 100 || counts["127.0.0.1:82"] != 100 || counts["127.0.0.1:83"] != 300 {
		t.Errorf("shares by weight: %v, want 100, 100 and 300", counts)
	}
	// What comes in its place chooses the same.
	list[1].Ready = false
	if next := p.Fixed([]*routing.Instance{list[0], list[2]}, near); next.Choosing() != zone {
		t.Error("the way of choosing was lost with an instance")
	}
}

func TestNothingToChoose(t *testing.T) {
	p, _ := newPool(nil)
	list := fixed("81", "82")
	list[0].Weight, list[1].Weight = -1, -1
	if target := p.Fixed(list, nil); target.Usable() || pick(target) != "" {
		t.Error("instances without weight are chosen")
	}
}

func TestNewInstancesAreChosen(t *testing.T) {
	s := upstreamtest.ServeNames(t, "127.0.0.1")
	p, _ := running(t, s, often)
	target := p.Balanced(p.Target("shop.test.", 80), upstream.Choosing{Balance: routing.Balance{Algorithm: routing.BalanceLeastConn}})
	p.Settle(t.Context(), []*upstream.Target{target})
	p.Retain([]*upstream.Target{target})
	if got := pick(target); got != "127.0.0.1:80" {
		t.Fatalf("%q serves", got)
	}
	s.Set(0, "127.0.0.2")
	eventually(t, "the new address serves", func() bool { return pick(target) == "127.0.0.2:80" })
}
