// SPDX-License-Identifier: Apache-2.0

package live_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
)

// stays is a client that does.
type stays struct{}

func (stays) Gone() bool { return false }

// admitted decides a request at a gateway at a time and asks its limits.
func (b *bench) admitted(name string, now int64) (*live.Exchange, live.Reason) {
	b.tb.Helper()
	x := new(live.Exchange)
	var r conditions.Request = request{}
	if reason := x.Decide(b.handle.Load(), b.snapshot.ByName(name), r, now, 0); reason != live.None {
		b.tb.Fatalf("Decide() = %v", reason)
	}
	if !x.Limited() {
		b.tb.Fatal("the exchange is not limited")
	}
	reason := x.Admit(r, stays{}, now)
	if reason != live.None {
		x.Fail(reason)
	}
	return x, reason
}

const limited = `
name: a
port: 9001
sluice: {limits: {rate: {requests: 100, per: 1h}}}
routes:
  b: {sluice: {limits: {requests: 2, queue: 0}}}
---
name: b
routes:
  "[127.0.0.1:81]": {sluice: {limits: {requests: 1, queue: 0, instance_requests: 5, rate: {requests: 50, per: 1h}, breaker: {errors: 50%, at_least: 2}}}}
---
name: free
port: 9002
routes: {"[127.0.0.1:82]": {}}
`

func TestLimitsOfAllHopsHold(t *testing.T) {
	b := newBench(t)
	b.bind(limited)
	first, reason := b.admitted("a", 1000)
	if reason != live.None {
		t.Fatalf("Admit() = %v", reason)
	}
	outer, inner := b.gateway("a").Routes[0].Limits, b.gateway("b").Routes[0].Limits
	if outer.Slots.Taken() != 1 || inner.Slots.Taken() != 1 {
		t.Errorf("%d and %d slots taken, want one each", outer.Slots.Taken(), inner.Slots.Taken())
	}
	second, reason := b.admitted("a", 1000)
	if reason != live.Overloaded {
		t.Errorf("Admit() = %v of a second one, want overloaded", reason)
	}
	second.End(2000)
	if outer.Slots.Taken() != 1 {
		t.Errorf("%d outer slots taken after the second was refused, want 1", outer.Slots.Taken())
	}
	first.End(2000)
	if outer.Slots.Taken() != 0 || inner.Slots.Taken() != 0 {
		t.Errorf("%d and %d slots taken at the end, want none", outer.Slots.Taken(), inner.Slots.Taken())
	}
	first.End(3000) // of an exchange that is over
	if outer.Slots.Taken() != 0 {
		t.Error("a slot was given back twice")
	}
}

func TestBreakersSeeWhatInstancesDo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		code   int
		reason live.Reason
		opens  bool
	}{
		{"an answer 200", 200, live.None, false},
		{"an answer 404", 404, live.None, false},
		{"an answer 500", 500, live.None, true},
		{"a connection that is refused", 502, live.ConnectRefused, true},
		{"no answer in time", 504, live.ResponseTimeout, true},
		{"an answer that is cut", 200, live.ResponseAborted, true},
		{"a client that goes away", 0, live.RequestAborted, false},
		{"a request that is too large", 413, live.BodyTooLarge, false},
		{"a failure of ours", 503, live.Overloaded, false},
		{"no status", 0, live.None, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.bind(limited)
			now := int64(time.Second)
			for range 4 {
				x, reason := b.admitted("b", now)
				if reason != live.None {
					t.Fatalf("Admit() = %v", reason)
				}
				x.Fail(tt.reason)
				x.Seen.Code = tt.code
				now += int64(200 * time.Millisecond)
				x.End(now)
				if tt.opens && b.gateway("b").Routes[0].Limits.Breaker.Opened() > 0 {
					break
				}
			}
			x, reason := b.admitted("b", now)
			if open := reason == live.CircuitOpen; open != tt.opens {
				t.Errorf("Admit() = %v", reason)
			} else if open && (x.Denied.Wait <= 0 || x.Denied.Wait > 5*time.Second) {
				t.Errorf("it is to wait for %v, want up to 5s", x.Denied.Wait)
			}
			x.End(now)
			if n := b.gateway("b").Routes[0].Limits.Slots.Taken(); n != 0 {
				t.Errorf("%d slots taken at the end, want none", n)
			}
		})
	}
}

