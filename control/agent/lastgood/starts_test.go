// SPDX-License-Identifier: Apache-2.0

package lastgood_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
)

// life is a process that starts at a time, by the clock of then, and tries
// versions one after the other.
type life struct {
	at     time.Duration // after noon
	tries  []uint64
	serves uint64 // Served is said of it at the end; 0 means of none
	ends   bool   // in order
}

// live has the life led. A process that crashes unlocks the folder and no more.
func (l life) live(t *testing.T, dir string) {
	t.Helper()
	now := noon.Add(l.at)
	k, err := lastgood.Open(dir, lastgood.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	for _, revision := range l.tries {
		if err := k.Starting(version(1, revision)); err != nil {
			t.Fatalf("Starting: %v", err)
		}
		now = now.Add(time.Second)
	}
	if l.serves != 0 {
		if err := k.Served(version(1, l.serves)); err != nil {
			t.Fatalf("Served: %v", err)
		}
	}
	if l.ends {
		shut(t, k)
		return
	}
	before, err := os.ReadFile(filepath.Join(dir, "starts"))
	if err != nil {
		t.Fatal(err)
	}
	shut(t, k)
	put(t, filepath.Join(dir, "starts"), before)
}

func TestQuarantine(t *testing.T) {
	crash := func(at time.Duration, tries ...uint64) life { return life{at: at, tries: tries} }
	ends := func(at time.Duration, tries ...uint64) life { return life{at: at, tries: tries, ends: true} }
	serves := func(at time.Duration, v uint64) life { return life{at: at, tries: []uint64{v}, serves: v} }
	for _, tt := range []struct {
		name  string
		lives []life
		want  uint64 // the version that is loaded, of 1 to 3
		last  bool   // as a last resort
	}{
		{"one crash is none", []life{crash(0, 3)}, 3, false},
		{"two crashes within the window", []life{crash(0, 3), crash(60*time.Second, 3)}, 2, false},
		{"two crashes further apart", []life{crash(0, 3), crash(61*time.Second, 3)}, 3, false},
		{"the second and third within the window", []life{crash(0, 3), crash(90*time.Second, 3), crash(95*time.Second, 3)}, 2, false},
		{"a process that ends in order did not crash", []life{crash(0, 3), ends(5*time.Second, 3)}, 3, false},
		{"what has served may end without a word", []life{serves(0, 3), serves(5*time.Second, 3), serves(6*time.Second, 3)}, 3, false},
		{"having served makes up for a crash", []life{crash(0, 3), serves(5*time.Second, 3), crash(10*time.Second, 3)}, 3, false},
		{"what has served may still crash later", []life{serves(0, 3), crash(5*time.Second, 3), crash(10*time.Second, 3)}, 2, false},
		{"the last that was tried is to blame", []life{crash(0, 2, 3), crash(5*time.Second, 2, 3)}, 2, false},
		{"another one that crashes between does not count", []life{crash(0, 3), crash(5*time.Second, 2), crash(10*time.Second, 3)}, 2, false},
		{"two in quarantine", []life{crash(0, 3), crash(1, 3), crash(2, 2), crash(3, 2)}, 1, false},
		{"all in quarantine", []life{crash(0, 3), crash(1, 3), crash(2, 2), crash(3, 2), crash(4, 1), crash(5, 1)}, 3, true},
		{"quarantine lasts", []life{crash(0, 3), crash(1, 3), ends(1e6*time.Hour, 2), ends(2e6*time.Hour, 2)}, 2, false},
		{"a last resort that serves is out of it", []life{crash(0, 3), crash(1, 3), serves(time.Hour, 3)}, 3, false},
		{"a clock that goes back a little", []life{crash(0, 3), crash(-30*time.Second, 3)}, 2, false},
		{
			"a clock that goes back a year tells with the next crash",
			[]life{crash(0, 3), crash(-8760*time.Hour, 3), crash(-8760*time.Hour+5*time.Second, 3)},
			2, false,
		},
		{"a clock that goes back a year tells nothing at first", []life{crash(0, 3), crash(-8760*time.Hour, 3)}, 3, false},
		{"a clock that stands still", []life{crash(0, 3), crash(0, 3)}, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			k := open(t, dir, lastgood.Options{})
			keep(t, k, version(1, 1), version(1, 2), version(1, 3))
			shut(t, k)
			for _, l := range tt.lives {
				l.live(t, dir)
			}
			k = open(t, dir, lastgood.Options{})
			l, err := k.Load()
			if err != nil || l.Table.Version != version(1, tt.want) || l.LastResort != tt.last {
				t.Fatalf("Load() = %+v, %v, want revision %d", l, err, tt.want)
			}
			for _, s := range l.Skipped {
				if !errors.Is(s.Err, lastgood.ErrQuarantined) || !k.Quarantined(s.Version) {
					t.Errorf("passed over %+v, want ErrQuarantined", s)
				}
			}
			if !tt.last && (k.Quarantined(l.Table.Version) || len(l.Skipped) != 3-int(tt.want)) {
				t.Errorf("loaded %s, passed over %v", l.Table.Version, l.Skipped)
			}
		})
	}
}

// barred returns a folder with the tables 1 to n, of which the newest is in
// quarantine.
func barred(t *testing.T, n uint64) string {
	t.Helper()
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	for i := range n {
		keep(t, k, version(1, i+1))
	}
	shut(t, k)
	life{at: 0, tries: []uint64{n}}.live(t, dir)
	life{at: 1, tries: []uint64{n}}.live(t, dir)
	return dir
}

