// SPDX-License-Identifier: Apache-2.0

package lastgood_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
)

func openOn(tb testing.TB, dir string, o lastgood.Options, before func(string) error) *lastgood.Keeper {
	tb.Helper()
	k, err := lastgood.OpenOn(dir, o, before)
	if err != nil {
		tb.Fatalf("Open: %v", err)
	}
	return k
}

func TestNothingIsNamedBeforeItIsDurable(t *testing.T) {
	var did []string
	k := openOn(t, t.TempDir(), lastgood.Options{}, func(operation string) error {
		did = append(did, operation)
		return nil
	})
	defer shut(t, k)
	did = nil
	keep(t, k, version(1, 1))
	if want := []string{"create", "write", "write", "fsync", "rename", "sync"}; !slices.Equal(did, want) {
		t.Errorf("operations %v, want %v", did, want)
	}
}

// TestEndAtEachOperation ends a process at each operation that it does on
// the disk, and demands that the next one loads what was durable or the one
// that was on its way.
func TestEndAtEachOperation(t *testing.T) {
	gone := errors.New("gone")
	for last := 0; ; last++ {
		dir := t.TempDir()
		operations, durable := 0, uint64(0)
		o := lastgood.Options{Wrote: func(w lastgood.Write) {
			if w.Err == nil {
				durable = w.Version.Revision
			}
		}}
		k := openOn(t, dir, o, func(string) error {
			if operations++; operations > last {
				return gone
			}
			return nil
		})
		saved := uint64(0)
		for i := range uint64(5) {
			if operations > last {
				break
			}
			saved = i + 1
			_ = k.Starting(version(1, saved))
			if err := k.Save(table(version(1, saved))); err != nil {
				t.Fatal(err)
			}
			settle(t, k)
			_ = k.Served(version(1, saved))
		}
		if err := k.Close(); err != nil && !errors.Is(err, gone) {
			t.Fatal(err)
		}
		k = open(t, dir, lastgood.Options{})
		l, err := k.Load()
		got := l.Table.Version.Revision
		if durable == 0 && got == 0 && errors.Is(err, lastgood.ErrNone) {
			continue
		}
		if err != nil || got != durable && got != saved || len(l.Skipped) != 0 {
			t.Fatalf("after %d operations Load() = %+v, %v, want %d, which is durable, or %d", last, l, err, durable, saved)
		}
		if operations <= last {
			if last < 20 {
				t.Fatalf("only %d operations for 5 tables", last)
			}
			return
		}
	}
}

func TestDiskThatFailsOnce(t *testing.T) {
	for _, operation := range []string{"create", "write", "fsync", "rename", "sync"} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				var full atomic.Bool
				wrote := make(chan error, 10)
				k := openOn(t, dir, lastgood.Options{Wrote: func(w lastgood.Write) { wrote <- w.Err }}, func(now string) error {
					if full.Load() && now == operation {
						return syscall.ENOSPC
					}
					return nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- k.Run(ctx) }()
				if err := errors.Join(k.Save(table(version(1, 1))), k.Flush(ctx)); err != nil {
					t.Fatal(err)
				}
				full.Store(true)
				if err := k.Save(table(version(1, 2))); err != nil {
					t.Fatal(err)
				}
				if err := k.Flush(ctx); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Flush on a full disk = %v, want ENOSPC", err)
				}
				wantLoad(t, k, version(1, 1))
				if s := k.Status(); s.Failures == 0 || !errors.Is(s.Err, syscall.ENOSPC) || !s.Pending {
					t.Errorf("Status() = %+v", s)
				}
				if got := kept(t, dir); !slices.Equal(got, []string{"1.1"}) {
					t.Errorf("on disk %v, want 1.1", got)
				}
				if _, err := os.Stat(filepath.Join(dir, "table.new")); err == nil {
					t.Error("the draft still takes room")
				}
				full.Store(false)
				for k.Status().Pending { // until it is tried again
					if err := <-wrote; err != nil {
						t.Logf("not yet: %v", err)
					}
				}
				wantLoad(t, k, version(1, 2))
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Run = %v", err)
				}
				shut(t, k)
			})
		})
	}
}

