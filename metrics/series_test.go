// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

// readable is what Gateway and Route have in common.
type readable interface{ Read(*metrics.Totals) }

func read(r readable) metrics.Totals {
	var t metrics.Totals
	r.Read(&t)
	return t
}

func TestExchangeIsCountedOnce(t *testing.T) {
	r := metrics.New(metrics.Options{Reasons: []string{"none", "no_route", "connect_refused"}})
	gw := r.Gateway("shop")
	route := gw.Route("canary")
	o := metrics.Observation{
		Code: 503, Duration: 3 * time.Millisecond, Upstream: 2 * time.Millisecond,
		BytesIn: 10, BytesOut: 20, Reason: 2,
	}
	route.Begin(1)
	for name, s := range map[string]readable{"gateway": gw, "route": route} {
		if got := read(s); got != (metrics.Totals{InFlight: 1}) {
			t.Errorf("%s in flight: %+v, want nothing else", name, got)
		}
	}
	route.End(2, &o) // a shard may change on the way
	want := metrics.Totals{BytesIn: 10, BytesOut: 20}
	want.Requests[metrics.Class5xx] = 1
	want.Reasons[2] = 1
	want.Duration.Sum = 3 * time.Millisecond
	want.Duration.Counts[metrics.BucketOf(3*time.Millisecond)] = 1
	if got := read(gw); got != want {
		t.Errorf("gateway = %+v, want %+v", got, want)
	}
	want.Upstream.Sum = 2 * time.Millisecond
	want.Upstream.Counts[metrics.BucketOf(2*time.Millisecond)] = 1
	if got := read(route); got != want {
		t.Errorf("route = %+v, want %+v", got, want)
	}
}

func TestClassOf(t *testing.T) {
	for _, tt := range []struct {
		code int
		want string
	}{
		{-1, "none"},
		{0, "none"},
		{99, "none"},
		{100, "1xx"},
		{101, "1xx"},
		{200, "2xx"},
		{299, "2xx"},
		{304, "3xx"},
		{404, "4xx"},
		{499, "4xx"},
		{500, "5xx"},
		{599, "5xx"},
		{600, "5xx"},
		{999, "5xx"},
	} {
		if got := metrics.ClassOf(tt.code).String(); got != tt.want {
			t.Errorf("ClassOf(%d) = %s, want %s", tt.code, got, tt.want)
		}
	}
}

func TestReasons(t *testing.T) {
	long := []string{"none", "twice", "other", "twice"}
	for i := len(long); i < 48; i++ {
		long = append(long, fmt.Sprint("reason_", i))
	}
	for _, tt := range []struct {
		name    string
		reasons []string
		count   []uint8
		want    map[string]uint64
	}{
		{"each has its name", long, []uint8{0, 4, 4, 39}, map[string]uint64{"reason_4": 2, "reason_39": 1}},
		{"those above 39 are other", long, []uint8{40, 47, 255}, map[string]uint64{"other": 3}},
		{"equal names are one", long, []uint8{1, 3}, map[string]uint64{"twice": 2}},
		{"one may be named other", long, []uint8{2, 40}, map[string]uint64{"other": 2}},
		{"those without a name are other", long[:2], []uint8{1, 2, 3}, map[string]uint64{"twice": 1, "other": 2}},
		{"no names at all", nil, []uint8{1, 2}, map[string]uint64{"other": 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := metrics.New(metrics.Options{Reasons: tt.reasons})
			gw := r.Gateway("shop")
			for _, reason := range tt.count {
				gw.Begin(0)
				gw.End(0, &metrics.Observation{Code: 503, Reason: reason})
			}
			got := map[string]uint64{}
			for i, n := range read(gw).Reasons {
				if _, twice := got[r.Reason(i)]; twice && n > 0 {
					t.Errorf("%s is counted in two places", r.Reason(i))
				}
				if n > 0 {
					got[r.Reason(i)] = n
				}
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("reasons = %v, want %v", got, tt.want)
			}
		})
	}
}

// A series gives its shards cells of their own while they count: every total
// must come out exact, and none in flight may ever be negative.
func TestConcurrentCountsAreExact(t *testing.T) {
	const workers, each = 8, 30_000 // enough for several cells
	r := metrics.New(metrics.Options{Shards: 4})
	route := r.Gateway("shop").Route("canary")
	var counting sync.WaitGroup
	for w := range uint32(workers) {
		counting.Go(func() {
			o := metrics.Observation{Code: 200, Duration: time.Millisecond, Upstream: time.Microsecond, BytesIn: 1, BytesOut: 2}
			for i := range uint32(each) {
				route.Begin(w)
				route.End(w+i, &o)
			}
		})
	}
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if got := read(route); got.InFlight > workers*each {
				t.Errorf("in flight = %d: ends are counted whose beginnings are not", int64(got.InFlight))
				return
			}
		}
	})
	counting.Wait()
	close(stop)
	reading.Wait()
	const n = workers * each
	want := metrics.Totals{BytesIn: n, BytesOut: 2 * n}
	want.Requests[metrics.Class2xx] = n
	want.Duration.Sum = n * time.Millisecond
	want.Duration.Counts[metrics.BucketOf(time.Millisecond)] = n
	want.Upstream.Sum = n * time.Microsecond
	want.Upstream.Counts[metrics.BucketOf(time.Microsecond)] = n
	if got := read(route); got != want {
		t.Errorf("totals = %+v, want %+v", got, want)
	}
}

