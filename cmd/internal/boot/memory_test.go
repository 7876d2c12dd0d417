// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

func TestTuneMemoryLeavesWhatTheEnvironmentSays(t *testing.T) {
	percent := debug.SetGCPercent(77)
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetGCPercent(percent)
	defer debug.SetMemoryLimit(limit)
	said := func(string) (string, bool) { return "77", true }
	if got := boot.TuneMemory(said); got != 0 {
		t.Errorf("TuneMemory() = %d though GOMEMLIMIT is set, want 0", got)
	}
	if got := debug.SetGCPercent(percent); got != 77 {
		t.Errorf("garbage is collected at %d %%, want the 77 that the environment asks for", got)
	}
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("the memory limit is %d, want the %d that it was", got, limit)
	}

	silent := func(string) (string, bool) { return "", false }
	set := boot.TuneMemory(silent)
	if got := debug.SetGCPercent(percent); got != 200 {
		t.Errorf("garbage is collected at %d %%, want 200", got)
	}
	if got := debug.SetMemoryLimit(-1); set != 0 && got != set || set == 0 && got != limit {
		t.Errorf("the memory limit is %d, want %d (0: unchanged from %d)", got, set, limit)
	}
}

func TestFollowMemoryCollectsLargeHeapsSooner(t *testing.T) {
	percent := debug.SetGCPercent(200)
	defer debug.SetGCPercent(percent)
	boot.FollowMemory(func(string) (string, bool) { return "77", true })()
	if got := debug.SetGCPercent(200); got != 200 {
		t.Errorf("garbage is collected at %d %% though GOGC is set, want as before", got)
	}
	follow := boot.FollowMemory(func(string) (string, bool) { return "", false })
	large := make([]byte, 512<<20)
	runtime.GC()
	follow()
	if got := debug.SetGCPercent(200); got != 12 {
		t.Errorf("a heap of 512 MB is collected at %d %%, want 12", got)
	}
	runtime.KeepAlive(large)
}

func TestFollowMemoryGivesBackWhatATableTookBesideItself(t *testing.T) {
	percent := debug.SetGCPercent(200)
	defer debug.SetGCPercent(percent)
	follow := boot.FollowMemory(func(string) (string, bool) { return "", false })
	large := make([]byte, 256<<20)
	runtime.GC()
	runtime.KeepAlive(large)
	runtime.GC() // it is garbage now, and kept for what comes
	follow()     // much was made since the look before
	follow()
	free := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(free)
	if got := free[0].Value.Uint64(); got > 64<<20 {
		t.Errorf("%d bytes are kept from the system, want fewer than 64 MB", got)
	}
}
