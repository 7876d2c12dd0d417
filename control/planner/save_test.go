// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// disk is a Memory that answers when it is told to.
type disk struct {
	t   *testing.T
	all map[string]planner.Remembered

	mu     sync.Mutex    // guards the fields below
	hangs  chan struct{} // what is written waits until it is closed; nil waits for nothing
	fails  error
	saved  []string // by namespace and gateway
	active int
}

func (d *disk) hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hangs = make(chan struct{})
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = err
}

func (d *disk) Load(context.Context) (map[string]planner.Remembered, error) { return d.all, nil }

func (d *disk) Save(ctx context.Context, namespace string, keepsakes []planner.Keepsake) error {
	if err := cmp.Or(ctx.Err(), d.write()); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range keepsakes {
		d.saved = append(d.saved, namespace+" "+k.Gateway)
	}
	return nil
}

func (d *disk) SaveOrigins(context.Context, string, []string) error { return d.write() }

func (d *disk) write() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active++; d.active > 1 {
		d.t.Error("the memory is called by two goroutines at a time")
	}
	if hangs := d.hangs; hangs != nil {
		d.mu.Unlock()
		<-hangs
		d.mu.Lock()
	}
	d.active--
	return d.fails
}

// written returns what was saved, and forgets it if it is to.
func (d *disk) written(forget bool) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := slices.Sorted(slices.Values(d.saved))
	if forget {
		d.saved = nil
	}
	return list
}

// rest lets time pass, and everybody come to rest.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// begun is a planner that runs.
type begun struct {
	*planner.Planner
	src  script
	stop func()

	mu  sync.Mutex // guards got
	got []string   // what was published: when, the namespace, the table and the changes
}

// published returns what was published since the last forgetting.
func (b *begun) published(forget bool) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.got)
	if forget {
		b.got = nil
	}
	return list
}

func begin(t *testing.T, o planner.Options) *begun {
	t.Helper()
	b := &begun{Planner: planner.New(o), src: newScript()}
	start := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Run(ctx, b.src, func(next planner.Plan) {
			var ids []string
			for _, c := range next.Changes {
				ids = append(ids, strconv.FormatUint(c.ID, 10))
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.got = append(b.got, fmt.Sprintf("%v %s %s [%s]", time.Since(start), next.Namespace, show(next.Table), strings.Join(ids, " ")))
		})
	}()
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	}
	return b
}

// in returns what an update of a namespace and a change tell.
func in(namespace string, change uint64, u discovery.Update) discovery.Batch {
	u.Key, u.Namespace = namespace+":"+u.Key, namespace
	return discovery.Batch{
		Updates: []discovery.Update{u}, Changes: []discovery.Change{{ID: change, Namespace: namespace}}, Listed: true,
	}
}

func TestADiskThatDoesNotAnswerHoldsUpOnlyWhatReliesOnIt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer error
		saved  string
	}{
		{"until it has written", nil, "[a/b three a/b two]"},
		{"until it has failed", store.ErrFull, "[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{t: t}
				b := begin(t, planner.Options{Memory: d})
				b.src.batches <- in("a/b", 1, says("one", gateway("one", 9001)))
				rest(time.Second)
				b.src.batches <- in("a/c", 2, says("one", gateway("one", 9001)))
				rest(time.Second)
				b.published(true)
				d.written(true)

				d.hang()
				d.fail(tt.answer)
				b.src.batches <- in("a/b", 3, says("two", "name: two\nport: 9002\nroutes: {\"[127.0.0.1:80]\": {condition: {ref: none}}}\n"))
				rest(time.Second)
				b.src.batches <- in("a/c", 4, says("two", gateway("two", 9002)))
				rest(time.Second)
				if want := []string{"3s a/c one:9001 two:9002 [4]"}; !slices.Equal(b.published(false), want) {
					t.Errorf("while the disk does not answer there are %q, want %q", b.published(false), want)
				}
				// What comes meanwhile waits, and is not forgotten.
				b.src.batches <- in("a/b", 5, says("three", "name: three\nport: 9003\nroutes: {\"[127.0.0.1:80]\": {condition: {ref: none}}}\n"))
				rest(time.Second)
				b.src.batches <- in("a/b", 6, says("four", gateway("four", 9004)))
				rest(time.Second)
				if len(b.published(false)) != 1 {
					t.Errorf("published %q before what they rely on was saved", b.published(false))
				}
				close(d.hangs)
				rest(time.Millisecond)
				d.fail(nil)
				want := []string{
					"3s a/c one:9001 two:9002 [4]",
					"6s a/b one:9001 two! [3]",
					"6s a/b four:9004 one:9001 three! two! [5 6]",
				}
				if !slices.Equal(b.published(false), want) {
					t.Errorf("published %q, want %q", b.published(false), want)
				}
				if got := fmt.Sprint(d.written(false)); got != tt.saved {
					t.Errorf("saved %s, want %s", got, tt.saved)
				}
				rest(time.Minute) // after a failure it is saved by then
				if got := slices.Compact(d.written(false)); fmt.Sprint(got) != "[a/b three a/b two]" || b.Status("a/b").Unsaved != "" {
					t.Errorf("saved %q and the status tells %q", got, b.Status("a/b").Unsaved)
				}
				if len(b.published(false)) != len(want) {
					t.Errorf("published %q, want nothing more for having saved", b.published(false))
				}
				b.stop()
			})
		})
	}
}

