// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

func TestDefaultsOfHTTP2AreApplied(t *testing.T) {
	const headers = 32<<10 + 200*32 // of the default limits
	usual := routing.HTTP2{Streams: 100, HeaderList: headers, MaxAgeGrace: 30 * time.Second, Ping: 30 * time.Second}
	if got := routing.DefaultHTTP2(); got != usual {
		t.Errorf("DefaultHTTP2() = %+v, want %+v", got, usual)
	}
	with := func(change func(h *routing.HTTP2)) routing.HTTP2 {
		h := usual
		change(&h)
		return h
	}
	for _, tt := range []struct {
		name    string
		gateway string // what is written under sluice
		port    string
		want    routing.HTTP2
	}{
		{"nothing is written", "{}", "9000", usual},
		{"tcp ports speak none", "{}", "9000/tcp", routing.HTTP2{Off: true}},
		{"none is none", "{http2: none}", "9000", routing.HTTP2{Off: true}},
		{"a map without keys", "{http2: {}}", "9000", usual},
		{"none of a time is 0", "{http2: {ping: none, max_connection_age: none}}", "9000", with(func(h *routing.HTTP2) { h.Ping = 0 })},
		{"the header list follows the limits of the head", "{limits: {head: 64KB, fields: 100}}", "9000", with(func(h *routing.HTTP2) { h.HeaderList = 64<<10 + 100*32 })},
		{
			"all that may be written", "{http2: {max_concurrent_streams: 7, max_connection_age: 1h, max_connection_age_grace: 1m, ping: 5s}}", "9000",
			routing.HTTP2{Streams: 7, HeaderList: headers, MaxAge: time.Hour, MaxAgeGrace: time.Minute, Ping: 5 * time.Second},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := inForce(t, "name: shop\nport: "+tt.port+"\nsluice: "+tt.gateway+"\nroutes: \"[a:1]\"\n")
			if g.HTTP2 != tt.want {
				t.Errorf("HTTP2 = %+v, want %+v", g.HTTP2, tt.want)
			}
		})
	}
}

func TestWidenSuitsBoth(t *testing.T) {
	off := routing.HTTP2{Off: true}
	small := routing.HTTP2{Streams: 10, HeaderList: 1 << 10, MaxAge: time.Hour, MaxAgeGrace: time.Second}
	large := routing.HTTP2{Streams: 100, HeaderList: 1 << 15, MaxAgeGrace: time.Minute, Ping: time.Second}
	both := routing.HTTP2{Streams: 100, HeaderList: 1 << 15, MaxAge: time.Hour, MaxAgeGrace: time.Minute, Ping: time.Second}
	for _, tt := range []struct {
		name       string
		a, b, want routing.HTTP2
	}{
		{"off stays off", off, off, off},
		{"off and on is on", off, small, small},
		{"larger sizes and shorter times hold", small, large, both},
		{"it is itself with itself", both, both, both},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Widen(tt.b); got != tt.want {
				t.Errorf("%+v widened by %+v is %+v, want %+v", tt.a, tt.b, got, tt.want)
			}
			if got := tt.b.Widen(tt.a); got != tt.want {
				t.Errorf("%+v widened by %+v is %+v, want %+v", tt.b, tt.a, got, tt.want)
			}
		})
	}
}

func TestProtocolsHaveNames(t *testing.T) {
	for p, want := range map[routing.Protocol]string{
		routing.ProtocolHTTP1: "http1", routing.ProtocolH2: "h2", routing.ProtocolH2C: "h2c", routing.ProtocolGRPC: "grpc",
	} {
		if got := p.String(); got != want {
			t.Errorf("protocol %d reads %q, want %q", p, got, want)
		}
		if got := p.HTTP2(); got != (p != routing.ProtocolHTTP1) {
			t.Errorf("%v.HTTP2() = %t", p, got)
		}
	}
}

func TestCompileRefusesHTTP2ThatCannotBe(t *testing.T) {
	secure := &routing.DialTLS{SkipVerify: true}
	for _, tt := range []struct {
		name   string
		change func(g *routing.Gateway)
		want   string
	}{
		{"bounds are bounds", func(g *routing.Gateway) {
			g.HTTP2 = routing.HTTP2{Streams: 10_000, MaxAge: time.Second, MaxAgeGrace: 24 * time.Hour, Ping: routing.Never}
		}, ""},
		{"off is enough", func(g *routing.Gateway) { g.HTTP2.Off = true }, ""},
		{"too many streams", func(g *routing.Gateway) { g.HTTP2.Streams = 10_001 }, "a OutOfBounds"},
		{"fewer than none", func(g *routing.Gateway) { g.HTTP2.Streams = -1 }, "a OutOfBounds"},
		{"too short an age", func(g *routing.Gateway) { g.HTTP2.MaxAge = time.Millisecond }, "a OutOfBounds"},
		{"a grace without end", func(g *routing.Gateway) { g.HTTP2.MaxAgeGrace = routing.Never }, "a OutOfBounds"},
		{"pings without end", func(g *routing.Gateway) { g.HTTP2.Ping = -1 }, "a OutOfBounds"},
		{"a tcp port has none", func(g *routing.Gateway) { g.Port.Type, g.HTTP2.Off = routing.TCP, true }, "a BoundPortTypeError"},
		{"h2 with TLS", func(g *routing.Gateway) { g.Routes[0].Protocol, g.Routes[0].TLS = routing.ProtocolH2, secure }, ""},
		{"h2 without", func(g *routing.Gateway) { g.Routes[0].Protocol = routing.ProtocolH2 }, "a MissingPathValueError"},
		{"h2c with TLS", func(g *routing.Gateway) { g.Routes[0].Protocol, g.Routes[0].TLS = routing.ProtocolH2C, secure }, "a UnexpectedElement"},
		{"h2c without", func(g *routing.Gateway) { g.Routes[0].Protocol = routing.ProtocolH2C }, ""},
		{"gRPC either way", func(g *routing.Gateway) { g.Routes[0].Protocol = routing.ProtocolGRPC }, ""},
		{"a PROXY header in a shared connection", func(g *routing.Gateway) {
			g.Routes[0].Protocol, g.Routes[0].ProxyProtocol = routing.ProtocolGRPC, routing.ProxyV2
		}, "a UnexpectedElement"},
		{"gRPC at a tcp port", func(g *routing.Gateway) { g.Port.Type, g.Routes[0].Protocol = routing.TCP, routing.ProtocolGRPC }, "a BoundPortTypeError"},
		{"a protocol that is none", func(g *routing.Gateway) { g.Routes[0].Protocol = 4 }, "a UnexpectedTypeError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gateway("a", 9000, route(addr, full))
			tt.change(g)
			s, faults := compile(table(1, g))
			if got := codes(faults); got != tt.want {
				t.Fatalf("faults %q, want %q", got, tt.want)
			}
			if served := s.ByName("a") != nil; served != (tt.want == "") {
				t.Errorf("served: %v", served)
			}
		})
	}
}
