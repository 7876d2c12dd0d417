// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/files"
	"github.com/sluice-mesh/sluice/routing"
)

// gateway returns the text of a gateway with a port of its own.
func gateway(name string, port int) string {
	return fmt.Sprintf("name: %s\nport: %d/http\nroutes:\n  \"[127.0.0.1:8080]\":\n    weight: 100%%\n", name, port)
}

// texts joins documents into one text.
func texts(docs ...string) string { return strings.Join(docs, "---\n") }

// says returns the update of an object that holds a text.
func says(key, text string) discovery.Update {
	docs, faults := routing.Read(key, []byte(text))
	return discovery.Update{Key: key, Documents: docs, Faults: faults}
}

// keeps returns the update of an object that cannot be read, but held a text
// before.
func keeps(key, text string) discovery.Update {
	docs, _ := routing.Read(key, []byte(text))
	return discovery.Update{Key: key, Kept: docs, Faults: []*routing.Fault{{
		Code: "FileUnreadable", At: routing.Position{Source: key}, Problem: "cannot be read",
	}}}
}

// holds returns the update of an object whose absence is held back.
func holds(key, text string, since time.Time) discovery.Update {
	docs, _ := routing.Read(key, []byte(text))
	return discovery.Update{Key: key, Kept: docs, Held: &discovery.Held{
		Since: since, Until: since.Add(time.Minute), Why: "the file is empty",
	}}
}

// plan plans the namespace of updates that name none.
func plan(p *planner.Planner) (*routing.Table, []*routing.Fault) {
	next, err := p.Plan(context.Background(), "")
	if err != nil {
		panic(err)
	}
	return next.Table, next.Faults
}

func gone(key string) discovery.Update { return discovery.Update{Key: key, Gone: true} }

// show describes a table: "name:port", and "name!" for broken gateways.
func show(t *routing.Table) string {
	var names []string
	for _, g := range t.Gateways {
		names = append(names, fmt.Sprintf("%s:%d", g.Name, g.Port.Number))
	}
	for _, name := range t.Broken {
		names = append(names, name+"!")
	}
	return strings.Join(names, " ")
}

func codes(faults []*routing.Fault) string {
	var s []string
	for _, f := range faults {
		s = append(s, f.At.Source+" "+f.Code)
	}
	return strings.Join(s, ", ")
}

func TestPlan(t *testing.T) {
	a, b := gateway("a", 9001), gateway("b", 9002)
	badB := b + "colour: blue\n"
	for _, tt := range []struct {
		name    string
		updates []discovery.Update
		table   string
		faults  string
	}{
		{"nothing asks for nothing", nil, "", ""},
		{"objects are merged in the order of their keys", []discovery.Update{says("y", a), says("x", b)}, "b:9002 a:9001", ""},
		{"an object's order is kept", []discovery.Update{says("x", texts(b, a))}, "b:9002 a:9001", ""},
		{"the newest state of an object counts", []discovery.Update{says("x", a), says("x", b)}, "b:9002", ""},
		{"what is gone is no longer asked for", []discovery.Update{says("x", a), says("y", b), gone("x")}, "b:9002", ""},
		{"a refused gateway stays asked for", []discovery.Update{says("x", texts(a, badB))}, "a:9001 b!", "x UnexpectedElement"},
		{
			"one name in two objects: the first has it",
			[]discovery.Update{says("y", gateway("a", 9009)), says("x", a)},
			"a:9001", "y DuplicateArtifactName",
		},
		{"what an unreadable object said is asked for", []discovery.Update{keeps("x", a), says("y", b)}, "a:9001 b:9002", "x FileUnreadable"},
		{
			"a refused gateway of an object that becomes unreadable stays asked for",
			[]discovery.Update{keeps("x", texts(a, badB))},
			"a:9001 b!", "x FileUnreadable",
		},
		{
			"what is kept yields to what is said elsewhere",
			[]discovery.Update{keeps("x", a), says("y", gateway("a", 9009))},
			"a:9009", "x FileUnreadable",
		},
		{"what is held back is asked for", []discovery.Update{holds("x", a, time.Now()), says("y", b)}, "a:9001 b:9002", ""},
		{
			"what is held back yields to what is said elsewhere",
			[]discovery.Update{holds("x", texts(a, b), time.Now()), says("y", gateway("a", 9009))},
			"b:9002 a:9009", "",
		},
		{"references reach across objects", []discovery.Update{
			says("x", strings.Replace(a, "weight: 100%", "condition: {ref: fox}\n    weight: 100%", 1)),
			says("y", "kind: conditions\nname: fox\ncondition: User-Agent = Firefox\n"),
		}, "a:9001", ""},
		{"a gateway whose reference is refused stays asked for", []discovery.Update{
			says("x", strings.Replace(a, "weight: 100%", "condition: {ref: fox}\n    weight: 100%", 1)),
			says("y", "kind: conditions\nname: fox\ncondition: User-Agent ==== Firefox\n"),
		}, "a!", "x ArtifactNotFound, y ConditionSyntaxError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planner.New(planner.Options{})
			for _, u := range tt.updates {
				p.Put([]discovery.Update{u})
			}
			table, faults := plan(p)
			if got := show(table); got != tt.table {
				t.Errorf("table %q, want %q", got, tt.table)
			}
			if got := codes(faults); got != tt.faults {
				t.Errorf("faults %q, want %q", got, tt.faults)
			}
		})
	}
}

