// SPDX-License-Identifier: Apache-2.0

package wire_test

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

var (
	only   = flag.String("only", "", "play the cases whose name has this in it")
	binary = flag.String("binary", "", "the sluice to play at, instead of one built now")
)

// patience bounds a case. It is only used up where something is wrong; a case
// in which the gateway loses its own patience takes 10 s.
const patience = time.Minute

// sluice is the binary under test.
var sluice string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if *binary != "" {
		sluice = *binary
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sluice-wire-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sluice = filepath.Join(dir, "sluice")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", sluice, "../../cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
