// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
)

// backup returns a backup of a store.
func backup(tb testing.TB, s store.Store) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := s.Backup(tb.Context(), &b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestARestoredStoreBeginsAnEpoch(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir(), store.Options{})
	put(t, s, "a", "1")
	put(t, s, "a", "2")
	if _, err := s.SetValue(ctx, "v", []byte("v"), store.Absent); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lease(ctx, "leader", "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	old, err := s.Version(ctx)
	if err != nil {
		t.Fatal(err)
	}
	copied := backup(t, s)
	put(t, s, "a", "3")

	dir := t.TempDir()
	if err := store.Restore(dir, bytes.NewReader(copied)); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, store.Options{})
	v, err := r.Version(ctx)
	if err != nil || v.Epoch == old.Epoch || v.Epoch == 0 || v.Revision != old.Revision {
		t.Errorf("Version() = %v, %v, want revision %d of another epoch than %x", v, err, old.Revision, old.Epoch)
	}
	if a, err := r.Get(ctx, gateway("a")); err != nil || a.Text != "2" {
		t.Errorf("Get = %+v, %v, want text 2", a, err)
	}
	if h, err := r.History(ctx, gateway("a")); err != nil || len(h) != 2 {
		t.Errorf("History = %+v, %v, want 2 versions", h, err)
	}
	if v, err := r.Value(ctx, "v"); err != nil || string(v.Data) != "v" {
		t.Errorf("Value = %+v, %v", v, err)
	}
	if _, err := r.Lease(ctx, "leader", "b", time.Hour); err != nil {
		t.Errorf("Lease: %v: a lease outlived the restoration", err)
	}
	if a := put(t, r, "b", "1"); a.Revision != old.Revision+1 {
		t.Errorf("Put made revision %d, want %d", a.Revision, old.Revision+1)
	}
}

func TestADamagedBackupReplacesNothing(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	put(t, s, "a", "backed up")
	copied := backup(t, s)
	dir := t.TempDir()
	present := open(t, dir, store.Options{})
	put(t, present, "a", "present")
	want := dump(t, present)
	if err := present.Close(); err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, b []byte) {
		t.Helper()
		if err := store.Restore(dir, bytes.NewReader(b)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: error %v, want %v", what, err, store.ErrCorrupt)
		}
	}
	for at := 0; at < len(copied); at += 1 + at/8 {
		refuse("cut at "+strconv.Itoa(at), copied[:at])
		b := bytes.Clone(copied)
		b[at] ^= 1
		refuse("flipped at "+strconv.Itoa(at), b)
	}
	refuse("longer", append(bytes.Clone(copied), 0))
	if got := dump(t, open(t, dir, store.Options{})); got != want {
		t.Errorf("the store holds %s, want %s", got, want)
	}
	files, err := filepath.Glob(filepath.Join(dir, "draft-*"))
	if err != nil || len(files) > 0 {
		t.Errorf("%v is left, %v", files, err)
	}
}

// stuckWriter takes the first bytes, and then nothing until it is told.
type stuckWriter struct {
	taken   bytes.Buffer
	begun   chan struct{}
	proceed chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	if w.taken.Len() == 0 {
		close(w.begun)
		<-w.proceed
	}
	return w.taken.Write(p)
}

func TestASlowBackupHoldsUpNobody(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	put(t, s, "a", "0")
	want := dump(t, s)
	w := &stuckWriter{begun: make(chan struct{}), proceed: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- s.Backup(t.Context(), w) }()
	<-w.begun
	// Enough for the file to grow, which waits for readers of bbolt.
	for range 8 {
		put(t, s, "a", strings.Repeat("x", store.MaxText))
	}
	close(w.proceed)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := store.Restore(dir, &w.taken); err != nil {
		t.Fatal(err)
	}
	got := dump(t, open(t, dir, store.Options{}))
	_, got, _ = strings.Cut(got, "Artifacts") // epochs differ
	if _, want, _ = strings.Cut(want, "Artifacts"); got != want {
		t.Errorf("the backup holds %.300s, want %s", got, want)
	}
}

func FuzzRestore(f *testing.F) {
	s := open(f, f.TempDir(), store.Options{})
	put(f, s, "a", "text")
	whole := backup(f, s)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte("sluice store backup 1\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		err := store.Restore(dir, bytes.NewReader(b))
		// Processes that fuzz have backups of stores of their own.
		end := max(len(b)-sha256.Size, 0)
		if sum := sha256.Sum256(b[:end]); err == nil && !bytes.Equal(b[end:], sum[:]) {
			t.Fatalf("Restore of %d bytes: no error, without their sum", len(b))
		}
		if _, missing := os.Stat(filepath.Join(dir, "store.db")); err != nil && missing == nil {
			t.Fatal("what was refused was put in place")
		}
	})
}

