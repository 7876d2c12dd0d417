// SPDX-License-Identifier: Apache-2.0

package live_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// bench binds one table after the other.
type bench struct {
	tb       testing.TB
	registry *metrics.Registry
	pool     *upstream.Pool
	binder   live.Binder
	snapshot *routing.Snapshot
	handle   live.Handle
	revision uint64
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	registry := metrics.New(metrics.Options{Reasons: live.Reasons(), Linger: -1})
	pool := upstream.New(upstream.Options{Sweeper: new(socket.Sweeper)})
	return &bench{tb: tb, registry: registry, pool: pool, binder: live.Binder{Registry: registry, Pool: pool}}
}

// bind makes a text of gateways the present generation.
func (b *bench) bind(text string) *live.Generation {
	b.tb.Helper()
	docs, faults := routing.Read("test.yaml", []byte(text))
	table, more := routing.Resolve(docs)
	b.revision++
	table.Version = routing.Version{Epoch: 1, Revision: b.revision}
	snapshot, last := routing.Compile(b.snapshot, table, routing.CompileOptions{Seed: 1})
	for _, list := range [][]*routing.Fault{faults, more, last} {
		for _, f := range list {
			if f.Severity == routing.Refused {
				b.tb.Fatalf("fault: %v", f)
			}
		}
	}
	b.snapshot = snapshot
	gen := b.binder.Bind(b.tb.Context(), b.handle.Load(), snapshot)
	b.handle.Store(gen)
	b.binder.Retain(gen)
	return gen
}

func (b *bench) gateway(name string) *live.Gateway {
	b.tb.Helper()
	g := b.snapshot.ByName(name)
	if g == nil {
		b.tb.Fatalf("no gateway %s", name)
	}
	return b.handle.Load().Gateway(g)
}

// exchange decides a request at the gateway and ends it with code.
func (b *bench) exchange(name string, r conditions.Request, code int) live.Reason {
	b.tb.Helper()
	var x live.Exchange
	reason := x.Decide(b.handle.Load(), b.snapshot.ByName(name), r, 1000, 0)
	if reason != live.None {
		x.Fail(reason)
		code = reason.Status()
	}
	x.Seen.Code, x.Seen.BytesIn, x.Seen.BytesOut, x.Seen.Upstream = code, 10, 20, time.Millisecond
	x.End(1000 + int64(time.Second))
	return reason
}

// request is a request with one header field.
type request struct{ name, value string }

func (request) Method() string         { return "GET" }
func (request) Host() string           { return "shop.example" }
func (request) Target() string         { return "/" }
func (request) Path() string           { return "/" }
func (request) Query() string          { return "" }
func (request) Conn() *conditions.Conn { return new(conditions.Conn) }
func (request) Random() uint32         { return 0 }
func (r request) Field(name string, from int) (string, int) {
	if from == 0 && strings.EqualFold(name, r.name) {
		return r.value, 1
	}
	return "", -1
}

func TestHandle(t *testing.T) {
	var h live.Handle
	if gen := h.Load(); gen == nil || len(gen.Snapshot.Gateways()) != 0 {
		t.Error("the zero Handle does not hold an empty generation")
	}
	next := &live.Generation{Snapshot: new(routing.Snapshot)}
	h.Store(next)
	if h.Load() != next {
		t.Error("Load does not return what was stored")
	}
}

func TestBindCarriesOver(t *testing.T) {
	const first = `
name: a
port: 9001
routes: {"[127.0.0.1:81]": {weight: 50%}, "[127.0.0.1:82]": {weight: 50%}}
---
name: b
port: 9002
routes: {"[127.0.0.1:81]": {}}
`
	b := newBench(t)
	b.bind(first)
	a, other := b.gateway("a"), b.gateway("b")
	if a.Routes[0].Target == other.Routes[0].Target {
		t.Error("two routes share one rotation")
	}
	if a.Routes[0].Target.Instances()[0] != other.Routes[0].Target.Instances()[0] {
		t.Error("two routes to one address do not share its connections")
	}
	b.bind(first)
	if b.gateway("a") != a || b.gateway("b") != other {
		t.Error("a gateway that did not change was bound anew")
	}

	b.bind(strings.Replace(strings.ReplaceAll(first, "50%", "30%"), "30%", "70%", 1))
	next := b.gateway("a")
	if next == a || b.gateway("b") != other {
		t.Error("not exactly the gateway that changed was bound anew")
	}
	if next.Series != a.Series {
		t.Error("the series of a gateway were replaced")
	}
	for i := range next.Routes {
		if next.Routes[i] != a.Routes[i] {
			t.Errorf("route %d: target or series were replaced though only weights changed", i)
		}
	}

	b.bind(strings.Replace(first, ":82", ":83", 1))
	last := b.gateway("a")
	if last.Routes[0] != next.Routes[0] {
		t.Error("a route that stays was replaced")
	}
	if got := last.Routes[1].Target.Instances()[0].String(); got != "127.0.0.1:83" {
		t.Errorf("the route leads to %s, want 127.0.0.1:83", got)
	}
}

