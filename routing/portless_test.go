// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// portless returns the text of a gateway without a port of its own.
func portless(name, host string) string {
	return fmt.Sprintf("name: %s\nvirtual_hosts: [%s]\nsluice: {port: none}\nroutes: {\"[10.0.0.1:80]\": {weight: 100%%}}\n---\n", name, host)
}

func compileText(t *testing.T, prev *routing.Snapshot, text string, o routing.CompileOptions) *routing.Snapshot {
	t.Helper()
	docs, faults := routing.Read("x.yaml", []byte(text))
	table, wrong := routing.Resolve(docs)
	table.Version.Revision = 1
	if prev != nil {
		table.Version.Revision = prev.Version().Revision + 1
	}
	s, more := routing.Compile(prev, table, o)
	for _, f := range append(append(faults, wrong...), more...) {
		t.Errorf("fault: %v", f)
	}
	return s
}

// Gateways of virtual hosts alone take no port from those that need one, at
// first and when one comes or changes.
func TestPortlessGatewaysHaveNoPort(t *testing.T) {
	o := routing.CompileOptions{PortMin: 40000, PortMax: 40000}
	const ported = "name: z\nroutes: {\"[10.0.0.1:80]\": {weight: 100%}}\n---\n"
	var s *routing.Snapshot
	for _, text := range []string{
		portless("a", "a.test") + portless("b", "b.test") + ported,
		portless("a", "a.test") + portless("b", "c.test") + ported,
		portless("a", "a.test") + portless("b", "c.test") + portless("d", "d.test") + ported,
		portless("b", "c.test") + ported,
	} {
		s = compileText(t, s, text, o)
		for _, g := range s.Gateways() {
			want := 0
			if g.Name == "z" {
				want = 40000
			}
			if g.Port != want {
				t.Errorf("%s has port %d, want %d", g.Name, g.Port, want)
			}
			for _, host := range g.Hosts {
				if s.ByHost(host) != g {
					t.Errorf("%s is not found by its host %s", g.Name, host)
				}
			}
		}
		if g := s.ByPort(0); g != nil {
			t.Errorf("%s is found at port 0", g.Name)
		}
	}
	// One that gets a port, and one that loses it.
	s = compileText(t, s, portless("z", "z.test")+"name: b\nroutes: {\"[10.0.0.1:80]\": {weight: 100%}}\n", o)
	if b, z := s.ByName("b"), s.ByName("z"); b == nil || z == nil || b.Port != 40000 || z.Port != 0 {
		t.Errorf("b and z are %+v and %+v, want b on port 40000 and z on none", b, z)
	}
}
