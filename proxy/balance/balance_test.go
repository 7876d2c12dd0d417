// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// parse returns a balance that is known to be one.
func parse(tb testing.TB, text string) routing.Balance {
	tb.Helper()
	b, err := routing.ParseBalance(text)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// members makes ready members of weights.
func members(weights ...int) []balance.Member {
	list := make([]balance.Member, len(weights))
	for i, w := range weights {
		list[i] = balance.Member{Key: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Weight: w, Ready: true, Load: new(balance.Load)}
	}
	return list
}

// alike makes n members of weight 100.
func alike(n int) []balance.Member { return members(slices.Repeat([]int{100}, n)...) }

func newSet(tb testing.TB, text string, list []balance.Member) *balance.Set {
	tb.Helper()
	return balance.New(list, new(balance.Turns), balance.Options{Balance: parse(tb, text)})
}

var anyRequest = routingtest.NewRequest("GET", "shop.example", "/")

// user returns a request of a user.
func user(n int) *routingtest.Request {
	return routingtest.NewRequest("GET", "shop.example", fmt.Sprintf("/users/%d?user=%d", n, n), fmt.Sprintf("X-User: %d", n))
}

// once returns who serves a request that ends at once, -1 if nobody does.
func once(s *balance.Set, r *routingtest.Request) int {
	var w balance.Walk
	defer w.End()
	s.Begin(&w, r, 0)
	return w.Next()
}

// all holds every algorithm.
var all = []string{
	"roundrobin", "static-rr", "leastconn", "first", "first(3)", "source", "uri", "url_param user", "hdr(X-User)",
	"random", "random(4)", "ewma",
}

func TestWeightsHoldExactlyInTurn(t *testing.T) {
	for _, text := range []string{"roundrobin", "static-rr", "leastconn", "hdr(X-Absent)", "url_param absent"} {
		for _, weights := range [][]int{{1}, {1, 1, 1}, {100, 50}, {5, 1, 1}, {7, 0, 3}, {256, 1}, {97, 89, 83, 79}} {
			t.Run(fmt.Sprintf("%s %v", text, weights), func(t *testing.T) {
				period := 0
				for _, w := range weights {
					period += w
				}
				s := newSet(t, text, members(weights...))
				for block := range 3 {
					counts := make([]int, len(weights))
					for range period {
						counts[once(s, anyRequest)]++
					}
					if !slices.Equal(counts, weights) {
						t.Errorf("block %d: served %v, want %v", block, counts, weights)
					}
				}
			})
		}
	}
}

func TestTurnsAreSmooth(t *testing.T) {
	weights := []int{5, 3, 2}
	s := newSet(t, "roundrobin", members(weights...))
	counts := make([]int, len(weights))
	for n := range 1000 {
		counts[once(s, anyRequest)]++
		for i, w := range weights {
			// Within 2(1 - 1/(2k-2)), as routing.Split says.
			if off := float64(counts[i]) - float64((n+1)*w)/10; off > 1.5 || off < -1.5 {
				t.Fatalf("after %d: %v, %.1f off the share", n+1, counts, off)
			}
		}
	}
}

func TestManyUnequalWeightsAreRounded(t *testing.T) {
	weights := make([]int, 300)
	for i := range weights {
		weights[i] = 1000 + i
	}
	s := newSet(t, "roundrobin", members(weights...))
	counts := make([]int, len(weights))
	const n = 120_000
	for range n {
		counts[once(s, anyRequest)]++
	}
	for i, c := range counts {
		if c < n/300/2 || c > n/300*2 {
			t.Errorf("instance %d served %d of %d", i, c, n)
		}
	}
}

func TestTurnsGoOnInTheNextSet(t *testing.T) {
	var turns balance.Turns
	o := balance.Options{Balance: parse(t, "roundrobin")}
	list := alike(3)
	counts := make([]int, 3)
	for range 3 {
		counts[once(balance.New(list, &turns, o), anyRequest)]++
	}
	if !slices.Equal(counts, []int{1, 1, 1}) {
		t.Errorf("served %v by a set each, want one each", counts)
	}
}

func TestLeastConnections(t *testing.T) {
	t.Run("the one with the least for its weight is taken", func(t *testing.T) {
		weights := []int{300, 200, 100, 100}
		list := members(weights...)
		s := newSet(t, "leastconn", list)
		rng := rand.New(rand.NewPCG(1, 2))
		open := map[*balance.Walk]bool{}
		load := func(i int) float64 {
			if n := list[i].Load.InFlight(); n > 0 {
				return float64(n+1) / float64(weights[i])
			}
			return 0
		}
		for range 5000 {
			if len(open) > 0 && rng.IntN(2) == 0 {
				for w := range maps.Keys(open) {
					w.End()
					delete(open, w)
					break
				}
				continue
			}
			least := load(0)
			for i := range list {
				least = min(least, load(i))
			}
			w := new(balance.Walk)
			s.Begin(w, anyRequest, 0)
			var before [4]float64
			for i := range before {
				before[i] = load(i)
			}
			if i := w.Next(); before[i] > least {
				t.Fatalf("%d was taken at %v, the least is %v", i, before[i], least)
			}
			open[w] = true
		}
	})
	t.Run("the share of a busy one goes to all", func(t *testing.T) {
		list := alike(4)
		s := newSet(t, "leastconn", list)
		var w balance.Walk
		s.Begin(&w, anyRequest, 0)
		w.Take(1)
		counts := make([]int, 4)
		for range 4000 {
			counts[once(s, anyRequest)]++
		}
		for i, c := range counts {
			if want := 1333; i != 1 && (c < want-100 || c > want+100) || i == 1 && c > 0 {
				t.Errorf("served %v while the second is busy, want a third each of the others", counts)
			}
		}
	})
	t.Run("those that stay share by weight", func(t *testing.T) {
		list := members(300, 100)
		s := newSet(t, "leastconn", list)
		for range 100 {
			var w balance.Walk
			s.Begin(&w, anyRequest, 0)
			w.Next()
		}
		if a, b := list[0].Load.InFlight(), list[1].Load.InFlight(); a < 74 || a > 76 || a+b != 100 {
			t.Errorf("%d and %d in flight, want 75 and 25", a, b)
		}
	})
}

func TestFirst(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []int64 // in flight after each of 8
	}{
		{"first", []int64{8, 0, 0}},
		{"first(3)", []int64{3, 3, 2}},
		{"first(2)", []int64{3, 3, 2}}, // all are full: the least one
	} {
		t.Run(tt.text, func(t *testing.T) {
			list := alike(3)
			s := newSet(t, tt.text, list)
			for range 8 {
				var w balance.Walk
				s.Begin(&w, anyRequest, 0)
				w.Next()
			}
			for i, m := range list {
				if m.Load.InFlight() != tt.want[i] {
					t.Errorf("%d in flight at %d, want %v", m.Load.InFlight(), i, tt.want)
				}
			}
		})
	}
}

