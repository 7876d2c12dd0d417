// SPDX-License-Identifier: Apache-2.0

package artifacts_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/discoverytest"
	"github.com/sluice-mesh/sluice/routing"
)

// patience bounds how long a test waits. It is no measure of anything.
const patience = time.Minute

const acme = "acme/prod"

func open(tb testing.TB, o store.Options) store.Store {
	tb.Helper()
	s, err := store.Open(tb.TempDir(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func gateway(name string) string {
	return fmt.Sprintf("name: %s\nport: 9001\nroutes:\n  \"[127.0.0.1:8080]\": {}\n", name)
}

func key(name string) store.Key { return store.Key{Namespace: acme, Kind: "gateways", Name: name} }

func put(tb testing.TB, s store.Store, k store.Key, text string) store.Artifact {
	tb.Helper()
	a, err := store.Put(context.Background(), s, k, text, store.Any, "alice")
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func remove(tb testing.TB, s store.Store, k store.Key) {
	tb.Helper()
	if _, err := store.Delete(context.Background(), s, k, store.Any, "alice"); err != nil {
		tb.Fatal(err)
	}
}

// The name of an artifact does not change, and what the suite calls the name
// of a gateway does: here it is its virtual host, and shown as an instance.
func TestSourceKeepsTheContract(t *testing.T) {
	discoverytest.Test(t, func(t *testing.T) discoverytest.Bed {
		t.Helper()
		s := open(t, store.Options{})
		write := func(object, name string) {
			put(t, s, key(object), gateway(object)+"virtual_hosts: ["+name+"]\n")
		}
		write("a", "a1")
		write("b", "b1")
		return discoverytest.Bed{
			Source: shown{artifacts.Source(s, artifacts.Options{})},
			Put:    write,
			Remove: func(object string) { remove(t, s, key(object)) },
			Key:    func(object string) string { return artifacts.Key(key(object)) },
		}
	})
}

// shown is a source whose gateways are shown as instances, named by their
// virtual hosts.
type shown struct{ discovery.Source }

func (s shown) Run(ctx context.Context, sink func(discovery.Batch)) error {
	return s.Source.Run(ctx, func(b discovery.Batch) {
		for i, u := range b.Updates {
			table, _ := routing.Resolve(u.Documents)
			for _, g := range table.Gateways {
				b.Updates[i].Instances = append(b.Updates[i].Instances, &routing.Instance{Name: g.VirtualHosts[0]})
			}
		}
		sink(b)
	})
}

// run is a source that runs, and what it has told.
type run struct {
	t       *testing.T
	source  discovery.Source
	batches chan discovery.Batch
	ended   chan error
	state   map[string]discovery.Update
	changes []uint64
	count   int
}

func start(t *testing.T, s store.Store, o artifacts.Options) *run {
	t.Helper()
	r := &run{
		t: t, source: artifacts.Source(s, o), batches: make(chan discovery.Batch, 1000),
		ended: make(chan error, 1), state: make(map[string]discovery.Update),
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.ended <- r.source.Run(ctx, func(b discovery.Batch) { r.batches <- b })
	}()
	t.Cleanup(func() { cancel(); <-over })
	return r
}

// next takes a batch.
func (r *run) next() discovery.Batch {
	r.t.Helper()
	select {
	case b := <-r.batches:
		for _, u := range b.Updates {
			r.state[u.Key] = u
			r.count++
		}
		for _, c := range b.Changes {
			r.changes = append(r.changes, c.ID)
		}
		return b
	case err := <-r.ended:
		r.t.Fatalf("Run ended with %v", err)
	case <-time.After(patience):
		r.t.Fatal("no batch was told")
	}
	return discovery.Batch{}
}

// await takes batches until what holds.
func (r *run) await(what func() bool) {
	r.t.Helper()
	for !what() {
		r.next()
	}
}

// of describes what was told last of an artifact.
func (r *run) of(name string) string {
	u, ok := r.state[artifacts.Key(key(name))]
	switch {
	case !ok:
		return "nothing"
	case u.Gone:
		return "gone"
	}
	var s []string
	for _, d := range u.Documents {
		s = append(s, d.Name)
	}
	for _, d := range u.Kept {
		s = append(s, "kept "+d.Name)
	}
	for _, f := range u.Faults {
		s = append(s, f.Code)
	}
	if u.Held != nil {
		s = append(s, "held: "+u.Held.Why)
	}
	return strings.Join(s, ", ")
}

func (r *run) want(name, want string) {
	r.t.Helper()
	if got := r.of(name); got != want {
		r.t.Errorf("of %s was told: %q, want %q", name, got, want)
	}
}

func TestEachCommitIsToldAsWhatItChanged(t *testing.T) {
	s := open(t, store.Options{})
	for i := range 100 {
		put(t, s, key(fmt.Sprintf("g%d", i)), gateway(fmt.Sprintf("g%d", i)))
	}
	r := start(t, s, artifacts.Options{})
	if b := r.next(); !b.Listed || len(b.Updates) != 100 || len(b.Changes) != 0 {
		t.Fatalf("the first batch has %d updates, %d changes, listed %t; want 100, none, true", len(b.Updates), len(b.Changes), b.Listed)
	}
	commit, err := s.Apply(t.Context(), "bob",
		store.Change{Key: key("g7"), Text: gateway("g7"), Expect: store.Any},
		store.Change{Key: store.Key{Namespace: acme, Kind: "conditions", Name: "fox"}, Text: "name: fox\ncondition: User-Agent = Firefox\n"},
		store.Change{Key: key("g9"), Delete: true, Expect: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	b := r.next()
	var keys []string
	for _, u := range b.Updates {
		keys = append(keys, u.Key)
		if !u.Gone && (u.Namespace != acme || u.Origin != artifacts.Origin) {
			t.Errorf("%s is of %q from %q, want %s from api", u.Key, u.Namespace, u.Origin, acme)
		}
	}
	if want := []string{"api:acme/prod/conditions/fox", "api:acme/prod/gateways/g7", "api:acme/prod/gateways/g9"}; !slices.Equal(keys, want) {
		t.Errorf("a commit is told as %q, want %q", keys, want)
	}
	if len(b.Changes) != 1 || b.Changes[0].ID != commit.Version.Revision || !b.Changes[0].At.Equal(commit.Time) || b.Changes[0].Kind != discovery.Config || b.Changes[0].Namespace != acme {
		t.Errorf("its changes are %v, want the commit %v", b.Changes, commit.Version)
	}
	if u := b.Updates[0]; len(u.Documents) != 1 || u.Documents[0].Kind != "conditions" || len(u.Faults) > 0 {
		t.Errorf("a condition without kind is read as %+v, faults %v; want a condition", u.Documents, u.Faults)
	}
	r.want("g9", "gone")
}

func TestUpdate(t *testing.T) {
	for _, tt := range []struct {
		name, kind, text, want string
	}{
		{"a gateway", "gateways", gateway("x"), "x"},
		{"a kind that is said", "gateways", "kind: gateway\n" + gateway("x"), "x"},
		{"a kind that is not said", "conditions", "name: x\ncondition: User-Agent = Firefox\n", "x"},
		{"a gateway that is refused is a document all the same", "gateways", gateway("x") + "colour: blue\n", "x, UnexpectedElement"},
		{"a text that is no YAML", "gateways", "{", "YamlParsingError"},
		{"nothing", "gateways", "", "EmptyArtifact"},
		{"a text without name", "gateways", "port: 9001\n", "MissingPathValueError"},
		{"another name", "gateways", gateway("y"), "InconsistentArtifactName"},
		{"another kind", "gateways", "kind: conditions\nname: x\ncondition: User-Agent = Firefox\n", "InconsistentArtifactKind"},
		{"two artifacts", "gateways", gateway("x") + "---\n" + gateway("y"), "SeveralArtifacts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := store.Key{Namespace: acme, Kind: tt.kind, Name: "x"}
			u := artifacts.Update(k, tt.text)
			var got []string
			for _, d := range u.Documents {
				got = append(got, d.Name)
			}
			for _, f := range u.Faults {
				got = append(got, f.Code)
				if f.At.Source != "api:"+k.String() {
					t.Errorf("the fault %v is in %q, want the key", f, f.At.Source)
				}
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("Update(%q) = %q, want %q", tt.text, s, tt.want)
			}
		})
	}
}

func TestUnreadableArtifactKeepsWhatItSaid(t *testing.T) {
	s := open(t, store.Options{})
	put(t, s, key("a"), gateway("a"))
	put(t, s, key("b"), gateway("b"))
	r := start(t, s, artifacts.Options{})
	r.next()
	put(t, s, key("a"), "{")
	r.next()
	r.want("a", "kept a, YamlParsingError")
	put(t, s, key("a"), "[")
	r.next()
	r.want("a", "kept a, YamlParsingError")
	// After a restart, what it said stands in its history.
	after := start(t, s, artifacts.Options{})
	after.next()
	after.want("a", "kept a, YamlParsingError")
	after.want("b", "b")
	// What was deleted in between is another life of it.
	remove(t, s, key("a"))
	put(t, s, key("a"), "{")
	third := start(t, s, artifacts.Options{})
	third.next()
	third.want("a", "YamlParsingError")
	put(t, s, key("a"), gateway("a"))
	third.next()
	third.want("a", "a")
}

// A watcher that the log leaves behind lists anew, and tells what differs.
func TestLogLeftBehindIsListedAnew(t *testing.T) {
	s := &faulty{Store: open(t, store.Options{KeepCommits: 5})}
	put(t, s, key("a"), gateway("a"))
	put(t, s, key("b"), gateway("b"))
	r := start(t, s, artifacts.Options{})
	r.next()
	gate := s.stall()
	put(t, s, key("wake"), gateway("wake")) // taken by the watch that stalls
	for range 20 {
		put(t, s, key("a"), gateway("a"))
	}
	remove(t, s, key("b"))
	newest := put(t, s, key("c"), gateway("c"))
	close(gate)
	r.await(func() bool { return r.of("c") == "c" })
	r.want("b", "gone")
	r.want("a", "a")
	var want []uint64
	for id := uint64(3); id <= newest.Revision; id++ {
		want = append(want, id)
	}
	if !slices.Equal(r.changes, want) {
		t.Errorf("changes %v were told, want each of %v once", r.changes, want)
	}
}

// faulty is a store that can be made to fail.
type faulty struct {
	store.Store
	mu      sync.Mutex // guards the fields below
	gate    chan struct{}
	list    func() (store.List, error)
	other   store.Store // that took the place of Store; nil if none did
	watched atomic.Int64
	fail    chan error
}

// errSilent has a watch end without an error.
var errSilent = errors.New("no error")

// replace puts another store in the place of the present one.
func (f *faulty) replace(other store.Store) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.other = other
	f.fail <- errors.New("it is another store")
}

func (f *faulty) present() store.Store {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.other != nil {
		return f.other
	}
	return f.Store
}

func (f *faulty) History(ctx context.Context, k store.Key) ([]store.Artifact, error) {
	return f.present().History(ctx, k)
}

func (f *faulty) stall() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = make(chan struct{})
	return f.gate
}

func (f *faulty) lists(list func() (store.List, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = list
}

func (f *faulty) List(ctx context.Context, ns, kind string) (store.List, error) {
	f.mu.Lock()
	list := f.list
	f.mu.Unlock()
	if list != nil {
		return list()
	}
	return f.present().List(ctx, ns, kind)
}

func (f *faulty) Watch(ctx context.Context, ns string, from routing.Version) iter.Seq2[store.Commit, error] {
	f.watched.Add(1)
	return func(yield func(store.Commit, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		if f.fail != nil {
			go func() {
				select {
				case err := <-f.fail:
					cancel(err)
				case <-ctx.Done():
				}
			}()
		}
		for c, err := range f.present().Watch(ctx, ns, from) {
			f.mu.Lock()
			gate := f.gate
			f.mu.Unlock()
			if gate != nil {
				<-gate
			}
			if err != nil && context.Cause(ctx) != nil {
				err = context.Cause(ctx)
			}
			if errors.Is(err, errSilent) || !yield(c, err) {
				return
			}
		}
	}
}

func TestStoreThatCannotBeReadSaysNothing(t *testing.T) {
	s := &faulty{Store: open(t, store.Options{}), fail: make(chan error, 1)}
	put(t, s, key("a"), gateway("a"))
	broken := errors.New("input/output error")
	tries := make(chan struct{}, 100)
	s.lists(func() (store.List, error) {
		tries <- struct{}{}
		return store.List{}, broken
	})
	r := start(t, s, artifacts.Options{Retry: time.Millisecond})
	for range 3 {
		<-tries
	}
	if n := len(r.batches); n != 0 {
		t.Fatalf("%d batches were told of a store that cannot be read, want none", n)
	}
	s.lists(nil)
	if b := r.next(); !b.Listed || r.of("a") != "a" {
		t.Fatalf("after the store came back: %+v, want the first listing", b)
	}
	// It fails while it is watched, and is found as it was left.
	s.fail <- broken
	put(t, s, key("b"), gateway("b"))
	r.await(func() bool { return r.of("b") == "b" })
	r.want("a", "a")
}

func TestWhatADoubtfulListingLacksIsHeldBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		list func(store.List) store.List
		why  string
	}{
		{"an empty store", func(l store.List) store.List { l.Artifacts = nil; return l }, "held: the store is empty"},
		{"another life", func(l store.List) store.List {
			l.Version.Epoch++
			l.Artifacts = l.Artifacts[:1]
			return l
		}, "held: the store begins another life without it"},
		{"an older store", func(l store.List) store.List {
			l.Version.Revision--
			l.Artifacts = l.Artifacts[:1]
			return l
		}, "held: the store is older than it was, and lacks it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &faulty{Store: open(t, store.Options{}), fail: make(chan error, 1)}
			put(t, s, key("a"), gateway("a"))
			put(t, s, key("b"), gateway("b"))
			put(t, s, key("c"), gateway("c"))
			r := start(t, s, artifacts.Options{Retry: time.Millisecond})
			r.next()
			present, err := s.Store.List(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			s.lists(func() (store.List, error) { return tt.list(present), nil })
			s.fail <- errors.New("gone for a while")
			r.await(func() bool { return strings.Contains(r.of("b"), "held") })
			r.want("b", "kept b, "+tt.why)
			confirmer, ok := r.source.(discovery.Confirmer)
			if !ok {
				t.Fatal("the source is no Confirmer")
			}
			if n := confirmer.Confirm(); n == 0 {
				t.Errorf("Confirm() = %d, want what is held back", n)
			}
			r.await(func() bool { return r.of("b") == "gone" })
		})
	}
}

func TestHeldAbsenceIsBelievedInTime(t *testing.T) {
	s := &faulty{Store: open(t, store.Options{}), fail: make(chan error, 1)}
	put(t, s, key("a"), gateway("a"))
	put(t, s, key("b"), gateway("b"))
	r := start(t, s, artifacts.Options{Retry: time.Millisecond, Hold: 10 * time.Millisecond})
	r.next()
	s.lists(func() (store.List, error) { v, err := s.Version(t.Context()); return store.List{Version: v}, err })
	s.fail <- errors.New("gone for a while")
	r.await(func() bool { return r.of("a") == "gone" && r.of("b") == "gone" })
	// What is there again after that is told again.
	s.lists(nil)
	put(t, s, key("a"), gateway("a"))
	r.await(func() bool { return r.of("a") == "a" })
}

// A store whose watch ends without a word is watched anew.
func TestAWatchThatEndsIsBegunAgain(t *testing.T) {
	s := &faulty{Store: open(t, store.Options{}), fail: make(chan error, 1)}
	put(t, s, key("a"), gateway("a"))
	r := start(t, s, artifacts.Options{Retry: time.Millisecond})
	r.next()
	s.fail <- errSilent
	r.await(func() bool {
		// It is told by the next watch, or by the listing before it.
		put(t, s, key("b"), gateway("b"))
		return s.watched.Load() > 1
	})
	r.await(func() bool { return r.of("b") == "b" })
	r.want("a", "a")
}

// What an artifact said in another life is not what it said before in this one:
// in a store that was restored, or after it was deleted and made anew.
func TestAListingKeepsNothingOfAnotherLife(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(t *testing.T, s *faulty)
		want string
	}{
		{"of another store, where it was readable before", func(t *testing.T, s *faulty) {
			t.Helper()
			next := open(t, store.Options{})
			put(t, next, key("a"), strings.Replace(gateway("a"), "9001", "9002", 1))
			put(t, next, key("a"), "{")
			s.replace(next)
		}, "9002"},
		{"of another store, where it never was", func(t *testing.T, s *faulty) {
			t.Helper()
			next := open(t, store.Options{})
			put(t, next, key("a"), "{")
			s.replace(next)
		}, ""},
		{"of an artifact that was deleted in between", func(t *testing.T, s *faulty) {
			t.Helper()
			remove(t, s, key("a"))
			put(t, s, key("a"), "{")
			for range 10 {
				put(t, s, key("other"), gateway("other"))
			}
		}, ""},
		{"of the same artifact in a listing", func(t *testing.T, s *faulty) {
			t.Helper()
			put(t, s, key("a"), "{")
			for range 10 {
				put(t, s, key("other"), gateway("other"))
			}
		}, "9001"},
		{"of the same artifact, whose history does not reach back that far", func(t *testing.T, s *faulty) {
			t.Helper()
			for range 20 {
				put(t, s, key("a"), "{")
			}
		}, "9001"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &faulty{Store: open(t, store.Options{KeepVersions: 2, KeepCommits: 5}), fail: make(chan error, 1)}
			put(t, s, key("a"), gateway("a"))
			r := start(t, s, artifacts.Options{Retry: time.Millisecond})
			r.next()
			gate := s.stall()
			put(t, s, key("wake"), gateway("wake"))
			tt.then(t, s)
			close(gate)
			r.await(func() bool { return strings.Contains(r.of("a"), "YamlParsingError") })
			got := ""
			for _, d := range r.state[artifacts.Key(key("a"))].Kept {
				table, _ := routing.Resolve([]*routing.Document{d})
				got = strconv.Itoa(table.Gateways[0].Port.Number)
			}
			if got != tt.want {
				t.Errorf("of a the port %q is kept, want %q", got, tt.want)
			}
		})
	}
}

func TestRunEndsWithAStoreThatIsClosed(t *testing.T) {
	s := open(t, store.Options{})
	r := start(t, s, artifacts.Options{})
	r.next()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("Run() = %v, want store.ErrClosed", err)
		}
	case <-time.After(patience):
		t.Fatal("Run goes on without a store")
	}
}

// One commit among many artifacts is one update, and reads nothing else.
func TestOneCommitOf10000IsOneUpdate(t *testing.T) {
	s := open(t, store.Options{})
	for i := range 10 {
		var changes []store.Change
		for j := range 1000 {
			name := fmt.Sprintf("g%d", 1000*i+j)
			changes = append(changes, store.Change{Key: key(name), Text: gateway(name)})
		}
		if _, err := s.Apply(t.Context(), "alice", changes...); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, s, artifacts.Options{})
	r.next()
	if r.count != 10_000 {
		t.Fatalf("%d artifacts are listed, want 10000", r.count)
	}
	for range 3 {
		put(t, s, key("g77"), gateway("g77"))
		if b := r.next(); len(b.Updates) != 1 || b.Updates[0].Key != artifacts.Key(key("g77")) {
			t.Errorf("a commit of one is told as %d updates, want 1", len(b.Updates))
		}
	}
}
