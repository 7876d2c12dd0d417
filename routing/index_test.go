// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
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

func TestByHostDoesNotAllocate(t *testing.T) {
	s, _ := routing.Compile(nil, routingtest.Table(1, withHosts("shop", "shop.example")), routing.CompileOptions{})
	for _, host := range []string{"shop.example", "SHOP.example:8080", "none.example:80"} {
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
				gateways = append(gateways, withHosts(name, "Shop.example"))
			}
			s, faults := routing.Compile(nil, routingtest.Table(1, gateways...), routing.CompileOptions{})
			if got := s.ByHost("shop.example").Name; got != tt.want {
				t.Errorf("ByHost = %s, want %s", got, tt.want)
			}
			if len(faults) != 1 || faults[0].Severity != routing.Warning || faults[0].Name == tt.want ||
				!strings.Contains(faults[0].Problem, tt.want) {
				t.Errorf("faults = %v, want one warning to the other gateway that names %s", faults, tt.want)
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

func BenchmarkByHost(b *testing.B) {
	s, _ := routing.Compile(nil, routingtest.Table(1, withHosts("shop", "shop.example")), routing.CompileOptions{})
	for _, host := range []string{"shop.example", "Shop.example:8080"} {
		b.Run(host, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.ByHost(host)
			}
		})
	}
}