func TestDrawsFollowWeights(t *testing.T) {
	// The bits are handed in, so that the counts are the same each time. They
	// are bounded by 4 standard deviations.
	const n = 40_000
	for _, text := range []string{"random(1)", "random", "random(4)", "ewma"} {
		t.Run(text, func(t *testing.T) {
			s := newSet(t, text, members(100, 200, 100))
			counts := make([]int, 3)
			r := routingtest.NewRequest("GET", "shop.example", "/")
			for i := range n {
				r.SetRandom(uint32(i))
				counts[once(s, r)]++
			}
			for i, want := range []int{n / 4, n / 2, n / 4} {
				if d := counts[i] - want; d < -400 || d > 400 {
					t.Errorf("idle instances of weights 1, 2, 1 served %v of %d", counts, n)
				}
			}
		})
	}
}

func TestRandomTakesTheLeastLoaded(t *testing.T) {
	list := alike(2)
	s := newSet(t, "random(2)", list)
	for i := range uint32(100) {
		r := routingtest.NewRequest("GET", "shop.example", "/")
		r.SetRandom(i)
		var w balance.Walk
		s.Begin(&w, r, 0)
		w.Next()
		if d := list[0].Load.InFlight() - list[1].Load.InFlight(); d < -1 || d > 1 {
			t.Fatalf("%d and %d in flight: of two that are drawn out of two, the emptier one is taken",
				list[0].Load.InFlight(), list[1].Load.InFlight())
		}
	}
	for draws, most := range map[string]int64{"random(1)": 40, "random(2)": 13, "random(8)": 12} {
		list := alike(100)
		s := newSet(t, draws, list)
		for i := range uint32(1000) {
			r := routingtest.NewRequest("GET", "shop.example", "/")
			r.SetRandom(i)
			var w balance.Walk
			s.Begin(&w, r, 0)
			w.Next()
		}
		var top int64
		for _, m := range list {
			top = max(top, m.Load.InFlight())
		}
		if top > most {
			t.Errorf("%s: %d in flight at the fullest of 100 with 1,000 in all, want at most %d", draws, top, most)
		}
	}
}

