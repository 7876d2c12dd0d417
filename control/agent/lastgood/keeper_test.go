// SPDX-License-Identifier: Apache-2.0

package lastgood_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/routing"
)

// noon is when most things happen.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func version(epoch, revision uint64) routing.Version {
	return routing.Version{Epoch: epoch, Revision: revision}
}

func table(v routing.Version) lastgood.Table {
	return lastgood.Table{Version: v, Saved: noon, Payload: []byte("table " + v.String())}
}

// open opens a Keeper that is closed with the test.
func open(tb testing.TB, dir string, o lastgood.Options) *lastgood.Keeper {
	tb.Helper()
	k, err := lastgood.Open(dir, o)
	if err != nil {
		tb.Fatalf("Open: %v", err)
	}
	tb.Cleanup(func() { shut(tb, k) })
	return k
}

func shut(tb testing.TB, k *lastgood.Keeper) {
	tb.Helper()
	if err := k.Close(); err != nil {
		tb.Errorf("Close: %v", err)
	}
}

// settle writes what was saved.
func settle(tb testing.TB, k *lastgood.Keeper) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.Run(ctx); err != nil {
		tb.Fatalf("Run: %v", err)
	}
}

// keep saves and writes tables one after the other.
func keep(tb testing.TB, k *lastgood.Keeper, all ...routing.Version) {
	tb.Helper()
	for _, v := range all {
		if err := k.Save(table(v)); err != nil {
			tb.Fatalf("Save(%s): %v", v, err)
		}
		settle(tb, k)
		if s := k.Status(); s.Err != nil || s.Pending {
			tb.Fatalf("after Save(%s): status %+v", v, s)
		}
	}
}

// wantLoad demands a table and returns what was passed over.
func wantLoad(tb testing.TB, k *lastgood.Keeper, want routing.Version) []lastgood.Skip {
	tb.Helper()
	l, err := k.Load()
	if err != nil || l.Table.Version != want || string(l.Table.Payload) != "table "+want.String() || !l.Table.Saved.Equal(noon) {
		tb.Fatalf("Load() = %+v, %v, want table %s", l, err, want)
	}
	return l.Skipped
}

// tables returns the files with tables, oldest first.
func tables(tb testing.TB, dir string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "table-*"))
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// kept returns the versions on disk, oldest first, by what their payloads say.
func kept(tb testing.TB, dir string) []string {
	tb.Helper()
	var all []string
	for _, file := range tables(tb, dir) {
		b, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		_, text, ok := strings.Cut(string(b), "table ")
		if !ok {
			all = append(all, "damaged")
			continue
		}
		all = append(all, text[:len(text)-8-32]) // its length and the checksum
	}
	return all
}

func put(tb testing.TB, path string, b []byte) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func TestEmptyFolderHasNoTable(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), "made", "here"), lastgood.Options{})
	if l, err := k.Load(); !errors.Is(err, lastgood.ErrNone) || len(l.Skipped) != 0 {
		t.Errorf("Load() = %+v, %v, want ErrNone", l, err)
	}
}

func TestTablesSurviveTheProcess(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(7, 1), version(7, 2))
	shut(t, k)
	again := open(t, dir, lastgood.Options{})
	if skipped := wantLoad(t, again, version(7, 2)); len(skipped) != 0 {
		t.Errorf("passed over %v", skipped)
	}
	s := again.Status()
	if s.Version != version(7, 2) || !s.Saved.Equal(noon) || s.Generations != 2 || s.Damaged != 0 {
		t.Errorf("Status() = %+v", s)
	}
}

func TestOnlyTheOwnerReads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 1))
	if err := k.Starting(version(1, 1)); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(tables(t, dir), dir, filepath.Join(dir, "starts"), filepath.Join(dir, "lock")) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s is %o, want %o", path, got, want)
		}
	}
}

