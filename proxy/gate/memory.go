// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"math"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
)

// The marks, in percent of the limit. A level is left again 5 % below the mark
// at which it began, so that it does not come and go with each collection.
const (
	tightAt   = 80
	shortAt   = 90
	leftBelow = 5
)

// watch looks at the memory once.
func (g *Gate) watch(ctx context.Context) {
	used, limit := g.o.Memory()
	was := g.Level()
	now := levelOf(used, limit, was)
	if now != was {
		g.state.Store(g.state.Load()&counting | uint32(now)) // nobody else writes it
		g.o.Log.WarnContext(ctx, "memory", "level", now.String(), "used", used, "limit", limit)
	}
	if now != Calm {
		g.o.Relieve()
	}
}

// levelOf returns the level at some use of memory. A limit of 0 is none.
func levelOf(used, limit uint64, was Level) Level {
	if limit == 0 {
		return Calm
	}
	percent := int(100 * (float64(used) / float64(limit)))
	mark := func(l Level, at int) int {
		if was >= l {
			return at - leftBelow
		}
		return at
	}
	switch {
	case percent >= mark(Short, shortAt):
		return Short
	case percent >= mark(Tight, tightAt):
		return Tight
	default:
		return Calm
	}
}

// Names of what the runtime counts.
const (
	memoryTotal    = "/memory/classes/total:bytes"
	memoryReleased = "/memory/classes/heap/released:bytes"
	memoryFree     = "/memory/classes/heap/free:bytes"
	memoryUnused   = "/memory/classes/heap/unused:bytes"
	memoryObjects  = "/memory/classes/heap/objects:bytes"
	memoryLive     = "/gc/heap/live:bytes"
)

// runtimeMemory returns a function that reads what no collection could give
// back, and the limit (see debug.SetMemoryLimit). Garbage does not count: the
// heap grows up to the limit before it is collected, and then there is less of
// it. What lives was counted by the last collection, and there is one before
// the heap has become three times as large.
func runtimeMemory() func() (used, limit uint64) {
	samples := []runtimemetrics.Sample{
		{Name: memoryTotal},
		{Name: memoryLive},
		{Name: memoryReleased},
		{Name: memoryFree},
		{Name: memoryUnused},
		{Name: memoryObjects},
	}
	return func() (used, limit uint64) {
		most := debug.SetMemoryLimit(-1)
		if most <= 0 || most == math.MaxInt64 {
			return 0, 0 // no limit: nothing to compare with
		}
		runtimemetrics.Read(samples)
		used = samples[0].Value.Uint64() + samples[1].Value.Uint64()
		for _, s := range samples[2:] {
			used -= min(used, s.Value.Uint64())
		}
		return used, uint64(most)
	}
}