// A disk that never answers holds nothing up for longer than a little: traffic
// comes first, as it does when saving fails.
func TestWhatWaitsForADiskThatNeverAnswersGoesOutUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{t: t}
		b := begin(t, planner.Options{Memory: d})
		b.src.batches <- in("a/b", 1, says("one", gateway("one", 9001)))
		rest(time.Second)
		b.published(true)
		d.written(true)
		d.hang()
		lost := func(name string) discovery.Update {
			return says(name, "name: "+name+"\nport: 9002\nroutes: {\"[127.0.0.1:80]\": {condition: {ref: none}}}\n")
		}
		b.src.batches <- in("a/b", 2, lost("two"))
		rest(time.Second)
		b.src.batches <- in("a/b", 3, says("three", gateway("three", 9003)))
		rest(time.Second)
		if got := b.published(false); len(got) != 0 {
			t.Errorf("published %q at once", got)
		}
		rest(time.Minute)
		b.src.batches <- in("a/b", 4, lost("four"))
		rest(time.Second)
		want := []string{
			"6s a/b one:9001 three:9003 two! [2 3]",
			"1m3s a/b one:9001 three:9003 four! two! [4]",
		}
		if got := b.published(false); !slices.Equal(got, want) {
			t.Errorf("published %q, want %q", got, want)
		}
		if got := b.Status("a/b").Unsaved; !strings.Contains(got, "does not answer") {
			t.Errorf("the status tells %q, want that the disk does not answer", got)
		}
		close(d.hangs)
		rest(time.Second)
		if got := fmt.Sprint(d.written(false)); got != "[a/b four a/b two]" || b.Status("a/b").Unsaved != "" {
			t.Errorf("saved %s and the status tells %q, want all and nothing", got, b.Status("a/b").Unsaved)
		}
		if got := b.published(false); len(got) != len(want) {
			t.Errorf("published %q, want nothing more for having saved", got)
		}
		b.stop()
	})
}

func TestWhatWaitsForTheDiskIsPublishedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{t: t, hangs: make(chan struct{})}
		b := begin(t, planner.Options{Memory: d})
		b.src.batches <- in("a/b", 1, says("one", "name: one\n"))
		rest(time.Second)
		b.src.batches <- in("a/b", 2, says("two", gateway("two", 9002)))
		rest(time.Second)
		if len(b.published(false)) != 1 { // the namespace without objects, of which there is nothing to keep
			t.Errorf("published %q before anything was saved", b.published(false))
		}
		go func() {
			time.Sleep(time.Second)
			close(d.hangs)
		}()
		b.stop()
		if got := fmt.Sprint(d.written(false)); got != "[a/b one]" {
			t.Errorf("saved %s, want what the plans rely on", got)
		}
		if len(b.published(false)) != 3 || !strings.HasSuffix(b.published(false)[1], "[1]") || !strings.HasSuffix(b.published(false)[2], "[2]") {
			t.Errorf("published %q, want both plans at the end", b.published(false))
		}
	})
}

func TestAHoldThatIsOverStaysSo(t *testing.T) {
	for _, tt := range []struct {
		name    string
		confirm bool
		want    string
	}{
		{"by a confirmation", true, "10s default/default  []"},
		{"by its time", false, "1m10s default/default  []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var full atomic.Bool
				full.Store(true)
				b := begin(t, planner.Options{
					Memory: &disk{t: t, all: map[string]planner.Remembered{"default/default": {Origins: []string{"files"}}}},
					Revisions: func(context.Context) (uint64, error) {
						if full.Load() {
							return 0, errors.New("the disk is full")
						}
						return 1, nil
					},
				})
				b.src.batches <- discovery.Batch{Listed: true}
				rest(time.Second)
				if b.Status("").Held == nil || b.Stats().HeldBack != 1 {
					t.Fatalf("held back: %v, counted %d", b.Status("").Held, b.Stats().HeldBack)
				}
				if tt.confirm {
					b.Confirm()
				} else {
					rest(time.Minute)
				}
				rest(8500 * time.Millisecond)
				if s := b.Status(""); s.Held != nil || s.Failed == "" {
					t.Errorf("held back as %+v, and failed with %q, want the failure alone", s.Held, s.Failed)
				}
				full.Store(false)
				rest(2 * time.Second)
				if !slices.Equal(b.published(false), []string{tt.want}) {
					t.Errorf("published %q, want %q", b.published(false), tt.want)
				}
				b.stop()
			})
		})
	}
}

// A process that ends while something is held back has found out nothing.
func TestWhatIsHeldBackIsHeldBackAgainAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &values{data: map[string][]byte{}}
		options := func() planner.Options { return planner.Options{Memory: planner.StoreMemory(s)} }
		file := says("x", gateway("a", 9001))
		file.Origin = "files"
		b := begin(t, options())
		b.src.batches <- discovery.Batch{Updates: []discovery.Update{file}, Listed: true}
		rest(time.Second)
		b.stop()
		for range 3 {
			b = begin(t, options())
			b.src.batches <- discovery.Batch{Listed: true}
			rest(time.Second)
			if b.Status("").Held == nil {
				t.Errorf("nothing is held back, and published is %q", b.published(false))
			}
			b.stop()
		}
	})
}

func TestCheckingBeforeTheFirstListingGivesNothingUp(t *testing.T) {
	p := planner.New(planner.Options{
		Memory: &disk{t: t, all: map[string]planner.Remembered{
			planner.DefaultNamespace: {Keepsakes: []planner.Keepsake{{Gateway: "zed", Port: 40000}}},
		}},
		Compile: routing.CompileOptions{PortMin: 40000, PortMax: 40000},
	})
	if err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Check("", []discovery.Update{says("new", gateway("new", 9001))})
	p.Put([]discovery.Update{says("ant", "name: ant\n"), says("zed", "name: zed\n")})
	if table, _ := plan(p); show(table) != "zed:40000 ant!" {
		t.Errorf("the table is %s, want that zed keeps its port", show(table))
	}
}
