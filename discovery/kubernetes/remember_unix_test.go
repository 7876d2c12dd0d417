// SPDX-License-Identifier: Apache-2.0

//go:build unix

package kubernetes_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// A pipe that nobody reads stands for a disk that hangs: to open it for
// writing does not return.
func TestADiskThatHangsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s := shop(t)
	file := filepath.Join(t.TempDir(), "cluster.json")
	pipe := file + ".new"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w := begin(t, kubernetes.Options{Client: s.client(t), File: file})
	w.awaits(shopTold)
	s.put(runningPod("c", "c1"))
	w.awaits(strings.Replace(shopTold, ", slu", ", pods/shop/Pod/c c1:8080, slu", 1))
	w.stop()
	if _, err := os.Stat(file); err == nil {
		t.Error("what hangs was written")
	}
	// Whoever reads the pipe ends what hangs.
	r, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Nor does one that hangs at the start: what is remembered there is not known
// then, and the cluster says all else.
func TestADiskThatHangsHoldsNoStartUp(t *testing.T) {
	t.Parallel()
	s := shop(t)
	pipe := filepath.Join(t.TempDir(), "cluster.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w := begin(t, kubernetes.Options{Client: s.client(t), File: pipe, Patience: time.Hour})
	w.awaits(shopTold)
	// Whoever opens the pipe ends what hangs.
	r, err := os.OpenFile(pipe, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
