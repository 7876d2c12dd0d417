// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/test/kube/kubelet"
)

// errNoProgram reports that kubebed has not been built.
var errNoProgram = errors.New("no bin/kubebed in a folder above: make kubebed builds it")

// shared is the bed of this process.
var shared struct {
	mu    sync.Mutex // guards what follows
	main  bool       // Main ends the bed
	asked bool       // somebody asked for it
	bed   *Bed
	err   error
}

// Main runs the tests of m and ends the bed that they used. It returns the code
// to exit with. If a test failed, the folder with the logs is left and named.
func Main(m *testing.M) int {
	shared.mu.Lock()
	shared.main = true
	shared.mu.Unlock()
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.bed == nil {
		return code
	}
	shared.bed.fall()
	if code != 0 {
		fmt.Fprintln(os.Stderr, "bed: the logs are in", shared.bed.Dir)
		return code
	}
	_ = os.RemoveAll(shared.bed.Dir)
	return code
}

// Start returns the bed of this process, which the first call starts. Without
// the program it skips the test, unless FORBID_SKIPS is set.
func Start(tb testing.TB) *Bed {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.main {
		tb.Fatal("TestMain does not call bed.Main, so nothing would end the bed")
	}
	if !shared.asked {
		shared.asked = true
		// Not tb.Context(): the bed outlives the first test.
		shared.bed, shared.err = start(context.Background())
	}
	if errors.Is(shared.err, errNoProgram) && os.Getenv("FORBID_SKIPS") == "" {
		tb.Skip(shared.err)
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.bed
}

// start makes a bed in a folder of its own.
func start(ctx context.Context) (*Bed, error) {
	program, err := findProgram()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sluice-kube-")
	if err != nil {
		return nil, err
	}
	network, err := kubelet.NewNetwork()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b := &Bed{Dir: dir, program: program, network: network, Gateway: network.Gateway()}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, network.Close(), os.RemoveAll(dir))
	}
	if err := b.rise(ctx); err != nil {
		b.fall()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

// findProgram returns the path of kubebed: what the variable KUBEBED says, or
// bin/kubebed in the nearest folder above that has it.
func findProgram() (string, error) {
	if path := os.Getenv("KUBEBED"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, "bin", "kubebed")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errNoProgram
		}
		dir = above
	}
}
