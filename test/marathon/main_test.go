// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds how long anything is waited for. It is only used up where
// something is wrong.
const patience = time.Minute

// scale is how many apps with four tasks each TestScale measures.
var scale = flag.Int("marathon.scale", 50, "measure a Marathon of so many apps with four tasks each")

// program is what is tested.
var program string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-marathon-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "sluice")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", program, "../../cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
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
