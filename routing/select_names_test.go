// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// bearer is an instance of an app that bears names.
func bearer(address, id string, names ...string) *routing.Instance {
	i := instance(address)
	i.Kind, i.ID, i.Name, i.Names = "app", id, id[strings.LastIndexByte(id, '/')+1:], names
	return i
}

func TestAddressesThatInstancesBearAreNotLookedUp(t *testing.T) {
	const vip = "web-1.0.0.marathon.l4lb.thisdcos.directory:3000"
	first, second := bearer("10.0.0.1", "/web-1.0.0", vip, "10.1.0.1:80"), bearer("10.0.0.2", "/web-1.0.0", vip)
	first.Labels = []routing.Label{{Name: "zone", Value: "eu"}}
	booting := bearer("10.0.0.3", "/slow", "slow.example:80")
	booting.Ready = false
	loud := bearer("10.0.0.4", "/loud", "Loud.Example.:80", "[2001:DB8:0::1]:80", "no address")
	all := []*routing.Instance{second, first, booting, loud}
	base, err := routing.ParseBaseSelector("label(zone)(eu)")
	if err != nil {
		t.Fatal(err)
	}
	redirect := route("["+vip+"]", full)
	redirect.Redirect = &routing.Redirect{To: "https://x.example", Code: 301}
	for _, tt := range []struct {
		name    string
		route   *routing.Route
		options routing.SelectOptions
		want    string // addresses of the instances
	}{
		{"all that bear it", route("["+vip+"]", full), routing.SelectOptions{}, "10.0.0.1 10.0.0.2"},
		{"in other letters", route("["+strings.ToUpper(vip)+"]", full), routing.SelectOptions{}, "10.0.0.1 10.0.0.2"},
		{"with the dot of a complete name", route("[web-1.0.0.marathon.l4lb.thisdcos.directory.:3000]", full), routing.SelectOptions{}, "10.0.0.1 10.0.0.2"},
		{"a name that is borne in capitals", route("[loud.example:80]", full), routing.SelectOptions{}, "10.0.0.4"},
		{"an IPv4 address", route("[10.1.0.1:80]", full), routing.SelectOptions{}, "10.0.0.1"},
		{"an IPv6 address in another form", route("[[2001:db8::1]:80]", full), routing.SelectOptions{}, "10.0.0.4"},
		{"those that are not ready, too", route("[slow.example:80]", full), routing.SelectOptions{}, "10.0.0.3"},
		{"those that the selector for all finds", route("["+vip+"]", full), routing.SelectOptions{Base: base}, "10.0.0.1"},
		{"not at another port", route("[web-1.0.0.marathon.l4lb.thisdcos.directory:3001]", full), routing.SelectOptions{}, ""},
		{"not where an instance is reached", route("[10.0.0.1:80]", full), routing.SelectOptions{}, ""},
		{"not the route of a gateway's name", route("web-1.0.0", full), routing.SelectOptions{}, ""},
		{"not where a redirect answers", redirect, routing.SelectOptions{}, ""},
		{"nothing of what is no address", route("[", full), routing.SelectOptions{}, ""},
		{"nothing of what is half an address", route("[web:80", full), routing.SelectOptions{}, ""},
		{"nothing of an empty address", route("[]", full), routing.SelectOptions{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := table(1, gateway("g", 9000, tt.route))
			out, _, faults := routing.Select(nil, asked, routing.NewInstances(all), epoch, tt.options)
			var got []string
			for _, i := range out.Gateways[0].Routes[0].Instances {
				got = append(got, i.Address.String())
			}
			if text := strings.Join(got, " "); text != tt.want || len(faults) > 0 {
				t.Errorf("%s leads to %q, faults %v; want %q", tt.route.Path, text, faults, tt.want)
			}
			if tt.route.Instances != nil {
				t.Error("the table that was handed in is changed")
			}
		})
	}
}

