// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/limit"
	"github.com/sluice-mesh/sluice/routing"
)

// request is a request with one header field, from an address.
type request struct {
	name, value string
	conn        conditions.Conn
}

func (r *request) Method() string         { return "GET" }
func (r *request) Host() string           { return "" }
func (r *request) Target() string         { return "/" }
func (r *request) Path() string           { return "/" }
func (r *request) Query() string          { return "" }
func (r *request) Conn() *conditions.Conn { return &r.conn }
func (r *request) Random() uint32         { return 0 }
func (r *request) Field(name string, from int) (string, int) {
	if name == r.name && from == 0 {
		return r.value, 1
	}
	return "", -1
}

var nobody = &request{}

func from(address string) *request {
	return &request{conn: conditions.Conn{Client: netip.AddrPortFrom(netip.MustParseAddr(address), 1)}}
}

func rate(requests, burst int64, per time.Duration, key routing.ClientKey) *limit.Rate {
	return limit.NewRate(routing.RequestRate{Requests: requests, Per: per, Burst: burst, Key: key}, "route", nil)
}

func TestRateLetsTheBurstPassAndThenOneAtATime(t *testing.T) {
	for _, key := range []routing.ClientKey{{}, {Source: routing.KeyIP}} {
		t.Run(key.String(), func(t *testing.T) {
			r := rate(10, 3, time.Second, key)
			client := from("192.0.2.1")
			now := ms(5000)
			for i := range 3 {
				if wait := r.Take(client, now); wait != 0 {
					t.Fatalf("request %d of a burst of 3 has to wait for %v", i+1, wait)
				}
			}
			wait := r.Take(client, now)
			if wait < 99*time.Millisecond || wait > 101*time.Millisecond {
				t.Fatalf("the fourth request has to wait for %v, want 100ms", wait)
			}
			if again := r.Take(client, now); again != wait {
				t.Errorf("what was refused counted: %v, then %v", wait, again)
			}
			if early := r.Take(client, now+int64(wait)-ms(2)); early == 0 {
				t.Error("a request passes before the time that it was told")
			}
			if late := r.Take(client, now+int64(wait)); late != 0 {
				t.Errorf("a request has to wait for %v more after the time that it was told", late)
			}
			now += ms(100_000)
			for i := range 4 {
				if wait := r.Take(client, now); (wait == 0) != (i < 3) {
					t.Errorf("after a rest, request %d has to wait for %v", i+1, wait)
				}
			}
		})
	}
}

// In no window of any length do more pass than the burst and one for each
// interval; and whoever comes evenly at the rate is never refused.
func TestRateHoldsOverEveryWindow(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		requests, burst := 1+random.Int64N(200), 1+random.Int64N(50)
		per := time.Duration(1+random.Int64N(2000)) * time.Millisecond
		for _, key := range []routing.ClientKey{{}, {Source: routing.KeyHeader, Name: "X-Key"}} {
			r := rate(requests, burst, per, key)
			now := random.Int64N(1 << 40)
			var passed []int64
			for range 3000 {
				if r.Take(nobody, now) == 0 {
					passed = append(passed, now)
				}
				now += random.Int64N(2 * int64(per) / requests)
			}
			checkWindows(t, fmt.Sprintf("%d per %v, burst %d, key %v", requests, per, burst, key), passed, requests, burst, per)
			if len(passed) < 100 {
				t.Errorf("only %d of 3000 passed", len(passed))
			}
		}
	}
}

// checkWindows holds that the times of those that passed obey a rate. Times
// are told to 1.024 µs.
func checkWindows(t *testing.T, what string, passed []int64, requests, burst int64, per time.Duration) {
	t.Helper()
	const unit = 1024
	for i := range passed {
		for j := i; j < len(passed); j++ {
			window := float64(passed[j] - passed[i] + unit)
			if allowed := float64(burst) + window*float64(requests)/float64(per); float64(j-i+1) > allowed+1e-6 {
				t.Fatalf("%s: %d requests passed within %v, want at most %.3f", what, j-i+1, time.Duration(passed[j]-passed[i]), allowed)
			}
		}
	}
}

