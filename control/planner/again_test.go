// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// anyUpdate makes an update of one of a few objects, which say and run things
// that get into each other's way.
func anyUpdate(r *rand.Rand, now time.Time) discovery.Update {
	n := r.IntN(14)
	key := fmt.Sprintf("object%02d", n)
	if r.IntN(5) == 0 {
		return gone(key)
	}
	var docs []string
	for range 1 + r.IntN(3) {
		docs = append(docs, anyText(r))
	}
	u := says(key, texts(docs...))
	u.Origin = []string{"api", "files", "other", ""}[n%4]
	switch r.IntN(8) {
	case 0:
		u.Kept, u.Documents = u.Documents, nil
	case 1:
		half := len(u.Documents) / 2
		u.Kept, u.Documents = u.Documents[half:], u.Documents[:half]
		u.Held = &discovery.Held{Since: now, Until: now.Add(time.Minute), Why: "it seems so"}
	}
	for range r.IntN(4) {
		u.Instances = append(u.Instances, anyInstance(r))
	}
	return u
}

func anyInstance(r *rand.Rand) *routing.Instance {
	list, faults := routing.ReadInstances("i", []byte(fmt.Sprintf(
		"- {address: 10.0.0.%d, port: %d, name: n%d, labels: {app: a%d, version: %d}}\n",
		1+r.IntN(4), 80+r.IntN(3), r.IntN(3), r.IntN(3), r.IntN(3))))
	if len(faults) > 0 {
		panic(faults[0])
	}
	if r.IntN(2) == 0 {
		list[0].ID = fmt.Sprintf("/x/n%d", r.IntN(3))
		list[0].Names = []string{fmt.Sprintf("n%d.example:80", r.IntN(2)), fmt.Sprintf("127.0.0.1:%d", 1+r.IntN(3))}[:r.IntN(3)]
	}
	return list[0]
}

// anyText writes a document of few names: conditions, routes, and gateways with
// ports that are taken, chains that lead round, selectors that find the same,
// conditions that are not there and texts that are refused.
func anyText(r *rand.Rand) string {
	n := func(n int) int { return r.IntN(n) }
	broken := ""
	if n(12) == 0 {
		broken = "colour: blue\n"
	}
	port := ""
	if n(2) == 0 {
		port = fmt.Sprintf("port: %d%s\n", []int{9000, 9001, 9002, 40001, 40002}[n(5)], []string{"", "", "", "/tcp"}[n(4)])
	}
	hosts := ""
	if n(4) == 0 {
		hosts = fmt.Sprintf("virtual_hosts: [h%d.example, \"*.h%d.example\"]\n", n(3), n(3))
	}
	head := fmt.Sprintf("name: g%d\n", n(9)) + port + hosts + broken
	switch n(10) {
	case 8:
		return head + fmt.Sprintf("selector: id(/x/n%d) or id(/x/(n.)) and port(80)\n", n(3))
	case 9:
		return head + fmt.Sprintf("routes: {\"[N%d.Example:80]\": {weight: 40%%}, a: {weight: 60%%, selector: id(/x/.*)}}\n", n(3))
	case 0:
		return fmt.Sprintf("kind: conditions\nname: c%d\ncondition: User-Agent == %d\n", n(3), n(3)) + broken
	case 1:
		return fmt.Sprintf("kind: routes\nname: r%d\ncondition: {ref: c%d}\n", n(3), n(3)) + broken
	case 2:
		return head + fmt.Sprintf("routes: {g%d: {weight: 50%%}, \"[127.0.0.1:%d]\": {weight: 50%%}}\n", n(9), 1+n(3))
	case 3:
		return head + fmt.Sprintf("selector: label(app)(a%d) and label(version)((.*))\n", n(3))
	case 4:
		return head + fmt.Sprintf("selector: port(8%d) or name(n%d)\nroutes: {\"(1)\": {weight: 20%%}, \"(2)\": {weight: 80%%}}\n", n(3), n(3))
	case 5:
		return head + fmt.Sprintf("routes: {a: {selector: label(app)(a%d)}, b: {selector: \"not name(n%d)\"}}\n", n(3), n(3))
	case 6:
		return head + fmt.Sprintf("routes: {\"[127.0.0.1:%d]\": {condition: {ref: c%d}}}\n", 1+n(3), n(3))
	default:
		return head + fmt.Sprintf("routes: {\"[127.0.0.1:%d]\": {ref: r%d}}\n", 1+n(3), n(3))
	}
}

