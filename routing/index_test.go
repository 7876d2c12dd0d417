// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// withHosts returns a gateway with virtual hosts and an assigned port.
func withHosts(name string, hosts ...string) *routing.Gateway {
	g := routingtest.Gateway(name, 0, routingtest.Route("[10.0.0.1:80]", routing.FullWeight))
	g.VirtualHosts = hosts
	return g
}

func TestByHost(t *testing.T) {
	s, faults := routing.Compile(nil, routingtest.Table(1,
		withHosts("shop", "shop.example", "WWW.Shop.Example"),
		withHosts("six", "[2001:db8::1]", "2001:db8::2"),
		withHosts("odd", "odd.example:8080"),
		withHosts("dot", "Dot.example."),
	), routing.CompileOptions{})
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	for _, tt := range []struct{ name, host, want string }{
		{"a host as written", "shop.example", "shop"},
		{"a host in other letters", "SHOP.Example", "shop"},
		{"a host that was written in other letters", "www.shop.example", "shop"},
		{"a host with a port", "shop.example:8080", "shop"},
		{"a host in other letters with a port", "Shop.EXAMPLE:80", "shop"},
		{"a host with an empty port", "shop.example:", "shop"},
		{"no host with what is no port", "shop.example:80a", ""},
		{"no part of a host", "example", ""},
		{"no host that begins alike", "shop.example.org", ""},
		{"no subdomain", "a.shop.example", ""},
		{"an IPv6 address in brackets", "[2001:db8::1]", "six"},
		{"an IPv6 address with a port", "[2001:DB8::1]:80", "six"},
		{"a bare IPv6 address, of which nothing is a port", "2001:db8::2", "six"},
		{"a host with the dot of a complete name", "shop.example.", "shop"},
		{"a host with that dot and a port", "shop.example.:8080", "shop"},
		{"a host that was written with that dot", "dot.example", "dot"},
		{"no host with two dots at its end", "shop.example..", ""},
		{"a host that was written with its port", "odd.example:8080", "odd"},
		{"no other port of a host that was written with its port", "odd.example:81", ""},
		{"no empty host", "", ""},
		{"no host that is only a port", ":80", ""},
		{"no endless host", strings.Repeat("a", 100_000), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if g := s.ByHost(tt.host); g != nil {
				got = g.Name
			}
			if got != tt.want {
				t.Errorf("ByHost(%.40q) = %q, want %q", tt.host, got, tt.want)
			}
		})
	}
}

func TestByHostOfWildcards(t *testing.T) {
	s, faults := routing.Compile(nil, routingtest.Table(1,
		withHosts("all", "*.Example"),
		withHosts("shop", "*.shop.example.", "www.shop.example"),
		withHosts("eu", "*.eu.shop.example"),
		withHosts("bare", "other.test"),
		withHosts("odd", "*.", "a.*.test", "*b.test", "**.test"),
	), routing.CompileOptions{})
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	for _, tt := range []struct{ name, host, want string }{
		{"a name of one label more", "a.shop.example", "shop"},
		{"a name of several labels more", "a.b.shop.example", "shop"},
		{"the wildcard with the most labels", "a.eu.shop.example", "eu"},
		{"not the bare domain, which another wildcard covers", "shop.example", "all"},
		{"the bare domain of the longest, which the next covers", "eu.shop.example", "shop"},
		{"an exact name before a wildcard", "www.shop.example", "shop"},
		{"in any letter case, with a port and a final dot", "A.Shop.EXAMPLE.:8080", "shop"},
		{"no name that only ends alike", "ashop.example", "all"},
		{"not the bare domain", "example", ""},
		{"no empty label", ".example", ""},
		{"an empty label further up is none of ours to judge", "..example", "all"},
		{"no other domain", "a.other.test", ""},
		{"a star alone is no wildcard", "a", ""},
		{"a star within a name is none", "a.b.test", ""},
		{"a star beside letters is none", "ab.test", ""},
		{"a star that a client sends is a letter like others", "*.shop.example", "shop"},
		{"a name of very many labels", strings.Repeat("a.", 120) + "shop.example", "shop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if g := s.ByHost(tt.host); g != nil {
				got = g.Name
			}
			if got != tt.want {
				t.Errorf("ByHost(%.40q) = %q, want %q", tt.host, got, tt.want)
			}
		})
	}
}

