// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// Shorthands for tables in tests.
var (
	table   = routingtest.Table
	gateway = routingtest.Gateway
	route   = routingtest.Route
	when    = routingtest.Conditional
)

const (
	full = routing.FullWeight
	half = routing.FullWeight / 2
)

// codes returns name and code of each fault, warnings in brackets.
func codes(faults []*routing.Fault) string {
	var b []string
	for _, f := range faults {
		s := f.Name + " " + f.Code
		if f.Severity == routing.Warning {
			s = "(" + s + ")"
		}
		b = append(b, s)
	}
	return strings.Join(b, ", ")
}

// served returns name and port of each gateway of a snapshot.
func served(s *routing.Snapshot) string {
	var b []string
	for _, g := range s.Gateways() {
		b = append(b, fmt.Sprintf("%s:%d", g.Name, g.Port))
	}
	return strings.Join(b, " ")
}

// compile compiles tables one after the other.
func compile(tables ...*routing.Table) (s *routing.Snapshot, faults []*routing.Fault) {
	for i, t := range tables {
		if t.Version.Revision == 0 {
			t.Version.Revision = uint64(i + 1)
		}
		s, faults = routing.Compile(s, t, routing.CompileOptions{})
	}
	return s, faults
}

// to returns a gateway that leads to others, or to an address for those
// whose names are numbers.
func to(name string, port int, paths ...string) *routing.Gateway {
	g := gateway(name, port)
	for i, path := range paths {
		weight := routing.Weight(0)
		if i == 0 {
			weight = full
		}
		g.Routes = append(g.Routes, route(path, weight))
	}
	return g
}

func tcp(g *routing.Gateway) *routing.Gateway {
	g.Port.Type = routing.TCP
	return g
}

const addr = "[10.0.0.1:80]"

