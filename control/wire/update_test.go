// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// encode makes a table ready for the wire, without errors.
func encode(tb testing.TB, prev *wire.Table, table *routing.Table) *wire.Table {
	tb.Helper()
	next, errs := wire.Encode(prev, table)
	for _, err := range errs {
		tb.Fatal(err)
	}
	return next
}

// send has a receiver take an update in parts of a size, as bytes.
func send(tb testing.TB, r *wire.Receiver, u *controlpb.Update, size int) *wire.Received {
	tb.Helper()
	parts := wire.Parts(u, size)
	for i, part := range parts {
		data, err := proto.Marshal(part)
		if err != nil {
			tb.Fatal(err)
		}
		var back controlpb.Update
		if err := proto.Unmarshal(data, &back); err != nil {
			tb.Fatal(err)
		}
		if items := len(back.Changed) + len(back.Gone) + len(back.Names) + len(back.Broken) + len(back.Changes); len(data) > size && items > 1 {
			tb.Fatalf("a part of %d elements has %d bytes, more than %d", items, len(data), size)
		}
		got, err := r.Receive(&back)
		if err != nil {
			tb.Fatal(err)
		}
		if last := i == len(parts)-1; last != (got != nil) {
			tb.Fatalf("part %d of %d gave %v", i+1, len(parts), got)
		} else if last {
			return got
		}
	}
	panic("no part was the last")
}

// TestDecisionsAreTheSame compiles what came over the wire beside what went
// in: nothing changed for the compiler, its faults are the same with their
// places, and every ticket is decided alike.
func TestDecisionsAreTheSame(t *testing.T) {
	for name, table := range documents(t) {
		t.Run(name, func(t *testing.T) {
			table.Version = routing.Version{Epoch: 1, Revision: 1}
			var r wire.Receiver
			got := send(t, &r, encode(t, nil, table).Complete(nil), 1<<20).Table
			if got.Version != table.Version || !slices.Equal(got.Broken, table.Broken) {
				t.Fatalf("the table is %v with %q broken, want %v with %q", got.Version, got.Broken, table.Version, table.Broken)
			}
			s, faults := routing.Compile(nil, table, routing.CompileOptions{})
			mine, more := routing.Compile(nil, got, routing.CompileOptions{})
			if !reflect.DeepEqual(faults, more) {
				t.Errorf("the faults are %v, want %v", more, faults)
			}
			again, _ := routing.Compile(s, got, routing.CompileOptions{})
			for i, g := range s.Gateways() {
				if again.Gateways()[i] != g {
					t.Errorf("the gateway %s counts as changed", g.Name)
				}
				decideAlike(t, s, mine, g, mine.Gateways()[i])
			}
		})
	}
}

func decideAlike(t *testing.T, s, mine *routing.Snapshot, g, other *routing.CompiledGateway) {
	t.Helper()
	for _, fields := range [][]string{nil, {"User-Agent: Firefox"}, {"X-Green: 1", "Cookie: a=b"}} {
		r := routingtest.NewRequest("GET", "shop.example", "/api/a?b=c", fields...)
		var want, got routing.Decision
		var tickets, others routingtest.Tickets
		for n := range 200 {
			s.Decide(g, r, &tickets, &want)
			mine.Decide(other, r, &others, &got)
			if a, b := way(&want), way(&got); a != b {
				t.Fatalf("%s %q, ticket %d: %s, want %s", g.Name, fields, n, b, a)
			}
		}
	}
}

func way(d *routing.Decision) string {
	var b strings.Builder
	for i := range d.Hops[:d.Depth] {
		h := &d.Hops[i]
		fmt.Fprintf(&b, "%s %d %v ", h.Gateway.Name, h.Held, h.Taken)
		if h.Route != nil {
			b.WriteString(h.Route.Path)
		}
	}
	return b.String() + d.Reason.String()
}

// mesh is a table that changes at random.
type mesh struct {
	rand  *rand.Rand
	table *routing.Table
	next  int
}

func (m *mesh) gateway(name string) *routing.Gateway {
	m.next++
	return routingtest.Gateway(name, 0, routingtest.Route(fmt.Sprintf("[10.0.0.1:%d]", 1+m.next%65535), routing.FullWeight))
}