func TestRateNeverRefusesWhoKeepsToIt(t *testing.T) {
	for _, tt := range []struct {
		requests int64
		per      time.Duration
	}{{1, 24 * time.Hour}, {3, time.Second}, {7, time.Minute}, {1_000_000, time.Second}, {1_000_000, 100 * time.Millisecond}} {
		for _, key := range []routing.ClientKey{{}, {Source: routing.KeyIP}} {
			r := rate(tt.requests, 1, tt.per, key)
			client := from("192.0.2.1")
			// A key's interval is rounded up to units of 1.024 µs.
			step := (int64(tt.per)/tt.requests/1024 + 2) * 1024
			for i := range int64(1000) {
				if wait := r.Take(client, ms(1)+i*step); wait != 0 {
					t.Fatalf("%d per %v, key %v: request %d has to wait for %v", tt.requests, tt.per, key, i, wait)
				}
			}
		}
	}
}

func TestRateTellsKeysApart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		key    routing.ClientKey
		one    *request
		same   *request
		others []*request
	}{
		{
			"by header",
			routing.ClientKey{Source: routing.KeyHeader, Name: "X-Key"},
			&request{name: "X-Key", value: "a"}, &request{name: "X-Key", value: "a"},
			[]*request{{name: "X-Key", value: "b"}, {name: "X-Other", value: "a"}},
		},
		{
			"without the header all are one",
			routing.ClientKey{Source: routing.KeyHeader, Name: "X-Key"},
			&request{name: "X-Other", value: "a"}, &request{name: "X-Key"},
			[]*request{{name: "X-Key", value: "a"}},
		},
		{
			"by cookie",
			routing.ClientKey{Source: routing.KeyCookie, Name: "user"},
			&request{name: "Cookie", value: "x=1; user=a"}, &request{name: "Cookie", value: "user=a; x=2"},
			[]*request{{name: "Cookie", value: "user=b"}},
		},
		{
			"by IPv4 address",
			routing.ClientKey{Source: routing.KeyIP},
			from("192.0.2.1"), from("::ffff:192.0.2.1"),
			[]*request{from("192.0.2.2")},
		},
		{
			"by IPv6 network",
			routing.ClientKey{Source: routing.KeyIP},
			from("2001:db8:1:2::1"), from("2001:db8:1:2:ffff::"),
			[]*request{from("2001:db8:1:3::1")},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rate(1, 1, time.Hour, tt.key)
			if r.Take(tt.one, ms(1)) != 0 {
				t.Fatal("the first request has to wait")
			}
			if r.Take(tt.same, ms(1)) == 0 {
				t.Error("two of the same key have a rate each")
			}
			for i, other := range tt.others {
				if r.Take(other, ms(1)) != 0 {
					t.Errorf("other key %d has no rate of its own", i)
				}
			}
		})
	}
}

// Concurrent requests never pass more than the rate allows.
func TestRateUnderContention(t *testing.T) {
	const goroutines = 8
	for _, key := range []routing.ClientKey{{}, {Source: routing.KeyHeader, Name: "X-Key"}} {
		t.Run(key.String(), func(t *testing.T) {
			const burst, steps = 100, 2000
			r := rate(1000, burst, time.Second, key)
			var passed, clock atomic.Int64
			clock.Store(ms(1))
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for range steps {
						if r.Take(nobody, clock.Add(10_000)) == 0 {
							passed.Add(1)
						}
					}
				})
			}
			wg.Wait()
			// 10 µs a step; those that come at first may find several cells.
			allowed := int64(burst) + goroutines*steps/100 + 1
			if key.Source != routing.KeyNone {
				allowed += goroutines - 1
			}
			if n := passed.Load(); n > allowed || n < allowed*9/10 {
				t.Errorf("%d passed, want up to %d", n, allowed)
			}
		})
	}
}

