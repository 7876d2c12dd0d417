// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

func gateway(name string) store.Key {
	return store.Key{Namespace: store.DefaultNamespace, Kind: "gateways", Name: name}
}

// put writes a gateway whatever is there.
func put(tb testing.TB, s store.Store, name, text string) store.Artifact {
	tb.Helper()
	a, err := store.Put(tb.Context(), s, gateway(name), text, store.Any, "ada")
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// told returns the commits after a revision, or the error of the watch.
func told(tb testing.TB, s store.Store, revision uint64) ([]store.Commit, error) {
	tb.Helper()
	now, err := s.Version(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var commits []store.Commit
	if revision == now.Revision {
		return nil, nil
	}
	for c, err := range s.Watch(tb.Context(), "", routing.Version{Epoch: now.Epoch, Revision: revision}) {
		if err != nil {
			return nil, err
		}
		if commits = append(commits, c); c.Version == now {
			break
		}
	}
	return commits, nil
}

// The log, histories and what is present share their texts. Whatever the
// bounds and the order of changes, none of them misses one that it should
// have.
func TestWhatIsTrimmedIsMissedByNobody(t *testing.T) {
	for _, o := range []store.Options{
		{KeepVersions: 3, KeepCommits: 10},
		{KeepVersions: 10, KeepCommits: 3},
		{KeepVersions: 1, KeepCommits: 1},
		{KeepVersions: 5, KeepBytes: 60},
	} {
		t.Run(fmt.Sprintf("%d versions, %d commits, %d bytes", o.KeepVersions, o.KeepCommits, o.KeepBytes), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, o)
			m := model{all: map[string][]store.Artifact{}}
			random := rand.New(rand.NewPCG(1, 2))
			for range 120 {
				m.change(t, s, random)
				m.compare(t, s, o)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, o) // all that is left sums up
			m.compare(t, s, o)
		})
	}
}

// model is what a store that forgets nothing holds.
type model struct {
	log []store.Commit
	all map[string][]store.Artifact // oldest first
}

func (m *model) change(t *testing.T, s store.Store, random *rand.Rand) {
	t.Helper()
	var changes []store.Change
	for _, name := range []string{"a", "b", "ab", "c", "d"} {
		if random.IntN(3) > 0 {
			continue
		}
		versions := m.all[name]
		there := len(versions) > 0 && !versions[len(versions)-1].Deleted
		c := store.Change{Key: gateway(name), Expect: store.Any, Text: strings.Repeat("x", 1+random.IntN(20))}
		if there && random.IntN(3) == 0 {
			c.Text, c.Delete = "", true
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return
	}
	c, err := s.Apply(t.Context(), "ada", changes...)
	if err != nil {
		t.Fatal(err)
	}
	m.log = append(m.log, c)
	for _, a := range c.Changes {
		m.all[a.Name] = append(m.all[a.Name], a)
	}
}

func (m *model) compare(t *testing.T, s store.Store, o store.Options) {
	t.Helper()
	m.compareLog(t, s, o)
	list, err := s.List(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	present := 0
	for name, versions := range m.all {
		newest := versions[len(versions)-1]
		if !newest.Deleted {
			present++
			if !slices.Contains(list.Artifacts, newest) {
				t.Fatalf("List has no %+v", newest)
			}
		}
		history, err := s.History(t.Context(), gateway(name))
		if newest.Deleted && errors.Is(err, store.ErrNotFound) {
			if commits, _ := told(t, s, newest.Revision-1); commits != nil {
				t.Fatalf("History of %s: %v, while its deletion is in the log", name, err)
			}
			delete(m.all, name) // it begins anew
			continue
		}
		want := slices.Clone(versions[max(0, len(versions)-o.KeepVersions):])
		if slices.Reverse(want); !slices.Equal(history, want) {
			t.Fatalf("History of %s = %+v, %v, want %+v", name, history, err, want)
		}
	}
	if len(list.Artifacts) != present {
		t.Fatalf("List has %d artifacts, want %d", len(list.Artifacts), present)
	}
}

// compareLog finds that a watch has all commits from somewhere on, and as
// many as it should.
func (m *model) compareLog(t *testing.T, s store.Store, o store.Options) {
	t.Helper()
	for from := range m.log {
		commits, err := told(t, s, uint64(from))
		if errors.Is(err, store.ErrCompacted) {
			continue
		}
		if !slices.EqualFunc(commits, m.log[from:], func(a, b store.Commit) bool {
			return a.Version == b.Version && a.Author == b.Author && a.Time.Equal(b.Time) && slices.Equal(a.Changes, b.Changes)
		}) {
			t.Fatalf("Watch from %d = %+v, %v, want %+v", from, commits, err, m.log[from:])
		}
		kept := len(m.log) - from
		if o.KeepCommits > 0 && kept != min(o.KeepCommits, len(m.log)) {
			t.Fatalf("the log has %d commits, want %d", kept, o.KeepCommits)
		}
		if size := textBytes(m.log[from:]); o.KeepBytes > 0 && kept > 1 && size > int(o.KeepBytes) {
			t.Fatalf("the log has %d bytes, want at most %d", size, o.KeepBytes)
		}
		return
	}
	if len(m.log) > 0 {
		t.Fatal("the log has nothing")
	}
}

func textBytes(log []store.Commit) int {
	n := 0
	for _, c := range log {
		for _, a := range c.Changes {
			n += len(a.Text)
		}
	}
	return n
}

func TestAWatchLeftBehindIsToldToList(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{KeepCommits: 100})
	v, err := s.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "0")
	seen := 0
	var last error
	for _, err := range s.Watch(t.Context(), "", v) {
		if last = err; err != nil {
			break
		}
		// The reader is slow: more is written than the log keeps.
		if seen++; seen == 1 {
			for i := range 300 {
				put(t, s, "a", strconv.Itoa(i))
			}
		}
	}
	if !errors.Is(last, store.ErrCompacted) || seen != 1 {
		t.Errorf("the watch told %d commits and then %v, want 1 and %v", seen, last, store.ErrCompacted)
	}
}

