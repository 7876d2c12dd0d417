// SPDX-License-Identifier: Apache-2.0

package metrics

import "sync/atomic"

// TunnelEnd says how a tunnel ended.
type TunnelEnd uint8

// The ends of tunnels.
const (
	// TunnelClosed ended in order: both halves came to their end.
	TunnelClosed TunnelEnd = iota
	// TunnelClientGone was broken on the client's side.
	TunnelClientGone
	// TunnelInstanceGone was broken on the instance's side.
	TunnelInstanceGone
	// TunnelIdle stood still for too long.
	TunnelIdle
	// TunnelCut was ended by the proxy, whose drain was over.
	TunnelCut
	// TunnelEnds is the number of ends.
	TunnelEnds
)

// String returns the end as the label "end" shows it.
func (e TunnelEnd) String() string {
	return [...]string{"closed", "client_gone", "instance_gone", "idle", "cut"}[e]
}

// Tunnels counts the tunnels of one route. It is made by [Route.Tunnels]; its
// methods are safe for concurrent use.
type Tunnels struct {
	open    atomic.Int64
	ended   [TunnelEnds]atomic.Uint64
	in, out lines
}

// Tunnels returns the counts of the route's tunnels. They are made when they
// are first asked for, since most routes have none. A route is shown for as
// long as a tunnel of it is open, also when it is gone from the table.
func (t *Route) Tunnels() *Tunnels {
	if u := t.tunnels.Load(); u != nil {
		return u
	}
	u := new(Tunnels)
	u.in.init(int(t.mask) + 1)
	u.out.init(int(t.mask) + 1)
	t.tunnels.CompareAndSwap(nil, u)
	return t.tunnels.Load()
}

// Open counts that a tunnel was opened. One Close must follow.
func (u *Tunnels) Open() { u.open.Add(1) }

// Close counts how a tunnel ended.
func (u *Tunnels) Close(end TunnelEnd) {
	u.ended[end].Add(1)
	u.open.Add(-1)
}

// BytesIn counts bytes from a client, and BytesOut bytes to one, while the
// tunnel lives. Shards are as for [Gateway].
func (u *Tunnels) BytesIn(shard uint32, n int64) { u.in.add(shard, n) }

// BytesOut is described with BytesIn.
func (u *Tunnels) BytesOut(shard uint32, n int64) { u.out.add(shard, n) }

// TunnelTotals are the counts of a route's tunnels at one moment.
type TunnelTotals struct {
	Open              int64
	Ended             [TunnelEnds]uint64
	BytesIn, BytesOut int64
}

// ReadTunnels returns the counts of now, and whether the route ever had a
// tunnel.
func (t *Route) ReadTunnels() (to TunnelTotals, ever bool) {
	u := t.tunnels.Load()
	if u == nil {
		return to, false
	}
	to.Open = u.open.Load()
	for i := range u.ended {
		to.Ended[i] = u.ended[i].Load()
	}
	to.BytesIn, to.BytesOut = u.in.sum(), u.out.sum()
	return to, true
}

// tunneled reports whether a tunnel of the route is open.
func (t *Route) tunneled() bool {
	u := t.tunnels.Load()
	return u != nil && u.open.Load() > 0
}