func TestLimitsStayWithTheirRoute(t *testing.T) {
	b := newBench(t)
	b.bind(limited)
	x, _ := b.admitted("a", 1000)
	outer, inner := b.gateway("a").Routes[0].Limits, b.gateway("b").Routes[0].Limits
	rate := b.gateway("a").Rates[0]
	if b.gateway("free").Limited {
		t.Error("a gateway without limits is limited")
	}

	b.bind(strings.ReplaceAll(strings.Replace(limited, "port: 9001", "port: 9003", 1), "81", "83"))
	if b.gateway("a").Rates[0] != rate || b.gateway("a").Routes[0].Limits != outer {
		t.Error("limits were replaced though only the port changed")
	}
	if b.gateway("b").Routes[0].Limits == inner {
		t.Error("a route to another address took limits over")
	}

	b.bind(limited)
	outer = b.gateway("a").Routes[0].Limits
	b.bind(strings.Replace(limited, "requests: 2, queue: 0", "requests: 1, queue: 0", 1))
	if b.gateway("a").Routes[0].Limits.Slots != outer.Slots {
		t.Error("slots were replaced though only their number changed")
	}
	if _, reason := b.admitted("a", 2000); reason != live.Overloaded {
		t.Errorf("Admit() = %v with the one slot taken that is left, want overloaded", reason)
	}
	x.End(3000)

	b.bind(strings.Replace(limited, "requests: 100, per", "requests: 101, per", 1))
	if b.gateway("a").Rates[0] == rate {
		t.Error("a rate stays though it is asked for otherwise")
	}
	b.bind(strings.Replace(limited, "{errors: 50%, at_least: 2}", "none", 1))
	l := b.gateway("b").Routes[0].Limits
	if l.Breaker != nil || l.Slots == nil || l.Crowd == nil {
		t.Errorf("limits %+v after the breaker went, want all but it", l)
	}
	if got := b.gateway("b").Routes[0].Series.ReadLoad(); !got.Queues || got.Breaks {
		t.Errorf("the series tell %+v, want a queue and no breaker", got)
	}
	b.bind("{name: b, routes: {\"[127.0.0.1:81]\": {}}}")
	if g := b.gateway("b"); g.Limited || g.Routes[0].Limits != nil || g.Routes[0].Series.ReadLoad().Queues {
		t.Error("limits stay though they are not asked for")
	}
}

func TestAdmitDoesNotAllocate(t *testing.T) {
	b := newBench(t)
	b.bind(strings.NewReplacer("requests: 100, per: 1h", "requests: 1000000", "requests: 50, per: 1h", "requests: 1000000").Replace(limited))
	gen, g := b.handle.Load(), b.snapshot.ByName("a")
	x := new(live.Exchange)
	var r conditions.Request = &request{}
	now := int64(time.Second)
	if n := testing.AllocsPerRun(1000, func() {
		now += int64(time.Millisecond)
		x.Decide(gen, g, r, now, 1)
		if reason := x.Admit(r, stays{}, now); reason != live.None {
			t.Fatalf("Admit() = %v", reason)
		}
		x.Seen.Code = 200
		x.End(now + 10)
	}); n != 0 {
		t.Errorf("%v allocations an exchange, want 0", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, tt := range []struct{ name, settings string }{
		{"without limits", "{}"},
		{"rate", "{rate: {requests: 1000000, per: 100ms, burst: 100000000}}"},
		{"rate by header", "{rate: {requests: 1000000, per: 100ms, burst: 100000000, key: header(x-key)}}"},
		{"requests", "{requests: 1000}"},
		{"breaker", "{breaker: {errors: 50%}}"},
		{"all", "{requests: 1000, breaker: {errors: 50%}, rate: {requests: 1000000, per: 100ms, burst: 100000000}}"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			bound := newBench(b)
			gen := bound.bind("{name: a, port: 9001, routes: {\"[127.0.0.1:81]\": {sluice: {limits: " + tt.settings + "}}}}")
			g := bound.snapshot.ByName("a")
			x := new(live.Exchange)
			var r conditions.Request = &request{"X-Key", "client"}
			now := int64(time.Second)
			b.ReportAllocs()
			for b.Loop() {
				now += 1000
				x.Decide(gen, g, r, now, 1)
				if x.Limited() {
					if reason := x.Admit(r, stays{}, now); reason != live.None {
						b.Fatalf("Admit() = %v", reason)
					}
				}
				x.Seen.Code = 200
				x.End(now + 100)
			}
		})
	}
}
