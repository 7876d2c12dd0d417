// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// offerInBubble runs a plan in a bubble of its own time, in which serve serves
// each connection that refuse, which may be nil, does not refuse. Nothing but
// serve takes time there, so latencies are exact.
func offerInBubble(t *testing.T, p Plan, serve func(net.Conn), refuse func() error, progress func(Progress)) *Result {
	t.Helper()
	r, err := tryInBubble(t, p, serve, refuse, progress)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tryInBubble is offerInBubble for a plan that may fail.
func tryInBubble(t *testing.T, p Plan, serve func(net.Conn), refuse func() error, progress func(Progress)) (result *Result, err error) {
	t.Helper()
	p.Address = "127.0.0.1:80" // which nothing is looked up for
	p.Mix = []Request{{Weight: 1, Wire: []byte("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")}}
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		var served sync.WaitGroup
		var asked sync.Mutex // so that refuse may remember
		dial := func(context.Context) (net.Conn, error) {
			if refuse != nil {
				asked.Lock()
				err := refuse()
				asked.Unlock()
				if err != nil {
					return nil, err
				}
			}
			ours, theirs := net.Pipe()
			served.Go(func() {
				defer theirs.Close()
				serve(theirs)
			})
			return ours, nil
		}
		result, err = runOn(t.Context(), p, progress, func(r *run, t target) (engine, error) {
			g := newGoroutines(r, t)
			g.dial, g.nap = dial, time.Sleep
			return g, nil
		})
		served.Wait()
	})
	return result, err
}

// answering answers each request after as long as delay says, or never if that
// is forever.
func answering(delay func() time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			d := delay()
			if d == forever {
				_, _ = io.Copy(io.Discard, c)
				return
			}
			time.Sleep(d)
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
		}
	}
}

const forever = time.Duration(1<<63 - 1)

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// stallAt is a server that stalls once, for a second, a second after the start.
func stallAt(start time.Time) func() time.Duration {
	var stalled bool
	return func() time.Duration {
		if !stalled && time.Since(start) >= time.Second {
			stalled = true
			return time.Second
		}
		return 0
	}
}

// bubbleStart is when each bubble begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// near tells whether got is want within what a histogram tells apart.
func near(got, want time.Duration) bool {
	return (got - want).Abs() <= max(want/1000, time.Microsecond)
}

func TestStall(t *testing.T) {
	t.Run("an open loop counts all that a stall holds up", func(t *testing.T) {
		r := offerInBubble(t, Plan{Connections: 1, Rate: 1000, Duration: 3 * time.Second}, answering(stallAt(bubbleStart)), nil, nil)
		// Those due from 1 s to 2 s waited 1000 ms, 999 ms, and so on; the one
		// that was due when the stall ended waited for nothing.
		if r.Requests != 3000 || r.Latency.Max() < 999e6 || !near(time.Duration(r.Latency.Max()), time.Second) {
			t.Errorf("Requests = %d, max = %v; want 3000, 1s", r.Requests, time.Duration(r.Latency.Max()))
		}
		if mean, want := time.Duration(r.Latency.Mean()), 1000*1001/2*time.Millisecond/3000; !near(mean, want+want/1000) && !near(mean, want) {
			t.Errorf("mean = %v, want %v", mean, want)
		}
		if p := time.Duration(r.Latency.ValueAtQuantile(100 * 2500.0 / 3000)); !near(p, 500*time.Millisecond) {
			t.Errorf("of the 3000, 2500 took up to %v; want 500ms", p)
		}
		if r.Behind != 0 {
			t.Errorf("Behind = %v; the generator was never late", r.Behind)
		}
	})
	t.Run("a closed loop shows one slow request", func(t *testing.T) {
		stall := stallAt(bubbleStart)
		r := offerInBubble(t, Plan{Connections: 1, Duration: 3 * time.Second}, answering(func() time.Duration {
			return stall() + time.Millisecond
		}), nil, nil)
		if r.Requests < 1998 || r.Requests > 2000 || !near(time.Duration(r.Latency.ValueAtQuantile(99.9)), time.Millisecond) {
			t.Errorf("Requests = %d, p99.9 = %v; want 2000, 1ms", r.Requests, time.Duration(r.Latency.ValueAtQuantile(99.9)))
		}
		if longest := time.Duration(r.Latency.Max()); !near(longest, 1001*time.Millisecond) {
			t.Errorf("max = %v; want 1.001s", longest)
		}
	})
	t.Run("what never ends counts with the time until the end", func(t *testing.T) {
		n := 0
		r := offerInBubble(t, Plan{Connections: 1, Rate: 1000, Duration: time.Second}, answering(func() time.Duration {
			if n++; n > 500 {
				return forever
			}
			return 0
		}), nil, nil)
		if r.Requests != 500 || r.Unanswered != 1 || r.Unsent != 499 || r.Scheduled != 1000 || r.Failed() != 0 {
			t.Errorf("%d answered, %d unanswered, %d unsent of %d, Errors = %v; want 500, 1, 499, 1000",
				r.Requests, r.Unanswered, r.Unsent, r.Scheduled, r.Errors)
		}
		if longest := time.Duration(r.Latency.Max()); !near(longest, 500*time.Millisecond) || r.Latency.TotalCount() != 1000 {
			t.Errorf("%d latencies up to %v; want 1000 up to 500ms", r.Latency.TotalCount(), longest)
		}
	})
}