func TestCompile(t *testing.T) {
	long := func(n int) (all []*routing.Gateway) {
		for i := range n {
			path := addr
			if i+1 < n {
				path = fmt.Sprintf("g%d", i+1)
			}
			all = append(all, to(fmt.Sprintf("g%d", i), 9000+i, path))
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		tables []*routing.Table
		served string
		faults string
	}{
		{
			"an empty table serves nothing",
			[]*routing.Table{table(0)},
			"", "",
		},
		{
			"gateways serve in table order",
			[]*routing.Table{table(0, to("b", 9001, addr), to("a", 9000, addr))},
			"b:9001 a:9000", "",
		},
		{
			"a removed gateway is gone",
			[]*routing.Table{table(0, to("a", 9000, addr), to("b", 9001, addr)), table(0, to("b", 9001, addr))},
			"b:9001", "",
		},
		{
			"a gateway that is broken from the start is absent",
			[]*routing.Table{table(0, gateway("a", 9000, when(addr, full, "user-agent = = x", full)), to("b", 9001, addr))},
			"b:9001", "a ConditionSyntaxError",
		},
		{
			"a gateway that breaks keeps its last good form",
			[]*routing.Table{table(0, to("a", 9000, addr)), table(0, gateway("a", 9007, route("[nowhere]", full)))},
			"a:9000", "a UnsupportedRoutePathError",
		},
		{
			"a gateway whose text is refused keeps its last good form",
			[]*routing.Table{table(0, to("a", 9000, addr), to("b", 9001, addr)), {Gateways: []*routing.Gateway{to("b", 9001, addr)}, Broken: []string{"a", "new"}}},
			"b:9001 a:9000", "",
		},
		{
			"all faults of a gateway are found at once",
			[]*routing.Table{table(0, gateway("a", 70000,
				when("[x:1]", 6000, "not", 20000), when("[x]", 6000, "and", -1)))},
			"", "a InvalidGatewayPortError, a GatewayRouteWeightError, a GatewayRouteConditionStrengthError, a ConditionSyntaxError, " +
				"a GatewayRouteConditionStrengthError, a ConditionSyntaxError, a UnsupportedRoutePathError",
		},
		{
			"weights sum to 0 or 100 %",
			[]*routing.Table{table(0,
				gateway("a", 9000, route("[a:1]", 0), route("[b:1]", 0)),
				gateway("b", 9001, route("[a:1]", 9999)),
				gateway("c", 9002, route("[a:1]", -1), route("[b:1]", 10001)))},
			"a:9000", "b GatewayRouteWeightError, c GatewayRouteWeightError",
		},
		{
			"a gateway without routes serves",
			[]*routing.Table{table(0, gateway("a", 9000))},
			"a:9000", "",
		},
		{
			"of two gateways of one name the first serves",
			[]*routing.Table{table(0, to("a", 9000, addr), to("a", 9001, addr))},
			"a:9000", "a DuplicateArtifactName",
		},

		{
			"of two gateways with one port the first of the table has it",
			[]*routing.Table{table(0, to("b", 9000, addr), to("a", 9000, addr))},
			"b:9000", "a UnavailableGatewayPortError",
		},
		{
			"who had the port before keeps it",
			[]*routing.Table{table(0, to("b", 9000, addr)), table(0, to("a", 9000, addr), to("b", 9000, addr))},
			"b:9000", "a UnavailableGatewayPortError",
		},
		{
			"who moves onto a used port stays where he was",
			[]*routing.Table{table(0, to("a", 9001, addr), to("b", 9000, addr)), table(0, to("a", 9000, addr), to("b", 9000, addr))},
			"a:9001 b:9000", "a UnavailableGatewayPortError",
		},
		{
			"two gateways may change places",
			[]*routing.Table{table(0, to("a", 9000, addr), to("b", 9001, addr)), table(0, to("a", 9001, addr), to("b", 9000, addr))},
			"a:9001 b:9000", "",
		},
		{
			"who stays because of a fault keeps the port from who counted on his move",
			[]*routing.Table{
				table(0, to("a", 9000, addr), to("b", 9001, addr), to("c", 9002, addr)),
				table(0, to("a", 9001, addr), to("b", 9002, addr), to("c", 9003, "[broken]")),
			},
			"a:9000 b:9001 c:9002", "a UnavailableGatewayPortError, b UnavailableGatewayPortError, c UnsupportedRoutePathError",
		},
		{
			"a port that a removed gateway had is free",
			[]*routing.Table{table(0, to("a", 9000, addr)), table(0, to("b", 9000, addr))},
			"b:9000", "",
		},
		{
			"http and tcp do not share a port",
			[]*routing.Table{table(0, to("a", 9000, addr), tcp(to("b", 9000, addr)))},
			"a:9000", "b UnavailableGatewayPortError",
		},

		{
			"a chain of gateways serves",
			[]*routing.Table{table(0, to("a", 9000, "b"), to("b", 9001, "x/y/z"), to("x/y/z", 9002, addr))},
			"a:9000 b:9001 x/y/z:9002", "",
		},
		{
			"a route to nothing is warned of",
			[]*routing.Table{table(0, to("a", 9000, "b"))},
			"a:9000", "(a RouteTargetMissing)",
		},
		{
			"a path of four segments names no gateway",
			[]*routing.Table{table(0, to("a", 9000, "w/x/y/z"), to("w/x/y/z", 9001, addr))},
			"a:9000 w/x/y/z:9001", "(a RouteTargetMissing)",
		},
		{
			"a route to a refused gateway is warned of",
			[]*routing.Table{table(0, to("a", 9000, "b"), to("b", 9001, "[broken]"))},
			"a:9000", "(a RouteTargetMissing), b UnsupportedRoutePathError",
		},
		{
			"a gateway that leads to itself is refused",
			[]*routing.Table{table(0, to("a", 9000, "a"))},
			"", "a GatewayCycleError",
		},
		{
			"every gateway on a cycle is refused, the others serve",
			[]*routing.Table{table(0, to("a", 9000, "b"), to("b", 9001, "c"), to("c", 9002, "b", "d"), to("d", 9003, addr))},
			"a:9000 d:9003", "(a RouteTargetMissing), b GatewayCycleError, c GatewayCycleError",
		},
		{
			"cycles that share gateways are refused whole",
			[]*routing.Table{table(0, to("a", 9000, "b", "c"), to("b", 9001, "a"), to("c", 9002, "b"))},
			"", "a GatewayCycleError, b GatewayCycleError, c GatewayCycleError",
		},
		{
			"a cycle leaves the last good forms",
			[]*routing.Table{table(0, to("a", 9000, "b"), to("b", 9001, addr)), table(0, to("a", 9000, "b"), to("b", 9001, "a"))},
			"a:9000 b:9001", "a GatewayCycleError, b GatewayCycleError",
		},
		{
			"a cycle through a broken gateway's last good form is refused",
			[]*routing.Table{
				table(0, to("a", 9000, "b"), to("b", 9001, addr)),
				{Gateways: []*routing.Gateway{to("b", 9001, "a")}, Broken: []string{"a"}},
			},
			"b:9001 a:9000", "b GatewayCycleError, a GatewayCycleError",
		},
		{
			"a new gateway that closes a cycle is absent, the old one serves",
			[]*routing.Table{table(0, to("a", 9000, "b")), table(0, to("a", 9000, "b"), to("b", 9001, "a"))},
			"a:9000", "a GatewayCycleError, (a RouteTargetMissing), b GatewayCycleError",
		},
		{
			"a cycle of http and tcp is no cycle but two wrong types",
			[]*routing.Table{table(0, to("a", 9000, "b"), tcp(to("b", 9001, "a")))},
			"", "a GatewayChainTypeError, b GatewayChainTypeError",
		},

		{
			"eight gateways in a row serve",
			[]*routing.Table{table(0, long(8)...)},
			"g0:9000 g1:9001 g2:9002 g3:9003 g4:9004 g5:9005 g6:9006 g7:9007", "",
		},
		{
			"of ten in a row the first two are refused",
			[]*routing.Table{table(0, long(10)...)},
			"g2:9002 g3:9003 g4:9004 g5:9005 g6:9006 g7:9007 g8:9008 g9:9009",
			"g0 GatewayDepthError, g1 GatewayDepthError",
		},
		{
			"who makes an old chain too long is refused",
			[]*routing.Table{
				table(0, append(long(8), to("x", 9100, addr))...),
				table(0, append(long(8)[:7], to("g7", 9007, "x"), to("x", 9100, addr))...),
			},
			"g0:9000 g1:9001 g2:9002 g3:9003 g4:9004 g5:9005 g6:9006 g7:9007 x:9100", "g7 GatewayDepthError",
		},

		{
			"http does not lead to tcp",
			[]*routing.Table{table(0, to("a", 9000, "b"), tcp(to("b", 9001, addr)))},
			"b:9001", "a GatewayChainTypeError",
		},
		{
			"tcp does not lead to http",
			[]*routing.Table{table(0, tcp(to("a", 9000, "b")), to("b", 9001, addr))},
			"b:9001", "a GatewayChainTypeError",
		},
		{
			"tcp leads to tcp",
			[]*routing.Table{table(0, tcp(to("a", 9000, "b")), tcp(to("b", 9001, addr)))},
			"a:9000 b:9001", "",
		},
		{
			"a gateway that others lead to keeps its type",
			[]*routing.Table{table(0, to("a", 9000, "b"), to("b", 9001, addr)), table(0, to("a", 9000, "b"), tcp(to("b", 9001, addr)))},
			"a:9000 b:9001", "b GatewayChainTypeError",
		},
		{
			"gateways in a row change their type together",
			[]*routing.Table{table(0, to("a", 9000, "b"), to("b", 9001, addr)), table(0, tcp(to("a", 9000, "b")), tcp(to("b", 9001, addr)))},
			"a:9000 b:9001", "",
		},
		{
			"a dangling route does not keep a new gateway from its type",
			[]*routing.Table{table(0, to("a", 9000, "b")), table(0, to("a", 9000, "b"), tcp(to("b", 9001, addr)))},
			"a:9000 b:9001", "(a RouteTargetMissing)",
		},
		{
			"nor does it later",
			[]*routing.Table{
				table(0, to("a", 9000, "b")),
				table(0, to("a", 9000, "b"), tcp(to("b", 9001, addr))),
				table(0, to("a", 9000, "b"), tcp(to("b", 9002, addr))),
			},
			"a:9000 b:9002", "(a RouteTargetMissing)",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, faults := compile(tt.tables...)
			if got := served(s); got != tt.served {
				t.Errorf("served %q, want %q", got, tt.served)
			}
			if got := codes(faults); got != tt.faults {
				t.Errorf("faults %q, want %q", got, tt.faults)
			}
			checkSnapshot(t, s)
		})
	}
}