func TestDamageIsSeenAndTheTableBeforeIsLoaded(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 1), version(1, 2))
	shut(t, k)
	last := tables(t, dir)[1]
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, damaged []byte) {
		t.Helper()
		put(t, last, damaged)
		k, err := lastgood.Open(dir, lastgood.Options{})
		if err != nil {
			t.Fatalf("%s: Open: %v", what, err)
		}
		defer shut(t, k)
		skipped := wantLoad(t, k, version(1, 1))
		if len(skipped) != 1 || !errors.Is(skipped[0].Err, lastgood.ErrDamaged) || skipped[0].File != filepath.Base(last) {
			t.Fatalf("%s: passed over %v, want %s, damaged", what, skipped, last)
		}
		if s := k.Status(); s.Version != version(1, 1) || s.Damaged != 1 {
			t.Fatalf("%s: status %+v", what, s)
		}
	}
	for i := range whole {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			b := slices.Clone(whole)
			b[i] ^= mask
			try(fmt.Sprintf("byte %d changed by %#x", i, mask), b)
		}
		try(fmt.Sprintf("cut to %d bytes", i), whole[:i])
	}
	try("a byte behind the end", append(slices.Clone(whole), 0))
	first, err := os.ReadFile(tables(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	try("the table before under this name", first)
}

func TestDamagedTableIsTakenAgainAndItsFileDropped(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 1), version(1, 2), version(1, 3))
	shut(t, k)
	put(t, tables(t, dir)[2], []byte("nothing"))
	k = open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 3))
	wantLoad(t, k, version(1, 3))
	if got, want := kept(t, dir), []string{"1.1", "1.2", "1.3"}; !slices.Equal(got, want) {
		t.Errorf("on disk %v, want %v", got, want)
	}
}

func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	others := []string{"table-1", "table-00000000000000zz", "table-ffffffffffffffff", "table-000000000000000A", "notes"}
	for _, name := range others {
		put(t, filepath.Join(dir, name), []byte("mine"))
	}
	k := open(t, dir, lastgood.Options{})
	for i := range uint64(5) {
		keep(t, k, version(1, i+1))
	}
	wantLoad(t, k, version(1, 5))
	for _, name := range others {
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != "mine" {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}

func TestSchemas(t *testing.T) {
	for _, tt := range []struct {
		name           string
		oldest, schema uint32
		want           uint64 // revision, 0 for none
		passed         int
	}{
		{"the present one is loaded", 3, 3, 3, 0},
		{"an older one that is still read is loaded", 1, 9, 3, 0},
		{"after a downgrade the last table of ours is loaded", 1, 2, 2, 1},
		{"two that are newer are passed over", 0, 1, 1, 2},
		{"without one that we know there is none", 4, 5, 0, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for i := range uint32(3) {
				k := open(t, dir, lastgood.Options{Schema: i + 1, OldestSchema: i + 1})
				keep(t, k, version(1, uint64(i)+1))
				shut(t, k)
			}
			k := open(t, dir, lastgood.Options{Schema: tt.schema, OldestSchema: tt.oldest})
			l, err := k.Load()
			if l.Table.Version.Revision != tt.want || errors.Is(err, lastgood.ErrNone) != (tt.want == 0) {
				t.Errorf("Load() = %s, %v, want revision %d", l.Table.Version, err, tt.want)
			}
			for _, s := range l.Skipped {
				if !errors.Is(s.Err, lastgood.ErrSchema) || s.Version == (routing.Version{}) {
					t.Errorf("passed over %+v, want ErrSchema and a version", s)
				}
			}
			if len(l.Skipped) != tt.passed {
				t.Errorf("passed over %d, want %d", len(l.Skipped), tt.passed)
			}
		})
	}
}

func TestSaveRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		t    lastgood.Table
		want error
	}{
		{"the version that is kept", table(version(2, 5)), lastgood.ErrNotNewer},
		{"an older revision", table(version(2, 4)), lastgood.ErrNotNewer},
		{"a payload above the bound", lastgood.Table{Version: version(2, 6), Payload: make([]byte, 101)}, lastgood.ErrTooLarge},
		{"not a newer revision", table(version(2, 6)), nil},
		{"not another epoch, whatever its revision", table(version(1, 1)), nil},
		{"not a payload of the bound's size", lastgood.Table{Version: version(2, 6), Payload: make([]byte, 100)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			k := open(t, dir, lastgood.Options{MaxBytes: 100})
			keep(t, k, version(2, 5))
			if err := k.Save(tt.t); !errors.Is(err, tt.want) {
				t.Fatalf("Save(%s) = %v, want %v", tt.t.Version, err, tt.want)
			}
			settle(t, k)
			want := tt.t.Version
			if tt.want != nil {
				want = version(2, 5)
			}
			if l, err := k.Load(); err != nil || l.Table.Version != want {
				t.Errorf("Load() = %s, %v, want %s", l.Table.Version, err, want)
			}
		})
	}
}

func TestSaveRefusesWhatIsOlderThanWhatWaits(t *testing.T) {
	k := open(t, t.TempDir(), lastgood.Options{})
	if err := k.Save(table(version(1, 9))); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(table(version(1, 8))); !errors.Is(err, lastgood.ErrNotNewer) {
		t.Errorf("Save(1.8) = %v, want ErrNotNewer", err)
	}
	settle(t, k)
	wantLoad(t, k, version(1, 9))
}

func TestFilesAboveTheBoundArePassedOver(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	keep(t, k, version(1, 1))
	if err := k.Save(lastgood.Table{Version: version(1, 2), Payload: make([]byte, 11)}); err != nil {
		t.Fatal(err)
	}
	settle(t, k)
	shut(t, k)
	k = open(t, dir, lastgood.Options{MaxBytes: 10})
	if skipped := wantLoad(t, k, version(1, 1)); len(skipped) != 1 || !errors.Is(skipped[0].Err, lastgood.ErrTooLarge) {
		t.Errorf("passed over %v, want ErrTooLarge", skipped)
	}
}

