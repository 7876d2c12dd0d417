// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// anyDocument writes a document of few names that refers to others, some of
// which are not there, refused, or lead back to it.
func anyDocument(r *rand.Rand) string {
	n := func() int { return r.IntN(4) }
	imports := ""
	if r.IntN(3) == 0 {
		imports = fmt.Sprintf("import: [{templates: t%d}, {gateways: g%d}]\n", n(), n())
	}
	broken := ""
	if r.IntN(8) == 0 {
		broken = "colour: blue\n"
	}
	switch r.IntN(5) {
	case 0:
		return fmt.Sprintf("kind: conditions\nname: c%d\ncondition: User-Agent == %d\n", n(), n()) + broken
	case 1:
		return fmt.Sprintf("kind: routes\nname: r%d\ncondition: {ref: c%d}\n", n(), n()) + broken
	case 2:
		return fmt.Sprintf("kind: rewrites\nname: w%d\npath: /a%d if /b\n", n(), n()) + broken
	case 3:
		return fmt.Sprintf("kind: templates\nname: t%d\ndefinition: {port: %d, routes: {\"[127.0.0.1:%d]\": {condition: {ref: c%d}}}}\n", n(), 9000+n(), 1+n(), n()) + imports
	default:
		return fmt.Sprintf("name: g%d\n%sroutes:\n  \"[127.0.0.1:80]\": {condition: {ref: c%d}}\n  \"[127.0.0.1:81]\": {ref: r%d}\n  \"[127.0.0.1:82]\": {rewrites: [{ref: w%d}]}\n",
			n(), imports, n(), n(), n()) + broken
	}
}

func TestResolvingAgainComesToTheSame(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		again := routing.NewResolver()
		texts := map[int][]*routing.Document{} // by number, in whose order they count
		type id struct{ kind, name string }
		gateways := map[id]*routing.Gateway{}
		faults := map[id][]*routing.Fault{}
		for step := range 60 {
			n := r.IntN(12)
			stale := texts[n]
			delete(texts, n)
			if r.IntN(4) > 0 {
				texts[n], _ = routing.Read(fmt.Sprintf("%02d", n), []byte(anyDocument(r)))
			}
			var docs []*routing.Document
			for _, n := range slices.Sorted(maps.Keys(texts)) {
				docs = append(docs, texts[n]...)
			}
			for _, d := range slices.Concat(stale, texts[n]) {
				again.Set(d.Kind, d.Name, slices.DeleteFunc(slices.Clone(docs), func(o *routing.Document) bool {
					return o.Kind != d.Kind || o.Name != d.Name
				}))
			}
			for _, one := range again.Resolve() {
				key := id{one.Kind, one.Name}
				gateways[key], faults[key] = one.Gateway, one.Faults
			}
			table, want := routing.Resolve(docs)
			asked := 0
			for _, g := range table.Gateways {
				if got := gateways[id{"gateways", g.Name}]; !reflect.DeepEqual(got, g) {
					t.Fatalf("seed %d, step %d: gateway %s is %+v, want %+v", seed, step, g.Name, got, g)
				}
				asked++
			}
			for _, g := range gateways {
				if g != nil {
					asked--
				}
			}
			if asked != 0 {
				t.Fatalf("seed %d, step %d: %d more gateways than Resolve finds", seed, step, -asked)
			}
			var got []*routing.Fault
			for _, list := range faults {
				got = append(got, list...)
			}
			if a, b := sortedTexts(got), sortedTexts(want); a != b {
				t.Fatalf("seed %d, step %d: faults\n%s\nwant\n%s", seed, step, a, b)
			}
		}
	}
}

func sortedTexts(faults []*routing.Fault) string {
	var all []string
	for _, f := range faults {
		all = append(all, f.Error())
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