// checkSnapshot fails unless a snapshot is consistent.
func checkSnapshot(t *testing.T, s *routing.Snapshot) {
	t.Helper()
	slots := map[int]bool{}
	for _, g := range s.Gateways() {
		if slots[g.Slot] || s.Slot(g.Slot) != g {
			t.Errorf("gateway %s is not alone in slot %d", g.Name, g.Slot)
		}
		slots[g.Slot] = true
		if s.ByName(g.Name) != g || s.ByPort(g.Port) != g {
			t.Errorf("gateway %s is not found by name and port %d", g.Name, g.Port)
		}
		if depth := depthOf(s, g, 0); depth > routing.MaxDepth {
			t.Errorf("gateway %s leads through %d gateways", g.Name, depth)
		}
		for i, r := range g.Routes {
			if r.Index != i || r.Path != g.Asked.Routes[i].Path {
				t.Errorf("gateway %s: route %s is not where it was written", g.Name, r.Path)
			}
			if to := r.Target; to.Kind == routing.TargetGateway && s.Slot(to.Slot).Name != r.Path {
				t.Errorf("gateway %s: route %s leads to %s", g.Name, r.Path, s.Slot(to.Slot).Name)
			}
		}
	}
	for i := range s.Slots() {
		if g := s.Slot(i); g != nil && !slots[i] {
			t.Errorf("slot %d holds %s, which does not serve", i, g.Name)
		}
	}
}

func depthOf(s *routing.Snapshot, g *routing.CompiledGateway, above int) int {
	deepest := above + 1
	for _, r := range g.Routes {
		if r.Target.Kind == routing.TargetGateway && above <= routing.MaxDepth {
			deepest = max(deepest, depthOf(s, s.Slot(r.Target.Slot), above+1))
		}
	}
	return deepest
}

func TestCompileFaultsNameTheWay(t *testing.T) {
	for _, tt := range []struct {
		name     string
		gateways []*routing.Gateway
		want     []string
	}{
		{
			"round a cycle",
			[]*routing.Gateway{to("a", 1, "b"), to("b", 2, "c"), to("c", 3, "a")},
			[]string{"a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"},
		},
		{
			"by the shortest cycle",
			[]*routing.Gateway{to("a", 1, "b", "c"), to("b", 2, "c"), to("c", 3, "a")},
			[]string{"a -> c -> a", "b -> c -> a -> b", "c -> a -> c"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := compile(table(0, tt.gateways...))
			if len(faults) != len(tt.want) {
				t.Fatalf("faults = %v, want %d", faults, len(tt.want))
			}
			for i, want := range tt.want {
				if !strings.HasSuffix(faults[i].Problem, ": "+want) {
					t.Errorf("fault %q does not end with %q", faults[i].Problem, want)
				}
			}
		})
	}
}