func TestByHostDoesNotAllocate(t *testing.T) {
	s, _ := routing.Compile(nil, routingtest.Table(1, withHosts("shop", "shop.example", "*.shop.example")), routing.CompileOptions{})
	for _, host := range []string{"shop.example", "SHOP.example:8080", "a.b.Shop.example.:80", "none.example:80"} {
		if n := testing.AllocsPerRun(100, func() { s.ByHost(host) }); n != 0 {
			t.Errorf("ByHost(%q): %.0f allocations, want 0", host, n)
		}
	}
}

func TestVirtualHostsOfSeveralGateways(t *testing.T) {
	for _, tt := range []struct {
		name  string
		table []string // in the order of the table
		want  string
	}{
		{"the first name has the host", []string{"beta", "alpha"}, "alpha"},
		{"fewer segments come before the name", []string{"a/b", "z"}, "z"},
		{"the order of the table says nothing", []string{"z", "a/b"}, "z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var gateways []*routing.Gateway
			for _, name := range tt.table {
				gateways = append(gateways, withHosts(name, "Shop.example", "*.Shop.example."))
			}
			s, faults := routing.Compile(nil, routingtest.Table(1, gateways...), routing.CompileOptions{})
			for _, host := range []string{"shop.example", "a.shop.example"} {
				if got := s.ByHost(host).Name; got != tt.want {
					t.Errorf("ByHost(%s) = %s, want %s", host, got, tt.want)
				}
			}
			if len(faults) != 2 {
				t.Errorf("faults = %v, want one of each host", faults)
			}
			for _, f := range faults {
				if f.Severity != routing.Warning || f.Name == tt.want || !strings.Contains(f.Problem, tt.want) {
					t.Errorf("fault %v, want a warning to the other gateway that names %s", f, tt.want)
				}
			}
			if got := len(s.Gateways()); got != 2 {
				t.Errorf("%d gateways serve, want both", got)
			}
		})
	}
}

func TestAutomaticVirtualHosts(t *testing.T) {
	for _, tt := range []struct{ name, gateway, want string }{
		{"of one segment", "shop", "shop.mesh.example"},
		{"of a deployment's port", "sava:1.0/9050", "9050.sava-1-0.mesh.example"},
		{"of a cluster's port", "sava/web/http", "http.web.sava.mesh.example"},
		{"none of four segments", "a/b/c/d", ""},
		{"in lower case", "Shop", "shop.mesh.example"},
		{"with what starts otherwise unchanged", "_a.b", "_a.b.mesh.example"},
		{"with letters beyond ASCII replaced", "caf\u00e9", "caf-.mesh.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := routing.Compile(nil, routingtest.Table(1, withHosts(tt.gateway, "own.example", "OWN.example")),
				routing.CompileOptions{VirtualHostsDomain: "mesh.example"})
			g := s.ByName(tt.gateway)
			want := []string{tt.want, "own.example"}
			if tt.want == "" {
				want = want[1:]
			}
			if strings.Join(g.Hosts, " ") != strings.Join(want, " ") {
				t.Errorf("Hosts = %q, want %q", g.Hosts, want)
			}
			for _, host := range want {
				if s.ByHost(host) != g {
					t.Errorf("ByHost(%q) does not find the gateway", host)
				}
			}
		})
	}
}

