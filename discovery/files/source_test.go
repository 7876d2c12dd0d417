// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/files"
)

// never is a poll interval that no test reaches.
const never = 1000 * time.Hour

// gateway returns the text of a gateway.
func gateway(name string) string {
	return "name: " + name + "\nport: 9050/http\nroutes:\n  \"[127.0.0.1:8080]\":\n    weight: 100%\n"
}

// broken returns the text of a gateway that is refused, though its name can
// be read.
func broken(name string) string { return gateway(name) + "colour: blue\n" }

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// must fails the test on an error of one of several steps.
func must(tb testing.TB, errs ...error) {
	tb.Helper()
	for _, err := range errs {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// told is what a source has told.
type told struct {
	dir string // taken off keys

	mu     sync.Mutex // guards the fields below
	state  map[string]discovery.Update
	listed bool
	seen   []string // the state after each batch
	news   chan struct{}
}

func newTold(dir string) *told {
	return &told{dir: dir, state: make(map[string]discovery.Update), news: make(chan struct{}, 1)}
}

func (w *told) sink(b discovery.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range b.Updates {
		w.state[u.Key] = u
		if u.Gone {
			delete(w.state, u.Key)
		}
	}
	w.listed = w.listed || b.Listed
	w.seen = append(w.seen, w.show())
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// show describes the state: "key: documents (kept) Faults held".
func (w *told) show() string {
	lines := make([]string, 0, len(w.state))
	for _, key := range slices.Sorted(maps.Keys(w.state)) {
		u := w.state[key]
		name := key[len(w.dir):]
		if len(name) > 1 {
			name = name[1:]
		}
		line := []string{name + ":"}
		for _, d := range u.Documents {
			if d.Broken {
				line = append(line, d.Name+"!")
				continue
			}
			line = append(line, d.Name)
		}
		for _, d := range u.Kept {
			line = append(line, "("+d.Name+")")
		}
		for _, f := range u.Faults {
			line = append(line, f.Code)
		}
		if u.Held != nil {
			line = append(line, "held")
		}
		lines = append(lines, strings.Join(line, " "))
	}
	return strings.Join(lines, "; ")
}

func (w *told) now() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.show()
}

func (w *told) history() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// fault returns the text of the first fault of a key.
func (w *told) fault(key string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := w.state[filepath.Join(w.dir, key)]; len(u.Faults) > 0 {
		return strings.ReplaceAll(u.Faults[0].Error(), w.dir+"/", "")
	}
	return ""
}

// bed is a directory under a source that runs on the test's own time.
type bed struct {
	*told
	t      *testing.T
	source *files.Source
	ring   func()
	ended  chan error
}

// lay makes a directory of files, given as path and text in turn, and starts
// a source of the paths below it; none means the directory itself.
func lay(t *testing.T, o files.Options, paths []string, tree ...string) *bed {
	t.Helper()
	dir := t.TempDir()
	b := &bed{told: newTold(dir), t: t, ended: make(chan error, 1)}
	for i := 0; i < len(tree); i += 2 {
		b.write(tree[i], tree[i+1])
	}
	full := []string{dir}
	if paths != nil {
		full = nil
		for _, p := range paths {
			full = append(full, filepath.Join(dir, p))
		}
	}
	b.source, b.ring = files.NewUnwatched(full, o)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { b.ended <- b.source.Run(ctx, b.sink) }()
	time.Sleep(time.Second)
	synctest.Wait()
	return b
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) write(name, text string) {
	b.t.Helper()
	must(b.t, os.MkdirAll(filepath.Dir(b.path(name)), 0o700))
	write(b.t, b.path(name), text)
}

func (b *bed) remove(name string) {
	b.t.Helper()
	must(b.t, os.RemoveAll(b.path(name)))
}

// later rings and lets time pass.
func (b *bed) later(d time.Duration) {
	b.ring()
	time.Sleep(d)
	synctest.Wait()
}

func (b *bed) want(when, want string) {
	b.t.Helper()
	if got := b.now(); got != want {
		b.t.Errorf("%s: told %q, want %q", when, got, want)
	}
}

const settled = 200 * time.Millisecond

func TestFirstListing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		paths []string
		tree  []string
		want  string
	}{
		{
			"a directory's files are told, sorted", nil,
			[]string{"b.yml", gateway("b"), "a.yaml", gateway("a"), "c.json", `{"name": "c", "routes": {}}`},
			"a.yaml: a; b.yml: b; c.json: c",
		},
		{
			"other, hidden and deeper files are left out", nil,
			[]string{"a.yaml", gateway("a"), "b.txt", gateway("b"), ".c.yaml", gateway("c"), "..data/d.yaml", gateway("d"), "sub/e.yaml", gateway("e")},
			"a.yaml: a",
		},
		{
			"a file may have any name if it is given itself",
			[]string{"gateways.conf"},
			[]string{"gateways.conf", gateway("a"), "b.yaml", gateway("b")},
			"gateways.conf: a",
		},
		{
			"several paths are told together, one given twice once",
			[]string{"x", "y.yaml", "x/"},
			[]string{"x/a.yaml", gateway("a"), "y.yaml", gateway("y")},
			"x/a.yaml: a; y.yaml: y",
		},
		{
			"an empty directory serves nothing and says so",
			[]string{"x"},
			[]string{"x/readme.txt", "none"},
			"x/: DirectoryEmpty",
		},
		{
			"an empty file serves nothing", nil,
			[]string{"a.yaml", "", "b.yaml", "# nothing\n---\n"},
			"a.yaml:; b.yaml:",
		},
		{
			"a broken gateway is named beside the good one", nil,
			[]string{"a.yaml", gateway("a") + "---\n" + broken("b")},
			"a.yaml: a b! UnexpectedElement",
		},
		{
			"invalid UTF-8 refuses its file only", nil,
			[]string{"a.yaml", "name: \xff\n", "b.yaml", gateway("b")},
			"a.yaml: YamlParsingError; b.yaml: b",
		},
		{
			"an alias bomb refuses its file only", nil,
			[]string{"a.yaml", bomb(), "b.yaml", gateway("b")},
			"a.yaml: YamlParsingError; b.yaml: b",
		},
		{
			"a directory in place of a file is a fault", nil,
			[]string{"a.yaml/x", "", "b.yaml", gateway("b")},
			"a.yaml: FileUnreadable; b.yaml: b",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := lay(t, files.Options{}, tt.paths, tt.tree...)
				b.want("after the start", tt.want)
				if got := b.history(); len(got) != 1 {
					t.Errorf("told in %d batches, want one: %q", len(got), got)
				}
				if !b.listed {
					t.Error("the first listing did not end")
				}
			})
		})
	}
}