const second = int64(time.Second)

func TestPeakEWMA(t *testing.T) {
	var l balance.Load
	check := func(now int64, low, high time.Duration) {
		t.Helper()
		if got := l.Latency(now); got < low || got > high {
			t.Errorf("the latency is %v, want %v to %v", got, low, high)
		}
	}
	check(0, 0, 0)
	l.Observe(0, 100*time.Millisecond)
	check(0, 99*time.Millisecond, 101*time.Millisecond)
	l.Observe(0, time.Second) // slower: at once
	check(0, 999*time.Millisecond, 1001*time.Millisecond)
	l.Observe(second, 0) // faster: by and by
	check(second, 900*time.Millisecond, 910*time.Millisecond)
	check(11*second, 330*time.Millisecond, 340*time.Millisecond) // fades
	check(100*second, 0, time.Millisecond)
}

func TestEWMATakesTheFaster(t *testing.T) {
	list := alike(2)
	s := newSet(t, "ewma", list)
	serve := func(now int64, took func(i int) time.Duration) int {
		r := routingtest.NewRequest("GET", "shop.example", "/")
		r.SetRandom(uint32(now))
		var w balance.Walk
		defer w.End()
		s.Begin(&w, r, now)
		i := w.Next()
		w.Answered(now, took(i))
		return i
	}
	slow := func(i int) time.Duration { return []time.Duration{time.Millisecond, 100 * time.Millisecond}[i] }
	counts := make([]int, 2)
	for n := range int64(200) {
		counts[serve(n, slow)]++
	}
	if counts[0] < 150 || counts[1] == 0 {
		t.Errorf("the fast and the slow instance served %v", counts)
	}
	// Queues count: with many in flight even the fast one costs more.
	for range 200 {
		var w balance.Walk
		s.Begin(&w, anyRequest, 200)
		w.Take(0)
	}
	if i := serve(201, slow); i != 1 {
		t.Error("the fast one is taken with 200 in flight, though the slow one is idle")
	}
}

func TestAFailureCountsAsSlow(t *testing.T) {
	list := alike(2)
	s := newSet(t, "ewma", list)
	var w balance.Walk
	s.Begin(&w, anyRequest, 0)
	i := w.Next()
	w.Failed(0, time.Microsecond)
	w.End()
	if got := list[i].Load.Latency(0); got < time.Second*99/100 {
		t.Errorf("an instance that fails in a microsecond has a latency of %v", got)
	}
}

