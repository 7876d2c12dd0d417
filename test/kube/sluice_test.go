// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/freeport"
	"github.com/sluice-mesh/sluice/test/kube/bed"
	"github.com/sluice-mesh/sluice/test/kube/child"
)

// program builds sluice once and returns its path.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-kube-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sluice")
	build := exec.Command("go", "build", "-o", path, "./cmd/sluice")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// sluice is control plane and proxy in one process, outside of the cluster.
type sluice struct {
	tb   testing.TB
	b    *bed.Bed
	dir  string
	api  string // host:port
	args []string

	cmd *exec.Cmd
	log *lockedBuffer
}

// newSluice starts a process that watches a namespace of Kubernetes. It ends
// with the test.
func newSluice(tb testing.TB, b *bed.Bed, ns string, args ...string) *sluice {
	tb.Helper()
	return launch(tb, b, ns, append([]string{
		"run", "--admin", "127.0.0.1:0", "--gateway-address", "127.0.0.1", "--keep-vanished", "1s", "--drain", "1s",
	}, args...)...)
}

// launch is newSluice for any verb that has an API, with no more flags than that
// takes.
func launch(tb testing.TB, b *bed.Bed, ns string, args ...string) *sluice {
	tb.Helper()
	s := &sluice{tb: tb, b: b, dir: tb.TempDir(), api: "127.0.0.1:" + strconv.Itoa(freeport.One(tb))}
	s.args = slices.Concat(args, []string{
		"--data-dir", s.dir, "--api", s.api,
		"--kubeconfig", b.Kubeconfig, "--kubernetes-namespaces", ns, "--kubernetes-home", ns,
	})
	s.start()
	tb.Cleanup(func() {
		s.stop()
		if tb.Failed() {
			tb.Log(s.log.String())
		}
	})
	return s
}

// start starts the process and returns when it is ready.
func (s *sluice) start() {
	s.tb.Helper()
	path, err := program()
	if err != nil {
		s.tb.Fatal(err)
	}
	s.log = new(lockedBuffer)
	s.cmd = exec.CommandContext(context.WithoutCancel(s.tb.Context()), path, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := child.Start(s.cmd); err != nil {
		s.tb.Fatal(err)
	}
	s.b.Eventually(s.tb, "sluice is ready", func(ctx context.Context) error {
		_, err := s.readyz(ctx)
		return err
	})
}

// readyz returns what the process says of its readiness.
func (s *sluice) readyz(ctx context.Context) (string, error) {
	text, err := fetch(ctx, "http://"+s.api+"/readyz")
	if err == nil && !strings.HasSuffix(text, "\nok\n") {
		err = fmt.Errorf("not ready: %s", text)
	}
	return text, err
}

// stop ends the process; it may be called twice.
func (s *sluice) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	_ = s.cmd.Wait()
}

// run runs a verb of the command line against the process.
func (s *sluice) run(stdin string, args ...string) string {
	s.tb.Helper()
	path, err := program()
	if err != nil {
		s.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.tb.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(args, "--host", "http://"+s.api)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.tb.Fatalf("sluice %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// until waits until what a verb writes is as wanted.
func (s *sluice) until(what string, holds func(out string) bool, args ...string) {
	s.tb.Helper()
	s.b.Eventually(s.tb, what, func(context.Context) error {
		if out := s.run("", args...); !holds(out) { //nolint:contextcheck // it has one of the test
			return fmt.Errorf("sluice %s says:\n%s", strings.Join(args, " "), out)
		}
		return nil
	})
}

// fetch returns the body that is answered 200.
func fetch(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(body), err
}
