// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestUnaccountedExchanges(t *testing.T) {
	ok := metrics.Observation{Code: 200, Duration: time.Second}
	failed := metrics.Observation{Code: 502, Duration: time.Second, Reason: 1}
	for _, tt := range []struct {
		name string
		does func(*metrics.Gateway, *metrics.Route, *metrics.Books)
		want int64
	}{
		{"nothing was ever under way", func(*metrics.Gateway, *metrics.Route, *metrics.Books) {}, 0},
		{"one that is under way is not missing", func(_ *metrics.Gateway, r *metrics.Route, _ *metrics.Books) {
			r.Begin(0)
		}, 0},
		{"one that ended and is not over yet is not missing", func(_ *metrics.Gateway, r *metrics.Route, _ *metrics.Books) {
			r.Begin(0)
			r.End(0, &ok)
		}, 0},
		{"each is counted by its gateway, its route, or both gateways of a chain", func(g *metrics.Gateway, r *metrics.Route, b *metrics.Books) {
			g.Begin(0)
			g.End(0, &failed)
			b.Over(0, 1)
			r.BeginTaken(0)
			r.BeginKept(0)
			r.End(1, &ok)
			r.End(2, &failed)
			b.Over(3, 2)
		}, 0},
		{"an end that is lost shows", func(_ *metrics.Gateway, r *metrics.Route, b *metrics.Books) {
			r.Begin(0)
			b.Over(0, 1)
		}, 1},
		{"the end of one gateway of a chain that is lost shows", func(_ *metrics.Gateway, r *metrics.Route, b *metrics.Books) {
			r.Begin(0)
			r.Begin(0)
			r.End(0, &ok)
			b.Over(0, 2)
		}, 1},
		{"ends that are lost show beside others under way", func(g *metrics.Gateway, r *metrics.Route, b *metrics.Books) {
			for range 5 {
				r.Begin(0)
			}
			g.Begin(0)
			b.Over(0, 2)
		}, 2},
		{"an end that is counted twice shows", func(_ *metrics.Gateway, r *metrics.Route, b *metrics.Books) {
			r.Begin(0)
			r.End(0, &ok)
			r.End(0, &failed)
			b.Over(0, 1)
		}, -1},
		{"a beginning that is lost shows", func(_ *metrics.Gateway, r *metrics.Route, b *metrics.Books) {
			r.End(0, &ok)
			b.Over(0, 1)
		}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := metrics.New(metrics.Options{Shards: 4})
			g := r.Gateway("shop")
			tt.does(g, g.Route("canary"), r.Books())
			if got := r.Unaccounted(); got != tt.want {
				t.Errorf("Unaccounted() = %d, want %d", got, tt.want)
			}
			for _, v := range r.Values() {
				if v.Family.Name == metrics.Unaccounted.Name && v.Value != float64(tt.want) {
					t.Errorf("%s = %v, want %d", v.Family.Name, v.Value, tt.want)
				}
			}
		})
	}
}

func TestUnaccountedIsShownWhereBooksAreKept(t *testing.T) {
	r := metrics.New(metrics.Options{})
	if got := r.Unaccounted(); got != 0 {
		t.Errorf("Unaccounted() = %d without books, want 0", got)
	}
	shown := func() (n int) {
		for _, v := range r.Values() {
			if v.Family.Name == metrics.Unaccounted.Name {
				n++
			}
		}
		return n
	}
	if n := shown(); n != 0 {
		t.Errorf("it is shown %d times before anybody keeps books", n)
	}
	if first := r.Books(); r.Books() != first {
		t.Error("there are two books")
	}
	if n := shown(); n != 1 {
		t.Errorf("it is shown %d times, want once", n)
	}
}

// What a gateway counted stays accounted for once it is gone, whoever still
// counts there, and so does what was lost.
func TestAccountsOutliveGateways(t *testing.T) {
	ok := metrics.Observation{Code: 200}
	r := metrics.New(metrics.Options{Linger: -1})
	b := r.Books()
	check := func(when string, want int64) {
		t.Helper()
		if got := r.Unaccounted(); got != want {
			t.Errorf("%s: Unaccounted() = %d, want %d", when, got, want)
		}
	}
	for range 3 {
		g := r.Gateway("shop")
		a := g.Route("a")
		for range 2 {
			a.Begin(0)
			g.Begin(0)
		}
		a.End(0, &ok)
		g.End(0, &ok)
		b.Over(0, 2)
		r.Retain(nil)
		check("after the gateway is gone", 0)
		runtime.GC()
		a.End(0, &ok)
		b.Over(0, 1)
		check("after a late end at a route", 0)
		g.End(0, &ok)
		b.Over(0, 1)
		check("after a late end at the gateway", 0)
		runtime.KeepAlive(g)
	}
	r.Gateway("shop").Begin(0)
	b.Over(0, 1)
	check("an end that is lost", 1)
	r.Retain(nil)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for late := time.Now().Add(time.Minute); metrics.Past(r) > 0; <-again.C {
		if time.Now().After(late) {
			t.Fatalf("%d gateways that are gone are still open", metrics.Past(r))
		}
		runtime.GC()
	}
	check("once all of them are final", 1)
}

// Exchanges come and go while gateways and routes do, and while it is read:
// no reading finds one missing. One that is lost then shows to the end.
func TestNothingIsMissingWhileExchangesComeAndGo(t *testing.T) {
	const workers, each = 8, 3000
	r := metrics.New(metrics.Options{Linger: -1, Shards: 4})
	b := r.Books()
	var counting sync.WaitGroup
	for w := range uint32(workers) {
		counting.Go(func() {
			ok := metrics.Observation{Code: 200, Duration: time.Millisecond}
			failed := metrics.Observation{Code: 502, Duration: time.Millisecond}
			for i := range each {
				g := r.Gateway([]string{"shop", "cart"}[i%2])
				a, c := g.Route("a"), g.Route("c")
				a.Begin(w)
				c.BeginTaken(w)
				g.Begin(w)
				a.End(w, &ok)
				c.End(w+1, &failed)
				g.End(w+2, &failed)
				b.Over(w+3, 3)
			}
		})
	}
	done := make(chan struct{})
	go func() { counting.Wait(); close(done) }()
	for i, running := 0, true; running; i++ {
		select {
		case <-done:
			running = false
		default:
		}
		r.Retain(map[string][]string{[]string{"shop", "cart", "none"}[i%3]: {[]string{"a", "c"}[i%2]}})
		if i%50 == 0 {
			runtime.GC()
		}
		if got := r.Unaccounted(); got != 0 {
			t.Fatalf("Unaccounted() = %d in reading %d, want 0", got, i)
		}
	}
	b.Over(0, 1)
	if got := r.Unaccounted(); got != 1 {
		t.Errorf("Unaccounted() = %d after a loss, want 1", got)
	}
}
