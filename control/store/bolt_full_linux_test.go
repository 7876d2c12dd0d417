// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/control/store"
)

// smallDisk returns a directory on a disk of 4 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		lack(t, "a disk of our own takes the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// TestAFullDiskIsSaidAndHarmsNothing does without the right to mount.
func TestADiskThatIsFull(t *testing.T) {
	disk := smallDisk(t)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(disk, "store")
	s := open(t, dir, store.Options{})
	// Writers come together, so that commits of many fail, too. Each stops
	// at its first error.
	const writers = 4
	type end struct {
		written int
		err     error
	}
	ends := make(chan end, writers)
	for w := range writers {
		go func() {
			for n := 0; ; n++ {
				_, err := store.Put(t.Context(), s, gateway(strconv.Itoa(w)+"-"+strconv.Itoa(n)), strings.Repeat("x", 20_000), store.Absent, "ada")
				if err != nil {
					ends <- end{n, err}
					return
				}
			}
		}()
	}
	written := 0
	for range writers {
		e := <-ends
		written += e.written
		if !errors.Is(e.err, store.ErrFull) {
			t.Errorf("a write: error %v, want %v", e.err, store.ErrFull)
		}
	}
	holds := func(want int) {
		t.Helper()
		list, err := s.List(t.Context(), "", "")
		if err != nil || len(list.Artifacts) != want || list.Version.Revision != uint64(want) {
			t.Fatalf("List has %d artifacts at revision %d, %v, want %d", len(list.Artifacts), list.Version.Revision, err, want)
		}
		if commits, err := told(t, s, 0); err != nil || len(commits) != want {
			t.Fatalf("Watch tells %d commits, %v, want %d", len(commits), err, want)
		}
	}
	if written == 0 {
		t.Fatal("nothing was written before the disk was full")
	}
	holds(written)
	for range 3 { // it stays as it is, however often one tries
		if _, err := store.Put(t.Context(), s, gateway("large"), strings.Repeat("x", store.MaxText), store.Absent, "ada"); !errors.Is(err, store.ErrFull) {
			t.Errorf("Put: error %v, want %v", err, store.ErrFull)
		}
	}
	holds(written)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.Options{}) // opened while the disk is full
	holds(written)
	if _, err := store.Put(t.Context(), s, gateway("large"), strings.Repeat("x", store.MaxText), store.Absent, "ada"); !errors.Is(err, store.ErrFull) {
		t.Errorf("Put after opening: error %v, want %v", err, store.ErrFull)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), s, gateway("more"), strings.Repeat("x", 20_000), store.Absent, "ada"); err != nil {
		t.Errorf("Put once there is room: %v", err)
	}
	holds(written + 1)
}

// A store is not made where there is no room for one, and nothing of it stays.
func TestADiskWithoutRoomForAStore(t *testing.T) {
	disk := smallDisk(t)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("8 MB on a disk of 4: %v", err)
	}
	dir := filepath.Join(disk, "store")
	if _, err := store.Open(dir, store.Options{}); !errors.Is(err, store.ErrFull) {
		t.Errorf("Open: error %v, want %v", err, store.ErrFull)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, store.Options{})
	put(t, s, "a", "text")
}