func TestNewestWinsOverASlowDisk(t *testing.T) {
	dir := t.TempDir()
	slow, busy := make(chan struct{}), make(chan struct{}, 10)
	var began atomic.Bool
	var versions []uint64
	o := lastgood.Options{Wrote: func(w lastgood.Write) { versions = append(versions, w.Version.Revision) }}
	k := openOn(t, dir, o, func(operation string) error {
		if operation == "fsync" && !began.Swap(true) {
			busy <- struct{}{}
			<-slow
		}
		return nil
	})
	defer shut(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	for i := range uint64(9) {
		if err := k.Save(table(version(1, i+1))); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-busy
		}
	}
	close(slow)
	if err := k.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	wantLoad(t, k, version(1, 9))
	if s := k.Status(); !slices.Equal(versions, []uint64{1, 9}) || s.Superseded != 7 || s.Writes != 2 {
		t.Errorf("written %v, status %+v, want 1 and 9, and 7 superseded", versions, s)
	}
}

func TestFlushEndsWithItsContext(t *testing.T) {
	k := open(t, t.TempDir(), lastgood.Options{})
	if err := k.Save(table(version(1, 1))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush = %v, want context.Canceled", err)
	}
}

func TestDiskThatIsReadOnlyIsLoadedFrom(t *testing.T) {
	dir := barred(t, 2)
	k := openOn(t, dir, lastgood.Options{}, func(string) error { return syscall.EROFS })
	wantLoad(t, k, version(1, 1))
	if err := k.Starting(version(1, 1)); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Starting = %v, want EROFS", err)
	}
	if err := k.Save(table(version(1, 3))); err != nil {
		t.Fatal(err)
	}
	settle(t, k)
	if s := k.Status(); !errors.Is(s.Err, syscall.EROFS) || s.Version != version(1, 2) {
		t.Errorf("Status() = %+v, want EROFS", s)
	}
	if err := k.Close(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("Close = %v, want EROFS", err)
	}
}

func TestFolderThatMayNotBeWrittenIsLoadedFrom(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("modes do not bind root; see TestDiskThatIsReadOnlyIsLoadedFrom")
	}
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 1))
	shut(t, k)
	if err := errors.Join(os.Remove(filepath.Join(dir, "lock")), os.Chmod(dir, 0o500)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	wantLoad(t, open(t, dir, lastgood.Options{}), version(1, 1))
}

func TestFullDiskStillTakesALineOfTheJournal(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 1), version(1, 2))
	shut(t, k)
	for range 2 {
		life{tries: []uint64{2}}.onFullDisk(t, dir)
	}
	wantLoad(t, open(t, dir, lastgood.Options{}), version(1, 1))
}

// onFullDisk has the life led where no file can be made and crash.
func (l life) onFullDisk(t *testing.T, dir string) {
	t.Helper()
	k := openOn(t, dir, lastgood.Options{Now: func() time.Time { return noon }}, func(operation string) error {
		if operation == "create" {
			return syscall.ENOSPC
		}
		return nil
	})
	for _, revision := range l.tries {
		if err := k.Starting(version(1, revision)); err != nil {
			t.Fatal(err)
		}
	}
	journal, err := os.ReadFile(filepath.Join(dir, "starts"))
	if err != nil {
		t.Fatal(err)
	}
	shut(t, k)
	put(t, filepath.Join(dir, "starts"), journal)
}

func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	k := open(f, dir, lastgood.Options{Schema: 1})
	keep(f, k, version(3, 4))
	whole, err := os.ReadFile(tables(f, dir)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(firstForm(1, 1, version(3, 4), []byte("table 3.4")))
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := lastgood.Recode(b)
		if err != nil {
			if !errors.Is(err, lastgood.ErrDamaged) {
				t.Errorf("file %x reads with %v", b, err)
			}
			return
		}
		if current := b[len("sluiceT")] != 1; current != bytes.Equal(again, b) {
			t.Errorf("file %x reads as %x", b, again)
		}
		if twice, err := lastgood.Recode(again); err != nil || !bytes.Equal(twice, again) {
			t.Errorf("file %x reads as %x, %v", again, twice, err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	k := open(b, b.TempDir(), lastgood.Options{})
	payload := make([]byte, 1<<20)
	b.SetBytes(int64(len(payload)))
	for i := uint64(1); b.Loop(); i++ {
		if err := k.Save(lastgood.Table{Version: version(1, i), Payload: payload}); err != nil {
			b.Fatal(err)
		}
		settle(b, k)
	}
}

func BenchmarkStart(b *testing.B) {
	k := open(b, b.TempDir(), lastgood.Options{})
	for i := uint64(1); b.Loop(); i++ {
		if err := errors.Join(k.Starting(version(1, i)), k.Served(version(1, i))); err != nil {
			b.Fatal(err)
		}
	}
}