// describe tells everything that matters of a plan.
func describe(p planner.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s broken %v\n", p.Table.Version, p.Table.Broken)
	for _, g := range p.Table.Gateways {
		fmt.Fprintf(&b, "%s on %d at %v, %s, %v\n", g.Name, g.Port.Number, g.At, g.Selector, g.VirtualHosts)
		for _, r := range g.Routes {
			fmt.Fprintf(&b, "  %s %s %q", r.Path, r.Weight, r.Condition)
			for _, i := range r.Instances {
				fmt.Fprintf(&b, " %v/%v since %s", i.AddrPort(), i.Labels, i.Since.Format(time.TimeOnly))
			}
			b.WriteString("\n")
		}
	}
	for _, g := range p.Snapshot.Gateways() {
		fmt.Fprintf(&b, "compiled %s slot %d port %d type %v hosts %v\n", g.Name, g.Slot, g.Port, g.Type, g.Hosts)
	}
	for _, f := range p.Faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// TestPlanningWhatChangedComesToTheSame is about what makes plans cheap: after
// any changes a plan is the one that doing everything again makes, and updates
// that are only tried leave no trace.
func TestPlanningWhatChangedComesToTheSame(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			o := planner.Options{
				Epoch:   1,
				Compile: routing.CompileOptions{PortMin: 40000, PortMax: 40005},
			}
			o.Select.Keep = 3 * time.Minute
			some, whole := planner.New(o), planner.NewWhole(o)
			for step := range 80 {
				time.Sleep(time.Duration(r.IntN(120)) * time.Second)
				var updates []discovery.Update
				for range 1 + r.IntN(3) {
					u := anyUpdate(r, time.Now())
					updates = append(updates, u)
				}
				if r.IntN(2) == 0 { // tried, and then done or not
					whole.Check("", nil) // what is due by now is done before
					if r.IntN(2) == 0 {
						some.Check("", updates)
					} else {
						some.Check("", []discovery.Update{anyUpdate(r, time.Now()), anyUpdate(r, time.Now()), anyUpdate(r, time.Now())})
					}
				}
				some.Put(updates)
				whole.Put(updates)
				got, _ := some.Plan(context.Background(), "")
				want, _ := whole.Plan(context.Background(), "")
				if a, b := describe(got), describe(want); a != b {
					t.Fatalf("seed %d, step %d: the plan is\n%s\nwant\n%s", seed, step, a, b)
				}
				a, b := some.Status(""), whole.Status("")
				for i := range min(len(a.Objects), len(b.Objects)) {
					if !reflect.DeepEqual(a.Objects[i], b.Objects[i]) {
						t.Fatalf("seed %d, step %d: an object is\n%+v\nwant\n%+v", seed, step, a.Objects[i], b.Objects[i])
					}
				}
				for i := range min(len(a.Gateways), len(b.Gateways)) {
					if !reflect.DeepEqual(a.Gateways[i], b.Gateways[i]) {
						t.Fatalf("seed %d, step %d: a gateway is\n%+v\nwant\n%+v", seed, step, a.Gateways[i], b.Gateways[i])
					}
				}
				if len(a.Objects) != len(b.Objects) || len(a.Gateways) != len(b.Gateways) {
					t.Fatalf("seed %d, step %d: the status is\n%+v\nwant\n%+v", seed, step, a, b)
				}
			}
		})
	}
}
