// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// open opens a store that is closed with the test.
func open(t *testing.T, dir string) store.Store {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// start returns a planner that remembers what is in a store.
func start(t *testing.T, s store.Store) *planner.Planner {
	t.Helper()
	version, err := s.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := planner.New(planner.Options{
		Epoch: version.Epoch, Revisions: planner.StoreRevisions(s), Memory: planner.StoreMemory(s),
		Compile: routing.CompileOptions{PortMin: 40000, PortMax: 40999},
	})
	if err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// lives is a planner with a store that is started again and again: the former
// one ends without a word, so all that the next one knows was saved before a
// plan was handed on.
type lives struct {
	dir string
	s   store.Store
	p   *planner.Planner
}

func (l *lives) begin(t *testing.T) *planner.Planner {
	t.Helper()
	if l.s != nil {
		_ = l.s.Close()
	}
	l.s = open(t, l.dir)
	l.p = start(t, l.s)
	return l.p
}

// load returns what the last life has left, as the next one would find it.
func (l *lives) load(t *testing.T) map[string]planner.Remembered {
	t.Helper()
	l.begin(t)
	all, err := planner.StoreMemory(l.s).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestALastGoodFormOutlastsTheProcess(t *testing.T) {
	l := &lives{dir: t.TempDir()}
	p := l.begin(t)
	shop := "name: shop\nport: 9001\nroutes: {\"[127.0.0.1:80]\": {condition: {ref: fox}}}\n"
	p.Put([]discovery.Update{
		says("shop", shop), says("fox", "kind: conditions\nname: fox\ncondition: User-Agent == Firefox\n"),
	})
	first, _ := plan(p)
	p.Put([]discovery.Update{gone("fox")})
	plan(p)
	for range 2 {
		p = l.begin(t)
		p.Put([]discovery.Update{says("shop", shop)})
		table, faults := plan(p)
		if show(table) != "shop:9001" || table.Gateways[0].Routes[0].Condition != "User-Agent == Firefox" {
			t.Fatalf("after a start the table is %s, want shop with the condition that is gone", show(table))
		}
		if codes(faults) != "shop ArtifactNotFound" {
			t.Errorf("faults %s, want what is wrong with shop", codes(faults))
		}
		if g := p.Status("").Gateways[0]; g.State != planner.LastGood {
			t.Errorf("shop is %s, want %s", g.State, planner.LastGood)
		}
		if !table.Version.Newer(first.Version) || table.Version.Epoch != first.Version.Epoch {
			t.Errorf("version %v after %v", table.Version, first.Version)
		}
	}
	p.Put([]discovery.Update{says("shop", strings.Replace(shop, "{condition: {ref: fox}}", "{}", 1))})
	if table, faults := plan(p); len(faults) > 0 || table.Gateways[0].Routes[0].Condition != "" {
		t.Errorf("mended, it has the condition %q and faults %v", table.Gateways[0].Routes[0].Condition, faults)
	}
	if table, _ := func() (*routing.Table, []*routing.Fault) {
		p := l.begin(t)
		p.Put([]discovery.Update{says("shop", shop)})
		return plan(p)
	}(); show(table) != "shop!" {
		t.Errorf("after it was good again the table is %s, want nothing of its former form", show(table))
	}
}

func TestALongFormIsKeptInParts(t *testing.T) {
	l := &lives{dir: t.TempDir()}
	p := l.begin(t)
	var b strings.Builder
	b.WriteString("name: shop\nport: 9001\nroutes:\n")
	for i := range 900 {
		fmt.Fprintf(&b, "  \"[127.0.0.1:%d]\": {weight: 0%%, metadata: {title: %s}, condition: {ref: fox}}\n", 1000+i, strings.Repeat("x", 300))
	}
	fox := "kind: conditions\nname: fox\ncondition: User-Agent == Firefox\n"
	for range 3 {
		p.Put([]discovery.Update{says("shop", b.String()), says("fox", fox)})
		if table, faults := plan(p); show(table) != "shop:9001" {
			t.Fatalf("the table is %s with %v", show(table), faults)
		}
		p.Put([]discovery.Update{gone("fox")})
		plan(p)
		p = l.begin(t)
		p.Put([]discovery.Update{says("shop", b.String())})
		if table, _ := plan(p); show(table) != "shop:9001" || len(table.Gateways[0].Routes) != 900 {
			t.Fatalf("after a start the table is %s, want all of shop", show(table))
		}
		parts, err := l.s.Values(t.Context(), "planner/parts/")
		if err != nil || len(parts) < 2 || len(parts) > 20 {
			t.Fatalf("%d parts are kept (%v), want those of one form", len(parts), err)
		}
	}
	p.Put([]discovery.Update{gone("shop")})
	plan(p)
	if left, _ := l.s.Values(t.Context(), "planner/gateways/"); len(left) > 0 {
		t.Errorf("%d values are left of a gateway that is gone, want none", len(left))
	}
}

func TestWhoWasRefusedStaysSo(t *testing.T) {
	l := &lives{dir: t.TempDir()}
	p := l.begin(t)
	p.Put([]discovery.Update{says("y", gateway("y", 9001))})
	plan(p)
	p.Put([]discovery.Update{says("a", gateway("a", 9001))})
	for range 3 {
		if table, faults := plan(p); show(table) != "y:9001 a!" && show(table) != "a! y:9001" && table.Gateways[0].Name != "y" {
			t.Fatalf("the table is %s with %v, want y to keep its port", show(table), faults)
		}
		p = l.begin(t)
		p.Put([]discovery.Update{says("a", gateway("a", 9001)), says("y", gateway("y", 9001))})
	}
}

func TestWhatSelectorsRememberOutlastsTheProcess(t *testing.T) {
	const one, two = "- {address: 10.0.0.1, port: 80, labels: {version: 1}}\n", "- {address: 10.0.0.2, port: 80, labels: {version: 2}}\n"
	shop := says("shop", "name: shop\nport: 9001\nselector: label(version)((.*))\n")
	l := &lives{dir: t.TempDir()}
	p := l.begin(t)
	p.Put([]discovery.Update{shop, runs(t, two)})
	plan(p)
	p.Put([]discovery.Update{runs(t, one+two)})
	plan(p)
	for range 2 {
		p = l.begin(t)
		p.Put([]discovery.Update{shop, runs(t, one+two)})
		table, _ := plan(p)
		for _, r := range table.Gateways[0].Routes {
			if want := map[string]routing.Weight{"(1)": 0, "(2)": routing.FullWeight}[r.Path]; r.Weight != want {
				t.Errorf("after a start %s has %s, want %s", r.Path, r.Weight, want)
			}
		}
	}
	// What is not there at a start has its weight back when it comes.
	p = l.begin(t)
	p.Put([]discovery.Update{shop, runs(t, one)})
	plan(p)
	p.Put([]discovery.Update{runs(t, one+two)})
	table, _ := plan(p)
	for _, r := range table.Gateways[0].Routes {
		if want := map[string]routing.Weight{"(1)": 0, "(2)": routing.FullWeight}[r.Path]; r.Weight != want {
			t.Errorf("%s has %s, want %s", r.Path, r.Weight, want)
		}
	}
}

func TestPortsStay(t *testing.T) {
	l := &lives{dir: t.TempDir()}
	p := l.begin(t)
	r := rand.New(rand.NewPCG(1, 2))
	there := map[string]bool{}
	ports := map[string]int{}
	text := func(name string) string { return "name: " + name + "\nroutes: {\"[127.0.0.1:80]\": {}}\n" }
	for step := range 1000 {
		name := fmt.Sprintf("g%d", r.IntN(150))
		if there[name] && r.IntN(2) == 0 {
			delete(there, name)
			p.Put([]discovery.Update{gone(name)})
		} else {
			there[name] = true
			p.Put([]discovery.Update{says(name, text(name))})
		}
		if step%250 == 249 {
			p = l.begin(t)
			for name := range there {
				p.Put([]discovery.Update{says(name, text(name))})
			}
		}
		table, faults := plan(p)
		if len(faults) > 0 || len(table.Gateways) != len(there) {
			t.Fatalf("step %d: %d gateways of %d with %v", step, len(table.Gateways), len(there), faults)
		}
		for _, g := range table.Gateways {
			if was := ports[g.Name]; was != 0 && was != g.Port.Number || g.Port.Number < 40000 || g.Port.Text != "" {
				t.Fatalf("step %d: %s is on %d, was on %d", step, g.Name, g.Port.Number, was)
			}
			ports[g.Name] = g.Port.Number
		}
	}
}

func TestAnAssignedPortIsNotTakenByWhoAsksForItLater(t *testing.T) {
	l := &lives{dir: t.TempDir()}
	p := l.begin(t)
	shop := says("shop", "name: shop\nroutes: {\"[127.0.0.1:80]\": {}}\n")
	p.Put([]discovery.Update{shop})
	table, _ := plan(p)
	port := table.Gateways[0].Port.Number
	if s := p.Status("").Gateways[0]; s.Port != port || !s.Assigned {
		t.Errorf("the status is %+v, want port %d, assigned", s, port)
	}
	other := says("a", gateway("a", port))
	for _, begin := range []func(){func() {}, func() { p = l.begin(t) }} {
		begin()
		p.Put([]discovery.Update{shop, other})
		table, faults := plan(p)
		if len(table.Gateways) != 1 || table.Gateways[0].Name != "shop" || table.Gateways[0].Port.Number != port || codes(faults) != "a UnavailableGatewayPortError" {
			t.Errorf("the table is %s with %s, want shop to keep port %d", show(table), codes(faults), port)
		}
	}
}

func TestAPortIsTakenFromWhoIsGoneOnlyWhenNoneIsFree(t *testing.T) {
	p := planner.New(planner.Options{Compile: routing.CompileOptions{PortMin: 40000, PortMax: 40001}})
	text := func(name string) discovery.Update { return says(name, "name: "+name+"\n") }
	p.Put([]discovery.Update{text("a"), text("b")})
	plan(p)
	p.Put([]discovery.Update{text("c")})
	if table, faults := plan(p); len(table.Gateways) != 2 || codes(faults) != "c NoAvailablePortError" {
		t.Fatalf("the table is %s with %s, want no port for c", show(table), codes(faults))
	}
	p.Put([]discovery.Update{gone("a")})
	if table, faults := plan(p); len(table.Gateways) != 2 || len(faults) > 0 {
		t.Errorf("the table is %s with %s, want c on the port that a had", show(table), codes(faults))
	}
}

func TestRevisionsNeverGoBack(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for range 3 {
		s := open(t, dir)
		next := planner.StoreRevisions(s)
		for range 2500 {
			r, err := next(t.Context())
			if err != nil || r <= last {
				t.Fatalf("revision %d after %d (%v)", r, last, err)
			}
			last = r
		}
		_ = s.Close()
		// What is reserved lasts while the store takes nothing.
		for range 50_000 {
			r, err := next(t.Context())
			if err != nil || r <= last {
				t.Fatalf("revision %d after %d (%v) of a closed store", r, last, err)
			}
			last = r
		}
	}
}

func TestAPlanWithoutARevisionIsMadeUpFor(t *testing.T) {
	revision, failed := uint64(0), true
	p := planner.New(planner.Options{Revisions: func(context.Context) (uint64, error) {
		if failed {
			return 0, store.ErrFull
		}
		revision++
		return revision, nil
	}})
	p.Put([]discovery.Update{says("a", gateway("a", 9001))})
	if _, err := p.Plan(t.Context(), ""); err == nil {
		t.Error("there is a plan without a revision")
	}
	failed = false
	if table, _ := plan(p); show(table) != "a:9001" || table.Version.Revision != 1 {
		t.Errorf("the table is %s %v, want a", table.Version, show(table))
	}
}

func TestNamespacesAreApart(t *testing.T) {
	p := planner.New(planner.Options{Epoch: 1})
	of := func(namespace, key, text string) discovery.Update {
		u := says(key, text)
		u.Namespace = namespace
		return u
	}
	p.Put([]discovery.Update{
		of("a/b", "1", gateway("shop", 9001)), of("a/c", "2", gateway("shop", 9001)), says("3", gateway("shop", 9001)+"colour: blue\n"),
	})
	if got := p.Namespaces(); !slices.Equal(got, []string{"a/b", "a/c", planner.DefaultNamespace}) {
		t.Errorf("Namespaces() = %v", got)
	}
	for i, tt := range []struct{ namespace, table, faults string }{
		{"a/b", "shop:9001", ""}, {"a/c", "shop:9001", ""}, {"", "shop!", "3 UnexpectedElement"},
	} {
		next, err := p.Plan(t.Context(), tt.namespace)
		if err != nil || show(next.Table) != tt.table || codes(next.Faults) != tt.faults || next.Table.Version.Revision != uint64(i+1) {
			t.Errorf("%s: %s %s with %s (%v), want %s with %s", tt.namespace, next.Table.Version, show(next.Table), codes(next.Faults), err, tt.table, tt.faults)
		}
	}
	// An object may go to another namespace.
	p.Put([]discovery.Update{of("a/c", "1", gateway("cart", 9002))})
	for namespace, want := range map[string]string{"a/b": "", "a/c": "cart:9002 shop:9001"} {
		if next, _ := p.Plan(t.Context(), namespace); show(next.Table) != want {
			t.Errorf("%s is %s, want %s", namespace, show(next.Table), want)
		}
	}
}

func TestOriginsRank(t *testing.T) {
	p := planner.New(planner.Options{})
	of := func(origin, key, text string) discovery.Update {
		u := says(key, text)
		u.Origin = origin
		return u
	}
	p.Put([]discovery.Update{
		of("", "1", gateway("shop", 9001)), of("files", "2", gateway("shop", 9002)),
		of("api", "4", gateway("shop", 9004)), of("kubernetes", "3", gateway("shop", 9003)),
	})
	for _, tt := range []struct{ gone, table, conflict string }{
		{"", "shop:9004", "4:1:1"}, {"4", "shop:9003", "3:1:1"}, {"3", "shop:9002", "2:1:1"}, {"2", "shop:9001", ""},
	} {
		if tt.gone != "" {
			p.Put([]discovery.Update{gone(tt.gone)})
		}
		table, _ := plan(p)
		if show(table) != tt.table {
			t.Errorf("without %s the table is %s, want %s", tt.gone, show(table), tt.table)
		}
		for _, o := range p.Status("").Objects {
			if o.Key == "1" && (len(o.Conflicts) > 0) != (tt.conflict != "") || len(o.Conflicts) > 0 && !strings.Contains(o.Conflicts[0], tt.conflict) {
				t.Errorf("without %s object %s is told of %q, want the place %s", tt.gone, o.Key, o.Conflicts, tt.conflict)
			}
		}
	}
}

func TestWhatAnOriginHadIsNotGivenUpAtAStart(t *testing.T) {
	l := &lives{dir: t.TempDir()}
	p := l.begin(t)
	file := says("x", gateway("a", 9001))
	file.Origin = "files"
	p.Put([]discovery.Update{file, says("y", gateway("b", 9002))})
	plan(p)

	for _, tt := range []struct {
		name string
		then func(p *planner.Planner, src script)
		want string
	}{
		{"until it is confirmed", func(p *planner.Planner, _ script) {
			if n := p.Confirm(); n != 1 {
				t.Errorf("Confirm() = %d, want 1", n)
			}
		}, "b:9002"},
		{"until it is there", func(_ *planner.Planner, src script) {
			src.batches <- discovery.Batch{Updates: []discovery.Update{file}}
		}, "a:9001 b:9002"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == "a:9001 b:9002" { // confirmed before, so it has to be known again
				p := l.begin(t)
				p.Put([]discovery.Update{file})
				plan(p)
			}
			d := &disk{t: t, all: l.load(t)}
			synctest.Test(t, func(t *testing.T) {
				d.t = t
				b := begin(t, planner.Options{Memory: d})
				b.src.batches <- discovery.Batch{Updates: []discovery.Update{says("y", gateway("b", 9002))}, Listed: true}
				rest(time.Second)
				h := b.Status("").Held
				if h == nil {
					t.Fatal("nothing is held back")
				}
				if !strings.Contains(h.Why, "files") || h.Until.Sub(h.Since) != time.Minute {
					t.Errorf("held back as %+v, want files, for a minute", h)
				}
				if _, ok := b.Last(""); ok {
					t.Error("there is a plan all the same")
				}
				tt.then(b.Planner, b.src)
				rest(time.Second) // less than the hold, whose end would do the same
				if want := []string{"1s default/default " + tt.want + " []"}; !slices.Equal(b.published(false), want) {
					t.Errorf("published %q, want %q", b.published(false), want)
				}
				b.stop()
			})
		})
	}
}
