// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/agent"
	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// keeping returns a keeper on a folder, closed when the test ends if not
// before.
func keeping(t *testing.T, dir string, r *metrics.Registry) *lastgood.Keeper {
	t.Helper()
	o := lastgood.Options{Schema: agent.Schema, OldestSchema: agent.Schema}
	if r != nil {
		o.Wrote = agent.Wrote(r)
	}
	k, err := lastgood.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// served has an agent serve tables, one after the other, each kept on disk, and
// ends it in order.
func served(t *testing.T, dir string, tables ...*routing.Table) {
	t.Helper()
	c := newControl(t)
	o := options(c)
	o.Keeper = keeping(t, dir, nil)
	b := start(t, o)
	for _, table := range tables {
		s := c.welcomed()
		s.complete(table)
		s.answer()
		time.Sleep(2 * time.Second) // of the bubble: each is written by itself
		s.lose()
	}
	b.halt()
	if err := o.Keeper.Close(); err != nil {
		t.Fatal(err)
	}
}

// crashed returns a copy of a folder as a process leaves it that ends without a
// word, so many times, just when it has begun to serve a version.
func crashed(t *testing.T, dir string, v routing.Version, times int) string {
	t.Helper()
	for range times {
		k := keeping(t, dir, nil)
		if err := k.Starting(v); err != nil {
			t.Fatal(err)
		}
		next := t.TempDir()
		for _, name := range files(t, dir) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(next, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		dir = next
	}
	return dir
}

// files returns the names of the files in a folder, but for the lock.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestLastGoodTableServesBeforeThereIsAnyConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		broken := gateway("c", 9003, 1)
		broken.Routes[0].Condition = "has"
		last := table(7, gateway("b", 9002, 3), gateway("a", 9001, 2), broken)
		last.Broken = []string{"x"}
		served(t, dir, table(6, gateway("a", 9001, 1)), last)
		saved := time.Now()

		time.Sleep(time.Hour)
		c := newControl(t)
		o := options(c)
		o.Keeper = keeping(t, dir, nil)
		b := open(t, o)
		if ok, err := b.agent.Start(); !ok || err != nil {
			t.Fatalf("Start() = %t, %v, want that the table on disk serves", ok, err)
		}
		b.wantServes("1.7 b:3 a:2")
		st := b.agent.Status()
		if st.Connected || st.Version != "1.7" || st.Disk == nil || st.Disk.Loaded != "1.7" || st.Disk.Version != "1.7" {
			t.Errorf("Status() = %+v (%+v), want 1.7, loaded from disk", st, st.Disk)
		}
		if age := saved.Sub(st.Since); age < 0 || age > time.Minute {
			t.Errorf("Status() says stale since %s, want since the table was received, about %s", st.Since, saved)
		}
	})
}

func TestProxyFromDiskAsksForWhatIsNewAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		served(t, dir, table(7, gateway("a", 9001, 2), gateway("b", 9002, 3)))
		c := newControl(t)
		o := options(c)
		o.Keeper = keeping(t, dir, nil)
		b := start(t, o)
		s := c.welcomed()
		if h := s.hello; h.GetServes().GetRevision() != 7 || len(h.GetHeld()) != 2 {
			t.Errorf("Hello = %v, want that it serves 1.7 and holds two gateways", h)
		}
		// A control plane that was set back does not take the proxy along.
		s.complete(table(3, gateway("a", 9001, 1)))
		s.wantAnswer("refused : OlderTable")
		s.lose()
		s = c.welcomed()
		s.complete(table(8, gateway("a", 9001, 2), gateway("b", 9002, 4)))
		s.wantAnswer("1.8 serves [a b]")
		b.wantServes("1.8 a:2 b:4")
	})
}

func TestNothingOnDiskServesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(newControl(t))
		o.Keeper = keeping(t, t.TempDir(), nil)
		b := open(t, o)
		if ok, err := b.agent.Start(); ok || err != nil {
			t.Errorf("Start() = %t, %v, want false and no error", ok, err)
		}
	})
}

// What is held back is so after a restart, too.
func TestRestartKeepsWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		before := table(9, gateway("a", 9001, 4), gateway("b", 9002, 1))
		lost := another(1, gateway("a", 9001, 4))
		served(t, dir, before, lost) // for 2 s: b is held back

		c := newControl(t)
		o := options(c)
		o.Keeper = keeping(t, dir, nil)
		b := start(t, o)
		b.wantServes("1.9 a:4 b:1")
		s := c.welcomed()
		s.complete(lost)
		s.answer()
		b.wantServes("2.1 a:4 b:1")
		b.wantHeld("b")
		if n := b.agent.Confirm(); n != 1 {
			t.Errorf("Confirm() = %d, want 1", n)
		}
		b.wantServes("2.1 a:4")
		// Confirmed once, it is gone for good.
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if v := o.Keeper.Status().Version.String(); v != "2.1" {
			t.Errorf("%s is on disk, want 2.1", v)
		}
	})
}