func TestRetriesNeverRepeat(t *testing.T) {
	for _, text := range all {
		for _, weights := range [][]int{{100}, {100, 100}, {100, 1, 1}, {1, 2, 3, 4, 5}, slices.Repeat([]int{100}, 40), {100, 0, 50}} {
			t.Run(fmt.Sprintf("%s of %d", text, len(weights)), func(t *testing.T) {
				list := members(weights...)
				s := newSet(t, text, list)
				able := 0
				for _, w := range weights {
					if w > 0 {
						able++
					}
				}
				for n := range 50 {
					r := user(n)
					r.SetRandom(uint32(n))
					var w balance.Walk
					s.Begin(&w, r, 0)
					seen := map[int]bool{}
					for i := w.Next(); i >= 0; i = w.Next() {
						if seen[i] || weights[i] == 0 {
							t.Fatalf("instance %d came twice, or takes nothing", i)
						}
						seen[i] = true
						if list[i].Load.InFlight() != 1 {
							t.Fatalf("%d in flight, want this one", list[i].Load.InFlight())
						}
					}
					if len(seen) != min(able, balance.MaxAttempts) {
						t.Fatalf("%d instances were tried, want %d", len(seen), min(able, balance.MaxAttempts))
					}
					w.End()
					w.End()
				}
				for i, m := range list {
					if m.Load.InFlight() != 0 {
						t.Errorf("%d in flight at %d after all ended", m.Load.InFlight(), i)
					}
				}
			})
		}
	}
}

func TestNobody(t *testing.T) {
	for _, text := range all {
		unready := alike(2)
		unready[0].Ready, unready[1].Ready = false, false
		for _, list := range [][]balance.Member{nil, members(0, -1), unready} {
			if s := newSet(t, text, list); s.Usable() || once(s, anyRequest) != -1 {
				t.Errorf("%s: somebody serves of %v", text, list)
			}
		}
	}
}

func TestTakeOfOneThatTakesNothing(t *testing.T) {
	list := members(100, 0)
	s := newSet(t, "roundrobin", list)
	var w balance.Walk
	s.Begin(&w, anyRequest, 0)
	if !w.Take(1) || list[1].Load.InFlight() != 1 {
		t.Error("a client that is on a drained instance is not left there")
	}
	if i := w.Next(); i != 0 || list[1].Load.InFlight() != 0 {
		t.Errorf("then comes %d, with %d in flight before it, want 0 and 0", i, list[1].Load.InFlight())
	}
	w.End()
}

func TestSource(t *testing.T) {
	s := newSet(t, "source", alike(10))
	from := func(addr string) int {
		r := routingtest.NewRequest("GET", "shop.example", "/")
		r.Conn().Client = netip.MustParseAddrPort(addr)
		return once(s, r)
	}
	if from("10.1.2.3:1000") != from("10.1.2.3:2000") {
		t.Error("the client's port counts")
	}
	if from("10.1.2.3:1") != from("[::ffff:10.1.2.3]:1") {
		t.Error("an IPv4 address in IPv6 form is another client")
	}
	seen := map[int]bool{}
	for i := range 200 {
		seen[from(fmt.Sprintf("10.1.2.%d:1", i))] = true
	}
	if len(seen) != 10 {
		t.Errorf("200 clients meet on %d of 10 instances", len(seen))
	}
}