func TestCompileBoundsWhatItSaysOfHugeCycles(t *testing.T) {
	const n = 3_000
	var all []*routing.Gateway
	for i := range n {
		all = append(all, to(fmt.Sprintf("g%d", i), 1000+i, fmt.Sprintf("g%d", (i+1)%n)))
	}
	s, faults := compile(table(0, all...))
	if len(s.Gateways()) != 0 || len(faults) != n {
		t.Errorf("%d gateways serve and %d faults are found, want 0 and %d", len(s.Gateways()), len(faults), n)
	}
	for _, f := range faults {
		if len(f.Problem) > 1_000 {
			t.Fatalf("a fault says %d characters", len(f.Problem))
		}
	}
}

func TestCompileLocatesFaults(t *testing.T) {
	at := func(line int) routing.Position { return routing.Position{Source: "shop.yaml", Line: line, Column: 1} }
	g := gateway("shop", 70000, when("[x]", full, "not", full), route("nowhere", 0))
	g.At, g.Routes[0].At, g.Routes[0].ConditionAt, g.Routes[1].At = at(1), at(4), at(5), at(9)
	_, faults := compile(table(0, g))
	var got []string
	for _, f := range faults {
		got = append(got, f.At.String()+" "+f.FullPath())
	}
	want := []string{
		"shop.yaml:1:1 gateways.shop.port",
		"shop.yaml:5:1 gateways.shop.routes.[x].condition",
		"shop.yaml:4:1 gateways.shop.routes.[x]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("faults at %q, want %q", got, want)
	}
}

func TestCompileWarnsAtThePresentPlace(t *testing.T) {
	at := func(line int) *routing.Table {
		g := to("shop", 9000, "nowhere")
		g.Routes[0].At.Line = line
		return table(0, g)
	}
	if _, faults := compile(at(3), at(8)); len(faults) != 1 || faults[0].At.Line != 8 {
		t.Errorf("faults = %v, want one in line 8", faults)
	}
}

func TestCompileReadsAddresses(t *testing.T) {
	for _, tt := range []struct {
		path, host string
		port       int
	}{
		{"[10.0.0.1:8080]", "10.0.0.1", 8080},
		{"[shop.example:80]", "shop.example", 80},
		{"[[::1]:80]", "::1", 80},
		{"[[2001:db8::1]:65535]", "2001:db8::1", 65535},
		{"[::1:80]", "", 0},
		{"[shop.example]", "", 0},
		{"[shop.example:0]", "", 0},
		{"[shop.example:65536]", "", 0},
		{"[:80]", "", 0},
		{"[[::1]:80", "", 0},
		{"[", "", 0},
		{"[]", "", 0},
		{"[a:1, b:2]", "", 0},
	} {
		t.Run(tt.path, func(t *testing.T) {
			s, faults := compile(table(0, to("a", 9000, tt.path)))
			g := s.ByName("a")
			if tt.host == "" {
				if g != nil || codes(faults) != "a UnsupportedRoutePathError" {
					t.Fatalf("gateway %v, faults %v; want it refused", g, faults)
				}
				return
			}
			if g == nil {
				t.Fatal(faults)
			}
			want := routing.Target{
				Kind: routing.TargetAddress, Address: tt.path[1 : len(tt.path)-1], Host: tt.host, Port: tt.port,
			}
			if got := *g.Routes[0].Target; got != want {
				t.Errorf("target %+v, want %+v", got, want)
			}
		})
	}
}

// rich returns a gateway in which every field says something.
func rich() *routing.Gateway {
	return &routing.Gateway{
		Name:         "rich",
		Metadata:     map[string]any{"team": []any{"a", map[string]any{"b": 1}}},
		Port:         routing.Port{Number: 9000, Text: "9000/http"},
		Sticky:       "route",
		VirtualHosts: []string{"a.example", "b.example"},
		Selector:     "label(a)(b)",
		Service:      &routing.Service{Host: "10.0.0.9", Port: routing.Port{Number: 80}},
		Deployed:     true,
		Split:        routing.SplitRandom,
		Unavailable:  routing.UnavailableRedistribute,
		NoRoute:      404,
		TLS: &routing.ListenTLS{
			Certificates: []routing.KeyPair{{Certificate: "a.crt", Key: "a.key"}, {Certificate: "b.crt", Key: "b.key"}},
			MinVersion:   tls.VersionTLS12,
			ClientAuth:   routing.ClientAuthRequired,
			ClientCA:     "clients.crt",
		},
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		At:        routing.Position{Line: 1},
		Routes: []*routing.Route{
			{
				TLS:  &routing.DialTLS{CA: "ca.crt", Name: "shop.internal", KeyPair: routing.KeyPair{Certificate: "c.crt", Key: "c.key"}, MinVersion: tls.VersionTLS12},
				Path: "[10.0.0.1:80]", Metadata: map[string]any{"x": "y"}, Weight: half,
				Condition: "ip in 10.0.0.0/8", Strength: half, Balance: "leastconn", Selector: "label(c)(d)",
				Rewrites: []routing.Rewrite{{Path: "/a if path /b"}}, Headers: richHeaders(), Redirect: &routing.Redirect{To: "/x", Code: 301},
				At: routing.Position{Line: 2}, ConditionAt: routing.Position{Line: 3},
				Instances: []*routing.Instance{{
					Name: "shop", Address: netip.MustParseAddr("10.0.0.1"), Port: 80, Labels: []routing.Label{{Name: "a", Value: "b"}}, Ready: true,
					Names: []string{"shop.example:80"}, SlowStart: time.Second,
				}},
			},
			{Path: "[10.0.0.2:80]", Weight: half},
		},
	}
}

