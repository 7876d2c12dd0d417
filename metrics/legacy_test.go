// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestGatewayKeepsWhatItsFormerRoutesCount(t *testing.T) {
	ok := metrics.Observation{Code: 200, Duration: time.Second, BytesIn: 1, BytesOut: 2}
	r := metrics.New(metrics.Options{Linger: -1})
	gw := r.Gateway("shop")
	old := gw.Route("canary")
	old.Begin(0)
	old.End(0, &ok)
	old.Begin(1) // ends after the route is gone
	check := func(when string, requests, inFlight uint64) {
		t.Helper()
		got := read(gw)
		if got.Requests[metrics.Class2xx] != requests || got.InFlight != inFlight ||
			got.BytesIn != int64(requests) || got.Duration.Sum != time.Duration(requests)*time.Second {
			t.Errorf("%s: gateway = %+v, want %d exchanges and %d in flight", when, got, requests, inFlight)
		}
	}
	check("before", 1, 1)
	r.Retain(map[string][]string{"shop": nil})
	check("once the route is gone", 1, 1)
	runtime.GC()
	check("after a collection", 1, 1)
	old.End(1, &ok)
	check("after its last exchange", 2, 0)
	old.Begin(2) // decided by a table that is gone
	check("after one more began", 2, 1)
	next := gw.Route("canary")
	if got := read(next); got != (metrics.Totals{}) {
		t.Errorf("a route that came back too late = %+v, want no counts", got)
	}
	next.Begin(0)
	next.End(0, &ok)
	old.End(3, &ok)
	check("beside a new route of that name", 4, 0)
}

// Routes go and come back while they count, and are collected as garbage in
// between: no reading of the gateway is below an earlier one, none in flight
// is below 0, and in the end all is there.
func TestGatewayCountsNeverFall(t *testing.T) {
	const workers, each = 4, 4000
	r := metrics.New(metrics.Options{Linger: -1, Shards: 4, Reasons: []string{"none", "no_route"}})
	gw := r.Gateway("shop")
	var counting sync.WaitGroup
	for w := range uint32(workers) {
		counting.Go(func() {
			ok := metrics.Observation{Code: 200, Duration: time.Millisecond, BytesIn: 3, BytesOut: 4}
			failed := metrics.Observation{Code: 502, Duration: time.Millisecond, BytesIn: 3, BytesOut: 4, Reason: 1}
			for range each / 2 {
				a, b := gw.Route("a"), gw.Route("b")
				a.Begin(w)
				b.BeginTaken(w)
				a.End(w, &ok)
				b.End(w+1, &failed)
			}
		})
	}
	done := make(chan struct{})
	go func() { counting.Wait(); close(done) }()
	var last metrics.Totals
	for i, running := 0, true; running; i++ {
		select {
		case <-done:
			running = false
		default:
		}
		r.Retain(map[string][]string{"shop": {[]string{"a", "b"}[i%2]}})
		if i%50 == 0 {
			runtime.GC()
		}
		got := read(gw)
		if fell(&last, &got) || got.InFlight > workers*each {
			t.Fatalf("gateway = %+v after %+v", got, last)
		}
		last = got
	}
	r.Retain(map[string][]string{"shop": nil})
	runtime.GC()
	const n = workers * each
	want := metrics.Totals{BytesIn: 3 * n, BytesOut: 4 * n}
	want.Requests[metrics.Class2xx], want.Requests[metrics.Class5xx], want.Reasons[1] = n/2, n/2, n/2
	want.Duration.Sum = n * time.Millisecond
	want.Duration.Counts[metrics.BucketOf(time.Millisecond)] = n
	if got := read(gw); got != want {
		t.Errorf("gateway = %+v, want %+v", got, want)
	}
}

// fell tells whether a counter of now is below what it was.
func fell(was, now *metrics.Totals) bool {
	for i := range was.Requests {
		if now.Requests[i] < was.Requests[i] {
			return true
		}
	}
	for i := range was.Duration.Counts {
		if now.Duration.Counts[i] < was.Duration.Counts[i] {
			return true
		}
	}
	for i := range was.Reasons {
		if now.Reasons[i] < was.Reasons[i] {
			return true
		}
	}
	return now.BytesIn < was.BytesIn || now.BytesOut < was.BytesOut || now.Duration.Sum < was.Duration.Sum
}