// Whoever sees the end of an exchange sees all of it, whichever class it is of.
func TestEndIsSeenLast(t *testing.T) {
	const workers, each = 4, 20_000
	for _, tt := range []struct {
		name string
		o    metrics.Observation
	}{
		{"a plain one", metrics.Observation{Code: 200}},
		{"one that failed after its status", metrics.Observation{Code: 200, Reason: 1}},
		{"one that failed", metrics.Observation{Code: 503, Reason: 1}},
		{"one without a status", metrics.Observation{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.o
			o.Duration, o.Upstream, o.BytesIn, o.BytesOut = 3, 2, 5, 7
			gw := metrics.New(metrics.Options{Shards: 4, Reasons: []string{"none", "no_route"}}).Gateway("shop")
			route := gw.Route("canary")
			var counting sync.WaitGroup
			for w := range uint32(workers) {
				counting.Go(func() {
					for range each {
						route.Begin(w)
						route.End(w, &o)
					}
				})
			}
			for ended := uint64(0); ended < workers*each; {
				for name, s := range map[string]readable{"gateway": gw, "route": route} {
					got := read(s)
					n := got.Requests[metrics.ClassOf(o.Code)]
					if name == "route" {
						ended = n
						if got.Upstream.Count() < n || got.Upstream.Sum < 2*time.Duration(n) {
							t.Fatalf("%s: %d times of instances, %d ns in all, of %d exchanges", name, got.Upstream.Count(), got.Upstream.Sum, n)
						}
					}
					if got.Duration.Count() < n || got.Duration.Sum < 3*time.Duration(n) ||
						got.BytesIn < 5*int64(n) || got.BytesOut < 7*int64(n) || got.Reasons[1] < n*uint64(o.Reason) {
						t.Fatalf("%s: %+v has less than %d whole exchanges", name, got, n)
					}
				}
			}
			counting.Wait()
		})
	}
}

func TestGatewayIsTheSumOfItsParts(t *testing.T) {
	r := metrics.New(metrics.Options{Reasons: []string{"none", "no_route"}})
	gw := r.Gateway("shop")
	a, b := gw.Route("a"), gw.Route("b")
	var want metrics.Totals
	for i, code := range []int{0, 101, 200, 204, 304, 404, 500, 503} {
		d := time.Duration(i+1) * time.Millisecond
		o := metrics.Observation{Code: code, Duration: d, Upstream: d / 2, BytesIn: int64(i), BytesOut: 2 * int64(i), Reason: 1}
		for j, s := range []interface {
			Begin(shard uint32)
			End(shard uint32, o *metrics.Observation)
		}{gw, a, b} {
			s.Begin(uint32(i))
			if (i+j)%3 == 0 {
				want.InFlight++
				continue
			}
			s.End(uint32(i), &o)
			want.Requests[metrics.ClassOf(code)]++
			want.Duration.Sum += d
			want.Duration.Counts[metrics.BucketOf(d)]++
			want.BytesIn += int64(i)
			want.BytesOut += 2 * int64(i)
			want.Reasons[1]++
		}
	}
	if got := read(gw); got != want {
		t.Errorf("gateway = %+v, want %+v", got, want)
	}
}

// However an exchange came to its route, it is in flight there, and at the
// gateway, until it ends.
func TestEveryWayBegins(t *testing.T) {
	r := metrics.New(metrics.Options{})
	gw := r.Gateway("shop")
	route := gw.Route("canary")
	for i, begin := range []func(uint32){route.Begin, route.BeginTaken, route.BeginKept} {
		begin(uint32(i))
		if got, all := read(route).InFlight, read(gw).InFlight; got != uint64(i+1) || all != got {
			t.Errorf("in flight = %d, %d at the gateway, want %d", got, all, i+1)
		}
	}
	for range 3 {
		route.End(0, &metrics.Observation{Code: 200})
	}
	if got := read(route); got.InFlight != 0 || got.Requests[metrics.Class2xx] != 3 {
		t.Errorf("totals = %+v, want 3 that ended", got)
	}
}

func TestServingDoesNotAllocate(t *testing.T) {
	r := metrics.New(metrics.Options{Shards: 4})
	gw := r.Gateway("shop")
	route := gw.Route("canary")
	gw.SetConditions([]metrics.ConditionKey{{Route: "canary", Condition: "User-Agent == Firefox"}})
	conditions := gw.Conditions()
	counter, gauge := r.Panics(), r.ConnectionsOpen("client")
	o := metrics.Observation{Code: 200, Duration: time.Millisecond, Upstream: time.Microsecond, BytesIn: 1, BytesOut: 2, Reason: 1}
	allocs := testing.AllocsPerRun(50_000, func() {
		route.Begin(3)
		conditions.Asked(3, 1, false)
		route.End(3, &o)
		gw.Begin(3)
		gw.End(3, &o)
		counter.Add(3, 1)
		gauge.Add(3, -1)
	})
	if allocs != 0 {
		t.Errorf("counting an exchange allocates %v times, want 0", allocs)
	}
}

func BenchmarkConditionsAsked(b *testing.B) {
	gw := metrics.New(metrics.Options{}).Gateway("shop")
	gw.SetConditions([]metrics.ConditionKey{{Route: "a", Condition: "1"}, {Route: "b", Condition: "2"}, {Route: "c", Condition: "3"}})
	conditions := gw.Conditions()
	b.ReportAllocs()
	for b.Loop() {
		conditions.Asked(1, 2, true)
	}
}

func BenchmarkBucketOf(b *testing.B) {
	var sum int
	d := time.Duration(1)
	for b.Loop() {
		sum += metrics.BucketOf(d)
		d = (d*5 + 3) & (1<<37 - 1)
	}
	_ = sum
}