func richHeaders() *routing.Headers {
	changes := func() routing.HeaderChanges {
		return routing.HeaderChanges{
			Remove: []string{"X-A"}, Set: []routing.HeaderField{{Name: "X-B", Value: "b"}}, Add: []routing.HeaderField{{Name: "X-C", Value: "c"}},
		}
	}
	return &routing.Headers{Request: changes(), Response: changes()}
}

func TestCompileReusesWhatDidNotChange(t *testing.T) {
	first, _ := compile(table(1, rich(), to("other", 9001, addr)))
	// Same text elsewhere in the file, and a change of something else.
	moved := rich()
	moved.At.Line, moved.Routes[0].At.Line, moved.Routes[0].ConditionAt.Line = 7, 8, 9
	second, faults := routing.Compile(first, table(2, to("other", 9002, addr), moved), routing.CompileOptions{})
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	if second.ByName("rich") != first.ByName("rich") {
		t.Error("an unchanged gateway was compiled again")
	}
	if second.ByName("other") == first.ByName("other") {
		t.Error("a changed gateway was not compiled again")
	}
	if first.ByName("other").Port != 9001 {
		t.Error("the snapshot before was changed")
	}
}

// TestCompileNoticesEveryChange changes one field after the other, so that a
// new field cannot be forgotten where gateways are compared.
func TestCompileNoticesEveryChange(t *testing.T) {
	first, _ := compile(table(1, rich()))
	places := map[string]bool{
		".Name": true, // another name is another gateway
		".At":   true, ".Routes[0].At": true, ".Routes[0].Rewrites[0].At": true, ".Routes[0].ConditionAt": true,
		".Routes[0].Instances[0].At": true, ".Routes[0].Instances[0].Since": true,
	}
	// Values that compile, where another value of the type would not.
	special := map[string]any{
		".Routes[0].Path":      "[10.0.0.3:80]",
		".Routes[0].Condition": "ip in 11.0.0.0/8",
		".Balance":             "source",
		".Routes[0].Balance":   "source",
		".Routes[0].Weight":    nil, // weights are changed in pairs
		".Routes[1]":           nil,

		".TLS.MinVersion":           uint16(tls.VersionTLS13),
		".Routes[0].TLS.MinVersion": uint16(tls.VersionTLS13),
		".TLS.ClientAuth":           routing.ClientAuthOptional,
		".ProxyFrom[0]":             netip.MustParsePrefix("10.0.0.0/16"),

		".HTTP2.MaxAge":      time.Minute,
		".HTTP2.MaxAgeGrace": time.Minute,
		".HTTP2.Ping":        time.Minute,

		".Routes[0].Instances[0].Address": netip.MustParseAddr("10.0.0.2"),
	}
	var walk func(path string, find func(*routing.Gateway) reflect.Value)
	tried := 0
	try := func(path string, find func(*routing.Gateway) reflect.Value) {
		g := rich()
		v := find(g)
		if with, ok := special[path]; ok {
			if with == nil {
				return
			}
			v.Set(reflect.ValueOf(with))
		} else {
			change(v)
		}
		tried++
		second, faults := routing.Compile(first, table(2, g), routing.CompileOptions{})
		for _, f := range faults {
			if f.Severity == routing.Refused {
				t.Fatalf("%s: %v", path, f)
			}
		}
		if second.ByName("rich") == first.ByName("rich") {
			t.Errorf("a change of %s goes unnoticed", path)
		}
	}
	walk = func(path string, find func(*routing.Gateway) reflect.Value) {
		if places[path] {
			return
		}
		v := find(rich())
		switch {
		case special[path] != nil && v.Kind() == reflect.Struct:
			try(path, find)
		case v.Kind() == reflect.Struct && strings.HasPrefix(v.Type().Name(), "Part["):
			try(path, find) // it is compared as a whole
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(g *routing.Gateway) reflect.Value { return find(g).Field(i) })
			}
		case v.Kind() == reflect.Pointer:
			walk(path, func(g *routing.Gateway) reflect.Value { return find(g).Elem() })
		case v.Kind() == reflect.Array:
			walk(path+"[0]", func(g *routing.Gateway) reflect.Value { return find(g).Index(0) })
		case v.Kind() == reflect.Slice:
			try(path, find) // one element less
			walk(path+"[0]", func(g *routing.Gateway) reflect.Value { return find(g).Index(0) })
		default:
			try(path, find)
		}
	}
	special[".Routes"] = []*routing.Route{{Path: addr, Weight: full}}
	walk("", func(g *routing.Gateway) reflect.Value { return reflect.ValueOf(g).Elem() })
	if tried < 20 {
		t.Errorf("only %d fields were changed", tried)
	}

	weights := rich()
	weights.Routes[0].Weight, weights.Routes[1].Weight = 6000, 4000
	if second, _ := routing.Compile(first, table(2, weights), routing.CompileOptions{}); second.ByName("rich") == first.ByName("rich") {
		t.Error("a change of weights goes unnoticed")
	}
}

