// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds how long a script waits for another process. It is only
// used up where something is wrong.
const patience = time.Minute

// binDir holds the binary that all scripts run.
var binDir string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "curl" {
		os.Exit(curl(os.Args[1:]))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(dir, "sluice"), "../cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	binDir = dir
	if err := ensureCurl(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestScenarios(t *testing.T) {
	if err := probeLoopback(t.Context()); err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatalf("the scenarios need addresses in 127.0.0.0/8: %v", err)
		}
		t.Skipf("the scenarios give each script addresses of its own in 127.0.0.0/8, which this machine has not: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"apply":        cmdApply,
			"begin":        cmdBegin,
			"bulk":         cmdBulk,
			"certificate":  cmdCertificate,
			"confirm":      cmdConfirm,
			"connections":  cmdConnections,
			"dns":          cmdDNS,
			"exit-code":    cmdExitCode,
			"fingerprint":  cmdFingerprint,
			"finish":       cmdFinish,
			"free":         cmdFree,
			"freeport":     cmdFreePort,
			"get":          cmdGet,
			"half-close":   cmdHalfClose,
			"live":         cmdLive,
			"load":         cmdLoad,
			"log":          cmdLog,
			"metric":       cmdMetric,
			"origin":       cmdOrigin,
			"printed":      cmdPrinted,
			"put":          cmdPut,
			"ready":        cmdReady,
			"refuses":      cmdRefuses,
			"release":      cmdRelease,
			"reload":       cmdReload,
			"requests":     cmdRequests,
			"secret":       cmdSecret,
			"served":       cmdServed,
			"sluice-down":  cmdSluiceDown,
			"sluice-ended": cmdSluiceEnded,
			"sluice-up":    cmdSluiceUp,
			"sparse":       cmdSparse,
			"status":       cmdStatus,
			"take":         cmdTake,
			"try":          cmdTry,
			"visitors":     cmdVisitors,
			"revisit":      cmdRevisit,
		},
	})
}

func setUp(env *testscript.Env) error {
	b, err := newBed(env.WorkDir)
	if err != nil {
		return err
	}
	env.Defer(b.close)
	env.Values[bedKey{}] = b
	env.Setenv("HOST", b.host)
	env.Setenv("ADMIN", b.admin)
	env.Setenv("PATH", binDir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return nil
}

// condition tells what scripts may ask beside the conditions of testscript.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
}
