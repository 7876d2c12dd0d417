// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// wide returns the text of a gateway with five routes that find their
// instances, and no port of its own.
func wide(n int, weights [5]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: g%d\nvirtual_hosts: [g%d.example]\nport: %d\nroutes:\n", n, n, 10_000+n)
	for k, w := range weights {
		fmt.Fprintf(&b, "  v%d: {selector: label(app)(g%d) and label(version)(%d), weight: %d%%}\n", k, n, k, w)
	}
	return b.String()
}

// run returns what runs of a gateway: four instances of each of its routes.
func run(n, port int) discovery.Update {
	u := discovery.Update{Key: fmt.Sprintf("run%05d", n)}
	for k := range 5 {
		for i := range 4 {
			text := fmt.Sprintf("- {address: 10.%d.%d.%d, port: %d, labels: {app: g%d, version: %d}}\n",
				n/250, n%250, 1+4*k+i, port, n, k)
			list, faults := routing.ReadInstances(u.Key, []byte(text))
			if len(faults) > 0 {
				panic(faults[0])
			}
			u.Instances = append(u.Instances, list...)
		}
	}
	return u
}

// BenchmarkPlanOneOf10000 is about one change among 10,000 gateways of five
// routes with four instances each.
func BenchmarkPlanOneOf10000(b *testing.B) {
	const n = 10_000
	p := planner.New(planner.Options{})
	var all []discovery.Update
	for i := range n {
		all = append(all, says(fmt.Sprintf("g%05d", i), wide(i, [5]int{20, 20, 20, 20, 20})), run(i, 80))
	}
	start := time.Now()
	p.Put(all)
	table, faults := plan(p)
	b.Logf("the first plan took %v, with %d gateways and %d faults", time.Since(start), len(table.Gateways), len(faults))
	other := run(77, 81)
	moved := run(77, 80)
	moved.Instances = append(moved.Instances[:19:19], other.Instances[19])
	documents := [2]discovery.Update{
		says("g00050", wide(50, [5]int{10, 30, 20, 20, 20})), says("g00050", wide(50, [5]int{20, 20, 20, 20, 20})),
	}
	fresh := says("new", "name: new\nroutes: {\"[127.0.0.1:80]\": {}}\n")
	for _, bb := range []struct {
		name    string
		updates [2]discovery.Update
	}{
		{"a document", documents},
		{"an instance", [2]discovery.Update{moved, run(77, 80)}},
		{"a gateway that comes and goes", [2]discovery.Update{fresh, gone("new")}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p.Put([]discovery.Update{bb.updates[i%2]})
				if _, err := p.Plan(context.Background(), ""); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
	b.Run("a document that is checked", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Check("", []discovery.Update{documents[0]})
		}
	})
}

// BenchmarkPlanByNames is about one task that comes and goes among 10,000
// gateways of two routes each, whose addresses are names of two tasks each.
func BenchmarkPlanByNames(b *testing.B) {
	const n = 10_000
	app := func(k, tasks int) discovery.Update {
		u := discovery.Update{Key: fmt.Sprintf("apps/web-%d", k), Origin: "marathon"}
		for task := range tasks {
			list, faults := routing.ReadInstances(u.Key, fmt.Appendf(nil, "- {address: 10.%d.%d.%d, port: 31000, kind: app}\n", task, k/250, k%250))
			if len(faults) > 0 {
				b.Fatal(faults[0])
			}
			i := list[0]
			i.Name, i.ID = fmt.Sprintf("web-%d", k), fmt.Sprintf("/web-%d", k)
			i.Names = []string{fmt.Sprintf("web-%d.marathon.l4lb.thisdcos.directory:3000", k)}
			u.Instances = append(u.Instances, i)
		}
		return u
	}
	p := planner.New(planner.Options{})
	var all []discovery.Update
	for k := range n {
		all = append(all, app(2*k, 2), app(2*k+1, 2), says(fmt.Sprintf("g%05d", k), fmt.Sprintf("name: g%d\nport: %d\nroutes:\n"+
			"  \"[web-%d.marathon.l4lb.thisdcos.directory:3000]\": {weight: 50%%}\n"+
			"  \"[web-%d.marathon.l4lb.thisdcos.directory:3000]\": {weight: 50%%}\n", k, 10_000+k, 2*k, 2*k+1)))
	}
	start := time.Now()
	p.Put(all)
	table, faults := plan(p)
	b.Logf("the first plan took %v, with %d gateways and %d faults", time.Since(start), len(table.Gateways), len(faults))
	if got := len(table.Gateways[0].Routes[0].Instances); got != 2 {
		b.Fatalf("a route has %d instances, want 2", got)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Put([]discovery.Update{app(77, 1+i%2)})
		if _, err := p.Plan(context.Background(), ""); err != nil {
			b.Fatal(err)
		}
	}
}
