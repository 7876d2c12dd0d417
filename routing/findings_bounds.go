// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"time"
)

// What is found in limits and timeouts.
const (
	codeBoundNoEffect = "BoundWithoutEffect"
	codeBoundUnwise   = "BoundUnwise"
)

// longHead is a time for a head that lets clients hold connections for next to
// nothing.
const longHead = time.Minute

// bounds looks at the limits and timeouts of the gateway, then of its routes.
func (f *findings) bounds() {
	g := f.gateway
	asked := g.Asked
	own := &boundFindings{findings: f, at: asked.At, path: "sluice.", limits: asked.Limits.Value(), timeouts: asked.Timeouts.Value()}
	own.entry(&g.Entry)
	own.exchange(g.Bounds)
	for i, r := range asked.Routes {
		one := &boundFindings{findings: f, at: r.At, path: r.field("sluice."), limits: r.Limits.Value(), timeouts: r.Timeouts.Value()}
		one.exchange(g.Routes[i].Bounds)
	}
}

// boundFindings looks at what one gateway or route says.
type boundFindings struct {
	*findings
	at       Position
	path     string
	limits   Limits
	timeouts Timeouts
}

func (f *boundFindings) found(code, key, problem, allowed string) {
	f.all = append(f.all, &Fault{
		Code: code, At: f.at, Kind: kindGateways, Name: f.gateway.Name, Path: f.path + key,
		Problem: problem, Allowed: allowed, Severity: Warning,
	})
}

// entry looks at what holds before a route is known.
func (f *boundFindings) entry(e *Entry) {
	if f.limits.Target > int64(e.Head) {
		f.found(codeBoundNoEffect, "limits.target",
			fmt.Sprintf("a target of %s does not fit a head of %s", formatSize(f.limits.Target), formatSize(int64(e.Head))),
			"make limits.head larger, or limits.target smaller")
	}
	if f.timeouts.Head > longHead {
		f.found(codeBoundUnwise, "timeouts.head",
			"a client may hold a connection for "+formatTime(int64(f.timeouts.Head))+" by a few bytes",
			"heads of honest clients arrive within seconds; at most "+formatTime(int64(longHead))+" is wise")
	}
}

// exchange looks at what holds for exchanges.
func (f *boundFindings) exchange(b *Bounds) {
	t := f.timeouts
	for _, part := range []struct {
		key     string
		written time.Duration
		holds   time.Duration
	}{{"connect", t.Connect, b.Connect}, {"first_byte", t.FirstByte, b.FirstByte}, {"idle", t.Idle, b.Idle}, {"half_closed", t.HalfClosed, b.HalfClosed}} {
		if part.written != 0 && part.holds != Never && part.holds >= b.Total {
			f.found(codeBoundNoEffect, "timeouts."+part.key,
				fmt.Sprintf("%s is never reached: timeouts.total ends the exchange after %s", formatTime(int64(part.holds)), formatTime(int64(b.Total))),
				"make it shorter than total, or leave it out")
		}
	}
	if f.limits.MinRate == Any && b.Total == Never {
		f.found(codeBoundUnwise, "limits.min_rate",
			"clients may send and take content as slowly as they like: one byte within "+formatTime(int64(b.Idle))+" keeps a connection and an instance busy",
			"give a low rate, or timeouts.total")
	}
}
