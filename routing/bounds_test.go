// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// boundsOf compiles a text and decides a request at its first gateway.
func boundsOf(t *testing.T, text string) (routing.Entry, routing.Bounds) {
	t.Helper()
	s := compileBounds(t, nil, text, 1)
	g := s.Gateways()[0]
	var d routing.Decision
	s.Decide(g, new(routingtest.Request), new(routingtest.Counters), &d)
	var room routing.Bounds
	return g.Entry, *d.Bounds(&room)
}

func compileBounds(t *testing.T, prev *routing.Snapshot, text string, revision uint64) *routing.Snapshot {
	t.Helper()
	docs, faults := routing.Read("bounds.yaml", []byte(text))
	table, more := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: revision}
	s, most := routing.Compile(prev, table, routing.CompileOptions{})
	for _, f := range append(append(faults, more...), most...) {
		if f.Severity == routing.Refused {
			t.Fatal(f)
		}
	}
	return s
}

func TestEntry(t *testing.T) {
	for _, tt := range []struct {
		name, settings string
		want           routing.Entry
	}{
		{
			"without settings the defaults hold", "",
			routing.Entry{Head: 32768, Fields: 200, Target: 16384, HeadTimeout: 10 * time.Second, KeepAlive: 65 * time.Second},
		},
		{
			"what is written holds",
			"limits: {head: 2KiB, fields: 10, target: 100}, timeouts: {head: 1s, keep_alive: 2m}",
			routing.Entry{Head: 2048, Fields: 10, Target: 100, HeadTimeout: time.Second, KeepAlive: 2 * time.Minute},
		},
		{
			"a target is no larger than the head", "limits: {head: 2KB}",
			routing.Entry{Head: 2048, Fields: 200, Target: 2048, HeadTimeout: 10 * time.Second, KeepAlive: 65 * time.Second},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := boundsOf(t, "{name: a, port: 1, sluice: {"+tt.settings+"}, routes: '[b:1]'}")
			if got != tt.want {
				t.Errorf("%s: Entry = %+v, want %+v", tt.settings, got, tt.want)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	with := func(change func(*routing.Bounds)) routing.Bounds {
		b := routing.Bounds{
			Body: routing.Unlimited, AnswerHead: 65536, MinRate: routing.Rate{Bytes: 1024, Window: 30 * time.Second},
			Connect: 5 * time.Second, FirstByte: 50 * time.Second, Idle: 50 * time.Second,
			UpstreamKeepAlive: 30 * time.Second, Tunnel: time.Hour, Total: routing.Never,
			HalfClosed: 5 * time.Second,
		}
		change(&b)
		return b
	}
	for _, tt := range []struct {
		name, text string
		want       routing.Bounds
	}{
		{
			"without settings the defaults hold",
			"{name: a, port: 1, routes: '[b:1]'}",
			with(func(*routing.Bounds) {}),
		},
		{
			"what the gateway says holds for its routes",
			"{name: a, port: 1, routes: '[b:1]', sluice: {limits: {body: 3GB, answer_head: 2KB, min_rate: 5KB over 1m}, timeouts: {connect: 1s, first_byte: 2s, idle: 3s, upstream_keep_alive: 4s, tunnel: 5s, total: 6s, half_closed: 7s}}}",
			routing.Bounds{
				Body: 3 << 30, AnswerHead: 2048, MinRate: routing.Rate{Bytes: 5120, Window: time.Minute},
				Connect: time.Second, FirstByte: 2 * time.Second, Idle: 3 * time.Second,
				UpstreamKeepAlive: 4 * time.Second, Tunnel: 5 * time.Second, Total: 6 * time.Second, HalfClosed: 7 * time.Second,
			},
		},
		{
			"a route wins over its gateway, also by lifting a limit",
			"{name: a, port: 1, sluice: {limits: {body: 1KB, min_rate: 5KB}, timeouts: {idle: 1s, total: 1m}}, routes: {'[b:1]': {sluice: {limits: {body: unlimited, min_rate: none}, timeouts: {idle: 2s, total: none}}}}}",
			with(func(b *routing.Bounds) { b.MinRate, b.Idle = routing.Any, 2*time.Second }),
		},
		{
			"a half-closed client may be waited with not at all",
			"{name: a, port: 1, sluice: {timeouts: {half_closed: 0s}}, routes: '[b:1]'}",
			with(func(b *routing.Bounds) { b.HalfClosed = 0 }),
		},
		{
			"a route waits with half-closed clients though its gateway does not",
			"{name: a, port: 1, sluice: {timeouts: {half_closed: 0s}}, routes: {'[b:1]': {sluice: {timeouts: {half_closed: none}}}}}",
			with(func(b *routing.Bounds) { b.HalfClosed = routing.Never }),
		},
		{
			"a rate without a window is judged over 30 s",
			"{name: a, port: 1, sluice: {limits: {min_rate: 100}}, routes: '[b:1]'}",
			with(func(b *routing.Bounds) { b.MinRate.Bytes = 100 }),
		},
		{
			"of a chain, what is written nearest to the target counts",
			"[{name: a, port: 1, routes: c, sluice: {timeouts: {idle: 1s, first_byte: 1s}}}, {name: c, port: 2, routes: '[b:1]', sluice: {timeouts: {idle: 2s}}}]",
			with(func(b *routing.Bounds) { b.Idle, b.FirstByte = 2*time.Second, time.Second }),
		},
		{
			"the content must fit all gateways of a chain",
			"[{name: a, port: 1, routes: c, sluice: {limits: {body: 10}}}, {name: c, port: 2, routes: '[b:1]', sluice: {limits: {body: unlimited}}}]",
			with(func(b *routing.Bounds) { b.Body = 10 }),
		},
		{
			"a request without a route has what its gateway says",
			"{name: a, port: 1, routes: {'[b:1]': {weight: 0%, sluice: {timeouts: {idle: 5s}}}}, sluice: {timeouts: {idle: 2s}}}",
			with(func(b *routing.Bounds) { b.Idle = 2 * time.Second }),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := boundsOf(t, tt.text); got != tt.want {
				t.Errorf("%s:\nBounds = %+v,\nwant     %+v", tt.text, got, tt.want)
			}
		})
	}
}

func TestChangedBoundsAreCompiled(t *testing.T) {
	for _, tt := range []struct{ name, before, after string }{
		{"of a gateway", "{name: a, port: 1, routes: '[b:1]', sluice: {limits: {body: 1KB}}}", "{name: a, port: 1, routes: '[b:1]', sluice: {limits: {body: 2KB}}}"},
		{"of a gateway, in time", "{name: a, port: 1, routes: '[b:1]'}", "{name: a, port: 1, routes: '[b:1]', sluice: {timeouts: {idle: 1s}}}"},
		{"of a route", "{name: a, port: 1, routes: {'[b:1]': {sluice: {limits: {body: 1KB}}}}}", "{name: a, port: 1, routes: {'[b:1]': {}}}"},
		{"of a route, in time", "{name: a, port: 1, routes: {'[b:1]': {}}}", "{name: a, port: 1, routes: {'[b:1]': {sluice: {timeouts: {total: 1s}}}}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := compileBounds(t, nil, tt.before, 1)
			second := compileBounds(t, first, tt.after, 2)
			if first.Gateways()[0] == second.Gateways()[0] {
				t.Fatal("the gateway is taken for unchanged")
			}
			if *first.Gateways()[0].Routes[0].Bounds == *second.Gateways()[0].Routes[0].Bounds {
				t.Error("the bounds of the route did not change")
			}
		})
	}
}

func TestWiden(t *testing.T) {
	a := routing.Entry{Head: 1, Fields: 20, Target: 3, HeadTimeout: 40, KeepAlive: 5}
	a.Widen(&routing.Entry{Head: 10, Fields: 2, Target: 30, HeadTimeout: 4, KeepAlive: 50})
	if want := (routing.Entry{Head: 10, Fields: 20, Target: 30, HeadTimeout: 40, KeepAlive: 50}); a != want {
		t.Errorf("Widen gives %+v, want %+v", a, want)
	}
}

// What is read is within its bounds, however it is written.
func FuzzBounds(f *testing.F) {
	f.Add("32KB", "1KB over 30s", "1m30s")
	f.Add("9223372036854775807TB", "18014398509481985KB", "2562047h47m16.854775807s")
	f.Add("unlimited", "none", "none")
	f.Add("1KiB", "0 over 0s", "-1ns")
	f.Fuzz(func(t *testing.T, size, rate, total string) {
		written := make([]any, 0, 3)
		for _, text := range []string{size, rate, total} {
			b, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			written = append(written, b)
		}
		text := fmt.Sprintf(`{"name": "a", "port": 1, "sluice": {"limits": {"body": %s, "min_rate": %s}, "timeouts": {"total": %s}}}`, written...)
		docs, faults := routing.Read("x", []byte(text))
		if len(faults) > 0 || len(docs) == 0 {
			return
		}
		table, _ := routing.Resolve(docs)
		g := table.Gateways[0]
		if n := g.Limits.Value().Body; n != routing.Unlimited && (n < 1 || n > 1<<50) {
			t.Errorf("%q is a body of %d", size, n)
		}
		if r := g.Limits.Value().MinRate; r != routing.Any && (r.Bytes < 1 || r.Bytes > 1<<20 || r.Window < time.Second || r.Window > 10*time.Minute) {
			t.Errorf("%q is the rate %+v", rate, r)
		}
		if d := g.Timeouts.Value().Total; d != routing.Never && (d < 10*time.Millisecond || d > 24*time.Hour) {
			t.Errorf("%q is a time of %v", total, d)
		}
	})
}
