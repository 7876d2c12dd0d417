// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

func TestUnion(t *testing.T) {
	table := func(revision uint64, names, broken string) *wire.Table {
		all := &routing.Table{Version: routing.Version{Epoch: 1, Revision: revision}, Broken: strings.Fields(broken)}
		for name := range strings.FieldsSeq(names) {
			all.Gateways = append(all.Gateways, &routing.Gateway{Name: name, NoRoute: int(400 + revision)})
		}
		return encode(t, nil, all)
	}
	v := routing.Version{Epoch: 1, Revision: 9}
	for _, tt := range []struct {
		name          string
		tables        []*wire.Table
		names, broken string
		of            map[string]int // which table a gateway is of
	}{
		{"no table is an empty one", nil, "", "", nil},
		{"tables follow each other", []*wire.Table{table(1, "b a", ""), table(2, "d c", "")}, "b a d c", "", map[string]int{"b": 0, "c": 1}},
		{"of two of one name the first counts", []*wire.Table{table(1, "a b", ""), table(2, "b c", "")}, "a b c", "", map[string]int{"b": 0, "c": 1}},
		{"a good one counts before a broken one, wherever it is", []*wire.Table{table(1, "a", "b"), table(2, "b", "a c")}, "a b", "c", map[string]int{"a": 0, "b": 1}},
		{"a broken one is named once", []*wire.Table{table(1, "", "b c"), table(2, "", "c b")}, "", "b c", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := wire.Union(v, tt.tables...)
			if names := strings.Join(slices.Collect(u.Names()), " "); names != tt.names || u.Len() != len(strings.Fields(tt.names)) {
				t.Errorf("the names are %q, %d of them, want %q", names, u.Len(), tt.names)
			}
			if u.Version() != v {
				t.Errorf("the version is %v, want %v", u.Version(), v)
			}
			if broken := strings.Join(u.Complete(nil).GetBroken(), " "); broken != tt.broken {
				t.Errorf("broken are %q, want %q", broken, tt.broken)
			}
			for name, i := range tt.of {
				got, _ := u.Hash(name)
				if want, _ := tt.tables[i].Hash(name); got != want {
					t.Errorf("%s has the hash %v, want %v, that of table %d", name, got, want, i)
				}
			}
		})
	}
	one := table(9, "a", "")
	if wire.Union(v, one) != one {
		t.Error("the union of one table of that version is another")
	}
}

// A gateway that no proxy would take a message of is left out, and proxies keep
// the form before.
func TestAGatewayThatIsTooLarge(t *testing.T) {
	table := func(size int) *routing.Table {
		return &routing.Table{Gateways: []*routing.Gateway{
			{Name: "large", Routes: []*routing.Route{{Path: "large/a", Condition: strings.Repeat("x", size)}}}, {Name: "small"},
		}}
	}
	first, errs := wire.Encode(nil, table(13<<20))
	if len(errs) != 1 || errs[0].Gateway != "large" || !strings.Contains(errs[0].Error(), "more than") {
		t.Fatalf("the errors are %v, want that it is too large", errs)
	}
	if u := first.Complete(nil); len(u.GetChanged()) != 1 || !slices.Equal(u.GetBroken(), []string{"large"}) {
		t.Errorf("%d gateways travel and %q are broken", len(u.GetChanged()), u.GetBroken())
	}
	good := encode(t, nil, table(1<<20))
	next, errs := wire.Encode(good, table(13<<20))
	was, _ := good.Hash("large")
	if is, ok := next.Hash("large"); len(errs) != 1 || !ok || is != was {
		t.Errorf("grown too large, its form is %v (%v), want the one before, %v", is, errs, was)
	}
}