func TestBindReusesNoSlotForAnotherName(t *testing.T) {
	b := newBench(t)
	b.bind("{name: a, port: 9001, routes: {\"[127.0.0.1:81]\": {}}}")
	a := b.gateway("a")
	b.bind("{name: b, port: 9001, routes: {\"[127.0.0.1:81]\": {}}}")
	if next := b.gateway("b"); next.Series == a.Series || next.Routes[0].Target == a.Routes[0].Target {
		t.Error("a gateway took over the live parts of another one")
	}
}

func TestRetainLetsGo(t *testing.T) {
	b := newBench(t)
	both := "{name: a, port: 9001, routes: {\"[127.0.0.1:81]\": {}, \"[127.0.0.1:82]\": {}}}\n---\n{name: b, port: 9002, routes: {\"[127.0.0.1:83]\": {}}}\n"
	b.bind(both)
	instance := b.gateway("b").Routes[0].Target.Instances()[0]
	series := b.gateway("a").Series
	b.bind("{name: a, port: 9001, routes: {\"[127.0.0.1:81]\": {}}}")
	if list := b.registry.Gateways(); len(list) != 1 || list[0] != series {
		t.Errorf("%d gateways have series, want a alone", len(list))
	}
	if routes := series.Routes(); len(routes) != 1 || routes[0].Path() != "[127.0.0.1:81]" {
		t.Errorf("%d routes have series, want the one that is left", len(routes))
	}
	b.bind(both)
	if b.gateway("b").Routes[0].Target.Instances()[0] == instance {
		t.Error("an instance that nothing led to was kept")
	}
}

func TestSharesAndConditionsAreSet(t *testing.T) {
	b := newBench(t)
	b.bind(`
name: g
port: 9001
routes:
  "[127.0.0.1:81]": {weight: 90%}
  "[127.0.0.1:82]": {weight: 10%, condition: header X-Tier has gold, condition_strength: 50%}
`)
	g := b.gateway("g")
	shares := g.Series.ReadShares()
	if len(shares) != 2 || shares[0].Asked != 0.9 || shares[1].Asked != 0.1 {
		t.Errorf("shares = %+v, want 0.9 and 0.1", shares)
	}
	conds := g.Series.ReadConditions()
	if len(conds) != 1 || conds[0].Route != "[127.0.0.1:82]" || conds[0].Condition != g.Compiled.Conditions[0].Condition.String() {
		t.Errorf("conditions = %+v, want the one of the second route", conds)
	}
	b.bind("{name: g, port: 9001, routes: {\"[127.0.0.1:81]\": {weight: 0%}}}")
	if shares := b.gateway("g").Series.ReadShares(); len(shares) != 1 || shares[0].Asked != 0 {
		t.Errorf("shares = %+v, want 0 of a gateway whose weights are all 0", shares)
	}
}

func TestUsable(t *testing.T) {
	b := newBench(t)
	gen := b.bind(`
name: g
port: 9001
routes:
  "[127.0.0.1:81]": {weight: 40%}
  missing: {weight: 60%}
`)
	g := b.snapshot.ByName("g")
	if !gen.Usable(g, g.Routes[0]) {
		t.Error("a route to an address is not usable")
	}
	if gen.Usable(g, g.Routes[1]) {
		t.Error("a route that leads nowhere is usable")
	}
	first := gen.Ticket(g.Weights)
	if second := gen.Ticket(g.Weights); second != first+1 {
		t.Errorf("tickets %d and %d, want successive ones", first, second)
	}
}

// totals reads what a gateway, or one of its routes, counted.
func totals(g *live.Gateway, route int) metrics.Totals {
	var t metrics.Totals
	if route < 0 {
		g.Series.Read(&t)
	} else {
		g.Routes[route].Series.Read(&t)
	}
	return t
}