// BenchmarkByHost shows that ten thousand hosts cost what ten cost.
func BenchmarkByHost(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		hosts := make([]string, 0, 2*n)
		for i := range n {
			name := fmt.Sprintf("shop-%d.example", i)
			hosts = append(hosts, name, "*."+name)
		}
		s, _ := routing.Compile(nil, routingtest.Table(1, withHosts("shop", hosts...)), routing.CompileOptions{})
		for _, tt := range []struct{ name, host string }{
			{"exact", "shop-7.example"},
			{"with port", "Shop-7.example:8080"},
			{"wildcard", "a.b.shop-7.example"},
			{"none", "a.b.none.test"},
		} {
			b.Run(fmt.Sprintf("%d hosts/%s", n, tt.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s.ByHost(tt.host)
				}
			})
		}
	}
}

func TestByHostAndPath(t *testing.T) {
	s, faults := compile(routingtest.Table(1,
		withHosts("shop", "shop.example"),
		withHosts("cart", "shop.example/cart"),
		withHosts("checkout", "shop.example/cart/checkout/"),
		withHosts("all", "*.example"),
		withHosts("api", "*.example/api", "only.test/api"),
	))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, tt := range []struct{ name, host, path, want string }{
		{"the host alone", "shop.example", "/", "shop"},
		{"no path", "shop.example", "", "shop"},
		{"an asterisk", "shop.example", "*", "shop"},
		{"a prefix", "shop.example", "/cart", "cart"},
		{"a prefix and a slash", "shop.example", "/cart/", "cart"},
		{"a prefix and more segments", "shop.example:80", "/cart/items/7", "cart"},
		{"half a segment is none", "shop.example", "/cartoon", "shop"},
		{"another letter case is another path", "shop.example", "/Cart", "shop"},
		{"the host in another letter case", "SHOP.example", "/cart", "cart"},
		{"the longest prefix", "shop.example", "/cart/checkout/pay", "checkout"},
		{"half of its last segment", "shop.example", "/cart/checkouts", "cart"},
		{"a longer path than any prefix", "shop.example", "/cart/" + strings.Repeat("x/", 400), "cart"},
		{"a long segment", "shop.example", "/" + strings.Repeat("x", 4000), "shop"},
		{"a host comes before a wildcard with a longer prefix", "shop.example", "/api", "shop"},
		{"a wildcard with a prefix", "a.example", "/api/v1", "api"},
		{"a wildcard without", "a.example", "/other", "all"},
		{"a host that has prefixes only", "only.test", "/other", ""},
		{"and one of them", "only.test", "/api", "api"},
		{"an unknown host", "none.test", "/cart", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if g := s.ByHostAndPath(tt.host, tt.path); g != nil {
				got = g.Name
			}
			if got != tt.want {
				t.Errorf("ByHostAndPath(%q, %.40q) = %q, want %q", tt.host, tt.path, got, tt.want)
			}
		})
	}
	if n := testing.AllocsPerRun(100, func() { s.ByHostAndPath("shop.example:80", "/cart/checkout/pay") }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestByHostOfTheStarAlone(t *testing.T) {
	s, _ := compile(routingtest.Table(1,
		withHosts("any", "*"), withHosts("deep", "*/api"), withHosts("shop", "shop.example"), withHosts("below", "*.shop.example"),
	))
	for _, tt := range []struct{ name, host, path, want string }{
		{"what nobody has", "none.test", "/", "any"},
		{"a request without host", "", "/", "any"},
		{"an address", "[::1]:80", "/", "any"},
		{"by the longest prefix", "none.test", "/api/v1", "deep"},
		{"not what another one has", "shop.example", "/api", "shop"},
		{"not what a wildcard covers", "a.shop.example", "/api", "below"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if g := s.ByHostAndPath(tt.host, tt.path); g == nil || g.Name != tt.want {
				t.Errorf("ByHostAndPath(%q, %q) = %v, want %q", tt.host, tt.path, g, tt.want)
			}
		})
	}
}

func BenchmarkByHostAndPath(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		g := withHosts("g")
		for i := range n {
			g.VirtualHosts = append(g.VirtualHosts, fmt.Sprintf("shop.example/service-%d/v1", i))
		}
		s, _ := compile(routingtest.Table(1, g))
		b.Run(fmt.Sprintf("%d paths", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s.ByHostAndPath("shop.example", "/service-7/v1/items/12345") == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}