func TestRevisionGrowsOnlyWhenTheTableDiffers(t *testing.T) {
	p := planner.New(planner.Options{Epoch: 7})
	for _, tt := range []struct {
		name    string
		update  discovery.Update
		changed bool
		want    routing.Version
	}{
		{"a first gateway", says("x", gateway("a", 9001)), true, routing.Version{Epoch: 7, Revision: 2}},
		{"the same again", says("x", gateway("a", 9001)), true, routing.Version{Epoch: 7, Revision: 2}},
		{"an object without gateways", says("y", ""), true, routing.Version{Epoch: 7, Revision: 2}},
		{"an unknown object is gone", gone("z"), false, routing.Version{Epoch: 7, Revision: 2}},
		{"a known object without gateways is gone", gone("y"), true, routing.Version{Epoch: 7, Revision: 2}},
		{"another port", says("x", gateway("a", 9002)), true, routing.Version{Epoch: 7, Revision: 3}},
		{"a place in the text", says("x", "# moved\n"+gateway("a", 9002)), true, routing.Version{Epoch: 7, Revision: 4}},
		{"a fault, with which the last good form stays", says("x", gateway("a", 9002)+"colour: blue\n"), true, routing.Version{Epoch: 7, Revision: 4}},
		{"another fault", says("x", gateway("a", 9002)+"size: 3\n"), true, routing.Version{Epoch: 7, Revision: 4}},
		{"the last gateway is gone", gone("x"), true, routing.Version{Epoch: 7, Revision: 5}},
	} {
		before, _ := plan(p)
		if got := p.Put([]discovery.Update{tt.update}); got != tt.changed {
			t.Errorf("%s: Put reports %t, want %t", tt.name, got, tt.changed)
		}
		table, _ := plan(p)
		if table.Version != tt.want {
			t.Errorf("%s: version %v, want %v", tt.name, table.Version, tt.want)
		}
		if same := table == before; same != (table.Version == before.Version) {
			t.Errorf("%s: the same table is returned: %t", tt.name, same)
		}
	}
	if got := p.Stats().Planned; got != 5 {
		t.Errorf("%d tables counted, want 5", got)
	}
}

func TestEpochsOfProcessesDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, _ := plan(planner.New(planner.Options{}))
		time.Sleep(time.Second)
		second, _ := plan(planner.New(planner.Options{}))
		if first.Version == second.Version || !second.Version.Newer(first.Version) {
			t.Errorf("versions %v and %v, want another epoch", first.Version, second.Version)
		}
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planner.New(planner.Options{Epoch: 1})
		a, b, c := gateway("a", 9001), gateway("b", 9002), gateway("c", 9003)
		bad := "colour: blue\n"
		p.Put([]discovery.Update{says("good.yaml", a), says("bad.yaml", texts(b, gateway("new", 9009)+bad))})
		plan(p)
		p.Put([]discovery.Update{
			says("bad.yaml", texts(b+bad, gateway("new", 9009)+bad)),
			says("twice.yaml", a),
			holds("empty.yaml", c, time.Now()),
			keeps("lost.yaml", gateway("d", 9004)),
		})
		plan(p)
		time.Sleep(45 * time.Second)
		s := p.Status("")
		var got []string
		for _, o := range s.Objects {
			line := fmt.Sprintf("%s: %s, %d+%d documents, %d faults", o.Key, o.State, o.Documents, o.Kept, len(o.Faults))
			if o.Held != nil {
				line += fmt.Sprintf(", %s for %v s", o.Held.Why, o.Held.RemainingSeconds)
			}
			got = append(got, line)
		}
		for _, g := range s.Gateways {
			got = append(got, fmt.Sprintf("%s: %s", g.Name, g.State))
		}
		want := []string{
			"bad.yaml: faulty, 2+0 documents, 2 faults",
			"empty.yaml: held back, 0+1 documents, 0 faults, the file is empty for 15 s",
			"good.yaml: good, 1+0 documents, 0 faults",
			"lost.yaml: faulty, 0+1 documents, 1 faults",
			"twice.yaml: faulty, 1+0 documents, 1 faults",
			"a: good",
			"b: last good form",
			"c: held back",
			"d: last good form",
			"new: refused",
		}
		if !slices.Equal(got, want) {
			t.Errorf("status\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestStatsCountWhatIsNew(t *testing.T) {
	p := planner.New(planner.Options{})
	a := gateway("a", 9001)
	start := time.Now()
	for _, u := range []discovery.Update{
		says("x", a+"colour: blue\n"),
		says("x", "# the same fault, one line below\n"+a+"colour: blue\n"),
		says("x", a),
		says("x", a+"colour: blue\n"),
		says("y", a),
		says("y", a),
		holds("z", a, start),
		holds("z", a, start),
		holds("z", a, start.Add(time.Hour)),
	} {
		p.Put([]discovery.Update{u})
		plan(p)
	}
	s := p.Stats()
	if got := s.Rejected["UnexpectedElement"]; got != 2 {
		t.Errorf("a fault that came twice was counted %d times", got)
	}
	if got := s.HeldBack; got != 2 || s.Held != 1 {
		t.Errorf("%d absences counted and %d held back, want 2 and 1", got, s.Held)
	}
}

// script is a source that tells what a test says.
type script struct {
	batches chan discovery.Batch
	fail    chan error
}

func newScript() script {
	return script{make(chan discovery.Batch), make(chan error, 1)}
}

func (s script) Run(ctx context.Context, sink func(discovery.Batch)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-s.batches:
			sink(b)
		case err := <-s.fail:
			return err
		}
	}
}

func TestRun(t *testing.T) {
	type publication struct {
		at   time.Duration
		text string
	}
	run := func(t *testing.T, test func(script), want ...publication) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			src := newScript()
			p := planner.New(planner.Options{Epoch: 1})
			ctx, cancel := context.WithCancel(t.Context())
			start := time.Now()
			var got []publication
			ended := make(chan error, 1)
			go func() {
				ended <- p.Run(ctx, src, func(next planner.Plan) {
					text := fmt.Sprintf("%s %s", next.Table.Version, show(next.Table))
					if len(next.Faults) > 0 {
						text += " with " + codes(next.Faults)
					}
					got = append(got, publication{time.Since(start), text})
				})
			}()
			test(src)
			time.Sleep(time.Second)
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run ended with %v", err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("published %v, want %v", got, want)
			}
		})
	}
	const ms = time.Millisecond
	a, a2, b := gateway("a", 9001), gateway("a", 9002), gateway("b", 9003)
	t.Run("nothing is published before the first listing is complete", func(t *testing.T) {
		run(t, func(src script) {
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("x", a)}}
			time.Sleep(time.Second)
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("y", b)}, Listed: true}
		}, publication{time.Second, "1.1 a:9001 b:9003"})
	})
	t.Run("an empty table is published once", func(t *testing.T) {
		run(t, func(src script) {
			src.batches <- discovery.Batch{Listed: true}
			time.Sleep(time.Second)
			src.batches <- discovery.Batch{Updates: []discovery.Update{gone("x")}}
		}, publication{0, "1.1 "})
	})
	t.Run("the first change after quiet is published at once, others together", func(t *testing.T) {
		run(t, func(src script) {
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("x", a)}, Listed: true}
			time.Sleep(time.Second)
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("x", a2)}}
			time.Sleep(10 * ms)
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("x", a)}}
			time.Sleep(10 * ms)
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("y", b)}}
		}, publication{0, "1.1 a:9001"}, publication{time.Second, "1.2 a:9002"},
			publication{time.Second + 50*ms, "1.3 a:9001 b:9003"})
	})
	t.Run("a fault is published though the table is the same, and so is its end", func(t *testing.T) {
		run(t, func(src script) {
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("x", a)}, Listed: true}
			time.Sleep(time.Second)
			src.batches <- discovery.Batch{Updates: []discovery.Update{keeps("x", a)}}
			time.Sleep(time.Second)
			src.batches <- discovery.Batch{Updates: []discovery.Update{keeps("x", a)}}
			time.Sleep(time.Second)
			src.batches <- discovery.Batch{Updates: []discovery.Update{says("x", a)}}
		}, publication{0, "1.1 a:9001"}, publication{time.Second, "1.1 a:9001 with x FileUnreadable"},
			publication{3 * time.Second, "1.1 a:9001"})
	})
}

func TestRunEndsWithItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newScript()
		failed := errors.New("it cannot go on")
		var published int
		ended := make(chan error, 1)
		go func() {
			ended <- planner.New(planner.Options{}).Run(t.Context(), src, func(planner.Plan) { published++ })
		}()
		src.fail <- failed
		if err := <-ended; !errors.Is(err, failed) {
			t.Errorf("Run error = %v, want %v", err, failed)
		}
		if published != 0 {
			t.Errorf("published %d tables of a source that listed nothing", published)
		}
	})
}

func TestRunMakesUpForWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := planner.New(planner.Options{Revisions: func(context.Context) (uint64, error) {
			if time.Since(start) < 3*time.Second {
				return 0, errors.New("the disk is full")
			}
			return 7, nil
		}})
		ctx, cancel := context.WithCancel(t.Context())
		src, ended := newScript(), make(chan error, 1)
		var got []string
		go func() {
			ended <- p.Run(ctx, src, func(next planner.Plan) {
				got = append(got, fmt.Sprintf("%v: %s", time.Since(start), show(next.Table)))
			})
		}()
		src.batches <- discovery.Batch{Updates: []discovery.Update{says("x", gateway("a", 9001))}, Listed: true}
		time.Sleep(time.Second)
		if s := p.Status(""); s.Failed != "the disk is full" {
			t.Errorf("the status tells %q", s.Failed)
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		if want := []string{"3s: a:9001"}; !slices.Equal(got, want) || p.Status("").Failed != "" {
			t.Errorf("published %v, want %v", got, want)
		}
	})
}

func TestChangesComeWithThePlanOfTheirNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planner.New(planner.Options{Epoch: 1})
		ctx, cancel := context.WithCancel(t.Context())
		src, ended := newScript(), make(chan error, 1)
		var got []string
		go func() {
			ended <- p.Run(ctx, src, func(next planner.Plan) {
				text := []string{next.Namespace, show(next.Table)}
				for _, c := range next.Changes {
					text = append(text, fmt.Sprintf("#%d", c.ID))
				}
				got = append(got, strings.Join(text, " "))
			})
		}()
		of := func(namespace string, u discovery.Update) discovery.Update {
			u.Namespace = namespace
			return u
		}
		src.batches <- discovery.Batch{Listed: true}
		time.Sleep(time.Second)
		src.batches <- discovery.Batch{
			Updates: []discovery.Update{of("a/a", says("1", gateway("a", 9001))), of("a/b", says("2", gateway("b", 9001)))},
			Changes: []discovery.Change{{ID: 1, Namespace: "a/b"}, {ID: 2}},
		}
		time.Sleep(time.Second)
		src.batches <- discovery.Batch{Changes: []discovery.Change{{ID: 3, Namespace: "a/a"}}}
		time.Sleep(time.Second)
		src.batches <- discovery.Batch{Updates: []discovery.Update{gone("2")}}
		time.Sleep(2 * time.Hour) // for which its ports are kept, and so is the namespace
		src.batches <- discovery.Batch{Updates: []discovery.Update{says("3", gateway("c", 9001))}}
		time.Sleep(time.Second)
		if names := p.Namespaces(); !slices.Equal(names, []string{"a/a", planner.DefaultNamespace}) {
			t.Errorf("Namespaces() = %v, want none that is empty for long", names)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		want := []string{
			"default/default ", "a/a a:9001 #2", "a/b b:9001 #1 #2", "a/a a:9001 #3", "a/b ", "default/default c:9001",
		}
		if !slices.Equal(got, want) {
			t.Errorf("published %q, want %q", got, want)
		}
	})
}

func TestRunFollowsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", gateway("a", 9001))
	write("b.yaml", gateway("b", 9002))

	p := planner.New(planner.Options{})
	tables := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Run(ctx, files.New([]string{dir}, files.Options{}), func(next planner.Plan) {
			tables <- show(next.Table) + " " + codes(next.Faults)
		})
	}()
	await := func(want string) {
		t.Helper()
		timeout := time.After(30 * time.Second) // only turns a hang into a failure
		for {
			select {
			case got := <-tables:
				if got == want {
					return
				}
				t.Logf("passing %q", got)
			case err := <-ended:
				t.Fatalf("Run ended with %v before %q", err, want)
			case <-timeout:
				t.Fatalf("no sign of %q", want)
			}
		}
	}
	await("a:9001 b:9002 ")
	write("a.yaml", gateway("a", 9003))
	await("a:9003 b:9002 ")
	write("a.yaml", gateway("a", 9004)+"colour: blue\n")
	await("a:9003 b:9002 " + filepath.Join(dir, "a.yaml") + " UnexpectedElement")
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	await("b:9002 ")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestRunReportsAMissingPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	err := planner.New(planner.Options{}).Run(t.Context(), files.New([]string{path}, files.Options{}),
		func(planner.Plan) { t.Error("a table was published") })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run error = %v, want %v", err, os.ErrNotExist)
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("a change among %d gateways", n), func(b *testing.B) {
			p := planner.New(planner.Options{})
			for i := range n {
				p.Put([]discovery.Update{says(fmt.Sprintf("g%05d", i), gateway(fmt.Sprintf("g%d", i), 0))})
			}
			plan(p)
			updates := [][]discovery.Update{
				{says("g00050", gateway("g50", 9001))},
				{says("g00050", gateway("g50", 9002))},
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				p.Put(updates[i%2])
				plan(p)
			}
		})
	}
}

func TestWhatCompilingRefusesIsTold(t *testing.T) {
	p := planner.New(planner.Options{})
	text := "{name: north, routes: {south: {}}}\n---\n{name: south, routes: {north: {}}}\n---\n{name: fine}\n"
	docs, faults := routing.Read("chain.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	p.Put([]discovery.Update{{Key: "chain.yaml", Documents: docs}, {Key: "other.yaml"}})
	plan(p)
	s := p.Status("")
	if s.Objects[0].State != planner.Faulty || len(s.Objects[0].Faults) != 2 || s.Objects[1].State != planner.Good {
		t.Errorf("objects = %+v, want the cycle's two faults on chain.yaml alone", s.Objects)
	}
	for i, want := range []planner.State{planner.Good, planner.Refused, planner.Refused} {
		if got := s.Gateways[i]; got.State != want {
			t.Errorf("gateway %s is %q, want %q", got.Name, got.State, want)
		}
	}
	// South is mended, and serves; then it closes the cycle again.
	for i, text := range []string{"{name: north, routes: {south: {}}}\n---\n{name: south}\n---\n{name: fine}\n", text} {
		p.Put([]discovery.Update{says("chain.yaml", text)})
		plan(p)
		want := []planner.State{planner.Good, planner.LastGood}[i]
		if s := p.Status(""); s.Gateways[2].Name != "south" || s.Gateways[2].State != want {
			t.Errorf("status = %+v, want south %s", s, want)
		}
	}
}