// What is kept says of each gateway the form that it is kept in, whatever the
// control plane has sent since and was not believed.
func TestKeptFormsAreThoseThatServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := newControl(t)
		o := options(c)
		o.Keeper = keeping(t, dir, nil)
		b := start(t, o)
		s := c.welcomed()
		s.complete(table(9, gateway("a", 9001, 1), gateway("b", 9002, 1)))
		s.answer()
		s.lose()
		s = c.welcomed()
		good := s.complete(another(5, gateway("a", 9001, 2)))
		s.answer()
		s.lose()
		s = c.welcomed()
		s.complete(another(4, gateway("a", 9001, 3)))
		s.wantAnswer("refused : OlderTable")
		b.agent.Confirm()
		time.Sleep(2 * time.Second)
		b.wantServes("2.5 a:2")
		b.halt()
		if err := o.Keeper.Close(); err != nil {
			t.Fatal(err)
		}

		o.Keeper = keeping(t, dir, nil)
		b = start(t, o)
		b.wantServes("2.5 a:2")
		held, err := wire.ReadHeld(c.welcomed().hello.GetHeld())
		if want, _ := good.Hash("a"); err != nil || held["a"] != want {
			t.Errorf("a is held as %s (%v), want %s", held["a"], err, want)
		}
	})
}

func TestTableThatCrashesTheProxyIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		good, bad := table(1, gateway("a", 9001, 1)), table(2, gateway("a", 9001, 2))
		served(t, dir, good, bad)
		c := newControl(t)
		o := options(c)
		o.Keeper = keeping(t, crashed(t, dir, bad.Version, lastgood.CrashLimit), nil)
		b := start(t, o)
		b.wantServes("1.1 a:1")
		s := c.welcomed()
		old := s.complete(bad)
		s.wantAnswer("refused : QuarantinedTable")
		b.wantServes("1.1 a:1")
		synctest.Wait()
		if st := b.agent.Status(); st.Ignored["quarantined"] != 1 || !slices.Equal(st.Disk.Quarantined, []string{"1.2"}) {
			t.Errorf("Status() = %+v (%+v), want 1.2 in quarantine", st, st.Disk)
		}
		s.since(old, table(3, gateway("a", 9001, 3)))
		s.wantAnswer("1.3 serves [a]")
		b.wantServes("1.3 a:3")
	})
}

// A table that is in quarantine and all that there is serves when nothing else
// comes.
func TestLastResort(t *testing.T) {
	only := table(1, gateway("a", 9001, 1))
	t.Run("serves if nothing else comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			served(t, dir, only)
			o := options(nil)
			o.Dial = servers{}.dial
			o.Keeper = keeping(t, crashed(t, dir, only.Version, lastgood.CrashLimit), nil)
			b := start(t, o)
			b.wantServes("nothing")
			time.Sleep(10 * time.Second)
			b.wantServes("nothing")
			time.Sleep(10 * time.Second)
			b.wantServes("1.1 a:1")
		})
	})
	t.Run("is left alone if another table comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			served(t, dir, only)
			c := newControl(t)
			o := options(c)
			o.Keeper = keeping(t, crashed(t, dir, only.Version, lastgood.CrashLimit), nil)
			b := start(t, o)
			s := c.welcomed()
			s.complete(table(2, gateway("a", 9001, 2)))
			s.wantAnswer("1.2 serves [a]")
			time.Sleep(time.Minute)
			b.wantServes("1.2 a:2")
		})
	})
}

// A table that serves for a minute is to blame for nothing that comes later.
func TestTableThatServesForAMinuteIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := newControl(t)
		o := options(c)
		o.Keeper = keeping(t, dir, nil)
		start(t, o)
		s := c.welcomed()
		s.complete(table(1, gateway("a", 9001, 1)))
		s.answer()
		starts := func() string {
			b, err := os.ReadFile(filepath.Join(dir, "starts"))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		time.Sleep(lastgood.CrashWindow - 5*time.Second)
		before := starts()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if after := starts(); strings.Contains(before, "served") || !strings.Contains(after, "served") {
			t.Errorf("after 55 s the journal says\n%s\nafter 65 s\n%s\nwant that the table served in the second alone", before, after)
		}
	})
}

func TestDamagedFileGivesWayToTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		served(t, dir, table(1, gateway("a", 9001, 1)), table(2, gateway("a", 9001, 2)))
		names := slices.DeleteFunc(files(t, dir), func(name string) bool { return !strings.HasPrefix(name, "table-") })
		newest := filepath.Join(dir, slices.Max(names))
		text, err := os.ReadFile(newest)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, 9, 40, len(text) / 2, len(text) - 1} {
			flipped := slices.Clone(text)
			flipped[at] ^= 1
			if err := os.WriteFile(newest, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			o := options(nil)
			o.Dial = servers{}.dial
			o.Keeper = keeping(t, dir, nil)
			b := open(t, o)
			if ok, err := b.agent.Start(); !ok || err != nil {
				t.Errorf("byte %d: Start() = %t, %v, want the table before", at, ok, err)
			}
			b.wantServes("1.1 a:1")
			if n := b.registry.TableDiskDamaged().Value(); n != 1 || b.agent.Status().Disk.Damaged != 1 {
				t.Errorf("byte %d: sluice_table_disk_damaged = %d, Status() says %d, want 1", at, n, b.agent.Status().Disk.Damaged)
			}
			if log := b.log.String(); !strings.Contains(log, filepath.Base(newest)) {
				t.Errorf("byte %d: the log does not name the file:\n%s", at, log)
			}
			if err := o.Keeper.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A disk that takes nothing keeps nobody from serving, and is told.
func TestDiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := newControl(t)
		o := options(c)
		registry := metrics.New(metrics.Options{})
		o.Keeper = keeping(t, dir, registry)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		b := start(t, o)
		s := c.welcomed()
		first := s.complete(table(1, gateway("a", 9001, 1)))
		s.wantAnswer("1.1 serves [a]")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := registry.TableDiskWrites("failed").Value(); n == 0 {
			t.Error(`sluice_table_disk_writes_total{result="failed"} = 0, want some`)
		}
		if d := b.agent.Status().Disk; d.Failures == 0 || d.Error == "" || !d.Pending {
			t.Errorf("Status().Disk = %+v, want failures with their reason", d)
		}

		// It takes what is newest once it can.
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s.since(first, table(2, gateway("a", 9001, 2)))
		s.wantAnswer("1.2 serves [a]")
		if err := o.Keeper.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if d := b.agent.Status().Disk; d.Version != "1.2" || d.Error != "" || registry.TableDiskWrites("ok").Value() == 0 {
			t.Errorf("Status().Disk = %+v, want 1.2", d)
		}
	})
}

// Many changes are few writes.
func TestChangesAreFoldedBeforeTheyAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		o := options(c)
		o.Keeper = keeping(t, t.TempDir(), nil)
		start(t, o)
		s := c.welcomed()
		at := s.complete(table(1, gateway("a", 9001, 1)))
		s.answer()
		for i := range 100 {
			at = s.since(at, table(uint64(i)+2, gateway("a", 9001, i%7)))
			s.answer()
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := o.Keeper.Status(); st.Writes > 10 || st.Version.Revision != 101 {
			t.Errorf("%d writes within 5 s, the last of %s, want one a second and the last one", st.Writes, st.Version)
		}
	})
}

// A line of the journal that the disk takes long for is not waited for, and what
// comes of it in the end is told all the same, before Run returns.
func TestJournalOnADiskThatHangs(t *testing.T) {
	for _, tt := range []struct {
		name string
		took time.Duration // of the first line
		err  error
		want []string
	}{
		{"a quick line says nothing", 0, nil, nil},
		{"a quick fault is told", 0, errors.New("it is broken"), []string{"journal of starts: it is broken"}},
		{"a late line is missed", time.Minute, nil, []string{"journal of starts: the disk does not answer"}},
		{"a late fault is told, too", time.Minute, errors.New("it is broken"), []string{"journal of starts: the disk does not answer", "journal of starts: it is broken"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var told []string
				d := agent.NewDiskAlone(func(err error) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, err.Error())
				})
				began, second := time.Now(), false
				d.Note(func() error {
					time.Sleep(tt.took) // of the bubble: none passes
					return tt.err
				})
				if waited := time.Since(began); waited > time.Second {
					t.Errorf("the line held it up for %v", waited)
				}
				d.Note(func() error {
					second = true
					return nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				d.Run(ctx)
				if waited := time.Since(began); waited != tt.took {
					t.Errorf("Run returned after %v, want it to wait %v for the line", waited, tt.took)
				}
				if want := tt.took == 0; second != want {
					t.Errorf("another line was written: %t, want %t", second, want)
				}
				if !slices.Equal(told, tt.want) {
					t.Errorf("it was told %q, want %q", told, tt.want)
				}
			})
		})
	}
}