func TestExchangeCounts(t *testing.T) {
	const chain = `
name: front
port: 9001
routes:
  canary: {weight: 0%, condition: header X-Tier has gold, condition_strength: 50%}
  "[127.0.0.1:81]": {weight: 100%}
  missing: {weight: 0%, condition: header X-Tier has lead}
---
name: canary
routes: {"[127.0.0.1:82]": {}}
---
name: closed
port: 9002
routes: {"[127.0.0.1:81]": {weight: 0%}}
`
	type counts struct {
		gateway string
		route   int // -1: the gateway itself
		class   metrics.Class
		n       uint64
	}
	for _, tt := range []struct {
		name, gateway string
		request       request
		requests      int
		code          int
		reason        live.Reason
		want          []counts
		conditions    [][3]uint64 // evaluations, matches, selected of front's
		decided       uint64      // by the weights of the gateway
	}{
		{
			"by weight", "front",
			request{},
			4, 200, live.None,
			[]counts{{"front", -1, metrics.Class2xx, 4}, {"front", 1, metrics.Class2xx, 4}, {"canary", -1, metrics.Class2xx, 0}},
			[][3]uint64{{4, 0, 0}, {4, 0, 0}},
			4,
		},
		{
			"half by a condition, through a chain", "front",
			request{"X-Tier", "gold"},
			4, 404, live.None,
			[]counts{
				{"front", -1, metrics.Class4xx, 4},
				{"front", 0, metrics.Class4xx, 2},
				{"front", 1, metrics.Class4xx, 2},
				{"canary", -1, metrics.Class4xx, 2},
				{"canary", 0, metrics.Class4xx, 2},
			},
			[][3]uint64{{4, 4, 2}, {0, 0, 0}},
			2,
		},
		{
			"a route without instances", "front",
			request{"X-Tier", "lead"},
			3, 0, live.NoReadyInstance,
			[]counts{{"front", -1, metrics.Class5xx, 3}, {"front", 2, metrics.Class5xx, 3}, {"front", 1, metrics.Class5xx, 0}},
			[][3]uint64{{3, 0, 0}, {3, 3, 3}},
			0,
		},
		{
			"no route", "closed",
			request{},
			2, 0, live.NoRoute,
			[]counts{{"closed", -1, metrics.Class5xx, 2}, {"closed", 0, metrics.Class5xx, 0}},
			[][3]uint64{{0, 0, 0}, {0, 0, 0}},
			0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.bind(chain)
			for range tt.requests {
				if reason := b.exchange(tt.gateway, tt.request, tt.code); reason != tt.reason {
					t.Fatalf("Decide() = %v, want %v", reason, tt.reason)
				}
			}
			for _, w := range tt.want {
				got := totals(b.gateway(w.gateway), w.route)
				if got.Requests[w.class] != w.n || got.InFlight != 0 {
					t.Errorf("%s, route %d: %v requests, %d in flight; want %d of class %v", w.gateway, w.route, got.Requests, got.InFlight, w.n, w.class)
				}
				if got.BytesIn != 10*int64(w.n) || got.BytesOut != 20*int64(w.n) || got.Duration.Count() != w.n {
					t.Errorf("%s, route %d: %d bytes in, %d out, %d durations of %d exchanges", w.gateway, w.route, got.BytesIn, got.BytesOut, got.Duration.Count(), w.n)
				}
				if tt.reason != live.None && got.Reasons[tt.reason] != w.n {
					t.Errorf("%s, route %d: %d failures of reason %v, want %d", w.gateway, w.route, got.Reasons[tt.reason], tt.reason, w.n)
				}
				if w.route >= 0 && got.Upstream.Count() != w.n {
					t.Errorf("%s, route %d: %d times of instances, want %d", w.gateway, w.route, got.Upstream.Count(), w.n)
				}
			}
			for i, c := range b.gateway("front").Series.ReadConditions() {
				if got := [3]uint64{c.Evaluations, c.Matches, c.Selected}; got != tt.conditions[i] {
					t.Errorf("condition %d counted %v, want %v", i, got, tt.conditions[i])
				}
			}
			for _, s := range b.gateway(tt.gateway).Series.ReadShares() {
				if s.Decided != tt.decided {
					t.Errorf("%d requests decided by weight, want %d", s.Decided, tt.decided)
				}
			}
		})
	}
}