// bomb returns a text of few bytes that expands to very many values.
func bomb() string {
	var s strings.Builder
	s.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&s, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return s.String()
}

func TestFirstListingIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		path string
		o    files.Options
		want string
	}{
		{"for a missing path", "none", files.Options{}, "none: no such file or directory; create it, or name another path"},
		{"for a link that leads nowhere", "dangling", files.Options{}, "dangling: no such file or directory"},
		{"for a link that leads to itself", "loop", files.Options{}, "loop: too many levels of symbolic links"},
		{"for a device", "null", files.Options{}, "null: neither a regular file nor a directory"},
		{"for a directory with too many files", "many", files.Options{MaxFiles: 1}, "many: too many files: more than the 1 that are still read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				must(t,
					os.Symlink("none", filepath.Join(dir, "dangling")),
					os.Symlink("loop", filepath.Join(dir, "loop")),
					os.Symlink("/dev/null", filepath.Join(dir, "null")),
					os.Mkdir(filepath.Join(dir, "many"), 0o700))
				write(t, filepath.Join(dir, "many", "a.yaml"), gateway("a"))
				write(t, filepath.Join(dir, "many", "b.yaml"), gateway("b"))
				s, _ := files.NewUnwatched([]string{filepath.Join(dir, tt.path)}, tt.o)
				w := newTold(dir)
				err := s.Run(t.Context(), w.sink)
				if err == nil || strings.TrimPrefix(err.Error(), dir+"/") != tt.want {
					t.Errorf("Run error = %v, want %v", err, tt.want)
				}
				if len(w.seen) > 0 {
					t.Errorf("told %q before it failed", w.seen)
				}
			})
		})
	}
}