// change gives a value another value.
func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		v.Set(v.Slice(0, v.Len()-1))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]any{"other": 1}))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(1 - v.Uint())
	case reflect.Struct:
		changePart(v.Addr().Interface())
	default:
		v.SetInt(v.Int() + 1)
	}
}

// changePart gives a part another value, of those that compile.
func changePart(part any) {
	switch p := part.(type) {
	case *routing.Part[routing.Limits]:
		*p = routing.PartOf(routing.Limits{Body: p.Value().Body + 1})
	case *routing.Part[routing.Timeouts]:
		*p = routing.PartOf(routing.Timeouts{Idle: p.Value().Idle + time.Second})
	case *routing.Part[routing.Load]:
		*p = routing.PartOf(routing.Load{Requests: p.Value().Requests + 1})
	case *routing.Part[routing.Retries]:
		*p = routing.PartOf(routing.Retries{Attempts: p.Value().Attempts + 1, Written: true})
	case *routing.Part[routing.Health]:
		*p = routing.PartOf(routing.Health{Kind: routing.HealthTCP, Every: p.Value().Every + time.Second, Timeout: time.Second, Fall: 1, Rise: 1})
	case *routing.Part[routing.Ejection]:
		*p = routing.PartOf(routing.Ejection{Failures: p.Value().Failures + 1, Time: time.Second, MostTime: time.Second})
	default:
		panic(fmt.Sprintf("no other value of %T is known", part))
	}
}

func TestCompileKeepsSplits(t *testing.T) {
	const path2 = "[10.0.0.2:80]"
	shop := func() *routing.Gateway {
		return gateway("shop", 9000, route(addr, 9000), when(path2, 1000, "has cookie beta", half))
	}
	for _, tt := range []struct {
		name                      string
		change                    func(*routing.Gateway)
		weights, taken, remainder bool // kept
	}{
		{"all, if only metadata changes", func(g *routing.Gateway) { g.Metadata = map[string]any{"a": 1} }, true, true, true},
		{"all, if the condition changes", func(g *routing.Gateway) { g.Routes[1].Condition = "has cookie x" }, true, true, true},
		{"all, if the port changes", func(g *routing.Gateway) { g.Port.Number = 9001 }, true, true, true},
		{
			"all but that of the strength, if it changes",
			func(g *routing.Gateway) { g.Routes[1].Strength = 2500 }, true, false, true,
		},
		{
			"that of the strength, if weights change",
			func(g *routing.Gateway) { g.Routes[0].Weight, g.Routes[1].Weight = 8000, 2000 }, false, true, false,
		},
		{"none, if the mode changes", func(g *routing.Gateway) { g.Split = routing.SplitRandom }, false, false, false},
		{
			"those of the weights, if a route is replaced",
			func(g *routing.Gateway) { g.Routes[0].Path = "[10.0.0.3:80]" }, true, true, true,
		},
		{
			"not those of a strength of another route",
			func(g *routing.Gateway) { g.Routes[1].Path = "[10.0.0.3:80]" }, true, false, false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, _ := compile(table(1, shop()))
			changed := shop()
			tt.change(changed)
			second, faults := routing.Compile(first, table(2, changed), routing.CompileOptions{})
			if len(faults) != 0 {
				t.Fatal(faults)
			}
			was, is := first.ByName("shop"), second.ByName("shop")
			if was == is {
				t.Fatal("the gateway was not compiled again")
			}
			check := func(what string, a, b *routing.Split, kept bool) {
				if a == nil || b == nil {
					t.Errorf("%s: splits %p and %p, want two", what, a, b)
				} else if (a == b) != kept {
					t.Errorf("%s: kept = %t, want %t", what, a == b, kept)
				}
			}
			check("weights", was.Weights, is.Weights, tt.weights)
			check("taken", was.Routes[1].Taken, is.Routes[1].Taken, tt.taken)
			check("remainder", was.Routes[1].Remainder, is.Routes[1].Remainder, tt.remainder)
		})
	}
}