func TestKeys(t *testing.T) {
	type pair struct{ a, b *routingtest.Request }
	target := func(a, b string) pair {
		return pair{routingtest.NewRequest("GET", "h", a), routingtest.NewRequest("GET", "h", b)}
	}
	field := func(a, b string) pair {
		return pair{routingtest.NewRequest("GET", "h", "/", "X-User: "+a), routingtest.NewRequest("GET", "h", "/", "X-User: "+b)}
	}
	for _, tt := range []struct {
		name, text string
		requests   pair
		same       bool
	}{
		{"uri leaves the query out", "uri", target("/a?x=1", "/a?x=2"), true},
		{"uri tells paths apart", "uri", target("/a", "/b"), false},
		{"whole takes the query in", "uri whole", target("/a?x=1", "/a?x=3"), false},
		{"whole without a query is the path", "uri whole", target("/a", "/a"), true},
		{"len bounds what counts", "uri len 4", target("/abc/1", "/abc/2"), true},
		{"len counts up to its end", "uri len 6", target("/abc/1", "/abc/2"), false},
		{"depth bounds the directories", "uri depth 1", target("/img/a", "/img/b"), true},
		{"depth counts up to its end", "uri depth 2", target("/img/a/1", "/img/b/1"), false},
		{"url_param takes its parameter", "url_param user", target("/a?user=1&x=1", "/b?y=2&user=1"), true},
		{"url_param tells values apart", "url_param user", target("/?user=1", "/?user=2"), false},
		{"hdr takes its field", "hdr(X-User)", field("anna", "anna"), true},
		{"hdr tells values apart", "hdr(X-User)", field("anna", "berta"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSet(t, tt.text, alike(100))
			if a, b := once(s, tt.requests.a), once(s, tt.requests.b); (a == b) != tt.same {
				t.Errorf("led to %d and %d, want the same: %t", a, b, tt.same)
			}
			if a, again := once(s, tt.requests.a), once(s, tt.requests.a); a != again {
				t.Errorf("one request led to %d and %d", a, again)
			}
		})
	}
	t.Run("without a key it goes in turn", func(t *testing.T) {
		for _, text := range []string{"url_param user", "hdr(X-User)"} {
			s := newSet(t, text, alike(4))
			counts := make([]int, 4)
			for range 40 {
				counts[once(s, routingtest.NewRequest("GET", "h", "/?user=&users=1&xuser=2", "X-User:"))]++
			}
			if !slices.Equal(counts, []int{10, 10, 10, 10}) {
				t.Errorf("%s: served %v", text, counts)
			}
		}
	})
}

func TestKeysFollowWeights(t *testing.T) {
	weights := []int{100, 200, 100, 50, 100, 300, 100, 100, 100, 50} // 1200
	s := newSet(t, "hdr(X-User)", members(weights...))
	counts := make([]int, len(weights))
	const n = 60_000
	for i := range n {
		counts[once(s, user(i))]++
	}
	for i, w := range weights {
		if want := n * w / 1200; counts[i] < want*7/10 || counts[i] > want*13/10 {
			t.Errorf("instance %d of weight %d has %d of %d keys, want %d to within 30 %%", i, w, counts[i], n, want)
		}
	}
}

// Removing an instance moves its keys and no others; adding one moves keys to
// it alone; raising a weight moves keys to it alone.
func TestOnlyTheKeysOfAnInstanceMove(t *testing.T) {
	const n = 5000
	list := members(100, 200, 100, 50, 100, 100, 300, 100, 100, 100)
	before := newSet(t, "hdr(X-User)", list)
	for gone := range list {
		after := newSet(t, "hdr(X-User)", slices.Delete(slices.Clone(list), gone, gone+1))
		heavier := slices.Clone(list)
		heavier[gone].Weight *= 2
		raised := newSet(t, "hdr(X-User)", heavier)
		moved := 0
		for i := range n {
			was, is := once(before, user(i)), once(after, user(i))
			if is >= gone {
				is++
			}
			if was != is && was != gone {
				t.Fatalf("key %d moved from %d to %d though %d was removed", i, was, is, gone)
			}
			if is == gone {
				t.Fatalf("key %d is with an instance that was removed", i)
			}
			if now := once(raised, user(i)); now != was {
				moved++
				if now != gone {
					t.Fatalf("key %d moved from %d to %d though %d was raised", i, was, now, gone)
				}
			}
		}
		if moved == 0 {
			t.Errorf("no key moved to instance %d when its weight was doubled", gone)
		}
	}
}