// What else a route asks for by its address stays as it is: the address is
// shown, and TLS verifies the name that is written.
func TestARouteKeepsItsAddressWhileInstancesBearIt(t *testing.T) {
	own := route("web", 0)
	own.Selector = "id(/a/.*)"
	asked := table(1, gateway("g", 9000, route("[web.example:80]", full), own), gateway("h", 9001, route("[web.example:80]", full)))
	is := routing.NewInstances([]*routing.Instance{bearer("10.0.0.1", "/a/web", "web.example:80")})
	out, selection, faults := routing.Select(nil, asked, is, epoch, routing.SelectOptions{})
	if len(faults) > 0 {
		t.Errorf("two gateways that ask for one name have faults %v, want none", faults)
	}
	s, faults := compile(out)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	was := s.ByName("g")
	if to, want := *was.Routes[0].Target, (routing.Target{Kind: routing.TargetInstances, Address: "web.example:80", Host: "web.example", Port: 80}); to != want {
		t.Errorf("the route leads to %+v, want %+v", to, want)
	}
	if to := *was.Routes[1].Target; to != (routing.Target{Kind: routing.TargetInstances}) {
		t.Errorf("the route with a selector leads to %+v", to)
	}
	e, err := s.Explain(routing.ExplainRequest{URL: "http://x.example:9000"}, routing.ExplainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"It leads to web.example:80, behind which are 10.0.0.1:80.\n",
		"That address is not looked up: it is a name of app /a/web.\n", "It goes to web.example:80.\n",
	} {
		if got := e.Format(); !strings.Contains(got, want) {
			t.Errorf("told as\n%s\nwant %q in it", got, want)
		}
	}

	asked.Version.Revision++
	out, _, _ = routing.Select(selection, asked, routing.NewInstances(nil), epoch, routing.SelectOptions{})
	s, _ = routing.Compile(s, out, routing.CompileOptions{})
	now := s.ByName("g")
	if to := now.Routes[0].Target; to.Kind != routing.TargetAddress || to.Host != "web.example" || to.Port != 80 {
		t.Errorf("once nobody bears the name the route leads to %+v, want its address", to)
	}
	if now.Weights != was.Weights {
		t.Error("the split begins anew")
	}
}

// Indexes only save time: selectors find what comparing with every instance
// finds, and who is told to be concerned by an instance is who finds it.
func TestIndexesOfInstancesFindWhatComparingFinds(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 17))
		n := func(n int) int { return r.IntN(n) }
		var list []*routing.Instance
		for k := range 1 + n(30) {
			i := instance(fmt.Sprintf("10.0.0.%d", k), fmt.Sprintf("a.b=%d", n(3)), fmt.Sprintf("c=%d", n(3)))
			if n(3) > 0 {
				i.ID = []string{"", "/shop", "/eu/shop", "/eu/web-1.0", "web-1.0", "shop"}[n(6)]
			}
			i.Name = []string{"", "shop", "web-1.0", "web-1x0"}[n(4)]
			i.Namespace = []string{"", "eu", "default"}[n(3)]
			for range n(3) {
				i.Names = append(i.Names, fmt.Sprintf("%s.example:%d", []string{"a", "b", "A"}[n(3)], 80+n(2)))
			}
			list = append(list, i)
		}
		operand := func() string {
			return []string{
				"name(shop)", "id(/eu/shop)", "name(/eu/(.*))", `id(/eu/web-1\.0)`, `id(web-1\.0)`, "name((.*))", `id(\Q/shop\E)`,
				`label(a\.b)(1)`, "label(c)((.*))", "namespace(eu)", "namespace($namespace)", "not name(shop)", "true", "false",
			}[n(14)]
		}
		is := routing.NewInstances(list)
		for range 40 {
			text := operand()
			for range n(4) {
				text = fmt.Sprintf("(%s %s %s)", text, []string{"and", "or"}[n(2)], operand())
			}
			found := matched(t, is, text)
			if compared := matched(t, is, "not (not ("+text+"))"); !slices.Equal(found, compared) {
				t.Fatalf("seed %d: %s finds %v, want %v", seed, text, found, compared)
			}
			named := gateway("n", 0, route("["+[]string{"a", "B"}[n(2)]+".example:80]", full))
			var interests routing.Interests
			for _, g := range []*routing.Gateway{selects("s", text), named} {
				interests.Set(g.Name, g, routing.SelectOptions{Namespace: "default"})
			}
			out, _, _ := routing.Select(nil, table(1, named), is, epoch, routing.SelectOptions{})
			byName := out.Gateways[0].Routes[0].Instances
			for _, i := range list {
				concerned := make(map[string]bool)
				interests.Concerned(i, concerned)
				if want := slices.Contains(found, i.Address); concerned["s"] != want {
					t.Fatalf("seed %d: %s is concerned by %+v: %t, want %t", seed, text, i, concerned["s"], want)
				}
				if want := slices.Contains(byName, i); concerned["n"] != want {
					t.Fatalf("seed %d: %s is concerned by %+v: %t, want %t", seed, named.Routes[0].Path, i, concerned["n"], want)
				}
			}
			interests.Set("n", nil, routing.SelectOptions{})
			for _, i := range list {
				concerned := make(map[string]bool)
				if interests.Concerned(i, concerned); concerned["n"] {
					t.Fatal("a gateway that is gone is concerned")
				}
			}
		}
	}
}