func (m *mesh) change() {
	list := slices.Clone(m.table.Gateways)
	for range 1 + m.rand.IntN(4) {
		at := m.rand.IntN(len(list) + 1)
		switch kind := m.rand.IntN(5); {
		case kind == 0 || len(list) == 0:
			m.next++
			list = slices.Insert(list, at, m.gateway(fmt.Sprintf("g%d", m.next)))
		case kind == 1:
			m.next++
			list = append(list, m.gateway(fmt.Sprintf("g%d", m.next)))
		case at == len(list):
		case kind == 2:
			list = slices.Delete(list, at, at+1)
		case kind == 3:
			list[at] = m.gateway(list[at].Name)
		case kind == 4 && m.rand.IntN(3) == 0:
			m.rand.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
		}
	}
	m.table = &routing.Table{Version: routing.Version{Epoch: 7, Revision: m.table.Version.Revision + 1}, Gateways: list}
}

// TestUpdatesLeadToTheTable holds that a proxy has the table of the control
// plane after every update, whichever tables it missed, however they were split
// and however often it came anew.
func TestUpdatesLeadToTheTable(t *testing.T) {
	for seed := range uint64(50) {
		m := &mesh{rand: rand.New(rand.NewPCG(seed, 1)), table: &routing.Table{}}
		var r wire.Receiver
		told := encode(t, nil, m.table)
		now := told
		send(t, &r, told.Complete(nil), 1)
		for step := range 60 {
			m.change()
			now = encode(t, now, m.table)
			var u *controlpb.Update
			switch m.rand.IntN(6) {
			case 0:
				continue // only newer ones are told
			case 1:
				held, err := wire.ReadHeld(r.Held())
				if err != nil {
					t.Fatal(err)
				}
				u = now.Complete(held)
			default:
				u = now.Since(told)
			}
			u.Number = uint64(step)
			got := send(t, &r, u, 1+m.rand.IntN(300))
			told = now
			if got.Number != u.Number {
				t.Fatalf("seed %d, step %d: got the number %d", seed, step, got.Number)
			}
			if len(got.Refused) > 0 || got.Table.Version != m.table.Version || !reflect.DeepEqual(got.Table.Gateways, m.table.Gateways) && len(m.table.Gateways) > 0 {
				t.Fatalf("seed %d, step %d: got %v, want %v", seed, step, names(got.Table), names(m.table))
			}
			for _, h := range got.Served {
				if want, _ := now.Hash(h.GetGateway()); wire.Hash(h.GetHash()) != want {
					t.Fatalf("seed %d, step %d: %s has another hash", seed, step, h.GetGateway())
				}
			}
			if again := now.Since(told); len(again.Changed)+len(again.Gone)+len(again.Names) > 0 {
				t.Fatalf("seed %d, step %d: nothing changed, and that is %v", seed, step, again)
			}
		}
	}
}

func names(table *routing.Table) (all []string) {
	for _, g := range table.Gateways {
		all = append(all, g.Name)
	}
	return all
}