func TestEventsAreBounded(t *testing.T) {
	c := &clock{now: time.Now()}
	s := open(t, t.TempDir(), store.Options{KeepEvents: 10, EventAge: time.Hour, Now: c.Now})
	add := func() {
		t.Helper()
		if _, err := s.AppendEvents(t.Context(), store.Event{Namespace: store.DefaultNamespace, Type: "change"}); err != nil {
			t.Fatal(err)
		}
	}
	ids := func() (ids []uint64) {
		t.Helper()
		events, err := s.Events(t.Context(), store.EventQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		return ids
	}
	for range 15 {
		add()
	}
	if got, want := ids(), []uint64{15, 14, 13, 12, 11, 10, 9, 8, 7, 6}; !slices.Equal(got, want) {
		t.Errorf("Events = %v, want %v", got, want)
	}
	for _, err := range s.WatchEvents(t.Context(), 4, store.EventQuery{}) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("WatchEvents from what was dropped: error %v, want %v", err, store.ErrCompacted)
		}
	}
	c.advance(2 * time.Hour)
	if got := ids(); len(got) != 0 {
		t.Errorf("Events = %v after their age, want none", got)
	}
	add()
	if got := ids(); !slices.Equal(got, []uint64{16}) {
		t.Errorf("Events = %v, want 16", got)
	}
	for e, err := range s.WatchEvents(t.Context(), 0, store.EventQuery{}) {
		if err != nil || e.ID != 16 {
			t.Errorf("WatchEvents begins with %+v, %v, want 16", e, err)
		}
		break
	}
}

func TestWritersThatWaitAreCommittedTogether(t *testing.T) {
	const writers = 8
	begun, proceed, queued := make(chan struct{}), make(chan struct{}), make(chan struct{}, writers)
	commits, first := 0, true
	o := store.Options{}.At(func(point string) {
		switch {
		case point == "queued":
			queued <- struct{}{}
		case point == "before write" && first:
			first = false
			close(begun)
			<-proceed
		case point == "after sync":
			commits++
		}
	})
	s := open(t, t.TempDir(), o)
	faults := make(chan error, writers)
	write := func(name string, expect store.Expect) {
		_, err := store.Put(t.Context(), s, gateway(name), "text", expect, "ada")
		faults <- err
	}
	go write("a", store.Absent)
	<-begun
	for i := range writers - 2 {
		go write(strconv.Itoa(i), store.Absent)
	}
	go write("b", 7)    // fails, and fails no other
	for range writers { // the first among them
		<-queued
	}
	close(proceed)
	conflicts := 0
	for range writers {
		err := <-faults
		if _, ok := errors.AsType[*store.ConflictError](err); ok {
			conflicts++
		} else if err != nil {
			t.Error(err)
		}
	}
	v, err := s.Version(t.Context())
	if err != nil || v.Revision != writers-1 || conflicts != 1 {
		t.Errorf("revision %d and %d conflicts, %v, want %d and 1", v.Revision, conflicts, err, writers-1)
	}
	if err := s.Close(); err != nil || commits != 2 {
		t.Errorf("%d commits, %v, want 2: the first writer's, and one for all who waited", commits, err)
	}
}