func TestExchangeUnderWay(t *testing.T) {
	const text = "{name: g, port: 9001, routes: {\"[127.0.0.1:81]\": {}}}"
	b := newBench(t)
	b.bind(text)
	g := b.gateway("g")
	var x live.Exchange
	if reason := x.Decide(b.handle.Load(), b.snapshot.ByName("g"), request{}, 5, 3); reason != live.None {
		t.Fatal(reason)
	}
	if got := totals(g, 0); got.InFlight != 1 {
		t.Errorf("%d in flight, want 1", got.InFlight)
	}
	if target := x.Target(); target != g.Routes[0].Target {
		t.Error("Target() is not that of the decided route")
	}
	if d := x.Elapsed(5 + 7e6); d != 7*time.Millisecond {
		t.Errorf("Elapsed() = %v, want 7ms", d)
	}
	if d := x.Since(3e6, 5e6); d != 2*time.Millisecond {
		t.Errorf("Since() = %v, want 2ms", d)
	}
	// The gateway goes while the exchange is under way: it counts where it
	// began.
	b.bind("{name: other, port: 9001, routes: {\"[127.0.0.1:82]\": {}}}")
	x.Fail(live.UpstreamReset)
	x.Seen.Code = live.UpstreamReset.Status()
	x.End(10)
	if got := totals(g, 0); got.InFlight != 0 || got.Requests[metrics.Class5xx] != 1 || got.Reasons[live.UpstreamReset] != 1 {
		t.Errorf("totals = %+v, want one failure by upstream_reset", got)
	}
	if got := totals(b.gateway("other"), -1); got.Requests != [metrics.Classes]uint64{} {
		t.Error("another gateway counted it")
	}
	// The same Exchange serves the next one, with nothing left over.
	if reason := x.Decide(b.handle.Load(), b.snapshot.ByName("other"), request{}, 20, 3); reason != live.None || x.Seen != (metrics.Observation{}) {
		t.Errorf("Decide() = %v with %+v seen, want a fresh exchange", reason, x.Seen)
	}
	x.End(30)
}

func TestDecideAndEndDoNotAllocate(t *testing.T) {
	b := newBench(t)
	b.bind("{name: g, port: 9001, routes: {\"[127.0.0.1:81]\": {weight: 60%}, \"[127.0.0.1:82]\": {weight: 40%, condition: header X-Tier has gold}}}")
	gen, g := b.handle.Load(), b.snapshot.ByName("g")
	x := new(live.Exchange)
	var r conditions.Request = &request{"X-Tier", "silver"}
	if n := testing.AllocsPerRun(1000, func() {
		x.Decide(gen, g, r, 0, 1)
		x.End(10)
	}); n != 0 {
		t.Errorf("%v allocations an exchange, want 0", n)
	}
}

// The names are labels of metrics and values of a header: dashboards and
// alerts hold on to them.
func TestReasonsAreStable(t *testing.T) {
	const want = "none no_gateway no_route no_ready_instance connect_refused connect_timeout connect_failed upstream_reset " +
		"upstream_protocol response_timeout bad_request request_timeout request_aborted response_aborted head_too_large " +
		"target_too_long body_too_large version_not_supported method_not_allowed coding_not_supported shutting_down internal_error"
	if got := strings.Join(live.Reasons(), " "); !strings.HasPrefix(got, want) {
		t.Errorf("reasons = %s\nwant them to begin with %s", got, want)
	}
	seen := map[string]bool{}
	for i, name := range live.Reasons() {
		r := live.Reason(i)
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" || seen[name] {
			t.Errorf("reason %d: the name %q is empty, not a label, or there twice", i, name)
		}
		seen[name] = true
		if r.String() != name {
			t.Errorf("reason %d: String() = %q, want %q", i, r, name)
		}
		if r == live.None {
			continue
		}
		if s := r.Status(); s < 400 || s > 599 {
			t.Errorf("%s: status %d, want one of an error", name, s)
		}
		if text := r.Text(); text == "" || strings.ToLower(text[:1]) != text[:1] || strings.HasSuffix(text, ".") {
			t.Errorf("%s: text %q, want a lower-case sentence without full stop", name, text)
		}
	}
	if len(seen) > 40 {
		t.Errorf("%d reasons, of which metrics tell only 40 apart", len(seen))
	}
}

func TestStatuses(t *testing.T) {
	for r, want := range map[live.Reason]int{
		live.NoGateway: 503, live.NoRoute: 503, live.NoReadyInstance: 503, live.ConnectRefused: 502, live.ConnectTimeout: 504,
		live.UpstreamReset: 502, live.ResponseTimeout: 504, live.BadRequest: 400, live.RequestTimeout: 408, live.HeadTooLarge: 431,
		live.TargetTooLong: 414, live.BodyTooLarge: 413, live.MethodNotAllowed: 405, live.CodingNotSupported: 501,
	} {
		if got := r.Status(); got != want {
			t.Errorf("%v: status %d, want %d", r, got, want)
		}
	}
}

