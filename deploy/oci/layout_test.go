// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// made writes a layout of two platforms and returns its folder.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"amd64": "program of one", "arm64": "program of the other", "roots": "certificates"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "images", "sluice")
	err := run([]string{
		"-out", out, "-tag", "v1.2.3", "-authorities", filepath.Join(dir, "roots"),
		"linux/amd64=" + filepath.Join(dir, "amd64"), "linux/arm64=" + filepath.Join(dir, "arm64"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// read returns the JSON of a file.
func read[T any](t *testing.T, path string) (value T) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return value
}

func TestALayoutLeadsToTheProgramOfEachPlatform(t *testing.T) {
	out := made(t)
	l := layout(out)
	top := read[index](t, filepath.Join(out, "index.json")).Manifests[0]
	if got := top.Annotations["org.opencontainers.image.ref.name"]; got != "v1.2.3" {
		t.Errorf("the tag is %q, want v1.2.3", got)
	}
	want := map[string]string{"amd64": "program of one", "arm64": "program of the other"}
	for _, d := range read[index](t, l.blob(top.Digest)).Manifests {
		m := read[manifest](t, l.blob(d.Digest))
		c := read[config](t, l.blob(m.Config.Digest))
		if c.Architecture != d.Platform.Architecture || c.System != "linux" || c.Config.User != user || !slices.Equal(c.Config.Entrypoint, []string{entrypoint}) {
			t.Errorf("the configuration for %s is %+v", d.Platform.Architecture, c)
		}
		plain, files := unpack(t, l.blob(m.Layers[0].Digest))
		if !slices.Equal(c.RootFS.DiffIDs, []string{digest(plain)}) {
			t.Errorf("the layer for %s is %s, the configuration says %v", d.Platform.Architecture, digest(plain), c.RootFS.DiffIDs)
		}
		if got := files["program"]; got != want[d.Platform.Architecture] {
			t.Errorf("the program for %s is %q, want %q", d.Platform.Architecture, got, want[d.Platform.Architecture])
		}
		if got := files[authoritiesPath]; got != "certificates" || len(files) != 2 {
			t.Errorf("the files for %s are %v, want the program and what it trusts", d.Platform.Architecture, files)
		}
		delete(want, d.Platform.Architecture)
	}
	if len(want) > 0 {
		t.Errorf("no image is for %v", want)
	}
}

// unpack returns the archive in a layer, and the files in it.
func unpack(t *testing.T, path string) (plain []byte, files map[string]string) {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	files = make(map[string]string)
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return plain, files
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag == tar.TypeDir {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[head.Name] = string(text)
	}
}

func TestEachBlobIsWhatItsNameSaysAndTheSameEachTime(t *testing.T) {
	names := func(dir string) (all []string) {
		err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil && digest(text) != "sha256:"+e.Name() {
				t.Errorf("%s is %s", path, digest(text))
			}
			all = append(all, e.Name())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	one, other := names(made(t)), names(made(t))
	if !slices.Equal(one, other) || len(one) != 7 {
		t.Errorf("the blobs are %v, then %v; want the same two layers, configurations and manifests, and an index", one, other)
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no program", []string{"-out", dir + "/a"}, "usage"},
		{"a program without a platform", []string{"-out", dir + "/a", "sluice"}, "OS/ARCHITECTURE=PROGRAM"},
		{"a program that is not there", []string{"-out", dir + "/a", "linux/amd64=" + dir + "/none"}, "linux/amd64"},
		{"a folder that is there", []string{"-out", dir, "linux/amd64=" + dir + "/none"}, "exists"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := run(tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("run(%q) = %v, want an error with %q", tt.args, err, tt.want)
			}
		})
	}
}

func TestTheDockerfileMakesTheSameImage(t *testing.T) {
	text, err := os.ReadFile("../docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"FROM scratch", "USER " + user, `ENTRYPOINT ["` + entrypoint + `"]`, "/" + authoritiesPath + " /" + authoritiesPath, "/out/program " + entrypoint} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("deploy/docker/Dockerfile has no line that ends with %q", line)
		}
	}
}
