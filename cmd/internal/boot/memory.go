// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

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

const (
	// headroom is what a heap may always grow by before garbage is collected,
	// and leastGrowth in percent what a large one may: the table of a proxy can
	// take a hundred megabytes, of which next to nothing changes.
	headroom    = 8 << 20
	leastGrowth = 12
	// excess is how much more a heap may hold on to than it comes to between two
	// collections; beyond it memory is given back at once, which takes a
	// collection.
	excess = 8 << 20
	// That waits until little is made, as when a table was taken, but for no
	// more than patience looks.
	little   = 4 << 20
	patience = 5
	// It is done once in returnEvery, and after one that gave back less than
	// excess, which was in vain, twice as long later, up to returnLast.
	returnEvery = 15 * time.Second
	returnLast  = time.Hour
)

// FollowMemory returns a function that sets when garbage is collected by how
// much is in use, unless the environment says so in GOGC: a small heap grows as
// TuneMemory says, a large one by less. What is not in use, such as what a large
// table took beside itself when it came, is collected and given back to the
// system soon after. Call it about once a second. lookup is as that of
// TuneMemory.
func FollowMemory(lookup func(string) (string, bool)) func() {
	if _, said := lookup("GOGC"); said {
		return func() {}
	}
	var mu sync.Mutex // guards last and p
	last := collectAt
	p := pace{made: readUse().made}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		u := readUse()
		if next := growth(u.live); next != last {
			debug.SetGCPercent(next)
			last = next
		}
		if p.due(u, time.Now()) {
			debug.FreeOSMemory()
			p.returned(u, readUse(), time.Now())
		}
	}
}

// use is what a heap takes, in bytes.
type use struct {
	live    uint64 // as of the last collection
	objects uint64 // garbage included
	free    uint64 // kept from the system for what comes
	made    uint64 // all that was ever allocated
}

func readUse() use {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(s)
	return use{live: s[0].Value.Uint64(), objects: s[1].Value.Uint64(), free: s[2].Value.Uint64(), made: s[3].Value.Uint64()}
}

func (u use) total() uint64 { return u.objects + u.free }

// pace says when memory is given back. Its zero value has never seen any.
type pace struct {
	made uint64    // at the look before
	held uint64    // what was in use when memory was given back last
	seen int       // looks in a row that found too much
	next time.Time // before then nothing is given back
	wait time.Duration
}

// due reports whether so much is held beside what is in use that it is worth a
// collection now. What is in use is only known as of the last collection, and
// that may have been in the midst of a change; so it is not taken to be more
// than when memory was given back last.
func (p *pace) due(u use, now time.Time) bool {
	quiet := u.made-p.made < little
	p.made = u.made
	live := min(u.live, p.held)
	if now.Before(p.next) || u.total() <= usual(live)+excess {
		p.seen = 0
		return false
	}
	p.seen++
	return quiet || p.seen >= patience
}

// usual returns how much a heap comes to between two collections, of which so
// many bytes are in use: Go keeps a tenth of it beside, and gives the rest back
// by and by.
func usual(live uint64) uint64 {
	goal := live + live*uint64(growth(live))/100
	return goal + goal/10
}

// returned notes that memory was given back.
func (p *pace) returned(before, after use, now time.Time) {
	p.held, p.seen, p.made = after.live, 0, after.made
	if p.wait = min(max(2*p.wait, returnEvery), returnLast); after.total()+excess <= before.total() {
		p.wait = returnEvery
	}
	p.next = now.Add(p.wait)
}

// growth returns how much a heap may grow, in percent, of which so many bytes
// are in use.
func growth(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), leastGrowth), collectAt))
}