func TestDecisionFailure(t *testing.T) {
	for r, want := range map[routing.Reason]live.Reason{
		routing.ReasonNone: live.None, routing.ReasonNoRoute: live.NoRoute, routing.ReasonNoInstance: live.NoReadyInstance, 200: live.InternalError,
	} {
		if got := live.DecisionFailure(r); got != want {
			t.Errorf("DecisionFailure(%d) = %v, want %v", r, got, want)
		}
		if r < 200 && r.String() != "" && want.String() != r.String() {
			t.Errorf("%q and %q are names of one reason", r, want)
		}
	}
}

func TestConnectFailure(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Err: err}) }
	for _, tt := range []struct {
		name string
		err  error
		want live.Reason
	}{
		{"refused", dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), live.ConnectRefused},
		{"the kernel gave up", dial(os.NewSyscallError("connect", syscall.ETIMEDOUT)), live.ConnectTimeout},
		{"we gave up", dial(context.DeadlineExceeded), live.ConnectTimeout},
		{"a deadline", dial(os.ErrDeadlineExceeded), live.ConnectTimeout},
		{"no way there", dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), live.ConnectFailed},
		{"ended by the caller", dial(context.Canceled), live.ConnectFailed},
		{"anything else", errors.New("what"), live.ConnectFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := live.ConnectFailure(tt.err); got != tt.want {
				t.Errorf("ConnectFailure(%v) = %v, want %v", tt.err, got, tt.want)
			}
		})
	}
}

func TestBindLeadsToInstances(t *testing.T) {
	b := newBench(t)
	bind := func(ready ...bool) *live.Gateway {
		t.Helper()
		r := routingtest.Route("(1.0.3)", routing.FullWeight)
		for i, ready := range ready {
			r.Instances = append(r.Instances, &routing.Instance{Address: netip.MustParseAddr("127.0.0.1"), Port: 81 + i, Ready: ready})
		}
		g := routingtest.Gateway("a", 9001, r)
		g.Selector = "label(version)((.*))"
		b.revision++
		b.snapshot, _ = routing.Compile(b.snapshot, routingtest.Table(b.revision, g), routing.CompileOptions{Seed: 1})
		gen := b.binder.Bind(t.Context(), b.handle.Load(), b.snapshot)
		b.handle.Store(gen)
		b.binder.Retain(gen)
		return b.gateway("a")
	}
	first := bind(true, true)
	if reason := b.exchange("a", request{}, 200); reason != live.None {
		t.Errorf("a request fails: %v", reason)
	}
	next := bind(true)
	if got := next.Routes[0].Target.Instances(); len(got) != 1 || got[0] != first.Routes[0].Target.Instances()[0] {
		t.Errorf("instances %v, want the first of those before", got)
	}
	if next.Series != first.Series || next.Routes[0].Series != first.Routes[0].Series {
		t.Error("series were replaced though only instances changed")
	}
	bind(false)
	if reason := b.exchange("a", request{}, 0); reason != live.NoReadyInstance {
		t.Errorf("a request ends with %v though no instance is ready", reason)
	}
	bind()
	if reason := b.exchange("a", request{}, 0); reason != live.NoReadyInstance {
		t.Errorf("a request ends with %v though there is no instance", reason)
	}
}

func TestStatusesOfCalls(t *testing.T) {
	for r, want := range map[live.Reason]uint8{
		live.NoGateway: 14, live.NoRoute: 14, live.ConnectRefused: 14, live.ConnectTimeout: 4, live.UpstreamReset: 14, live.ResponseTimeout: 4,
		live.ExchangeTimeout: 4, live.BadRequest: 13, live.RequestAborted: 1, live.HeadTooLarge: 8, live.BodyTooLarge: 8,
		live.MethodNotAllowed: 12, live.InternalError: 13, live.Overloaded: 14, live.AddressLimit: 14, live.RateLimited: 8, live.CircuitOpen: 14,
		live.Misdirected: 14, live.CodingNotSupported: 13,
	} {
		if got := r.GRPC(r.Status()); got != want {
			t.Errorf("%v: grpc-status %d, want %d", r, got, want)
		}
	}
	for status, want := range map[int]uint8{401: 16, 403: 7, 404: 12} {
		if got := live.NoRoute.GRPC(status); got != want {
			t.Errorf("HTTP status %d: grpc-status %d, want %d", status, got, want)
		}
	}
}
