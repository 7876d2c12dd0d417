// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// anyTable makes a table of gateways of few names, most of which have no part
// in the others' affairs.
func anyTable(r *rand.Rand, gateways []string) *routing.Table {
	docs, _ := routing.Read("t.yaml", []byte(strings.Join(gateways, "---\n")))
	table, _ := routing.Resolve(docs)
	table.Version.Revision = r.Uint64()
	return table
}

func anyAlone(r *rand.Rand, name string) string {
	text := "name: " + name + "\n"
	if r.IntN(4) > 0 {
		text += "port: 90" + strings.TrimPrefix(name, "g") + "\n"
	}
	switch r.IntN(10) {
	case 0:
		text += fmt.Sprintf("virtual_hosts: [h%d.example]\n", r.IntN(3))
	case 1, 2, 3, 4, 5:
		text += fmt.Sprintf("virtual_hosts: [%s.example, \"*.%s.example\"]\n", name, name)
	}
	switch r.IntN(40) {
	case 0:
		return fmt.Sprintf("name: %s\nport: %d\n", name, 9000+r.IntN(4))
	case 1, 3, 4, 5, 6, 7:
		return fmt.Sprintf("name: %s\nport: 91%s/tcp\nroutes: {\"[127.0.0.1:%d]\": {}}\n", name, strings.TrimPrefix(name, "g"), 80+r.IntN(3))
	case 2:
		return text + fmt.Sprintf("routes: {g%d: {}}\n", r.IntN(8))
	default:
		share := r.IntN(101)
		return text + fmt.Sprintf("routes: {\"[127.0.0.1:%d]\": {weight: %d%%, condition: User-Agent == %d, condition_strength: 50%%}, \"[127.0.0.1:90]\": {weight: %d%%}}\n",
			80+r.IntN(3), share, r.IntN(3), 100-share)
	}
}

func compiledText(s *routing.Snapshot, faults []*routing.Fault) string {
	var b strings.Builder
	for _, g := range s.Gateways() {
		fmt.Fprintf(&b, "%d %s %d %v %v %v %v", g.Slot, g.Name, g.Port, g.Type, g.Hosts, g.Sniffs, g.Weights != nil)
		for _, r := range g.Routes {
			fmt.Fprintf(&b, " %s %v %v %v", r.Path, r.Weight, *r.Target, r.Condition != nil)
		}
		fmt.Fprintf(&b, " found %t %t %t", s.ByName(g.Name) == g, s.ByPort(g.Port) == g, s.Slot(g.Slot) == g)
		for _, host := range g.Hosts {
			if to := s.ByHost(host); to != nil {
				b.WriteString(" " + host + " to " + to.Name)
			}
		}
		b.WriteString("\n")
	}
	for _, f := range faults {
		b.WriteString(f.Error() + "\n")
	}
	return b.String()
}

func TestCompilingWhatChangedComesToTheSame(t *testing.T) {
	quick := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		texts := make([]string, 8)
		for i := range texts {
			texts[i] = anyAlone(r, fmt.Sprintf("g%d", i))
		}
		var prev *routing.Snapshot
		o := routing.CompileOptions{Seed: 7}
		for step := range 40 {
			i := r.IntN(len(texts))
			texts[i] = anyAlone(r, fmt.Sprintf("g%d", i))
			listed := texts
			if r.IntN(4) == 0 { // some are not there for once
				n := r.IntN(len(texts))
				listed = slices.Concat(texts[:n], texts[n+1:])
			}
			table := anyTable(r, listed)
			if prev != nil && r.IntN(4) > 0 { // as who plans keeps what stays the same
				for k, g := range table.Gateways {
					if was := prev.ByName(g.Name); was != nil && sameText(was.Asked, g) {
						table.Gateways[k] = was.Asked
					}
				}
			}
			got, gotFaults := routing.Compile(prev, table, o)
			want, wantFaults := routing.CompileWhole(prev, table, o)
			if a, b := compiledText(got, gotFaults), compiledText(want, wantFaults); a != b {
				t.Fatalf("seed %d, step %d: compiled\n%s\nwant\n%s", seed, step, a, b)
			}
			if prev != nil {
				for _, g := range prev.Gateways() {
					a, b := got.ByName(g.Name), want.ByName(g.Name)
					if (a == g) != (b == g) {
						t.Fatalf("seed %d, step %d: gateway %s is the same pointer: %t, want %t", seed, step, g.Name, a == g, b == g)
					}
					if a != nil && b != nil && (a.Weights == g.Weights) != (b.Weights == g.Weights) {
						t.Fatalf("seed %d, step %d: gateway %s keeps its split: %t, want %t", seed, step, g.Name, a.Weights == g.Weights, b.Weights == g.Weights)
					}
				}
				if len(wantFaults) == 0 {
					quick++
				}
			}
			prev = got
		}
	}
	if quick < 20 {
		t.Errorf("%d tables without a fault, which is what this is about", quick)
	}
}