func TestSchedule(t *testing.T) {
	for _, tt := range []struct {
		name      string
		plan      Plan
		scheduled int64
		elapsed   time.Duration
	}{
		{"rate times duration", Plan{Rate: 100, Duration: 2 * time.Second}, 200, 2 * time.Second},
		{"the warm-up is left out", Plan{Rate: 100, Warmup: time.Second, Duration: 2 * time.Second}, 200, 2 * time.Second},
		{"a rate that divides nothing", Plan{Rate: 3, Duration: time.Second}, 3, time.Second},
		{"less than one a second", Plan{Rate: 0.5, Duration: 5 * time.Second}, 3, 5 * time.Second},
		{"a bound", Plan{Rate: 100, Requests: 42, Duration: time.Minute}, 42, 410 * time.Millisecond},
		{"a bound after a warm-up", Plan{Rate: 100, Requests: 42, Warmup: time.Second}, 42, 410 * time.Millisecond},
		{"a bound that is not reached", Plan{Rate: 100, Requests: 1000, Duration: time.Second}, 100, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := offerInBubble(t, tt.plan, answering(always(0)), nil, nil)
			if r.Scheduled != tt.scheduled || r.Requests != tt.scheduled || r.Elapsed.Round(time.Microsecond) != tt.elapsed {
				t.Errorf("Scheduled = %d, Requests = %d in %v; want %d in %v", r.Scheduled, r.Requests, r.Elapsed, tt.scheduled, tt.elapsed)
			}
		})
	}
}

func TestClosedLoopCounts(t *testing.T) {
	const each = 10 * time.Millisecond
	for _, tt := range []struct {
		name     string
		plan     Plan
		requests int64
		elapsed  time.Duration
	}{
		{"the answers of the measured time", Plan{Connections: 3, Duration: 995 * time.Millisecond}, 3 * 99, 995 * time.Millisecond},
		{"not those of the warm-up", Plan{Connections: 3, Warmup: 505 * time.Millisecond, Duration: time.Second}, 3 * 100, time.Second},
		{"up to the bound", Plan{Connections: 4, Requests: 10}, 10, 3 * each},
		{"up to the bound after a warm-up", Plan{Connections: 4, Requests: 10, Warmup: 995 * time.Millisecond}, 10, 25 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := offerInBubble(t, tt.plan, answering(always(each)), nil, nil)
			if r.Requests != tt.requests || r.Elapsed != tt.elapsed || r.Failed() != 0 {
				t.Errorf("Requests = %d in %v, Errors = %v; want %d in %v", r.Requests, r.Elapsed, r.Errors, tt.requests, tt.elapsed)
			}
			if longest := time.Duration(r.Latency.Max()); !near(longest, each) {
				t.Errorf("max = %v, want %v", longest, each)
			}
		})
	}
}

