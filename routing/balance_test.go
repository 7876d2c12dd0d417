// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

func TestBalanceOfARoute(t *testing.T) {
	for _, tt := range []struct {
		name           string
		port           routing.PortType
		gateway, route string
		want           string
	}{
		{"http is round robin", routing.HTTP, "", "", "roundrobin"},
		{"tcp is least connections", routing.TCP, "", "", "leastconn"},
		{"the gateway says it for its routes", routing.HTTP, "leastconn", "", "leastconn"},
		{"default is that of the gateway", routing.HTTP, "leastconn", "default", "leastconn"},
		{"the route's own comes first", routing.HTTP, "leastconn", "hdr(x-user)", "hdr(X-User)"},
		{"defaults all the way", routing.TCP, "default", "default", "leastconn"},
		{"random draws two", routing.HTTP, "random", "", "random(2)"},
		{"path-only goes without saying", routing.HTTP, "uri path-only depth 2 whole", "", "uri whole depth 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := routingtest.Route("[10.0.0.1:80]", routing.FullWeight)
			r.Balance = tt.route
			g := routingtest.Gateway("g", 8080, r)
			g.Port.Type, g.Balance = tt.port, tt.gateway
			s, faults := routing.Compile(nil, routingtest.Table(1, g), routing.CompileOptions{})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			if got := s.ByName("g").Routes[0].Balance.Value().String(); got != tt.want {
				t.Errorf("balance %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBalancesThatDoNotCompile(t *testing.T) {
	for _, tt := range []struct {
		name           string
		port           routing.PortType
		gateway, route string
		want           string // codes and paths
	}{
		{"a table need not come from text", routing.HTTP, "x", "y", "UnknownBalance sluice.balance, UnknownBalance routes.[10.0.0.1:80].balance"},
		{"connections have no path", routing.TCP, "", "uri", "BalancePortTypeError routes.[10.0.0.1:80].balance"},
		{"connections have no parameters", routing.TCP, "url_param a", "source", "BalancePortTypeError sluice.balance"},
		{"connections have no header", routing.TCP, "", "hdr(a)", "BalancePortTypeError routes.[10.0.0.1:80].balance"},
		{"they have an address", routing.TCP, "source", "first(3)", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := routingtest.Route("[10.0.0.1:80]", routing.FullWeight)
			r.Balance = tt.route
			g := routingtest.Gateway("g", 8080, r)
			g.Port.Type, g.Balance = tt.port, tt.gateway
			s, faults := routing.Compile(nil, routingtest.Table(1, g), routing.CompileOptions{})
			var got []string
			for _, f := range faults {
				got = append(got, f.Code+" "+f.Path)
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("faults %q, want %q", got, tt.want)
			}
			if (s.ByName("g") == nil) != (tt.want != "") {
				t.Error("the gateway serves though it is refused, or the reverse")
			}
		})
	}
}

// A change of the balance or locality alone is a change of the gateway.
func TestBalanceIsPartOfAGateway(t *testing.T) {
	table := func(revision uint64, balance string, l routing.Locality) *routing.Table {
		g := routingtest.Gateway("g", 8080, routingtest.Route("[10.0.0.1:80]", routing.FullWeight))
		g.Balance, g.Locality = balance, l
		return routingtest.Table(revision, g)
	}
	zone := routing.Locality{Prefer: routing.NearnessZone, Enough: 3000}
	first, _ := routing.Compile(nil, table(1, "ewma", zone), routing.CompileOptions{})
	same, _ := routing.Compile(first, table(2, "ewma", zone), routing.CompileOptions{})
	if same.ByName("g") != first.ByName("g") {
		t.Error("a gateway that did not change was compiled anew")
	}
	other, _ := routing.Compile(first, table(2, "first", zone), routing.CompileOptions{})
	far, _ := routing.Compile(first, table(2, "ewma", routing.Locality{}), routing.CompileOptions{})
	if other.ByName("g") == first.ByName("g") || far.ByName("g") == first.ByName("g") {
		t.Error("a gateway with another balance or locality was taken for the same")
	}
}

// What is read is written so that it reads the same; what is refused says why.
func FuzzParseBalance(f *testing.F) {
	for _, text := range []string{
		"", "default", "roundrobin", "leastconn", "first(3)", "uri whole len 3 depth 1", "url_param a", "hdr(x-y)", "random(4)",
		"ewma", "hdr( x )", "uri len", "random(", " source ", "hdr()",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := routing.ParseBalance(text)
		if err != nil {
			bad, ok := errors.AsType[*routing.BalanceError](err)
			if !ok || bad.Problem == "" || bad.Allowed == "" || b != (routing.Balance{}) {
				t.Errorf("ParseBalance(%q) = %v, %#v", text, b, err)
			}
			return
		}
		again, err := routing.ParseBalance(b.String())
		if err != nil || again != b {
			t.Errorf("ParseBalance(%q) = %+v, which is written %q and read as %+v, %v", text, b, b, again, err)
		}
	})
}
