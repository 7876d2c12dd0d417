// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

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

var (
	length = flag.Duration("chaos.time", 6*time.Second, "how long the clients ask, at least")
	seed   = flag.Uint64("chaos.seed", 0, "repeats the choices of the run that printed it; 0: others each time")
	rate   = flag.Int("chaos.rate", 1000, "requests a second")
)

// binary is the proxy.
var binary string

func TestMain(m *testing.M) {
	if name := os.Getenv(originName); name != "" {
		os.Exit(runOrigin(name))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sluice")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, "../../cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