func TestTimeoutInTime(t *testing.T) {
	r := offerInBubble(t, Plan{Connections: 1, Timeout: time.Second, Duration: 10500 * time.Millisecond}, answering(always(forever)), nil, nil)
	// One is noticed each second or up to a tenth later.
	if n := r.Errors["timeout"]; n < 9 || n > 10 || r.Failed() != n {
		t.Errorf("Errors = %v; want 9 or 10 timeouts", r.Errors)
	}
}

func TestBackOff(t *testing.T) {
	answer := answering(always(0))
	refused := errors.New("connection refused")
	t.Run("a target that refuses is tried ever less often", func(t *testing.T) {
		made := 0
		p := Plan{Connections: 8, Rate: 1000, PerConnection: 1, Duration: 2 * time.Second}
		r := offerInBubble(t, p, answer, func() error {
			if since := time.Since(bubbleStart); since >= 500*time.Millisecond && since < 1500*time.Millisecond {
				return refused
			}
			made++
			return nil
		}, nil)
		// After the first come those after pauses of 1, 2, 4 to 64 ms, which sum
		// up to 127 ms, and then 8 after 100 ms each.
		if want := map[string]int64{"connect": 1 + 7 + 8}; !maps.Equal(r.Errors, want) {
			t.Errorf("Errors = %v, want %v", r.Errors, want)
		}
		if r.Scheduled != 2000 || r.Requests != 2000-r.Failed() || made != int(r.Requests) {
			t.Errorf("%d of %d answered on %d connections; want all that did not fail", r.Requests, r.Scheduled, made)
		}
		if longest := time.Duration(r.Latency.Max()); longest < time.Second || longest > 1200*time.Millisecond {
			t.Errorf("max = %v; want the second of the outage and at most one pause", longest)
		}
	})
	t.Run("a target that comes up within a second is waited for", func(t *testing.T) {
		attempts := 0
		r := offerInBubble(t, Plan{Connections: 4, Duration: time.Second, Rate: 10}, answer, func() error {
			if attempts++; time.Since(bubbleStart) < 700*time.Millisecond {
				return refused
			}
			return nil
		}, nil)
		if r.Failed() != 0 || r.Requests != 10 || r.Connections != 4 {
			t.Errorf("Requests = %d, Errors = %v, Connections = %d; want 10, none, 4", r.Requests, r.Errors, r.Connections)
		}
		if attempts > 8+6+4+3 {
			t.Errorf("%d attempts in 700ms; want few", attempts)
		}
	})
}

func TestNothingConnects(t *testing.T) {
	refused := errors.New("connection refused")
	for name, p := range map[string]Plan{
		"before the start": {Connections: 3}, "with the first requests": {Connections: 3, PerConnection: 1, Rate: 100},
	} {
		t.Run(name, func(t *testing.T) {
			attempts := 0
			var last time.Duration
			_, err := tryInBubble(t, p, answering(always(0)), func() error {
				attempts++
				last = time.Since(bubbleStart)
				return refused
			}, nil)
			if !errors.Is(err, refused) || last < time.Second || last > 1100*time.Millisecond || attempts > 3*(8+10) {
				t.Errorf("%v after %d attempts in %v; want %v after few in a second", err, attempts, last, refused)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	var got []Progress
	p := Plan{Connections: 2, Rate: 100, Warmup: 1500 * time.Millisecond, Duration: 2 * time.Second}
	offerInBubble(t, p, answering(always(10*time.Millisecond)), nil, func(p Progress) { got = append(got, p) })
	if len(got) != 3 {
		t.Fatalf("%d reports in 3.5s; want 3", len(got))
	}
	for i, p := range got {
		at := time.Duration(i+1) * time.Second
		if p.Total != 3500*time.Millisecond || p.Elapsed != at || p.Warmup != (i == 0) || p.Failed != 0 {
			t.Errorf("report %d: %+v", i, p)
		}
		if want := []int64{100, 50, 150}[i]; p.Requests < want-2 || p.Requests > want {
			t.Errorf("report %d: %d requests, want %d but for those on their way", i, p.Requests, want)
		}
		if (p.P50-10*time.Millisecond).Abs() > 200*time.Microsecond || p.P99 < p.P50 {
			t.Errorf("report %d: p50 = %v, p99 = %v; want 10ms", i, p.P50, p.P99)
		}
	}
}