func TestChange(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *bed)
		want   string
	}{
		{"a new text counts", func(b *bed) { b.write("a.yaml", gateway("a2")) }, "a.yaml: a2; b.yaml: b"},
		{"a new file counts", func(b *bed) { b.write("c.yaml", gateway("c")) }, "a.yaml: a; b.yaml: b; c.yaml: c"},
		{"a file taken away from others is gone", func(b *bed) { b.remove("a.yaml") }, "b.yaml: b"},
		{"a renamed file counts once", func(b *bed) {
			must(b.t, os.Rename(b.path("a.yaml"), b.path("c.yaml")))
		}, "b.yaml: b; c.yaml: a"},
		{"an only file that takes the place of others counts", func(b *bed) {
			b.remove("a.yaml")
			b.remove("b.yaml")
			b.write("c.yaml", gateway("c"))
		}, "c.yaml: c"},
		{"a file beside an empty one only may be missed by mistake", func(b *bed) {
			b.remove("a.yaml")
			b.write("b.yaml", "")
		}, "a.yaml: (a) held; b.yaml: (b) held"},
		{"a refused gateway stays asked for", func(b *bed) { b.write("a.yaml", broken("a")) }, "a.yaml: a! UnexpectedElement; b.yaml: b"},
		{"a text that is not YAML keeps all documents", func(b *bed) { b.write("a.yaml", "{") }, "a.yaml: (a) YamlParsingError; b.yaml: b"},
		{"a text that is not UTF-8 keeps all documents", func(b *bed) { b.write("a.yaml", "name: \xff") }, "a.yaml: (a) YamlParsingError; b.yaml: b"},
		{"an alias bomb keeps all documents", func(b *bed) { b.write("a.yaml", bomb()) }, "a.yaml: (a) YamlParsingError; b.yaml: b"},
		{"documents beside one whose name cannot be read are believed, missing ones kept", func(b *bed) {
			b.write("a.yaml", gateway("a2")+"---\n"+strings.TrimPrefix(gateway("a"), "name: a\n"))
		}, "a.yaml: a2 (a) MissingPathValueError; b.yaml: b"},
		{"an empty file is held back", func(b *bed) { b.write("a.yaml", "") }, "a.yaml: (a) held; b.yaml: b"},
		{"a file of comments is held back", func(b *bed) { b.write("a.yaml", "# soon\n") }, "a.yaml: (a) held; b.yaml: b"},
		{"an emptied directory is held back", func(b *bed) {
			b.remove("a.yaml")
			b.remove("b.yaml")
		}, "/: DirectoryEmpty; a.yaml: (a) held; b.yaml: (b) held"},
		{"a missing directory is held back", func(b *bed) { must(b.t, os.RemoveAll(b.dir)) }, "/: DirectoryMissing; a.yaml: (a) held; b.yaml: (b) held"},
		{"a directory that leads nowhere is kept", func(b *bed) {
			must(b.t, os.RemoveAll(b.dir), os.Symlink("none", b.dir))
		}, "/: DirectoryUnreadable; a.yaml: a; b.yaml: b"},
		{"a file in place of the directory takes its place", func(b *bed) {
			must(b.t, os.RemoveAll(b.dir))
			write(b.t, b.dir, gateway("c"))
		}, ": c"},
		{"a link that leads nowhere is kept", func(b *bed) {
			b.remove("a.yaml")
			must(b.t, os.Symlink("none", b.path("a.yaml")))
		}, "a.yaml: (a) FileUnreadable; b.yaml: b"},
		{"a directory in place of a file is kept", func(b *bed) {
			b.remove("a.yaml")
			must(b.t, os.Mkdir(b.path("a.yaml"), 0o700))
		}, "a.yaml: (a) FileUnreadable; b.yaml: b"},
		{"a named pipe in place of a file is kept", func(b *bed) {
			b.remove("a.yaml")
			must(b.t, mkfifo(b.path("a.yaml")))
		}, "a.yaml: (a) FileUnreadable; b.yaml: b"},
		{"an input error is kept", func(b *bed) {
			b.remove("a.yaml")
			must(b.t, os.Symlink("/proc/self/mem", b.path("a.yaml")))
		}, "a.yaml: (a) FileUnreadable; b.yaml: b"},
		{"a huge file is refused and kept", func(b *bed) { must(b.t, os.Truncate(b.path("a.yaml"), 100<<20)) }, "a.yaml: (a) FileTooLarge; b.yaml: b"},
		{"more files than allowed keep the directory as it was", func(b *bed) {
			b.remove("a.yaml")
			for i := range 5 {
				b.write(fmt.Sprintf("c%d.yaml", i), gateway("c"))
			}
		}, "/: DirectoryUnreadable; a.yaml: a; b.yaml: b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := lay(t, files.Options{MaxFiles: 5}, nil, "a.yaml", gateway("a"), "b.yaml", gateway("b"))
				b.want("after the start", "a.yaml: a; b.yaml: b")
				tt.change(b)
				b.later(settled)
				b.want("after the change", tt.want)

				must(t, os.RemoveAll(b.dir))
				b.write("a.yaml", gateway("a"))
				b.write("b.yaml", gateway("b"))
				b.later(settled)
				b.want("after everything is as it was", "a.yaml: a; b.yaml: b")
			})
		})
	}
}