func TestSinceBringsOnlyWhatChanged(t *testing.T) {
	a, b, c := routingtest.Gateway("a", 1), routingtest.Gateway("b", 2), routingtest.Gateway("c", 3)
	first := encode(t, nil, routingtest.Table(1, a, b))
	for _, tt := range []struct {
		name  string
		table *routing.Table
		want  *controlpb.Update
	}{
		{"nothing", routingtest.Table(2, a, b), &controlpb.Update{}},
		{"an equal gateway that was made anew", routingtest.Table(2, a, routingtest.Gateway("b", 2)), &controlpb.Update{}},
		{"one more at the end", routingtest.Table(2, a, b, c), &controlpb.Update{Changed: named("c")}},
		{"one more in between", routingtest.Table(2, a, c, b), &controlpb.Update{Changed: named("c"), Ordered: true, Names: []string{"a", "c", "b"}}},
		{"another order", routingtest.Table(2, b, a), &controlpb.Update{Ordered: true, Names: []string{"b", "a"}}},
		{"one changed", routingtest.Table(2, a, routingtest.Gateway("b", 9)), &controlpb.Update{Changed: named("b")}},
		{"one gone", routingtest.Table(2, b), &controlpb.Update{Gone: []string{"a"}}},
		{"all gone", routingtest.Table(2), &controlpb.Update{Gone: []string{"a", "b"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := encode(t, first, tt.table).Since(first)
			tt.want.Version = &controlpb.Version{Epoch: 1, Revision: 2}
			bare := proto.Clone(got).(*controlpb.Update)
			for _, n := range bare.Changed {
				n.Gateway, n.Hash = nil, nil
			}
			if !proto.Equal(bare, tt.want) {
				t.Errorf("got %v, want %v", bare, tt.want)
			}
		})
	}
}

func named(name string) []*controlpb.Named { return []*controlpb.Named{{Name: name}} }

func TestBrokenGatewaysTravelInTheirLastForm(t *testing.T) {
	first := encode(t, nil, routingtest.Table(1, routingtest.Gateway("a", 1), routingtest.Gateway("b", 2)))
	table := routingtest.Table(2, routingtest.Gateway("b", 2))
	table.Broken = []string{"a", "never"}
	second := encode(t, first, table)
	var r wire.Receiver
	got := send(t, &r, second.Complete(nil), 1<<20).Table
	if want := []string{"b", "a"}; !slices.Equal(names(got), want) || !slices.Equal(got.Broken, []string{"never"}) {
		t.Errorf("the table has %q and %q are broken, want %q and never", names(got), got.Broken, want)
	}
}

func TestEncodeTellsOfWhatCannotTravel(t *testing.T) {
	bad := routingtest.Gateway("bad\xff", 1)
	foreign := routingtest.Gateway("foreign", 2)
	foreign.Metadata = map[string]any{"f": func() {}}
	table, errs := wire.Encode(nil, routingtest.Table(1, bad, routingtest.Gateway("good", 3), foreign, routingtest.Gateway("good", 4)))
	if len(errs) != 3 || errs[0].Gateway != "bad\xff" || errs[1].Gateway != "foreign" || errs[2].Gateway != "good" {
		t.Errorf("the errors are %v", errs)
	}
	var r wire.Receiver
	if got, err := r.Receive(table.Complete(nil)); err != nil || got.Table.Gateways[0].Port.Number != 3 || len(got.Table.Gateways) != 1 {
		t.Errorf("received %v, %v", got, err)
	}
}

func TestAFormThatCannotBeReadLeavesTheOneBefore(t *testing.T) {
	var r wire.Receiver
	first := encode(t, nil, routingtest.Table(1, routingtest.Gateway("a", 1), routingtest.Gateway("b", 2)))
	send(t, &r, first.Complete(nil), 1<<20)
	held := r.Held()
	next := encode(t, first, routingtest.Table(2, routingtest.Gateway("new", 3), routingtest.Gateway("a", 4), routingtest.Gateway("b", 5)))
	u := proto.Clone(next.Since(first)).(*controlpb.Update)
	u.Changed[0].Gateway.Split = 77
	u.Changed[1].Gateway.Sticky = 77
	got := send(t, &r, u, 1<<20)
	if want := []string{"a", "b"}; !slices.Equal(names(got.Table), want) || !slices.Equal(got.Table.Broken, []string{"new"}) {
		t.Errorf("the table has %q, %q broken; want %q and new", names(got.Table), got.Table.Broken, want)
	}
	if a, b := got.Table.Gateways[0].Port.Number, got.Table.Gateways[1].Port.Number; a != 1 || b != 5 {
		t.Errorf("the ports are %d and %d, want the one before, 1, and 5", a, b)
	}
	if len(got.Refused) != 2 || len(got.Served) != 1 || got.Refused[1].Gateway != "a" {
		t.Fatalf("refused %v, served %v", got.Refused, got.Served)
	}
	nack := got.Refused[1].Nack(got.Table.Version)
	if h, _ := next.Hash("a"); wire.Hash(nack.Gateway.Hash) != h || nack.Reasons[0].Path != "sticky" || nack.Version.Revision != 2 {
		t.Errorf("the nack is %v", nack)
	}
	if !slices.EqualFunc(r.Held()[:1], held[:1], func(a, b *controlpb.Held) bool { return proto.Equal(a, b) }) {
		t.Errorf("held is %v, want a as before: %v", r.Held(), held)
	}
	// Once it can be read it has its place, without a new session.
	last := encode(t, next, routingtest.Table(3, routingtest.Gateway("new", 9), routingtest.Gateway("a", 4), routingtest.Gateway("b", 5)))
	if got := send(t, &r, last.Since(next), 1<<20); !slices.Equal(names(got.Table), []string{"new", "a", "b"}) || len(got.Table.Broken) > 0 {
		t.Errorf("the table has %q, %q broken", names(got.Table), got.Table.Broken)
	}
}

func TestReceiveRefuses(t *testing.T) {
	table := encode(t, nil, routingtest.Table(1, routingtest.Gateway("a", 1)))
	fresh := encode(t, nil, routingtest.Table(2, routingtest.Gateway("b", 1))).Complete(nil).Changed[0]
	for _, tt := range []struct {
		name string
		send []*controlpb.Update
		want error
	}{
		{"a name without form", []*controlpb.Update{{Ordered: true, Names: []string{"a", "b"}}}, wire.ErrIncomplete},
		{"a name twice", []*controlpb.Update{{Ordered: true, Names: []string{"a", "a"}}}, wire.ErrIncomplete},
		{"a gateway without hash", []*controlpb.Update{{Changed: []*controlpb.Named{{Name: "b"}}}}, wire.ErrMalformed},
		{"a gateway twice", []*controlpb.Update{{Changed: []*controlpb.Named{fresh, fresh}}}, wire.ErrMalformed},
		{"a gateway that comes and goes", []*controlpb.Update{{Changed: []*controlpb.Named{fresh}, Gone: []string{"b"}}}, wire.ErrMalformed},
		{"a gateway without place", []*controlpb.Update{{Changed: []*controlpb.Named{fresh}, Ordered: true, Names: []string{"a"}}}, wire.ErrMalformed},
		{"a gateway that loses its place", []*controlpb.Update{{Ordered: true}}, wire.ErrMalformed},
		{"a complete update without names", []*controlpb.Update{{Complete: true}}, wire.ErrMalformed},
		{"parts of two updates of one table", []*controlpb.Update{{More: true, Number: 1}, {Number: 2}}, wire.ErrMixed},
		{"parts of two tables", []*controlpb.Update{{More: true}, {Version: &controlpb.Version{Epoch: 9}}}, wire.ErrMixed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r wire.Receiver
			send(t, &r, table.Complete(nil), 1<<20)
			for i, u := range tt.send {
				got, err := r.Receive(u)
				if last := i == len(tt.send)-1; got != nil || last != errors.Is(err, tt.want) {
					t.Fatalf("part %d: %v, %v; want %v", i+1, got, err, tt.want)
				}
			}
			got := send(t, &r, &controlpb.Update{Version: &controlpb.Version{Epoch: 1, Revision: 5}}, 1<<20)
			if !slices.Equal(names(got.Table), []string{"a"}) {
				t.Errorf("after the error the table has %q", names(got.Table))
			}
		})
	}
}