func TestLoadsOfKeysAreBounded(t *testing.T) {
	for _, weights := range [][]int{{100, 100, 100, 100, 100}, {100, 300, 100}, slices.Repeat([]int{100}, 64)} {
		t.Run(fmt.Sprintf("%d instances", len(weights)), func(t *testing.T) {
			list := members(weights...)
			s := newSet(t, "hdr(X-User)", list)
			total := 0
			for _, w := range weights {
				total += w
			}
			for n := range 2000 {
				var w balance.Walk
				s.Begin(&w, user(n%3), 0) // three keys, and all stay
				i := w.Next()
				bound := int64((5*(n+1)*weights[i] + 4*total - 1) / (4 * total))
				if got := list[i].Load.InFlight(); got > max(bound, 8) {
					t.Fatalf("request %d: %d in flight at %d, bound %d", n, got, i, bound)
				}
			}
		})
	}
	t.Run("little load tears no key apart", func(t *testing.T) {
		s := newSet(t, "hdr(X-User)", alike(10))
		home := once(s, user(7))
		for range 8 {
			var w balance.Walk
			s.Begin(&w, user(7), 0)
			if i := w.Next(); i != home {
				t.Errorf("led to %d, want %d", i, home)
			}
		}
	})
	t.Run("many instances are bounded nearly as well", func(t *testing.T) {
		list := alike(200)
		s := newSet(t, "hdr(X-User)", list)
		for range 20_000 {
			var w balance.Walk
			s.Begin(&w, user(1), 0)
			w.Next()
		}
		for i, m := range list {
			if got := m.Load.InFlight(); got > 126 { // 1.25 times 100, and one of rounding
				t.Errorf("%d in flight at %d, want at most 126", got, i)
			}
		}
	})
}

func TestLocality(t *testing.T) {
	here := balance.Place{Zone: "a", Node: "n1"}
	places := map[string]balance.Place{
		"node": here, "zone": {Zone: "a", Node: "n2"}, "far": {Zone: "b", Node: "n3"}, "none": {},
	}
	type share struct {
		place  string
		weight int
		want   int // of 1,000
	}
	for _, tt := range []struct {
		name   string
		prefer routing.Nearness
		enough routing.Weight
		own    balance.Place
		shares []share
	}{
		{"no preference spreads by weight", routing.NearnessNone, 3000, here, []share{{"node", 100, 250}, {"far", 300, 750}}},
		{"a zone that is enough takes all", routing.NearnessZone, 3000, here, []share{{"zone", 100, 1000}, {"far", 100, 0}, {"far", 100, 0}}},
		{"its instances share by weight", routing.NearnessZone, 3000, here, []share{{"zone", 100, 250}, {"zone", 300, 750}, {"far", 100, 0}}},
		{"what it lacks goes on in proportion", routing.NearnessZone, 5000, here, []share{{"zone", 100, 500}, {"far", 100, 167}, {"far", 200, 333}}},
		{"all of it is no preference", routing.NearnessZone, 10000, here, []share{{"zone", 100, 250}, {"far", 300, 750}}},
		{"a node that is enough takes all", routing.NearnessNode, 2000, here, []share{{"node", 100, 1000}, {"zone", 200, 0}, {"far", 200, 0}}},
		{"then the zone takes what the node lacks", routing.NearnessNode, 5000, here, []share{{"node", 100, 500}, {"zone", 100, 250}, {"zone", 100, 250}, {"far", 100, 0}}},
		{"then the others", routing.NearnessNode, 5000, here, []share{{"node", 100, 200}, {"zone", 100, 200}, {"far", 800, 600}}},
		{"zone does not tell nodes apart", routing.NearnessZone, 5000, here, []share{{"node", 100, 500}, {"zone", 100, 500}, {"far", 200, 0}}},
		{"nobody near is no preference", routing.NearnessNode, 3000, here, []share{{"far", 100, 500}, {"none", 100, 500}}},
		{"a proxy without place has no preference", routing.NearnessNode, 3000, balance.Place{}, []share{{"node", 100, 500}, {"none", 100, 500}}},
		{"only near ones", routing.NearnessNode, 3000, here, []share{{"node", 100, 500}, {"zone", 0, 0}, {"node", 100, 500}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := alike(len(tt.shares))
			want := make([]int, len(tt.shares))
			for i, s := range tt.shares {
				list[i].Place, list[i].Weight, want[i] = places[s.place], s.weight, s.want
			}
			s := balance.New(list, new(balance.Turns), balance.Options{
				Balance: parse(t, "roundrobin"), Own: tt.own,
				Locality: routing.Locality{Prefer: tt.prefer, Enough: tt.enough},
			})
			counts := make([]int, len(list))
			const n = 12_000
			for range n {
				counts[once(s, anyRequest)]++
			}
			for i := range counts {
				if got := (counts[i]*1000 + n/2) / n; got < want[i]-1 || got > want[i]+1 {
					t.Errorf("served %v of %d, want %v of 1000", counts, n, want)
					break
				}
			}
		})
	}
}

