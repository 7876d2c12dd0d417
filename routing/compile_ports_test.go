// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// unassigned returns gateways without a port.
func unassigned(names ...string) (all []*routing.Gateway) {
	for _, name := range names {
		all = append(all, to(name, 0, addr))
	}
	return all
}

func TestAssignedPorts(t *testing.T) {
	names := []string{"shop", "blog", "dep/9050", "dep/web/http"}
	first, faults := compile(table(1, unassigned(names...)...))
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	ports := map[string]int{}
	for _, name := range names {
		port := first.ByName(name).Port
		ports[name] = port
		if port < 40000 || port > 45000 {
			t.Errorf("%s has port %d", name, port)
		}
	}
	same := func(t *testing.T, s *routing.Snapshot, names ...string) {
		t.Helper()
		for _, name := range names {
			if got := s.ByName(name).Port; got != ports[name] {
				t.Errorf("%s has port %d, had %d", name, got, ports[name])
			}
		}
	}

	t.Run("are the same after a restart, in any order", func(t *testing.T) {
		backwards := unassigned(names...)
		slices.Reverse(backwards)
		s, _ := compile(table(1, backwards...))
		same(t, s, names...)
	})
	t.Run("stay while others come and go", func(t *testing.T) {
		s, _ := compile(table(1, unassigned(names...)...), table(2, unassigned("shop", "a", "b", "c")...))
		same(t, s, "shop")
	})
	t.Run("stay when a change leaves the port out", func(t *testing.T) {
		s, faults := compile(table(1, to("a", 9000, addr)), table(2, to("a", 0, addr)))
		if got := s.ByName("a").Port; got != 9000 || len(faults) != 0 {
			t.Errorf("port %d, faults %v; want 9000 as before", got, faults)
		}
	})
	t.Run("are not taken by who asks for them later", func(t *testing.T) {
		s, faults := compile(table(1, unassigned(names...)...),
			table(2, append([]*routing.Gateway{to("late", ports["shop"], addr)}, unassigned(names...)...)...))
		same(t, s, names...)
		if got := codes(faults); got != "late UnavailableGatewayPortError" {
			t.Errorf("faults %q", got)
		}
	})
	t.Run("pass over what others ask for", func(t *testing.T) {
		s, faults := compile(table(1, append(unassigned("shop"), to("other", ports["shop"], addr))...))
		if got := s.ByName("shop").Port; got == ports["shop"] || len(faults) != 0 {
			t.Errorf("port %d, faults %v; want another port than %d", got, faults, ports["shop"])
		}
	})
	t.Run("pass over what a refused gateway asks for", func(t *testing.T) {
		s, _ := compile(table(1, append(unassigned("shop"), to("other", ports["shop"], "[broken]"))...))
		if got := s.ByName("shop").Port; got == ports["shop"] {
			t.Errorf("port %d would be another once the other gateway is repaired", got)
		}
	})
}

func TestAssignedPortsRunOut(t *testing.T) {
	options := routing.CompileOptions{PortMin: 40000, PortMax: 40009}
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("g%02d", i))
	}
	s, faults := routing.Compile(nil, table(1, append(unassigned(names...), to("own", 40003, addr))...), options)
	ports := map[int]bool{}
	for _, g := range s.Gateways() {
		if g.Port < 40000 || g.Port > 40009 || ports[g.Port] {
			t.Errorf("%s has port %d", g.Name, g.Port)
		}
		ports[g.Port] = true
	}
	if len(ports) != 10 {
		t.Errorf("%d of 10 ports are used", len(ports))
	}
	if want := "g09 NoAvailablePortError, g10 NoAvailablePortError, g11 NoAvailablePortError"; codes(faults) != want {
		t.Errorf("faults %q, want %q", codes(faults), want)
	}

	// One leaves: the next gets its place, the others keep theirs.
	next, faults := routing.Compile(s, table(2, append(unassigned(names[1:]...), to("own", 40003, addr))...), options)
	for _, g := range next.Gateways() {
		if was := s.ByName(g.Name); was != nil && was.Port != g.Port {
			t.Errorf("%s moved from %d to %d", g.Name, was.Port, g.Port)
		}
	}
	if want := "g10 NoAvailablePortError, g11 NoAvailablePortError"; codes(faults) != want {
		t.Errorf("faults %q, want %q", codes(faults), want)
	}
}

func TestAssignedPortsOfAnEmptyRange(t *testing.T) {
	for _, o := range []routing.CompileOptions{{PortMin: 45001}, {PortMin: 70000, PortMax: 70010}} {
		s, faults := routing.Compile(nil, table(1, unassigned("a")...), o)
		if len(s.Gateways()) != 0 || codes(faults) != "a NoAvailablePortError" {
			t.Errorf("%+v: serves %q, faults %q", o, served(s), codes(faults))
		}
	}
}
