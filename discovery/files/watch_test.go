// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/files"
)

// follow runs a source of path with the system's notices alone: nothing is
// found by polling.
func follow(tb testing.TB, dir, path string) *told {
	tb.Helper()
	w := newTold(dir)
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	s := files.New([]string{path}, files.Options{Poll: never})
	go func() { ended <- s.Run(ctx, w.sink) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("Run ended with %v", err)
		}
	})
	w.await(tb, func(string) bool { return w.listed })
	return w
}

// await waits until what was told holds.
func (w *told) await(tb testing.TB, holds func(state string) bool) {
	tb.Helper()
	timeout := time.After(30 * time.Second) // only turns a hang into a failure
	for {
		w.mu.Lock()
		state := w.show()
		done := holds(state)
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-w.news:
		case <-timeout:
			tb.Fatalf("told %q, and no more", state)
		}
	}
}

func (w *told) awaitState(tb testing.TB, want string) {
	tb.Helper()
	w.await(tb, func(state string) bool { return state == want })
}

// replace writes text beside path and moves it there, as editors do.
func replace(tb testing.TB, path, text string) {
	tb.Helper()
	temp := filepath.Join(filepath.Dir(path), ".new")
	write(tb, temp, text)
	must(tb, os.Rename(temp, path))
}

// mount lays a directory out as Kubernetes mounts a ConfigMap: the names are
// links through "..data", which links to a directory of the version. It
// returns the directory of the version before, which Kubernetes deletes then.
func mount(tb testing.TB, dir, version string, texts map[string]string) (old string) {
	tb.Helper()
	must(tb, os.Mkdir(filepath.Join(dir, version), 0o700))
	for name, text := range texts {
		write(tb, filepath.Join(dir, version, name), text)
	}
	old, _ = os.Readlink(filepath.Join(dir, "..data"))
	must(tb,
		os.Symlink(version, filepath.Join(dir, "..data_tmp")),
		os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	for name := range texts {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); !os.IsExist(err) {
			must(tb, err)
		}
	}
	entries, err := os.ReadDir(dir)
	must(tb, err)
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 || e.Name() == "..data" {
			continue
		}
		if _, ok := texts[e.Name()]; !ok {
			must(tb, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return filepath.Join(dir, old)
}

func TestEveryWayToChangeIsNoticed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		path   string // given, below the test's directory
		before func(t *testing.T, dir string)
		change []func(t *testing.T, dir string)
	}{
		{
			name: "a file overwritten in a directory", path: "d",
			before: put("d/g.yaml", "v0"),
			change: steps(put("d/g.yaml", "v1"), put("d/g.yaml", "v2")),
		},
		{
			name: "a file replaced in a directory", path: "d",
			before: put("d/g.yaml", "v0"),
			change: steps(swap("d/g.yaml", "v1"), swap("d/g.yaml", "v2")),
		},
		{
			name: "a given file overwritten", path: "d/g.yaml",
			before: put("d/g.yaml", "v0"),
			change: steps(put("d/g.yaml", "v1"), put("d/g.yaml", "v2")),
		},
		{
			name: "a given file replaced", path: "d/g.yaml",
			before: put("d/g.yaml", "v0"),
			change: steps(swap("d/g.yaml", "v1"), swap("d/g.yaml", "v2")),
		},
		{
			name: "a given file deleted and written again", path: "d/g.yaml",
			before: put("d/g.yaml", "v0"),
			change: steps(rewrite("d/g.yaml", "v1"), rewrite("d/g.yaml", "v2")),
		},
		{
			name: "a mounted ConfigMap", path: "d",
			before: remount("v0"),
			change: steps(remount("v1"), remount("v2"), remount("v3")),
		},
		{
			name: "a file of a mounted ConfigMap", path: "d/g.yaml",
			before: remount("v0"),
			change: steps(remount("v1"), remount("v2"), remount("v3")),
		},
		{
			name: "a directory replaced by another", path: "d",
			before: put("d/g.yaml", "v0"),
			change: steps(swapDir("d", "v1"), put("d/g.yaml", "v2"), swapDir("d", "v3"), put("d/g.yaml", "v4")),
		},
		{
			name: "a directory deleted and made again", path: "d",
			before: put("d/g.yaml", "v0"),
			change: steps(remake("d", "v1"), put("d/g.yaml", "v2"), remake("d", "v3"), put("d/g.yaml", "v4")),
		},
		{
			name: "the directory of a given file deleted and made again", path: "d/g.yaml",
			before: put("d/g.yaml", "v0"),
			change: steps(remake("d", "v1"), put("d/g.yaml", "v2")),
		},
		{
			name: "a link to a directory turned to another", path: "d",
			before: relink("d", "r0", "v0"),
			change: steps(relink("d", "r1", "v1"), put("r1/g.yaml", "v2"), relink("d", "r2", "v3")),
		},
		{
			name: "a file elsewhere that a link leads to", path: "d",
			before: func(t *testing.T, dir string) {
				t.Helper()
				put("e/real.txt", "v0")(t, dir)
				must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700),
					os.Symlink("../e/real.txt", filepath.Join(dir, "d", "g.yaml")))
			},
			change: steps(put("e/real.txt", "v1"), swap("e/real.txt", "v2")),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.before(t, dir)
			w := follow(t, dir, filepath.Join(dir, tt.path))
			key := "d/g.yaml"
			w.awaitState(t, key+": v0")
			for i, change := range tt.change {
				change(t, dir)
				w.awaitState(t, fmt.Sprintf("%s: v%d", key, i+1))
			}
		})
	}
}