// Keys that nobody can count do not take more memory, and do not get those
// refused that keep to their rate.
func TestRateForgetsKeysThatAreTooMany(t *testing.T) {
	forgotten := 0
	r := limit.NewRate(routing.RequestRate{
		Requests: 1, Per: time.Hour, Burst: 2, Key: routing.ClientKey{Source: routing.KeyHeader, Name: "X-Key"},
	}, "route", func() { forgotten++ })
	const many = 300_000
	one := &request{name: "X-Key"}
	refused := 0
	for i := range many {
		one.value = fmt.Sprint("key ", i)
		if r.Take(one, ms(1)) != 0 {
			refused++
		}
	}
	// Two in a bucket share a number once in 2^20/8 times.
	if refused > many/1000 {
		t.Errorf("%d of %d new keys were refused", refused, many)
	}
	if forgotten < many-65_536-many/1000 || forgotten > many {
		t.Errorf("%d keys were forgotten, want all but 65,536", forgotten)
	}
	one.value = "busy"
	for i := range 3 {
		if wait := r.Take(one, ms(2)); (wait == 0) != (i < 2) {
			t.Errorf("request %d of a key in a full table has to wait for %v", i+1, wait)
		}
	}
	// Once all is in the past again, cells are free. So few keys never fill a
	// bucket, whatever the seed of the hash: the chance is 1 in ten million.
	before := forgotten
	for i := range 2_000 {
		one.value = fmt.Sprint("later ", i)
		r.Take(one, ms(10*3_600_000))
	}
	if forgotten != before {
		t.Errorf("%d keys were forgotten though there were free cells", forgotten-before)
	}
}

func TestRateSurvivesTheTurnOfItsClock(t *testing.T) {
	r := rate(1, 2, time.Minute, routing.ClientKey{Source: routing.KeyHeader, Name: "X-Key"})
	const turn = int64(1) << (44 + 10)
	for i, now := range []int64{turn - ms(1000), turn - ms(500), turn - ms(1), turn + ms(1), turn + ms(60_000), turn + ms(60_001)} {
		want := i < 2 || i == 4
		if wait := r.Take(nobody, now); (wait == 0) != want {
			t.Errorf("request %d has to wait for %v", i, wait)
		}
	}
}

func TestRateTellsItsPolicy(t *testing.T) {
	for _, tt := range []struct {
		rate *limit.Rate
		want string
	}{
		{rate(100, 10, time.Minute, routing.ClientKey{}), `"route";q=100;w=60`},
		{rate(5, 5, 500*time.Millisecond, routing.ClientKey{Source: routing.KeyIP}), `"route-ip";q=5`},
	} {
		if got := tt.rate.Policy(); got != tt.want {
			t.Errorf("Policy() = %s, want %s", got, tt.want)
		}
	}
}

func TestRateDoesNotAllocate(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  routing.ClientKey
		r    *request
	}{
		{"of all", routing.ClientKey{}, nobody},
		{"by ip", routing.ClientKey{Source: routing.KeyIP}, from("2001:db8::1")},
		{"by header", routing.ClientKey{Source: routing.KeyHeader, Name: "X-Key"}, &request{name: "X-Key", value: strings.Repeat("k", 100)}},
		{"by cookie", routing.ClientKey{Source: routing.KeyCookie, Name: "a"}, &request{name: "Cookie", value: "b=c; a=d"}},
	} {
		r := rate(1e6, 1e6, time.Second, tt.key)
		now := ms(1)
		var c conditions.Request = tt.r
		r.Take(c, now)
		if n := testing.AllocsPerRun(1000, func() { now += 1000; r.Take(c, now) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", tt.name, n)
		}
	}
}

func BenchmarkRate(b *testing.B) {
	keys := make([]*request, 1<<10)
	for i := range keys {
		keys[i] = &request{name: "X-Key", value: fmt.Sprint("client ", i)}
	}
	for _, tt := range []struct {
		name string
		key  routing.ClientKey
	}{{"of all", routing.ClientKey{}}, {"by header", routing.ClientKey{Source: routing.KeyHeader, Name: "X-Key"}}} {
		b.Run(tt.name, func(b *testing.B) {
			r := rate(1e6, 1e6, 100*time.Millisecond, tt.key)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				now, i := ms(1), rand.IntN(len(keys))
				for pb.Next() {
					now += 100
					i = (i + 1) % len(keys)
					r.Take(keys[i], now)
				}
			})
		})
	}
}