func TestRetriesLeaveTheZone(t *testing.T) {
	for _, text := range all {
		list := alike(4)
		for i := range list {
			list[i].Place.Zone = []string{"b", "a", "c", "a"}[i]
		}
		s := balance.New(list, new(balance.Turns), balance.Options{
			Balance: parse(t, text), Own: balance.Place{Zone: "a"},
			Locality: routing.Locality{Prefer: routing.NearnessZone, Enough: 3000},
		})
		var w balance.Walk
		s.Begin(&w, user(1), 0)
		order := []int{w.Next(), w.Next(), w.Next(), w.Next(), w.Next()}
		w.End()
		near, far := slices.Sorted(slices.Values(order[:2])), slices.Sorted(slices.Values(order[2:4]))
		if !slices.Equal(near, []int{1, 3}) || !slices.Equal(far, []int{0, 2}) || order[4] != -1 {
			t.Errorf("%s: tried %v, want those of the own zone, then the others", text, order)
		}
	}
}

// No near instance gets more than 1/Enough times its plain share, and all that
// is asked for is served, whatever the weights.
func FuzzLocality(f *testing.F) {
	f.Add([]byte{0x10, 0x21, 0x32}, uint16(3000))
	f.Add([]byte{0xff, 0x00, 0x81, 0x42}, uint16(1))
	f.Fuzz(func(t *testing.T, spec []byte, enough uint16) {
		if len(spec) > 20 {
			return
		}
		places := []balance.Place{{Zone: "a", Node: "n1"}, {Zone: "a"}, {Zone: "b"}, {}}
		list := alike(len(spec))
		sum := 0
		for i, b := range spec {
			list[i].Place, list[i].Weight = places[b&3], int(b>>2)
			sum += list[i].Weight
		}
		l := routing.Locality{Prefer: routing.NearnessNode, Enough: max(1, routing.Weight(enough)%routing.FullWeight)}
		s := balance.New(list, new(balance.Turns), balance.Options{Own: places[0], Locality: l})
		if s.Usable() != (sum > 0) {
			t.Fatalf("usable is %t with a weight of %d", s.Usable(), sum)
		}
		if sum == 0 {
			return
		}
		counts := make([]int, len(list))
		const n = 2000
		for range n {
			counts[once(s, anyRequest)]++
		}
		for i, c := range counts {
			// Weights are rounded, and the run ends within a period.
			plain := float64(n*list[i].Weight) / float64(sum)
			if most := plain * float64(routing.FullWeight) / float64(l.Enough); float64(c) > most*1.02+5 {
				t.Errorf("%v with %v: instance %d served %d of %d, want at most %.0f", spec, l.Enough, i, c, n, most)
			}
			if list[i].Weight == 0 && c > 0 {
				t.Errorf("instance %d without weight served %d", i, c)
			}
		}
	})
}