// numbers are what a store hands out without its epoch.
type numbers struct{ event, term, value uint64 }

// handOut has a store hand out one of each.
func handOut(t *testing.T, s store.Store, kind string) numbers {
	t.Helper()
	events, err := s.AppendEvents(t.Context(), store.Event{Namespace: store.DefaultNamespace, Type: kind})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := s.Lease(t.Context(), "leader", kind, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), "leader", kind); err != nil {
		t.Fatal(err)
	}
	v, err := s.SetValue(t.Context(), "v", []byte(kind), store.Any)
	if err != nil {
		t.Fatal(err)
	}
	return numbers{events[0].ID, lease.Term, v.Revision}
}

// Of one backup several lives may begin, and readers of any of them may come to
// the next one.
func TestNumbersAreNotHandedOutAgainAfterARestoration(t *testing.T) {
	for _, tt := range []struct {
		name string
		same bool // each life replaces the one before it
	}{
		{"in place of the store", true},
		{"beside it, as on another machine", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, store.Options{})
			handOut(t, s, "backed-up")
			copied := backup(t, s)
			last := numbers{}
			for range 5 {
				last = handOut(t, s, "lost")
			}
			for life := range 3 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if !tt.same {
					dir = t.TempDir()
				}
				if err := store.Restore(dir, bytes.NewReader(copied)); err != nil {
					t.Fatal(err)
				}
				s = open(t, dir, store.Options{})
				for range 5 {
					next := handOut(t, s, "life-"+strconv.Itoa(life))
					if next.event <= last.event || next.term <= last.term || next.value <= last.value {
						t.Fatalf("life %d hands out %+v after %+v", life, next, last)
					}
					last = next
				}
				if last.event >= 1<<53 {
					t.Errorf("event %d is read by JavaScript as another one", last.event)
				}
			}
		})
	}
}

func TestReadersOfEventsGoOnAfterARestoration(t *testing.T) {
	add := func(s store.Store, kinds ...string) {
		t.Helper()
		for _, kind := range kinds {
			if _, err := s.AppendEvents(t.Context(), store.Event{Namespace: store.DefaultNamespace, Type: kind}); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	add(s, "one", "two")
	copied := backup(t, s)
	add(s, "lost", "lost", "lost")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Restore(dir, bytes.NewReader(copied)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.Options{KeepEvents: 4})
	// watch returns what comes after a number, up to the type end.
	watch := func(after uint64, end string) (kinds []string, last uint64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for e, err := range s.WatchEvents(ctx, after, store.EventQuery{}) {
			if err != nil {
				t.Fatalf("WatchEvents after %d: %v", after, err)
			}
			kinds, last = append(kinds, e.Type), e.ID
			if e.Type == end {
				break
			}
		}
		return kinds, last
	}
	add(s, "three", "four")
	for _, tt := range []struct {
		after uint64
		want  string
	}{
		{0, "one two three four"},
		{1, "two three four"},
		{2, "three four"},
		{4, "three four"}, // of an event that is lost
		{5, "three four"},
	} {
		if kinds, _ := watch(tt.after, "four"); strings.Join(kinds, " ") != tt.want {
			t.Errorf("after %d a watch tells %q, want %s", tt.after, kinds, tt.want)
		}
	}
	_, four := watch(0, "four")
	// What is kept is counted by events, not by numbers, and goes from both
	// sides of the gap.
	for i, want := range []string{"two three four five", "three four five six", "four five six seven"} {
		add(s, []string{"five", "six", "seven"}[i])
		kinds, _ := watch(0, []string{"five", "six", "seven"}[i])
		if strings.Join(kinds, " ") != want {
			t.Errorf("%q are kept, want %s", kinds, want)
		}
	}
	if kinds, _ := watch(four, "seven"); strings.Join(kinds, " ") != "five six seven" {
		t.Errorf("after %d a watch tells %q, want five six seven", four, kinds)
	}
	for _, err := range s.WatchEvents(t.Context(), 5, store.EventQuery{}) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("WatchEvents from what was dropped: error %v, want %v", err, store.ErrCompacted)
		}
	}
}
