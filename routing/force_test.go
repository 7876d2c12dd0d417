// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// inForce returns a text of gateways, compiled.
func inForce(t *testing.T, yaml string) *routing.CompiledGateway {
	t.Helper()
	docs, faults := routing.Read("case.yaml", []byte(yaml))
	table, more := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	s, most := routing.Compile(nil, table, routing.CompileOptions{})
	for _, f := range append(append(faults, more...), most...) {
		if f.Severity == routing.Refused {
			t.Fatal(f)
		}
	}
	return s.ByName("shop")
}

func TestInForce(t *testing.T) {
	for _, tt := range []struct {
		name, gateway, route string // what is written under sluice
		whole, own           string // what is in force
	}{
		{"nothing but the defaults", "{}", "{}", "map[] then map[] then []", "map[] then map[] then []"},
		{
			"what is written as the default is one", "{limits: {body: unlimited, min_rate: 1KB over 30s}, timeouts: {total: none, idle: 50s}}", "{}",
			"map[] then map[] then []", "map[] then map[] then []",
		},
		{
			"what a gateway says of exchanges holds for its routes", "{limits: {body: 1MB, head: 8KB}, timeouts: {total: 90s, head: 5s}}", "{}",
			"map[body:1MB head:8KB target:8KB] then map[head:5s total:1m30s] then []", "map[body:1MB] then map[total:1m30s] then []",
		},
		{
			"what a route says comes first", "{limits: {body: 1MB, min_rate: none}, timeouts: {connect: 1s, total: 10s}}",
			"{limits: {body: 2KB, min_rate: 4KB over 10s}, timeouts: {connect: 2s, total: none}}",
			"map[body:1MB min_rate:none] then map[connect:1s total:10s] then []", "map[body:2KB min_rate:4KB over 10s] then map[connect:2s] then []",
		},
		{
			"the connections of a gateway, and a half-closed client", "{limits: {connections: 70, fields: 50}, timeouts: {half_closed: 0s}}", "{timeouts: {half_closed: none}}",
			"map[connections:70 fields:50] then map[half_closed:0s] then []", "map[] then map[half_closed:none] then []",
		},
		{
			"bounds of the load", "{limits: {rate: {requests: 10}}}", "{limits: {requests: 5, queue: 0}}",
			"map[] then map[] then [at most 10 requests per 1s to the gateway, 10 at once]",
			"map[] then map[] then [at most 5 requests at a time on the route; the others are answered 503]",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := inForce(t, fmt.Sprintf("name: shop\nport: 9000\nsluice: %s\nroutes: {\"[a:1]\": {sluice: %s}}\n", tt.gateway, tt.route))
			show := func(in routing.InForce) string {
				return fmt.Sprint(in.Limits, " then ", in.Timeouts, " then ", in.Load)
			}
			if got := show(g.InForce()); got != tt.whole {
				t.Errorf("of the gateway: %s, want %s", got, tt.whole)
			}
			if got := show(g.RouteInForce(g.Routes[0])); got != tt.own {
				t.Errorf("of the route: %s, want %s", got, tt.own)
			}
		})
	}
}

// Every limit and timeout is told, as it may be written again.
func TestInForceIsWrittenAgain(t *testing.T) {
	write := func(m map[string]string) string {
		var parts []string
		for key, text := range m {
			parts = append(parts, key+": "+text)
		}
		return strings.Join(parts, ", ")
	}
	text := func(limits, timeouts string) string {
		return fmt.Sprintf("name: shop\nport: 9000\nsluice: {limits: {%s}, timeouts: {%s}}\nroutes: \"[a:1]\"\n", limits, timeouts)
	}
	limits := "head: 9KB, fields: 99, target: 1500B, body: 3MB, answer_head: 10KB, min_rate: 2KB over 1m, connections: 12"
	timeouts := "head: 1s, connect: 10ms, first_byte: 1m, idle: 90s, keep_alive: 1h, upstream_keep_alive: 2s, tunnel: 48h, total: 1h1m1s, half_closed: 1ms"
	first := inForce(t, text(limits, timeouts)).InForce()
	if got, want := len(first.Limits), strings.Count(limits, ":"); got != want {
		t.Errorf("%d limits are told, want %d: %v", got, want, first.Limits)
	}
	if got, want := len(first.Timeouts), strings.Count(timeouts, ":"); got != want {
		t.Errorf("%d timeouts are told, want %d: %v", got, want, first.Timeouts)
	}
	again := inForce(t, text(write(first.Limits), write(first.Timeouts))).InForce()
	if !maps.Equal(first.Limits, again.Limits) || !maps.Equal(first.Timeouts, again.Timeouts) {
		t.Errorf("%v, written again, is %v", first, again)
	}
}

func TestInForceTellsOfHTTP2(t *testing.T) {
	for _, tt := range []struct {
		name, gateway, route string // what is written under sluice
		whole, own           string // what is told
	}{
		{"nothing but the defaults", "{}", "{}", "", ""},
		{"what is written as the default is one", "{http2: {max_concurrent_streams: 100, max_connection_age: none, ping: 30s}}", "{protocol: http1}", "", ""},
		{"none to clients, all the same to instances", "{http2: none}", "{protocol: h2c}", "none", "h2c"},
		{
			"what is written", "{http2: {max_concurrent_streams: 8, max_connection_age: 30m, max_connection_age_grace: 1m30s, ping: none}}", "{protocol: grpc}",
			"{max_concurrent_streams: 8, max_connection_age: 30m, max_connection_age_grace: 1m30s, ping: none}", "grpc",
		},
		{"a redirect speaks to no instance", "{http2: {ping: 1m}}", "{protocol: grpc, redirect: {to: /x}}", "{ping: 1m}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := inForce(t, fmt.Sprintf("name: shop\nport: 9000\nsluice: %s\nroutes: {\"[a:1]\": {sluice: %s}}\n", tt.gateway, tt.route))
			if got := g.InForce().HTTP2; got != tt.whole {
				t.Errorf("of the gateway: %q, want %q", got, tt.whole)
			}
			if got := g.RouteInForce(g.Routes[0]).Protocol; got != tt.own {
				t.Errorf("of the route: %q, want %q", got, tt.own)
			}
			if tt.whole == "" {
				return
			}
			again := inForce(t, fmt.Sprintf("name: shop\nport: 9000\nsluice: {http2: %s}\nroutes: \"[a:1]\"\n", tt.whole))
			if again.HTTP2 != g.HTTP2 {
				t.Errorf("%s, written again, is %+v, want %+v", tt.whole, again.HTTP2, g.HTTP2)
			}
		})
	}
	if g := inForce(t, "name: shop\nport: 9000/tcp\nroutes: \"[a:1]\"\n"); g.InForce().HTTP2 != "" || !g.HTTP2.Off {
		t.Errorf("of a tcp port %q is told, and HTTP2 is %+v; want nothing, and off", g.InForce().HTTP2, g.HTTP2)
	}
}