func TestGenerationsThatAreKept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serves uint64 // of the tables 1 to 6, 0 for none
		want   []string
	}{
		{"the newest three", 0, []string{"1.4", "1.5", "1.6"}},
		{"the one that serves is not dropped for newer ones", 2, []string{"1.2", "1.5", "1.6"}},
		{"the one that serves may be among them", 5, []string{"1.4", "1.5", "1.6"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			k := open(t, dir, lastgood.Options{})
			for i := range uint64(6) {
				v := version(1, i+1)
				keep(t, k, v)
				if v.Revision == tt.serves {
					if err := k.Served(v); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := kept(t, dir); !slices.Equal(got, tt.want) {
				t.Errorf("on disk %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFolderBelongsToOneKeeper(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{})
	_, err := lastgood.Open(dir, lastgood.Options{})
	if locked, ok := errors.AsType[*lastgood.LockedError](err); !ok || locked.Dir != dir ||
		!strings.HasPrefix(locked.Owner, fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Fatalf("second Open = %v, want a *LockedError that names this process", err)
	}
	shut(t, k)
	open(t, dir, lastgood.Options{})
}

func TestClosedKeeperRefuses(t *testing.T) {
	k := open(t, t.TempDir(), lastgood.Options{})
	keep(t, k, version(1, 1))
	if err := k.Save(table(version(1, 2))); err != nil {
		t.Fatal(err)
	}
	shut(t, k)
	_, err := k.Load()
	for what, err := range map[string]error{
		"Load": err, "Save": k.Save(table(version(1, 3))), "Starting": k.Starting(version(1, 3)),
		"Served": k.Served(version(1, 3)), "Release": k.Release(version(1, 3)), "Flush": k.Flush(t.Context()),
	} {
		if !errors.Is(err, lastgood.ErrClosed) {
			t.Errorf("%s = %v, want ErrClosed", what, err)
		}
	}
}

func TestAgeIsNeverNegative(t *testing.T) {
	old := table(version(1, 1))
	for now, want := range map[time.Time]time.Duration{
		noon.Add(time.Hour): time.Hour, noon: 0, noon.Add(-time.Hour): 0,
	} {
		if got := old.Age(now); got != want {
			t.Errorf("Age(%s) = %s, want %s", now, got, want)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, lastgood.Options{Wrote: func(w lastgood.Write) {
		if w.Err != nil {
			t.Errorf("%s: %v", w.Version, w.Err)
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var run, others sync.WaitGroup
	run.Go(func() {
		if err := k.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	for range 4 {
		others.Go(func() {
			for i := range uint64(50) {
				v := version(1, i+1)
				if err := k.Save(table(v)); err != nil && !errors.Is(err, lastgood.ErrNotNewer) {
					t.Errorf("Save(%s): %v", v, err)
				}
				if err := errors.Join(k.Starting(v), k.Served(v)); err != nil {
					t.Errorf("start of %s: %v", v, err)
				}
				if s := k.Status(); s.Generations > lastgood.Generations {
					t.Errorf("%d generations", s.Generations)
				}
				if k.Quarantined(v) {
					t.Errorf("%s is in quarantine", v)
				}
			}
		})
	}
	others.Wait()
	if err := k.Flush(t.Context()); err != nil {
		t.Errorf("Flush: %v", err)
	}
	cancel()
	run.Wait()
	wantLoad(t, k, version(1, 50))
	if s := k.Status(); s.Writes+s.Superseded != 50 {
		t.Errorf("%d written and %d superseded, want 50 in all", s.Writes, s.Superseded)
	}
}

// firstForm returns a file as it was written at first, with the length of the
// payload before it.
func firstForm(schema uint32, number uint64, v routing.Version, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("sluiceT\x01"), schema)
	for _, n := range []uint64{number, v.Epoch, v.Revision, uint64(noon.UnixNano()), uint64(len(payload))} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, payload...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func TestFilesOfTheFirstFormAreLoaded(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "table-0000000000000001"), firstForm(0, 1, version(1, 7), []byte("table 1.7")))
	k := open(t, dir, lastgood.Options{})
	wantLoad(t, k, version(1, 7))
	keep(t, k, version(1, 8))
	wantLoad(t, k, version(1, 8))
	shut(t, k)
}

func TestStreamedTables(t *testing.T) {
	refused := errors.New("it cannot be told")
	stream := func(parts int, err error) func(io.Writer) error {
		return func(to io.Writer) error {
			for range parts {
				if _, err := io.WriteString(to, "0123456789"); err != nil {
					return err
				}
			}
			return err
		}
	}
	for _, tt := range []struct {
		name  string
		parts int
		err   error
		want  error
	}{
		{"an empty one", 0, nil, nil},
		{"a small one", 3, nil, nil},
		{"one of many writes, up to the bound", 20_000, nil, nil},
		{"one above the bound leaves the one before", 20_001, nil, lastgood.ErrTooLarge},
		{"one that fails at once leaves the one before", 0, refused, refused},
		{"one that fails in the middle leaves the one before", 10_000, refused, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var wrote []lastgood.Write
			dir := t.TempDir()
			k := open(t, dir, lastgood.Options{MaxBytes: 200_000, Wrote: func(w lastgood.Write) { wrote = append(wrote, w) }})
			defer shut(t, k)
			keep(t, k, version(1, 1))
			if err := k.Save(lastgood.Table{Version: version(1, 2), Saved: noon, Stream: stream(tt.parts, tt.err)}); err != nil {
				t.Fatal(err)
			}
			settle(t, k)
			if err := k.Status().Err; !errors.Is(err, tt.want) {
				t.Fatalf("it is written with %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				wantLoad(t, k, version(1, 1))
				return
			}
			l, err := k.Load()
			if err != nil || l.Table.Version != version(1, 2) || string(l.Table.Payload) != strings.Repeat("0123456789", tt.parts) {
				t.Fatalf("Load() = %v with %d bytes, %v", l.Table.Version, len(l.Table.Payload), err)
			}
			info, err := os.Stat(tables(t, dir)[1])
			if err != nil || wrote[len(wrote)-1].Bytes != int(info.Size()) {
				t.Errorf("%d bytes are told, the file has %d (%v)", wrote[len(wrote)-1].Bytes, info.Size(), err)
			}
		})
	}
}
