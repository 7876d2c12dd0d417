// SPDX-License-Identifier: Apache-2.0

package lastgood_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
)

// TestDiskThatIsFull fills a small disk of its own; TestDiskThatFailsOnce
// does without the rights that this takes.
func TestDiskThatIsFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatalf("a disk of our own takes the right to mount: %v", err)
		}
		t.Skipf("a disk of our own takes the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	k := open(t, filepath.Join(disk, "tables"), lastgood.Options{})
	keep(t, k, version(1, 1))
	if err := errors.Join(k.Starting(version(1, 1)), k.Served(version(1, 1))); err != nil {
		t.Fatal(err)
	}
	large := lastgood.Table{Version: version(1, 2), Payload: make([]byte, 100<<10)}
	if err := k.Save(large); err != nil {
		t.Fatal(err)
	}
	settle(t, k)
	if s := k.Status(); !errors.Is(s.Err, syscall.ENOSPC) || s.Version != version(1, 1) {
		t.Errorf("Status() = %+v, want ENOSPC", s)
	}
	wantLoad(t, k, version(1, 1))
	// What was half written is gone, so that there is room again.
	keep(t, k, version(1, 3))
	wantLoad(t, k, version(1, 3))
}
