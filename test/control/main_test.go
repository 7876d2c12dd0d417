// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds how long anything is waited for. It is only used up where
// something is wrong.
const patience = 90 * time.Second

// Without -control.all only what takes some seconds is proved.
var all = flag.Bool("control.all", false, "prove everything, which takes minutes")

// long skips a test that takes long unless everything is to be proved.
func long(t *testing.T) {
	t.Helper()
	if !*all && !*full {
		t.Skip("make test-control proves it")
	}
}

// program is what is tested, and proxyProgram the one that is a proxy alone.
var program, proxyProgram string

func TestMain(m *testing.M) {
	if url := os.Getenv(askVariable); url != "" {
		os.Exit(askFromHere(url))
	}
	if spec := os.Getenv(serverVariable); spec != "" {
		os.Exit(runServer(spec))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-control-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program, proxyProgram = filepath.Join(dir, "sluice"), filepath.Join(dir, "sluice-proxy")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", dir, "../../cmd/sluice", "../../cmd/sluice-proxy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := results.write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if missed := results.missed(); *full && len(missed) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: goals were missed:\n%s\n", strings.Join(missed, "\n"))
		return 1
	}
	return code
}

// lack skips a test for what the machine lacks, unless that is forbidden.
func lack(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("FORBID_SKIPS") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// await waits until a claim holds; why is asked for when it does not.
func await(t *testing.T, what string, claim func() bool, why func() string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for late := time.Now().Add(patience); !claim(); <-again.C {
		if time.Now().After(late) {
			t.Fatalf("not within %v: %s\n%s", patience, what, why())
		}
	}
}
