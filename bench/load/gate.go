// SPDX-License-Identifier: Apache-2.0

package load

import "time"

// gate holds connecting back while the target refuses, so that it is tried now
// and then by one connection instead of all the time by all. The zero gate is
// open.
type gate struct {
	failing bool
	since   int64 // when the first attempt that failed began, in nanoseconds of the run
	pause   int64 // before the next attempt
	at      int64 // when that may be made
	probe   *conn // what makes it, nil: nothing yet
}

const (
	firstPause = int64(time.Millisecond)
	lastPause  = int64(100 * time.Millisecond)
)

// passes tells whether a connection may be tried now.
func (g *gate) passes(now int64) bool {
	return !g.failing || g.probe == nil && now >= g.at
}

// tries notes that c is tried.
func (g *gate) tries(c *conn) {
	if g.failing {
		g.probe = c
	}
}

// succeeded opens the gate.
func (g *gate) succeeded() { *g = gate{} }

// failed notes that c could not connect. Attempts that were on their way when
// the first one failed do not count.
func (g *gate) failed(c *conn, now int64) {
	switch {
	case !g.failing:
		*g = gate{failing: true, since: c.since, pause: firstPause}
	case g.probe == c:
		g.pause = min(2*g.pause, lastPause)
	default:
		return
	}
	g.probe, g.at = nil, now+g.pause
}