func TestCompileMakesSplitsThatDoNotRunInStep(t *testing.T) {
	s, _ := compile(table(1,
		gateway("a", 9000, when("[x:1]", half, "has cookie b", half), route("[y:1]", half)),
		gateway("b", 9001, when("[x:1]", half, "has cookie b", half), route("[y:1]", half))))
	a, b := s.ByName("a"), s.ByName("b")
	splits := []*routing.Split{
		a.Weights, a.Routes[0].Taken, a.Routes[0].Remainder, b.Weights, b.Routes[0].Taken, b.Routes[0].Remainder,
	}
	for i, one := range splits {
		for j, other := range splits[:i] {
			equal := 0
			for ticket := range uint64(2_000) {
				if one.Pick(ticket) == other.Pick(ticket) {
					equal++
				}
			}
			if equal < 800 || equal > 1_200 {
				t.Errorf("splits %d and %d agree on %d of 2000 tickets, want about half", i, j, equal)
			}
		}
	}
}

func TestCompileMakesNoDrawWhereNoneIsNeeded(t *testing.T) {
	s, faults := compile(table(1,
		gateway("a", 9000, when("[x:1]", full, "has cookie b", 0), when("[y:1]", 0, "has cookie c", full), route("[z:1]", 0)),
		gateway("b", 9001, when("[x:1]", 0, "has cookie b", half))))
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	for _, r := range s.ByName("a").Routes {
		if r.Taken != nil || r.Remainder != nil {
			t.Errorf("route %s has a draw", r.Path)
		}
	}
	if got := len(s.ByName("a").Conditions); got != 2 {
		t.Errorf("%d conditions, want 2", got)
	}
	if b := s.ByName("b"); b.Weights != nil || b.Routes[0].Taken == nil || b.Routes[0].Remainder != nil {
		t.Error("without weights there is a split of weights")
	}
}

// TestManySmallSplitsSumToTheirShares: what is changed often is always at the
// start of a schedule, and must not always begin with the same route.
func TestManySmallSplitsSumToTheirShares(t *testing.T) {
	const changes, each = 1_000, 5
	for _, vectors := range [][2][]routing.Weight{
		{{9000, 1000}, {8900, 1100}},
		{{9900, 100}, {9901, 99}},
		{{5000, 5000}, {5001, 4999}},
		{{7000, 2900, 100}, {7000, 100, 2900}},
	} {
		var s *routing.Snapshot
		asked := make([]float64, len(vectors[0]))
		got := make([]float64, len(vectors[0]))
		for change := range changes {
			g := gateway("shop", 9000)
			for i, w := range vectors[change%2] {
				g.Routes = append(g.Routes, route(fmt.Sprintf("[10.0.0.%d:80]", i), w))
				asked[i] += each * float64(w) / 10000
			}
			s, _ = routing.Compile(s, table(uint64(change+1), g), routing.CompileOptions{Seed: 9})
			split := s.ByName("shop").Weights
			for range each {
				got[split.Pick(split.Next())]++
			}
		}
		for i := range asked {
			if off := math.Abs(got[i] - asked[i]); off > 3*math.Sqrt(changes) {
				t.Errorf("%v: route %d got %.0f of %.0f requests", vectors, i, got[i], asked[i])
			}
			// Rare routes are where a fixed start shows first.
			if got[i] == 0 {
				t.Errorf("%v: route %d got nothing of %.0f requests", vectors, i, asked[i])
			}
		}
	}
}

func TestCompileKeepsCountersAcrossOtherChanges(t *testing.T) {
	var s *routing.Snapshot
	var counts [2]int
	for change := range 1_000 {
		s, _ = routing.Compile(s, table(uint64(change+1),
			gateway("shop", 9000+change%2, route("[x:1]", 9900), route("[y:1]", 100)),
			to(fmt.Sprintf("other%d", change), 9100, addr)), routing.CompileOptions{})
		split := s.ByName("shop").Weights
		counts[split.Pick(split.Next())]++
	}
	if want := [2]int{990, 10}; counts != want {
		t.Errorf("counts = %v, want %v", counts, want)
	}
}

func TestCompileFollowsChainedGateways(t *testing.T) {
	target := func(s *routing.Snapshot) string {
		to := s.ByName("a").Routes[0].Target
		if to.Kind == routing.TargetNone {
			return "nothing"
		}
		return s.Slot(to.Slot).Name
	}
	a := to("a", 9000, "b")
	s, _ := compile(table(1, to("z", 9005, addr), a))
	if got := target(s); got != "nothing" {
		t.Fatalf("a leads to %s before b exists", got)
	}
	split := s.ByName("a").Weights
	for i, tt := range []struct {
		name  string
		table *routing.Table
		want  string
	}{
		{"b appears", table(2, to("z", 9005, addr), a, to("b", 9001, addr)), "b"},
		{"b vanishes and another gateway takes its slot", table(3, to("z", 9005, addr), a, to("c", 9001, addr)), "nothing"},
		{"b comes back to another slot", table(4, to("b", 9002, addr), to("z", 9005, addr), a, to("c", 9001, addr)), "b"},
		{"b is broken", &routing.Table{
			Version:  routing.Version{Epoch: 1, Revision: 5},
			Gateways: []*routing.Gateway{a, to("c", 9001, addr)}, Broken: []string{"b"},
		}, "b"},
	} {
		s, _ = routing.Compile(s, tt.table, routing.CompileOptions{})
		if got := target(s); got != tt.want {
			t.Errorf("%s (%d): a leads to %s, want %s", tt.name, i, got, tt.want)
		}
		if s.ByName("a").Weights != split {
			t.Errorf("%s: a lost its counter", tt.name)
		}
		checkSnapshot(t, s)
	}
}