// matched returns the addresses of what a selector finds.
func matched(t *testing.T, is *routing.Instances, text string) []netip.Addr {
	t.Helper()
	s, err := routing.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	var all []netip.Addr
	for _, g := range s.Groups(is, "default") {
		for _, i := range g.Instances {
			all = append(all, i.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// FuzzNames checks that a route finds who bears its very address, in capitals,
// too, and that nothing else than an address finds anybody.
func FuzzNames(f *testing.F) {
	for _, text := range []string{"web.example:80", "WEB.example.:080", "10.0.0.1:80", "[::1]:80", "[::ffff:10.0.0.1]:80", "web:0", "a..b:1", "[::1%eth0]:1", ":80", "é:80"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		is := routing.NewInstances([]*routing.Instance{bearer("10.0.0.9", "/web", text)})
		found := func(path string) int {
			out, _, _ := routing.Select(nil, table(1, gateway("g", 9000, route(path, full))), is, epoch, routing.SelectOptions{})
			return len(out.Gateways[0].Routes[0].Instances)
		}
		_, faults := compile(table(1, gateway("g", 9000, route("["+text+"]", full))))
		want := 1
		if len(faults) > 0 {
			want = 0
		}
		if got := found("[" + text + "]"); got != want {
			t.Fatalf("%q is found %d times, want %d (%v)", text, got, want, faults)
		}
		if upper := strings.ToUpper(text); len(upper) == len(text) && strings.EqualFold(upper, text) {
			if got := found("[" + upper + "]"); got != want && !strings.Contains(text, "%") {
				t.Fatalf("%q finds %q %d times, want %d", upper, text, got, want)
			}
		}
		if got := found(text); got != 0 && !strings.HasPrefix(text, "[") {
			t.Fatalf("%q without brackets is found", text)
		}
	})
}

// awaiting is a Live of which one instance is awaited.
type awaiting struct {
	reachable

	state routing.InstanceState
}

func (l awaiting) States(*routing.CompiledGateway, *routing.CompiledRoute) []routing.InstanceState {
	return []routing.InstanceState{l.state}
}

func TestExplainTellsWhoIsAwaited(t *testing.T) {
	r := route("web", full)
	r.Instances = []*routing.Instance{instance("10.0.0.1"), instance("10.0.0.2")}
	s, faults := compile(table(1, gateway("g", 9000, r)))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	live := awaiting{
		reachable{instances: map[string][]string{"web": {"10.0.0.1:80", "10.0.0.2:80"}}},
		routing.InstanceState{Address: "10.0.0.2:80", State: routing.StateUnhealthy, Why: "connection refused", Unused: true, Awaited: true},
	}
	e, err := s.Explain(routing.ExplainRequest{URL: "http://x.example:9000"}, routing.ExplainOptions{Live: live})
	if err != nil {
		t.Fatal(err)
	}
	checkExplanation(t, e)
	for _, want := range []string{"10.0.0.2:80 is awaited: no check of it has succeeded yet: connection refused.\n", "\nIt goes to 10.0.0.1:80.\n"} {
		if got := unwrapped(e.Format()); !strings.Contains(got, want) {
			t.Errorf("told as\n%s\nwant %q in it", got, want)
		}
	}
	if len(e.Hops[0].Bearers) > 0 {
		t.Errorf("a route without an address is said to be a name of %v", e.Hops[0].Bearers)
	}
}

// unwrapped returns a text with the lines that go on joined.
func unwrapped(text string) string { return strings.ReplaceAll(text, "\n     ", " ") }
