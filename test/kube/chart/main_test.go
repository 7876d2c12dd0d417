// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chart_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/test/kube/bed"
	"github.com/sluice-mesh/sluice/test/kube/kubelet"
)

// repository is where the product is.
const repository = "../../.."

const (
	chart = repository + "/deploy/helm/sluice"
	tag   = "test" // of the images
)

// built is what start made, once.
var built struct {
	sync.Once

	dir string // the programs, and their images
	err error
}

func TestMain(m *testing.M) {
	code := bed.Main(m)
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// start returns the bed. What its images sluice and sluice-proxy have is what
// is in the images that we make.
func start(tb testing.TB) *bed.Bed {
	tb.Helper()
	b := bed.Start(tb)
	built.Do(func() { built.dir, built.err = build(context.WithoutCancel(tb.Context())) })
	if built.err != nil {
		tb.Fatal(built.err)
	}
	for _, name := range []string{"sluice", "sluice-proxy"} {
		b.Images.Set(name, kubelet.Image{Path: filepath.Join(built.dir, "unpacked", name), Sealed: true, User: 65532})
	}
	for _, name := range []string{"vampio/sava", "vampio/sava-product", "vampio/sava-cart"} {
		b.Images.Set(name, kubelet.Image{Path: filepath.Join(built.dir, "sava"), Sealed: true, User: 65532})
	}
	return b
}

// build compiles the programs, makes images of ours and unpacks these.
func build(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "sluice-chart-")
	if err != nil {
		return "", err
	}
	errs := []error{
		goDo(ctx, repository, "build", "-trimpath", "-pgo=off", "-ldflags=-s -w", "-o", dir+"/", "./cmd/sluice", "./cmd/sluice-proxy"),
		goDo(ctx, ".", "build", "-trimpath", "-o", dir+"/", "./sava"),
	}
	for _, name := range []string{"sluice", "sluice-proxy"} {
		layout := filepath.Join(dir, "images", name)
		errs = append(errs,
			goDo(ctx, repository, "run", "./deploy/oci", "-out", layout, "-tag", tag, "linux/amd64="+filepath.Join(dir, name)),
			unpack(layout, filepath.Join(dir, "unpacked", name)))
	}
	return dir, errors.Join(errs...)
}

// goDo runs the go command in a folder; programs are linked statically.
func goDo(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New("go " + strings.Join(args, " ") + ": " + err.Error() + "\n" + string(out))
	}
	return nil
}

// unpack writes the program of an image to a path.
func unpack(layout, path string) error {
	blob := func(digest string, value any) ([]byte, error) {
		text, err := os.ReadFile(filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1)))
		if err == nil && value != nil {
			err = json.Unmarshal(text, value)
		}
		return text, err
	}
	type descriptors []struct{ Digest string }
	var index struct{ Manifests descriptors }
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return err
	}
	if _, err := blob(index.Manifests[0].Digest, &index); err != nil {
		return err
	}
	var manifest struct{ Layers descriptors }
	if _, err := blob(index.Manifests[0].Digest, &manifest); err != nil {
		return err
	}
	if text, err = blob(manifest.Layers[0].Digest, nil); err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if err != nil {
			return err
		}
		if head.Name != "program" {
			continue
		}
		program, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, program, 0o755))
	}
}

// find returns the path of a program in bin of the project, or skips the test.
func find(tb testing.TB, name string) string {
	tb.Helper()
	path, err := filepath.Abs(filepath.Join(repository, "bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil && os.Getenv("FORBID_SKIPS") == "" {
		tb.Skip("no bin/" + name + ": make " + name + " installs it")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return path
}