// bare is a gateway with an instance at a port of its own.
func bare(name string, port int) *routing.Gateway {
	docs, _ := routing.Read("t.yaml", fmt.Appendf(nil, "name: %s\nport: %d\nroutes: {\"[127.0.0.1:80]\": {}}\n", name, port))
	table, _ := routing.Resolve(docs)
	return table.Gateways[0]
}

// A table need not come from a planner, which has one gateway of a name.
func TestTwoNewGatewaysOfOneNameAreRefusedAlsoBesideOthers(t *testing.T) {
	first := &routing.Table{Gateways: []*routing.Gateway{bare("a", 9001), bare("b", 9002)}}
	prev, _ := routing.Compile(nil, first, routing.CompileOptions{})
	for _, tt := range []struct {
		name string
		add  []*routing.Gateway
	}{
		{"two new ones", []*routing.Gateway{bare("c", 9003), bare("c", 9004)}},
		{"one that is there, and a new one", []*routing.Gateway{bare("a", 9003)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next := &routing.Table{Gateways: slices.Concat(first.Gateways, tt.add)}
			got, gotFaults := routing.Compile(prev, next, routing.CompileOptions{})
			want, wantFaults := routing.CompileWhole(prev, next, routing.CompileOptions{})
			if a, b := compiledText(got, gotFaults), compiledText(want, wantFaults); a != b {
				t.Errorf("compiled\n%s\nwant\n%s", a, b)
			}
			if len(gotFaults) != 1 || gotFaults[0].Code != routing.CodeDuplicateName {
				t.Errorf("faults %v, want that a name is taken", gotFaults)
			}
		})
	}
}

// What the short way is for: a table of which little changed costs that, and
// not the whole of it. That it is taken is seen by nothing else but the time.
func TestTheShortWayIsTakenWhereLittleChanged(t *testing.T) {
	var all []*routing.Gateway
	for i := range 50 {
		all = append(all, bare(fmt.Sprintf("g%d", i), 9000+i))
	}
	o := routing.CompileOptions{}
	prev, _ := routing.Compile(nil, &routing.Table{Gateways: all}, o)
	with := func(edit func(list []*routing.Gateway) []*routing.Gateway) *routing.Table {
		return &routing.Table{Gateways: edit(slices.Clone(all))}
	}
	changed := *all[7]
	changed.Metadata = map[string]any{"team": "b"}
	taken := *all[7]
	taken.Port.Number = all[8].Port.Number
	for _, tt := range []struct {
		name  string
		table *routing.Table
		again bool
	}{
		{"nothing", with(func(l []*routing.Gateway) []*routing.Gateway { return l }), true},
		{"one gateway changed", with(func(l []*routing.Gateway) []*routing.Gateway { l[7] = &changed; return l }), true},
		{"one came", with(func(l []*routing.Gateway) []*routing.Gateway { return append(l, bare("new", 9900)) }), true},
		{"one went", with(func(l []*routing.Gateway) []*routing.Gateway { return slices.Delete(l, 7, 8) }), true},
		{"one took the place of another", with(func(l []*routing.Gateway) []*routing.Gateway { l[7] = bare("new", 9007); return l }), true},
		{"one wants the port of another", with(func(l []*routing.Gateway) []*routing.Gateway { l[7] = &taken; return l }), false},
		{"the order is another", with(func(l []*routing.Gateway) []*routing.Gateway { slices.Reverse(l); return l }), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := routing.CompilesAgain(prev, tt.table, o); got != tt.again {
				t.Errorf("what changed is compiled alone: %t, want %t", got, tt.again)
			}
			next, _ := routing.Compile(prev, tt.table, o)
			kept := 0
			for _, g := range prev.Gateways() {
				if next.ByName(g.Name) == g {
					kept++
				}
			}
			if kept < len(all)-1 {
				t.Errorf("%d of %d gateways are the same pointers", kept, len(all))
			}
		})
	}
	broken := with(func(l []*routing.Gateway) []*routing.Gateway { l[7] = &taken; return l })
	if refused, faults := routing.Compile(prev, broken, o); len(faults) == 0 || routing.CompilesAgain(refused, broken, o) {
		t.Errorf("after %v, what was refused is to be looked at again", faults)
	}
}

func sameText(a, b *routing.Gateway) bool { return reflect.DeepEqual(a, b) }
