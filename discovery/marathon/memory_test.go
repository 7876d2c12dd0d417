// SPDX-License-Identifier: Apache-2.0

//go:build !race

package marathon

import (
	"runtime"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

// TestMemoryOfALargeCluster bounds what 20,000 tasks take as they are known,
// with their instances and what is remembered of them.
func TestMemoryOfALargeCluster(t *testing.T) {
	answer := large(5000)
	before := inUse()
	apps := read(t, answer)
	known := inUse()
	c := newCluster(translateOptions{})
	told := make(map[string][]*routing.Instance, len(apps))
	n := 0
	for id, a := range apps {
		list, faults := c.instances(a, noon)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		told[id] = list
		n += len(list)
	}
	after := inUse()
	t.Logf("%d bytes of JSON; apps and tasks %.1f MB, instances and memory %.1f MB", len(answer), float64(known-before)/1e6, float64(after-known)/1e6)
	if n != 20_000 {
		t.Fatalf("there are %d instances, want 20000", n)
	}
	if known-before > 10e6 || after-known > 12e6 {
		t.Errorf("20,000 tasks take %d bytes, and their instances %d", known-before, after-known)
	}
	runtime.KeepAlive(answer)
	runtime.KeepAlive(apps)
	runtime.KeepAlive(told)
	runtime.KeepAlive(c)
}

// inUse returns the bytes of the heap that are in use.
func inUse() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
