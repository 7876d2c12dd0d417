// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// listen returns TLS of a gateway, changed.
func listen(change func(*routing.ListenTLS)) *routing.ListenTLS {
	t := &routing.ListenTLS{Certificates: []routing.KeyPair{{Certificate: "a.crt", Key: "a.key"}}}
	change(t)
	return t
}

func TestCompileRefusesTLSThatCannotBe(t *testing.T) {
	asIs := func(*routing.ListenTLS) {}
	for _, tt := range []struct {
		name   string
		change func(g *routing.Gateway)
		want   string
	}{
		{"a certificate is enough", func(g *routing.Gateway) { g.TLS = listen(asIs) }, ""},
		{"none is not", func(g *routing.Gateway) { g.TLS = &routing.ListenTLS{} }, "a OutOfBounds"},
		{"nor are a hundred and one", func(g *routing.Gateway) {
			g.TLS = listen(func(l *routing.ListenTLS) { l.Certificates = slices.Repeat(l.Certificates, 101) })
		}, "a OutOfBounds"},
		{"a pair has two files", func(g *routing.Gateway) {
			g.TLS = listen(func(l *routing.ListenTLS) { l.Certificates[0].Key = "" })
		}, "a MissingPathValueError"},
		{"an old version is refused", func(g *routing.Gateway) {
			g.TLS = listen(func(l *routing.ListenTLS) { l.MinVersion = tls.VersionTLS11 })
		}, "a OutOfBounds"},
		{"somebody must vouch for clients", func(g *routing.Gateway) {
			g.TLS = listen(func(l *routing.ListenTLS) { l.ClientAuth = routing.ClientAuthOptional })
		}, "a MissingPathValueError"},
		{"a tcp port ends TLS", func(g *routing.Gateway) { g.Port.Type, g.TLS = routing.TCP, listen(asIs) }, ""},
		{"but knows no plain requests", func(g *routing.Gateway) {
			g.Port.Type, g.TLS = routing.TCP, listen(func(l *routing.ListenTLS) { l.Plain = routing.PlainServe })
		}, "a BoundPortTypeError"},
		{"and no answers", func(g *routing.Gateway) {
			g.Port.Type, g.TLS = routing.TCP, listen(func(l *routing.ListenTLS) { l.HSTS = "max-age=1" })
		}, "a BoundPortTypeError"},
		{"networks have no host bits", func(g *routing.Gateway) {
			g.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}
		}, "a UnexpectedTypeError"},
		{"the zero network is none", func(g *routing.Gateway) { g.ProxyFrom = make([]netip.Prefix, 1) }, "a UnexpectedTypeError"},
		{"there is a bound of networks", func(g *routing.Gateway) {
			g.ProxyFrom = slices.Repeat([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, 257)
		}, "a OutOfBounds"},
		{"an address needs a name", func(g *routing.Gateway) { g.Routes[0].TLS = &routing.DialTLS{} }, "a MissingPathValueError"},
		{"or no verification", func(g *routing.Gateway) { g.Routes[0].TLS = &routing.DialTLS{SkipVerify: true} }, ""},
		{"a host is a name", func(g *routing.Gateway) { g.Routes[0].Path, g.Routes[0].TLS = "[b.example:1]", &routing.DialTLS{} }, ""},
		{"a strange name is refused", func(g *routing.Gateway) { g.Routes[0].TLS = &routing.DialTLS{Name: "a b"} }, "a UnexpectedTypeError"},
		{"a certificate of a route has a key", func(g *routing.Gateway) {
			g.Routes[0].TLS = &routing.DialTLS{Name: "b.example", KeyPair: routing.KeyPair{Certificate: "c.crt"}}
		}, "a MissingPathValueError"},
		{"an old version is refused there, too", func(g *routing.Gateway) {
			g.Routes[0].TLS = &routing.DialTLS{Name: "b.example", MinVersion: tls.VersionTLS10}
		}, "a OutOfBounds"},
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

func TestCompiledRoutesKnowHowTheyDial(t *testing.T) {
	g := gateway("a", 9000, route("[b.example:443]", full))
	g.Routes[0].TLS = &routing.DialTLS{CA: "ca.crt", MinVersion: tls.VersionTLS13}
	g.Routes[0].ProxyProtocol = routing.ProxyV2
	s, faults := compile(table(1, g))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	r := s.ByName("a").Routes[0]
	if *r.TLS != *g.Routes[0].TLS || r.ProxyProtocol != routing.ProxyV2 {
		t.Errorf("the route has %+v and %v", r.TLS, r.ProxyProtocol)
	}
}

func TestSniffsOnlyWhereAConditionAsks(t *testing.T) {
	tcp := func(name string, port int, routes ...*routing.Route) *routing.Gateway {
		g := gateway(name, port, routes...)
		g.Port.Type = routing.TCP
		return g
	}
	asking := func(name string, port int, condition string) *routing.Gateway {
		return tcp(name, port, route(addr, full), when("[10.0.0.9:1]", 0, condition, full))
	}
	secure := asking("secure", 9009, "sni == a.example")
	secure.TLS = listen(func(*routing.ListenTLS) {})
	s, faults := compile(table(
		1,
		asking("sni", 9000, "sni == a.example"),
		asking("alpn", 9001, "not (ip in 10.0.0.0/8 and alpn == h2)"),
		asking("acl", 9002, "{ src 10.0.0.0/8 } or { req.ssl_sni a.example }"),
		asking("address", 9003, "ip in 10.0.0.0/8 or < ssl_fc > or < dst_port 1 >"),
		tcp("plain", 9004, route(addr, full)),
		tcp("front", 9005, route("door", full)),
		tcp("door", 9006, route("address", half), route("acl", half)),
		tcp("quiet", 9007, route("address", full)),
		gateway("web", 9008, route(addr, full), when("[10.0.0.9:1]", 0, "sni == a.example", full)),
		secure,
	))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, want := range map[string]bool{
		"sni": true, "alpn": true, "acl": true, "address": false, "plain": false, "front": true, "door": true,
		"quiet": false, "web": false, "secure": false,
	} {
		if got := s.ByName(name).Sniffs; got != want {
			t.Errorf("%s sniffs: %v, want %v", name, got, want)
		}
	}
}

func TestSniffsFollowsTheGatewaysBehind(t *testing.T) {
	tcp := func(name string, port int, routes ...*routing.Route) *routing.Gateway {
		g := gateway(name, port, routes...)
		g.Port.Type = routing.TCP
		return g
	}
	front, quiet := tcp("front", 9000, route("back", full)), tcp("back", 9001, route(addr, full))
	curious := tcp("back", 9001, route(addr, full), when("[10.0.0.9:1]", 0, "alpn == h2", full))
	first, _ := compile(table(1, front, quiet))
	second, _ := routing.Compile(first, table(2, front, curious), routing.CompileOptions{})
	third, _ := routing.Compile(second, table(3, front, quiet), routing.CompileOptions{})
	for i, s := range []*routing.Snapshot{first, second, third} {
		if got, want := s.ByName("front").Sniffs, i == 1; got != want {
			t.Errorf("table %d: the gateway in front sniffs: %v, want %v", i+1, got, want)
		}
	}
}

func TestMixedHostsAreWarnedOf(t *testing.T) {
	host := func(name string, port int, secure bool, hosts ...string) *routing.Gateway {
		g := gateway(name, port, route(addr, full))
		g.VirtualHosts = hosts
		if secure {
			g.TLS = listen(func(*routing.ListenTLS) {})
		}
		return g
	}
	for _, tt := range []struct {
		name     string
		gateways []*routing.Gateway
		want     string
	}{
		{"all secure", []*routing.Gateway{host("a", 1, true, "x.example"), host("b", 2, true, "x.example/cart")}, ""},
		{"all plain", []*routing.Gateway{host("a", 1, false, "x.example"), host("b", 2, false, "x.example/cart")}, ""},
		{"other hosts", []*routing.Gateway{host("a", 1, true, "x.example"), host("b", 2, false, "y.example")}, ""},
		{"paths of one host", []*routing.Gateway{host("a", 1, false, "X.example/cart"), host("b", 2, true, "x.example")}, "(a VirtualHostMixedTLS)"},
		{"one host", []*routing.Gateway{host("a", 1, true, "x.example"), host("b", 2, false, "x.example")}, "(b VirtualHostMixedTLS), (b VirtualHostTaken)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, faults := compile(table(1, tt.gateways...)); codes(faults) != tt.want {
				t.Errorf("faults %q, want %q", codes(faults), tt.want)
			}
		})
	}
}