func TestUnreadableIsKeptForAsLongAsItIs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b *bed)
		want   string
	}{
		{"file", func(b *bed) {
			b.remove("a.yaml")
			must(b.t, os.Symlink("none", b.path("a.yaml")))
		}, "a.yaml: (a) FileUnreadable; b.yaml: b"},
		{"file that was empty before", func(b *bed) {
			b.write("a.yaml", "")
			b.later(time.Second)
			b.remove("a.yaml")
			must(b.t, os.Symlink("none", b.path("a.yaml")))
		}, "a.yaml: (a) FileUnreadable; b.yaml: b"},
		{"directory", func(b *bed) {
			must(b.t, os.RemoveAll(b.dir), os.Symlink("none", b.dir))
		}, "/: DirectoryUnreadable; a.yaml: a; b.yaml: b"},
		{"directory that was empty before", func(b *bed) {
			b.remove("a.yaml")
			b.remove("b.yaml")
			b.later(time.Second)
			must(b.t, os.RemoveAll(b.dir), os.Symlink("none", b.dir))
		}, "/: DirectoryUnreadable; a.yaml: (a) held; b.yaml: (b) held"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"), "b.yaml", gateway("b"))
				tt.change(b)
				b.later(time.Hour)
				b.want("an hour later", tt.want)
			})
		})
	}
}

func TestAbsenceIsHeldBack(t *testing.T) {
	for _, tt := range []struct {
		name         string
		paths        []string
		change       func(b *bed)
		held, freed  string
		restore      func(b *bed)
		restoredWant string
	}{
		{
			"of an empty file", nil, func(b *bed) { b.write("a.yaml", "") },
			"a.yaml: (a) held; b.yaml: b", "a.yaml:; b.yaml: b",
			func(b *bed) { b.write("a.yaml", gateway("a2")) }, "a.yaml: a2; b.yaml: b",
		},
		{
			"of a given file",
			[]string{"a.yaml"},
			func(b *bed) { b.remove("a.yaml") },
			"a.yaml: (a) FileMissing held", "a.yaml: FileMissing",
			func(b *bed) { b.write("a.yaml", gateway("a")) }, "a.yaml: a",
		},
		{
			"of an empty directory", nil, func(b *bed) { b.remove("a.yaml"); b.remove("b.yaml") },
			"/: DirectoryEmpty; a.yaml: (a) held; b.yaml: (b) held", "/: DirectoryEmpty",
			func(b *bed) { b.write("b.yaml", gateway("b")); b.write("a.yaml", gateway("a")) }, "a.yaml: a; b.yaml: b",
		},
		{
			"of a missing directory", nil, func(b *bed) { must(b.t, os.RemoveAll(b.dir)) },
			"/: DirectoryMissing; a.yaml: (a) held; b.yaml: (b) held", "/: DirectoryMissing",
			func(b *bed) { b.write("b.yaml", gateway("b")); b.write("a.yaml", gateway("a")) }, "a.yaml: a; b.yaml: b",
		},
		{
			"of an empty file that vanishes next",
			[]string{"a.yaml"},
			func(b *bed) {
				b.write("a.yaml", "")
				b.later(settled)
				b.remove("a.yaml")
			},
			"a.yaml: (a) FileMissing held", "a.yaml: FileMissing",
			func(b *bed) { b.write("a.yaml", gateway("a")) }, "a.yaml: a",
		},
	} {
		start := func(t *testing.T) *bed {
			t.Helper()
			b := lay(t, files.Options{}, tt.paths, "a.yaml", gateway("a"), "b.yaml", gateway("b"))
			tt.change(b)
			b.later(59 * time.Second)
			b.want("before its time is up", tt.held)
			return b
		}
		t.Run(tt.name+" until its time is up", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t)
				time.Sleep(1100 * time.Millisecond)
				b.want("when its time is up", tt.freed)
				tt.restore(b)
				b.later(settled)
				b.want("when it is back", tt.restoredWant)
			})
		})
		t.Run(tt.name+" until it is confirmed", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t)
				want := strings.Count(tt.held, "held")
				if got := b.source.Confirm(); got != want {
					t.Errorf("Confirm() = %d, want %d", got, want)
				}
				synctest.Wait()
				b.want("when it is confirmed", tt.freed)
				if got := b.source.Confirm(); got != 0 {
					t.Errorf("Confirm() = %d once all is confirmed, want 0", got)
				}
			})
		})
		t.Run(tt.name+" and ends when it is back", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t)
				tt.restore(b)
				b.later(settled)
				b.want("when it is back", tt.restoredWant)
				b.later(time.Hour)
				b.want("an hour later", tt.restoredWant)
			})
		})
	}
}

