// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// instances returns a gateway whose instances have the labels.
func instances(name string, labels ...[]routing.Label) *routing.Gateway {
	g := &routing.Gateway{Name: name, Routes: []*routing.Route{{Path: "v1"}}}
	for i, list := range labels {
		g.Routes[0].Instances = append(g.Routes[0].Instances, &routing.Instance{
			Name: "shop", Kind: "container", Namespace: "default", Zone: "a", Labels: list,
			Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 80,
		})
	}
	return g
}

// received has a receiver take a table by the bytes of a connection.
func received(t *testing.T, r *wire.Receiver, table *routing.Table) []*routing.Gateway {
	t.Helper()
	b, err := proto.Marshal(encode(t, nil, table).Complete(nil))
	u := &controlpb.Update{}
	if err == nil {
		err = proto.Unmarshal(b, u)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Receive(u)
	if err != nil || len(got.Refused) > 0 {
		t.Fatalf("Receive() = %+v, %v", got, err)
	}
	return got.Table.Gateways
}

// one reports whether two equal texts are one in memory.
func one(a, b string) bool { return a == b && unsafe.StringData(a) == unsafe.StringData(b) }

func TestWhatGatewaysHaveInCommonIsInMemoryOnce(t *testing.T) {
	v1 := []routing.Label{{Name: "version", Value: "v1"}, {Name: "app", Value: "shop"}}
	same := []routing.Label{{Name: "versio", Value: "nv1"}, {Name: "app", Value: "shop"}} // put together, it reads alike
	fewer := v1[:1]
	table := &routing.Table{
		Version:  routing.Version{Epoch: 1, Revision: 1},
		Gateways: []*routing.Gateway{instances("a", v1, same, fewer), instances("b", fewer, v1, nil)},
	}
	var r wire.Receiver
	got := received(t, &r, table)
	table.Version.Revision++
	table.Gateways[1] = instances("b", same, v1)
	again := received(t, &r, table)
	a, b, c := got[0].Routes[0], got[1].Routes[0], again[1].Routes[0]
	if !one(a.Path, b.Path) || !one(a.Path, c.Path) {
		t.Error("the paths of routes are not shared")
	}
	for _, other := range []*routing.Instance{a.Instances[1], b.Instances[0], c.Instances[0]} {
		i := a.Instances[0]
		if !one(i.Name, other.Name) || !one(i.Kind, other.Kind) || !one(i.Namespace, other.Namespace) || !one(i.Zone, other.Zone) {
			t.Errorf("the texts of %+v and %+v are not shared", i, other)
		}
	}
	for _, tt := range []struct {
		name   string
		labels []routing.Label
		want   []routing.Label
		as     []routing.Label
	}{
		{"equal labels of another gateway", b.Instances[1].Labels, v1, a.Instances[0].Labels},
		{"equal labels of a later table", c.Instances[1].Labels, v1, a.Instances[0].Labels},
		{"labels whose texts differ in where they end", c.Instances[0].Labels, same, a.Instances[1].Labels},
		{"fewer labels", b.Instances[0].Labels, fewer, a.Instances[2].Labels},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !slices.Equal(tt.labels, tt.want) || unsafe.SliceData(tt.labels) != unsafe.SliceData(tt.as) {
				t.Errorf("they are %v, want %v, shared", tt.labels, tt.want)
			}
		})
	}
	if b.Instances[2].Labels != nil {
		t.Errorf("no labels are %v, want nil", b.Instances[2].Labels)
	}
}

func TestHashesStayThoseOfTheirTable(t *testing.T) {
	table := &routing.Table{Version: routing.Version{Epoch: 1, Revision: 1}, Gateways: []*routing.Gateway{instances("a", nil), instances("b", nil)}}
	var r wire.Receiver
	first := encode(t, nil, table)
	if _, err := r.Receive(first.Complete(nil)); err != nil {
		t.Fatal(err)
	}
	was := r.Hashes()
	a, _ := was("a")
	b, _ := was("b")
	next := encode(t, first, &routing.Table{
		Version:  routing.Version{Epoch: 1, Revision: 2},
		Gateways: []*routing.Gateway{table.Gateways[0], instances("b", []routing.Label{{Name: "version", Value: "v2"}})},
	})
	if _, err := r.Receive(next.Since(first)); err != nil {
		t.Fatal(err)
	}
	if again, ok := was("b"); !ok || again != b {
		t.Errorf("the hash of what was held is %x now, %t, want %x", again, ok, b)
	}
	if now, ok := r.Hashes()("b"); !ok || now == b {
		t.Errorf("the hash of what is held is %x, %t, want another one than %x", now, ok, b)
	}
	if now, ok := r.Hashes()("a"); !ok || now != a {
		t.Errorf("the hash of what did not change is %x, %t, want %x", now, ok, a)
	}
	if _, ok := r.Hashes()("c"); ok {
		t.Error("there is a hash of what is not held")
	}
}

func TestWhatIsKnownIsBounded(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	table := &routing.Table{Version: routing.Version{Epoch: 1, Revision: 1}}
	for i := range 3000 {
		n := strconv.Itoa(i)
		labels := []routing.Label{{Name: "app", Value: n}, {Name: strings.Repeat("y", i%500), Value: n}}
		g := instances(n, labels, labels, []routing.Label{{Name: "some", Value: n}})
		if i%1000 == 0 {
			g.Routes[0].Path, g.Routes[0].Instances[0].Labels = long, []routing.Label{{Name: long, Value: long}}
		}
		table.Gateways = append(table.Gateways, g)
	}
	var r wire.Receiver
	for i, g := range received(t, &r, table) {
		if want := table.Gateways[i]; !slices.EqualFunc(g.Routes[0].Instances, want.Routes[0].Instances,
			func(a, b *routing.Instance) bool { return slices.Equal(a.Labels, b.Labels) }) {
			t.Fatalf("gateway %s is %+v, want %+v", want.Name, g.Routes[0], want.Routes[0])
		}
	}
	if n := wire.Known(&r); n == 0 || n > 2*wire.MaxKnown {
		t.Errorf("%d bytes are kept, want some, and at most %d", n, 2*wire.MaxKnown)
	}
}