func steps(s ...func(*testing.T, string)) []func(*testing.T, string) { return s }

// put overwrites a file.
func put(path, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700))
		write(t, filepath.Join(dir, path), gateway(name))
	}
}

// swap moves another file over one.
func swap(path, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		replace(t, filepath.Join(dir, path), gateway(name))
	}
}

// rewrite deletes a file and writes it again.
func rewrite(path, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		must(t, os.Remove(filepath.Join(dir, path)))
		write(t, filepath.Join(dir, path), gateway(name))
	}
}

// remount mounts another version of a ConfigMap, with g.yaml alone, at d.
func remount(version string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Join(dir, "d"), 0o700))
		old := mount(t, filepath.Join(dir, "d"), ".."+version, map[string]string{"g.yaml": gateway(version)})
		// The turn of "..data" has to do: the deletion may come much later.
		if version == "v3" {
			must(t, os.RemoveAll(old))
		}
	}
}

// swapDir moves a directory away and another there.
func swapDir(path, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		put("next/g.yaml", name)(t, dir)
		must(t,
			os.Rename(filepath.Join(dir, path), filepath.Join(dir, "old-"+name)),
			os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, path)))
	}
}

// remake deletes a directory and makes it again.
func remake(path, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		must(t, os.RemoveAll(filepath.Join(dir, path)))
		put(path+"/g.yaml", name)(t, dir)
	}
}

// relink turns a link to a new directory.
func relink(path, target, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		put(target+"/g.yaml", name)(t, dir)
		must(t,
			os.Symlink(target, filepath.Join(dir, "link")),
			os.Rename(filepath.Join(dir, "link"), filepath.Join(dir, path)))
	}
}

func TestMountedConfigMapThatLosesAFile(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "..v0", map[string]string{"a.yaml": gateway("a"), "b.yaml": gateway("b")})
	w := follow(t, dir, dir)
	old := mount(t, dir, "..v1", map[string]string{"b.yaml": gateway("b1"), "c.yaml": gateway("c")})
	must(t, os.RemoveAll(old))
	w.awaitState(t, "b.yaml: b1; c.yaml: c")
}

func TestEmptiedDirectoryThatIsRestored(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), gateway("a"))
	w := follow(t, dir, dir)
	must(t, os.Remove(filepath.Join(dir, "a.yaml")))
	w.awaitState(t, "/: DirectoryEmpty; a.yaml: (a) held")
	write(t, filepath.Join(dir, "a.yaml"), gateway("a1"))
	w.awaitState(t, "a.yaml: a1")
}

func TestManyQuickRewritesEndInTheLastContent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		write func(tb testing.TB, path, text string)
	}{
		{"overwritten", write},
		{"replaced", replace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "g.yaml")
			write(t, path, gateway("v0"))
			w := follow(t, dir, dir)
			for i := range 500 {
				tt.write(t, path, gateway(fmt.Sprintf("v%d", i+1)))
			}
			w.awaitState(t, "g.yaml: v500")
		})
	}
}

func TestFileOfMovingPartsIsNeverHalfBelieved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "g.yaml")
	write(t, path, gateway("v0")+"---\n"+gateway("end"))
	w := follow(t, dir, dir)
	for i := range 100 {
		f, err := os.Create(path)
		must(t, err)
		for _, part := range []string{gateway(fmt.Sprintf("v%d", i+1)), "---\n", gateway("end")} {
			_, err = f.WriteString(part)
			must(t, err)
		}
		must(t, f.Close())
	}
	w.awaitState(t, "g.yaml: v100 end")
}

func BenchmarkChange(b *testing.B) {
	for _, others := range []int{0, 1000} {
		b.Run(fmt.Sprintf("beside %d files", others), func(b *testing.B) {
			dir := b.TempDir()
			for i := range others {
				write(b, filepath.Join(dir, fmt.Sprintf("o%d.yaml", i)), gateway(fmt.Sprintf("o%d", i)))
			}
			path := filepath.Join(dir, "g.yaml")
			write(b, path, gateway("v0"))
			w := follow(b, dir, dir)
			i := 0
			for b.Loop() {
				i++
				write(b, path, gateway(fmt.Sprintf("v%d", i)))
				w.await(b, func(string) bool {
					u := w.state[path]
					return len(u.Documents) == 1 && u.Documents[0].Name == fmt.Sprintf("v%d", i)
				})
			}
		})
	}
}