func TestDirectoryThatFillsUpAgainKeepsTheRestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"), "b.yaml", gateway("b"))
		b.remove("a.yaml")
		b.remove("b.yaml")
		b.later(time.Second)
		b.write("b.yaml", gateway("b2"))
		b.later(58 * time.Second)
		b.want("when one file is back", "a.yaml: (a) held; b.yaml: b2")
		time.Sleep(2 * time.Second)
		b.want("when the time of the other is up", "b.yaml: b2")
	})
}

func TestAbsenceThatChangesItsLooksIsNotHeldBackLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lay(t, files.Options{}, []string{"a.yaml"}, "a.yaml", gateway("a"))
		b.write("a.yaml", "")
		b.later(30 * time.Second)
		b.want("when it is empty", "a.yaml: (a) held")
		b.remove("a.yaml")
		b.later(29 * time.Second)
		b.want("when it is missing", "a.yaml: (a) FileMissing held")
		time.Sleep(2 * time.Second)
		b.want("a minute after it was emptied", "a.yaml: FileMissing")
	})
}

func TestWhatCannotBeNamedKeepsOnlyWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nameless := strings.TrimPrefix(gateway("b"), "name: b\n")
		b := lay(t, files.Options{}, nil, "a.yaml", gateway("a")+"---\n"+gateway("b"))
		b.write("a.yaml", gateway("a")+"---\n"+nameless)
		b.later(settled)
		b.want("when a name is missing", "a.yaml: a (b) MissingPathValueError")
		b.write("a.yaml", gateway("b")+"---\n"+nameless)
		b.later(settled)
		b.want("when another name is missing", "a.yaml: b (a) MissingPathValueError")
		b.write("a.yaml", gateway("b"))
		b.later(settled)
		b.want("when nothing is wrong any more", "a.yaml: b")
	})
}

func TestConfirmReadsEveryFileAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lay(t, files.Options{Poll: never}, nil, "a.yaml", gateway("a"))
		b.write("a.yaml", gateway("a2"))
		if got := b.source.Confirm(); got != 0 {
			t.Errorf("Confirm() = %d with nothing held back, want 0", got)
		}
		time.Sleep(settled)
		b.want("after it was confirmed", "a.yaml: a2")
	})
}

func TestPollFindsWhatWasNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"))
		b.write("a.yaml", gateway("a2"))
		time.Sleep(5*time.Second + settled)
		b.want("after a poll", "a.yaml: a2")
	})
}