func TestQuarantinedTableIsNotTakenAgain(t *testing.T) {
	dir := barred(t, 2)
	k := open(t, dir, lastgood.Options{})
	if err := k.Save(table(version(1, 2))); !errors.Is(err, lastgood.ErrQuarantined) {
		t.Errorf("Save(1.2) = %v, want ErrQuarantined", err)
	}
	keep(t, k, version(1, 3))
	wantLoad(t, k, version(1, 3))
}

func TestQuarantinedTableIsTheFirstToGo(t *testing.T) {
	dir := barred(t, 3)
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 4))
	if got := kept(t, dir); len(got) != 3 || got[0] != "1.1" || got[1] != "1.2" || got[2] != "1.4" {
		t.Errorf("on disk %v, want 1.1, 1.2 and 1.4", got)
	}
}

func TestRelease(t *testing.T) {
	dir := barred(t, 2)
	k := open(t, dir, lastgood.Options{})
	if err := k.Release(version(1, 2)); err != nil {
		t.Fatal(err)
	}
	wantLoad(t, k, version(1, 2))
	shut(t, k)
	k = open(t, dir, lastgood.Options{})
	if wantLoad(t, k, version(1, 2)); len(k.Status().Quarantined) != 0 {
		t.Errorf("in quarantine: %v", k.Status().Quarantined)
	}
}

func TestJournalStaysShortAndForgetsNothing(t *testing.T) {
	dir := barred(t, 2)
	k := open(t, dir, lastgood.Options{})
	for i := range uint64(5000) {
		if err := errors.Join(k.Starting(version(1, 3+i)), k.Served(version(1, 3+i))); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "starts"))
	if err != nil || info.Size() > 100_000 {
		t.Errorf("the journal has %d bytes, %v, want at most 100000", info.Size(), err)
	}
	shut(t, k)
	k = open(t, dir, lastgood.Options{})
	if !k.Quarantined(version(1, 2)) {
		t.Error("1.2 is not in quarantine any more")
	}
}

func TestTornLinesCostOnlyThemselves(t *testing.T) {
	dir := barred(t, 2)
	path := filepath.Join(dir, "starts")
	// The second start is not settled into a quarantine before it is opened.
	journal, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, append(append([]byte("starting 1 1 17\nrubbish\n\x00\xff"), '\n'), append(journal, "starting 1 1"...)...))
	k := open(t, dir, lastgood.Options{})
	if got := k.Status().Quarantined; len(got) != 1 || got[0] != version(1, 2) {
		t.Errorf("in quarantine: %v, want 1.2", got)
	}
}

func TestJournalThatCannotBeReadDoesNotKeepTheProxyFromStarting(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 1))
	shut(t, k)
	if err := os.Mkdir(filepath.Join(dir, "starts"), 0o700); err != nil {
		t.Fatal(err)
	}
	k = open(t, dir, lastgood.Options{})
	wantLoad(t, k, version(1, 1))
	if k.Status().Err == nil {
		t.Error("Status().Err = nil, want why the journal cannot be read")
	}
	if err := k.Starting(version(1, 1)); err == nil {
		t.Error("Starting() = nil, want why it is not noted")
	}
	if err := os.Remove(filepath.Join(dir, "starts")); err != nil {
		t.Fatal(err) // Close notes the end of what was tried
	}
}

func FuzzJournal(f *testing.F) {
	for _, word := range lastgood.Words {
		f.Add(lastgood.Line(word, version(1, 2), noon))
	}
	f.Add([]byte("starting 1 2 3 00000000\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		wantShortest(t, b)
		if line, ok := lastgood.Reline(string(b)); ok && line != string(b)+"\n" {
			t.Errorf("line %q is written as %q", b, line)
		}
	})
}

// wantShortest demands that the shortest form of a journal tells the same.
func wantShortest(t *testing.T, journal []byte) []byte {
	t.Helper()
	once := lastgood.Relate(journal)
	if twice := lastgood.Relate(once); string(twice) != string(once) {
		t.Errorf("journal %q tells %q, and that %q", journal, once, twice)
	}
	return once
}

// FuzzStarts makes a record of each three bytes: its word, its version and
// how much later it is than the one before, or earlier.
func FuzzStarts(f *testing.F) {
	f.Add([]byte{1, 3, 1, 0, 0, 5, 1, 3, 1, 0, 0, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		var journal []byte
		at, crashes := noon, 0
		for b = b[:min(len(b), 3000)]; len(b) >= 3; b = b[3:] {
			at = at.Add(time.Duration(int8(b[2])) * time.Second)
			word := lastgood.Words[int(b[0])%len(lastgood.Words)]
			journal = append(journal, lastgood.Line(word, version(uint64(b[1]>>6), uint64(b[1]&63)), at)...)
			switch word {
			case "opened", "crashed":
				crashes++
			case "quarantined":
				crashes += lastgood.CrashLimit
			}
		}
		short := wantShortest(t, journal)
		if barred := bytes.Count(short, []byte("quarantined ")); barred*lastgood.CrashLimit > crashes {
			t.Errorf("%d in quarantine after %d crashes: %q", barred, crashes, journal)
		}
		if n := bytes.Count(short, []byte("\n")); n > 34 { // 16 of both kinds, one tried, one that serves
			t.Errorf("%d lines: %q", n, short)
		}
	})
}
