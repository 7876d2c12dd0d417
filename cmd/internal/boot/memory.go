// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// collectAt is how much the heap grows, in percent, before it is collected.
	// Requests make no garbage, connections and changes of the table do: with
	// 200 instead of Go's 100 half as many collections find it. It costs at
	// most as much memory again as is in use, and a proxy uses little.
	collectAt = 200
	// useOfLimit is the part of the memory limit that the heap may take: the
	// rest is for what the collector does not count, such as the kernel's
	// buffers of the sockets.
	useOfLimit = 0.8
)

// TuneMemory sets when garbage is collected, unless the environment says so in
// GOGC, and collects more often near the memory limit of the process's control
// group, unless GOMEMLIMIT says where. lookup is os.LookupEnv, or what stands
// for it. It returns the limit in bytes, 0 if there is none.
func TuneMemory(lookup func(string) (string, bool)) (limit int64) {
	if _, said := lookup("GOGC"); !said {
		debug.SetGCPercent(collectAt)
	}
	if _, said := lookup("GOMEMLIMIT"); said {
		return 0
	}
	total, err := memlimit.FromCgroup()
	if err != nil || total == 0 || total > 1<<62 {
		return 0 // not in a group that has a limit
	}
	limit = int64(float64(total) * useOfLimit)
	debug.SetMemoryLimit(limit)
	return limit
}