func TestPathsThatCannotBeWatchedAreLookedAtEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a.yaml"), gateway("a"))
		w := newTold(dir)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go files.NewBlind([]string{dir}, files.Options{}).Run(ctx, w.sink) //nolint:errcheck // its end is not what is tested
		time.Sleep(time.Minute)
		write(t, filepath.Join(dir, "a.yaml"), gateway("a2"))
		time.Sleep(time.Second + settled)
		if got := w.now(); got != "a.yaml: a2" {
			t.Errorf("told %q after a second, want the change", got)
		}
	})
}

func TestWhatWasReadHoldsForAnUntouchedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	write(t, path, "one")
	read, err := os.Stat(path)
	must(t, err)
	later := files.Stamp(read).Add(time.Hour)
	for _, tt := range []struct {
		name   string
		change func()
		at     time.Time
		want   bool
	}{
		{"an untouched file that was old when it was read", func() {}, later, true},
		{"one that was new then may have changed since", func() {}, files.Stamp(read).Add(time.Second), false},
		{"one that a clock sets in the future may have changed since", func() {}, files.Stamp(read).Add(-time.Hour), false},
		{"another size", func() { write(t, path, "three") }, later, false},
		{"the same size and time, set back", func() {
			write(t, path, "two")
			must(t, os.Chtimes(path, read.ModTime(), read.ModTime()))
		}, later, false},
		{"another file of the same size", func() { replace(t, path, "two") }, later, false},
	} {
		tt.change()
		now, err := os.Stat(path)
		must(t, err)
		if got := files.Holds(read, now, tt.at); got != tt.want {
			t.Errorf("%s: holds %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestWhateverHappensTheEndIsToldRight changes a directory at random and then
// lays down a good end.
func TestWhateverHappensTheEndIsToldRight(t *testing.T) {
	for seed := range uint64(15) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"), "b.yaml", gateway("b"), "c.yaml", gateway("c"))
			for range 30 {
				b.disturb(r)
				b.later(time.Duration(r.IntN(120)) * time.Millisecond)
			}
			must(t, os.RemoveAll(b.dir))
			end := []string{"a.yaml", "b.yaml", "c.yaml"}[r.IntN(3):]
			want := make([]string, 0, len(end))
			for i, name := range end {
				b.write(name, gateway(fmt.Sprintf("end%d", i)))
				want = append(want, fmt.Sprintf("%s: end%d", name, i))
			}
			b.later(2 * time.Minute)
			b.want(fmt.Sprintf("at the end of seed %d", seed), strings.Join(want, "; "))
		})
	}
}

// disturb does something to one file, or to the directory.
func (b *bed) disturb(r *rand.Rand) {
	b.t.Helper()
	name := []string{"a.yaml", "b.yaml", "c.yaml"}[r.IntN(3)]
	b.remove(name)
	switch r.IntN(9) {
	case 0:
		b.write(name, "")
	case 1:
		b.write(name, "{")
	case 2:
		b.write(name, broken("x"))
	case 3:
		b.write(name, gateway("x")+"---\nport: 1\n")
	case 4:
		must(b.t, os.MkdirAll(b.path(name), 0o700))
	case 5:
		must(b.t, os.MkdirAll(b.dir, 0o700), os.Symlink("none", b.path(name)))
	case 6:
		must(b.t, os.RemoveAll(b.dir))
	case 7:
		must(b.t, os.RemoveAll(b.dir), os.MkdirAll(b.dir, 0o700))
	default:
		b.write(name, gateway(fmt.Sprintf("x%d", r.IntN(100))))
	}
}