func TestCompileKeepsSlots(t *testing.T) {
	s, _ := compile(table(1, to("a", 9000, addr), to("b", 9001, addr), to("c", 9002, addr)))
	b, c := s.ByName("b").Slot, s.ByName("c").Slot
	s, _ = routing.Compile(s, table(2, to("d", 9005, addr), to("c", 9003, addr), to("b", 9001, addr), to("e", 9006, addr)), routing.CompileOptions{})
	if s.ByName("b").Slot != b || s.ByName("c").Slot != c {
		t.Errorf("slots of b and c are %d and %d, were %d and %d", s.ByName("b").Slot, s.ByName("c").Slot, b, c)
	}
	if s.Slots() != 4 {
		t.Errorf("%d slots for 4 gateways", s.Slots())
	}
	checkSnapshot(t, s)
}

func TestCompileLeadsToInstances(t *testing.T) {
	one := &routing.Instance{Address: netip.MustParseAddr("10.0.0.1"), Port: 80, Ready: true}
	for _, tt := range []struct {
		name  string
		shape func(*routing.Gateway)
		path  string
		want  []*routing.Instance
	}{
		{"a route with a selector leads to no gateway of its name", func(g *routing.Gateway) { g.Routes[0].Selector = "label(x)(y)" }, "b", nil},
		{"nor does a route of a gateway with a selector", func(g *routing.Gateway) { g.Selector = "label(x)(y)" }, "b", nil},
		{"what a selector found is handed on", func(g *routing.Gateway) { g.Routes[0].Instances = []*routing.Instance{one} }, "(1.0.3)", []*routing.Instance{one}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := to("a", 9000, tt.path)
			tt.shape(g)
			s, faults := compile(table(1, g, to("b", 9001, addr)))
			r := s.ByName("a").Routes[0]
			if r.Target.Kind != routing.TargetInstances || !slices.Equal(r.Instances, tt.want) {
				t.Errorf("target kind %d with %d instances, want instances, %d of them", r.Target.Kind, len(r.Instances), len(tt.want))
			}
			if len(faults) > 0 {
				t.Errorf("faults %v", faults)
			}
			checkSnapshot(t, s)
		})
	}
}

func TestCompileMakesAnewForOtherOptions(t *testing.T) {
	tables := func(revision uint64) *routing.Table {
		return table(revision, gateway("a", 9000, route("[x:1]", half), route("[y:1]", half)))
	}
	first, _ := routing.Compile(nil, tables(1), routing.CompileOptions{Seed: 1})
	for _, tt := range []struct {
		name    string
		options routing.CompileOptions
		kept    bool
	}{
		{"the same options", routing.CompileOptions{Seed: 1, PortMin: 40000}, true},
		{"another seed", routing.CompileOptions{Seed: 2}, false},
		{"a domain", routing.CompileOptions{Seed: 1, VirtualHostsDomain: "mesh.example"}, false},
	} {
		second, _ := routing.Compile(first, tables(2), tt.options)
		if got := second.ByName("a") == first.ByName("a"); got != tt.kept {
			t.Errorf("%s: kept = %t, want %t", tt.name, got, tt.kept)
		}
	}
}

// many returns 10,000 gateways on ports of their own.
func many() []*routing.Gateway {
	all := make([]*routing.Gateway, 10_000)
	for i := range all {
		name := fmt.Sprintf("shop-%d", i)
		g := gateway(name, 10000+i, route(fmt.Sprintf("[10.0.%d.%d:80]", i/256, i%256), 9000),
			when("[10.1.0.1:80]", 1000, "user-agent == Firefox", half))
		g.VirtualHosts = []string{name + ".example"}
		all[i] = g
	}
	return all
}

// Fresh tables, as they come from reading files: nothing is shared with the
// table before.
func BenchmarkCompile(b *testing.B) {
	b.Run("10,000 gateways from nothing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			routing.Compile(nil, table(1, many()...), routing.CompileOptions{})
		}
	})
	b.Run("10,000 gateways read anew, one changed", func(b *testing.B) {
		prev, _ := routing.Compile(nil, table(1, many()...), routing.CompileOptions{})
		next := many()
		next[5000].Routes[0].Weight, next[5000].Routes[1].Weight = 8000, 2000
		b.ReportAllocs()
		for b.Loop() {
			routing.Compile(prev, table(2, next...), routing.CompileOptions{})
		}
	})
	b.Run("10,000 gateways kept, one changed", func(b *testing.B) {
		all := many()
		prev, _ := routing.Compile(nil, table(1, all...), routing.CompileOptions{})
		all = slices.Clone(all)
		all[5000] = gateway("shop-5000", 15000, route("[x:1]", full))
		b.ReportAllocs()
		for b.Loop() {
			routing.Compile(prev, table(2, all...), routing.CompileOptions{})
		}
	})
}
