// SPDX-License-Identifier: Apache-2.0

package live

import (
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// Tunnel is a connection that changed its protocol, as observed after its
// exchange has ended, or one of a tcp gateway, as observed beside it. It holds on to no generation. Bytes may be counted by
// two goroutines, one for each direction.
type Tunnel struct {
	shard  uint32
	depth  int
	routes [routing.MaxDepth]*metrics.Tunnels // by hop
}

// Tunnel counts that a tunnel begins on the routes that the exchange took. One
// Close must follow.
func (x *Exchange) Tunnel() Tunnel {
	t := Tunnel{shard: x.shard}
	for _, r := range x.routes[:x.Decision.Depth] {
		if r != nil {
			t.routes[t.depth] = r.Tunnels()
			t.routes[t.depth].Open()
			t.depth++
		}
	}
	return t
}

// BytesIn counts bytes from the client.
func (t *Tunnel) BytesIn(n int64) {
	for _, r := range t.routes[:t.depth] {
		r.BytesIn(t.shard, n)
	}
}

// BytesOut counts bytes to the client.
func (t *Tunnel) BytesOut(n int64) {
	for _, r := range t.routes[:t.depth] {
		r.BytesOut(t.shard, n)
	}
}

// Close counts how the tunnel ended.
func (t *Tunnel) Close(end metrics.TunnelEnd) {
	for _, r := range t.routes[:t.depth] {
		r.Close(end)
	}
}