func TestTextCountsOnceItReadTwiceEqual(t *testing.T) {
	t.Run("a file written in two parts is believed whole", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"))
			// The first part is a good text of its own.
			b.write("a.yaml", gateway("a"))
			b.later(settled)
			b.write("a.yaml", gateway("half"))
			b.later(40 * time.Millisecond)
			b.write("a.yaml", gateway("half")+"---\n"+gateway("whole"))
			b.later(40 * time.Millisecond)
			b.want("before it settled", "a.yaml: a")
			b.later(30 * time.Millisecond)
			b.want("when it settled", "a.yaml: half whole")
			for _, seen := range b.history() {
				if seen == "a.yaml: half" {
					t.Errorf("half of a text was believed: %q", b.history())
				}
			}
		})
	})
	t.Run("a file taken away and put back meanwhile is no change", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"), "b.yaml", gateway("b"))
			before := len(b.history())
			b.remove("a.yaml")
			b.later(20 * time.Millisecond)
			b.write("a.yaml", gateway("a"))
			b.later(time.Hour)
			if got := b.history()[before:]; len(got) > 0 {
				t.Errorf("told %q, want nothing", got)
			}
		})
	})
	t.Run("a file that came and went is no change", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"))
			b.write("b.yaml", gateway("b"))
			b.later(20 * time.Millisecond)
			b.remove("b.yaml")
			b.later(time.Hour)
			if got := b.history(); len(got) != 1 {
				t.Errorf("told %q, want the first listing alone", got)
			}
		})
	})
	t.Run("a change is believed soon after its end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"))
			for i := range 20 {
				b.write("a.yaml", gateway(fmt.Sprintf("a%d", i)))
				b.later(15 * time.Millisecond)
			}
			b.want("while it is written", "a.yaml: a")
			b.later(50 * time.Millisecond)
			b.want("65 ms after its end", "a.yaml: a19")
		})
	})
	t.Run("files written one after the other are believed together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := lay(t, files.Options{}, nil, "a.yaml", gateway("a")+"---\n"+gateway("moved"), "b.yaml", gateway("b"))
			b.write("a.yaml", gateway("a"))
			b.later(40 * time.Millisecond)
			b.write("b.yaml", gateway("b")+"---\n"+gateway("moved"))
			b.later(settled)
			got := b.history()
			want := []string{"a.yaml: a moved; b.yaml: b", "a.yaml: a; b.yaml: b moved"}
			if !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	})
	t.Run("a file that is written without end holds up no other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"), "b.yaml", gateway("b"))
			b.write("b.yaml", gateway("b2"))
			for i := range 30 {
				b.write("a.yaml", gateway(fmt.Sprintf("a%d", i)))
				b.later(20 * time.Millisecond)
			}
			b.want("while it is written", "a.yaml: a; b.yaml: b2")
			b.later(settled)
			b.want("when it is written", "a.yaml: a29; b.yaml: b2")
		})
	})
	t.Run("a file that is written without end does not hold up the start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "b.yaml"), gateway("b"))
			w := newTold(dir)
			s, ring := files.NewUnwatched([]string{dir}, files.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go s.Run(ctx, w.sink) //nolint:errcheck // its end is not what is tested
			for i := range 20 {
				write(t, filepath.Join(dir, "a.yaml"), gateway(fmt.Sprintf("a%d", i)))
				ring()
				time.Sleep(20 * time.Millisecond)
			}
			if got := w.now(); got != "b.yaml: b" || !w.listed {
				t.Errorf("told %q, listed %t, want the other file, listed", got, w.listed)
			}
		})
	})
}

func TestOnlyChangedFilesAreToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for i := range 100 {
			write(t, filepath.Join(dir, fmt.Sprintf("g%02d.yaml", i)), gateway(fmt.Sprintf("g%d", i)))
		}
		var batches []discovery.Batch
		s, ring := files.NewUnwatched([]string{dir}, files.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx, func(b discovery.Batch) { batches = append(batches, b) }) //nolint:errcheck // its end is not what is tested
		time.Sleep(time.Minute)
		write(t, filepath.Join(dir, "g07.yaml"), gateway("new"))
		ring()
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		if len(batches) != 2 || len(batches[0].Updates) != 100 || len(batches[1].Updates) != 1 {
			t.Fatalf("told %d batches, want one of 100 files and one of 1", len(batches))
		}
	})
}

func TestFaultsOfFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := lay(t, files.Options{}, nil, "a.yaml", gateway("a"), "b.yaml", gateway("b"), "c.yaml", gateway("c"))
		must(t, os.Truncate(b.path("a.yaml"), 100<<20))
		b.remove("b.yaml")
		must(t, os.Mkdir(b.path("b.yaml"), 0o700))
		b.later(settled)
		for key, want := range map[string]string{
			"a.yaml": "a.yaml: too large: 104857600 bytes, at most 8388608 are read; split it into several files",
			"b.yaml": "b.yaml: cannot be read: is a directory; its last good form stays until it can be read",
		} {
			if got := b.fault(key); got != want {
				t.Errorf("fault of %s is %q, want %q", key, got, want)
			}
		}
	})
}
