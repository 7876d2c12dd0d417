// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

func TestPortlessGatewaysAreGivenNoPort(t *testing.T) {
	p := planner.New(planner.Options{Compile: routing.CompileOptions{PortMin: 40000, PortMax: 40000}})
	const route = "\nroutes: {\"[10.0.0.1:80]\": {weight: 100%}}\n"
	for _, step := range []struct{ a, b, want string }{
		{"sluice: {port: none}", "virtual_hosts: [b.test]", "a:0 b:40000"},
		{"virtual_hosts: [a.test]", "sluice: {port: none}", "a:40000 b:0"},
		{"sluice: {port: none}", "sluice: {port: none}", "a:0 b:0"},
	} {
		p.Put([]discovery.Update{says("a", "name: a\n"+step.a+route), says("b", "name: b\n"+step.b+route)})
		table, faults := plan(p)
		if got := show(table); got != step.want || len(faults) > 0 {
			t.Errorf("the table is %s with %s, want %s", got, codes(faults), step.want)
		}
	}
}
