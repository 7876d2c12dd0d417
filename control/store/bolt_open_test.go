// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/sluice-mesh/sluice/control/store"
)

func TestAStoreIsItsOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	open(t, dir, store.Options{})
	for name, want := range map[string]os.FileMode{"": 0o700, "store.db": 0o600, "store.lock": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has the mode %v, want %v", name, got, want)
		}
	}
}

func TestAStoreThatIsOpenIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	for what, try := range map[string]func() error{
		"Open":    func() error { _, err := store.Open(dir, store.Options{}); return err },
		"Restore": func() error { return store.Restore(dir, strings.NewReader("")) },
	} {
		locked, ok := errors.AsType[*store.LockedError](try())
		if want := fmt.Sprintf("process %d on ", os.Getpid()); !ok || !strings.Contains(locked.Error(), want) || locked.Dir != dir {
			t.Errorf("%s: error %v, want one that says %q", what, locked, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, store.Options{})
}

func TestWhatIsNoStoreIsRefused(t *testing.T) {
	edit := func(do func(*bolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Update(do), db.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"an empty file", write("")},
		{"a text", write(strings.Repeat("not a store\n", 4096))},
		{"a record more", edit(func(tx *bolt.Tx) error { return tx.Bucket([]byte("values")).Put([]byte("x"), []byte("{}")) })},
		{"a record less", edit(func(tx *bolt.Tx) error {
			c := tx.Bucket([]byte("versions")).Cursor()
			c.First()
			return c.Delete()
		})},
		{"a bucket less", edit(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("leases")) })},
		{"a bucket where a record belongs", edit(func(tx *bolt.Tx) error {
			_, err := tx.Bucket([]byte("values")).CreateBucket([]byte("x"))
			return err
		})},
		{"no sum", edit(func(tx *bolt.Tx) error { return tx.Bucket([]byte("head")).Delete([]byte("sum")) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, store.Options{})
			put(t, s, "a", "1")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, filepath.Join(dir, "store.db"))
			if _, err := store.Open(dir, store.Options{}); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Open: error %v, want %v", err, store.ErrCorrupt)
			}
		})
	}
}

// A file that was damaged shows what it held before or after its last commit,
// or is refused: never anything else.
func TestADamagedFileIsNeverBelieved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	for i := range 20 {
		put(t, s, fmt.Sprint("gateway ", i), strings.Repeat("text ", 1+i*i*5))
	}
	var states []string
	states = append(states, dump(t, s))
	put(t, s, "last", strings.Repeat("last ", 3000))
	states = append(states, dump(t, s))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	refused, shown := 0, 0
	try := func(what string, file []byte) {
		t.Helper()
		got, err := reopen(t, file)
		switch {
		case errors.Is(err, store.ErrCorrupt):
			refused++
		case err != nil:
			t.Errorf("%s: error %v, want %v", what, err, store.ErrCorrupt)
		case got != states[0] && got != states[1]:
			t.Errorf("%s: the store holds something else: %.300s", what, got)
		default:
			shown++
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	page := os.Getpagesize()
	for at := 0; at < len(whole); at += page {
		for _, cut := range []int{at, at + 1, at + page - 1} {
			try(fmt.Sprintf("cut at %d", cut), whole[:min(cut, len(whole))])
		}
		// Headers and the elements that follow them, then what they lead to.
		for _, i := range []int{8, 10, 12, 15, 16, 20, 24, 28, random.IntN(64), random.IntN(page), page - 1 - random.IntN(64)} {
			file := append([]byte(nil), whole...)
			file[at+i] ^= 1 << random.IntN(8)
			try(fmt.Sprintf("flipped at %d+%d", at, i), file)
		}
		torn := append([]byte(nil), whole...)
		clear(torn[at : at+page])
		try(fmt.Sprintf("page at %d lost", at), torn)
	}
	t.Logf("of %d damaged files %d were refused", refused+shown, refused)
	if refused == 0 || shown == 0 {
		t.Errorf("%d files were refused and %d shown, want some of both", refused, shown)
	}
}

// reopen opens a store of that file and returns what it holds.
func reopen(t *testing.T, file []byte) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "store.db"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	return dump(t, s), nil
}

// dump returns all artifacts of a store.
func dump(t *testing.T, s store.Store) string {
	t.Helper()
	list, err := s.List(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v", list)
}