func TestReadHeldRefuses(t *testing.T) {
	hash := make([]byte, 16)
	for name, list := range map[string][]*controlpb.Held{
		"a short hash": {{Gateway: "a", Hash: hash[:15]}},
		"no name":      {{Hash: hash}},
		"a name twice": {{Gateway: "a", Hash: hash}, {Gateway: "a", Hash: hash}},
		"nothing":      {nil},
	} {
		if _, err := wire.ReadHeld(list); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestNackHasTenReasons(t *testing.T) {
	faults := []*routing.Fault{{Severity: routing.Warning, Problem: "odd"}}
	for i := range 12 {
		faults = append(faults, &routing.Fault{
			Code: "C", At: routing.Position{Source: "shop.yaml", Line: i + 1, Column: 2}, Path: "port", Problem: "p", Allowed: "q",
		})
	}
	n := wire.Nack("shop", wire.Hash{1}, routing.Version{Epoch: 1, Revision: 2}, faults)
	if len(n.Reasons) != 10 || n.More != 2 {
		t.Fatalf("%d reasons and %d more, want 10 and 2", len(n.Reasons), n.More)
	}
	want := &controlpb.Reason{
		At: &controlpb.Position{Source: "shop.yaml", Line: 1, Column: 2}, Path: "port", Problem: "p", Allowed: "q", Code: "C",
	}
	if !proto.Equal(n.Reasons[0], want) {
		t.Errorf("the first reason is %v, want %v", n.Reasons[0], want)
	}
}

// TestHashIsStable holds the hash of one gateway, so that two programs of
// different versions agree on those that have not changed in between.
func TestHashIsStable(t *testing.T) {
	g := routingtest.Gateway("shop", 9000, routingtest.Route("[10.0.0.1:80]", routing.FullWeight))
	g.Metadata = map[string]any{"b": "2", "a": int64(1)}
	for range 10 {
		if got, want := hashOf(t, g).String(), "2870f4ca0ef0945a301d7d328449e7b6"; got != want {
			t.Fatalf("the hash is %s, want %s", got, want)
		}
	}
}

// FuzzReceive holds that no update makes a receiver panic, and that one which
// is refused changes nothing.
func FuzzReceive(f *testing.F) {
	first := encode(f, nil, routingtest.Table(1, routingtest.Gateway("a", 1), routingtest.Gateway("b", 2)))
	next := encode(f, first, routingtest.Table(2, routingtest.Gateway("c", 3), routingtest.Gateway("b", 4)))
	for _, u := range []*controlpb.Update{first.Complete(nil), next.Since(first), next.Complete(nil), {Gone: []string{"a"}}} {
		data, err := proto.Marshal(u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r wire.Receiver
		send(t, &r, first.Complete(nil), 1<<20)
		var u controlpb.Update
		if proto.Unmarshal(data, &u) != nil {
			return
		}
		held, version := r.Held(), r.Version()
		got, err := r.Receive(&u)
		switch {
		case err != nil || got == nil:
			if !slices.EqualFunc(r.Held(), held, func(a, b *controlpb.Held) bool { return proto.Equal(a, b) }) || r.Version() != version {
				t.Fatal("an update without effect changed what is held")
			}
		default:
			seen := map[string]bool{}
			for _, g := range got.Table.Gateways {
				if seen[g.Name] {
					t.Fatalf("the gateway %q is there twice", g.Name)
				}
				seen[g.Name] = true
			}
			if len(r.Held()) != len(seen) {
				t.Fatalf("%d gateways are held and %d in the table", len(r.Held()), len(seen))
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	table := &routing.Table{}
	for i := range 1000 {
		table.Gateways = append(table.Gateways, routingtest.Gateway(fmt.Sprintf("g%d", i), 0, routingtest.Route("[10.0.0.1:80]", routing.FullWeight)))
	}
	first := encode(b, nil, table)
	b.Run("a thousand new gateways", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(b, nil, table)
		}
	})
	b.Run("one changed of a thousand", func(b *testing.B) {
		b.ReportAllocs()
		next := &routing.Table{Gateways: slices.Clone(table.Gateways)}
		next.Gateways[500] = routingtest.Gateway("g500", 1)
		for b.Loop() {
			if u := encode(b, first, next).Since(first); len(u.Changed) != 1 {
				b.Fatal(u)
			}
		}
	})
}

// Parts that follow each other for ever are not collected for ever.
func TestAnUpdateWithoutEndIsRefused(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name string
		part func(n int) *controlpb.Update
		most int // parts
	}{
		{"of few large elements", func(n int) *controlpb.Update {
			return &controlpb.Update{More: true, Gone: []string{strconv.Itoa(n) + large}}
		}, 256},
		{"of many small elements", func(int) *controlpb.Update {
			return &controlpb.Update{More: true, Names: make([]string, 100_000)}
		}, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r wire.Receiver
			for n := range tt.most + 1 {
				got, err := r.Receive(tt.part(n))
				if err == nil && got == nil {
					continue
				}
				if !errors.Is(err, wire.ErrTooLarge) {
					t.Fatalf("part %d: %v, %v, want %v", n, got, err, wire.ErrTooLarge)
				}
				// What follows begins anew.
				if got, err := r.Receive(&controlpb.Update{Version: &controlpb.Version{Epoch: 1, Revision: 1}, Ordered: true, Complete: true}); err != nil || got == nil {
					t.Errorf("an update after it: %v, %v", got, err)
				}
				return
			}
			t.Errorf("%d parts were taken", tt.most+1)
		})
	}
}
