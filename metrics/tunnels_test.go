// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
)

func TestTunnelsAreCountedWhileTheyLive(t *testing.T) {
	r := metrics.New(metrics.Options{Shards: 4})
	route := r.Gateway("shop").Route("chat")
	if _, ever := route.ReadTunnels(); ever {
		t.Error("a route that never had a tunnel shows counts")
	}
	u := route.Tunnels()
	u.Open()
	u.Open()
	for shard := range uint32(8) {
		u.BytesIn(shard, 1)
		u.BytesOut(shard, 10)
	}
	want := metrics.TunnelTotals{Open: 2, BytesIn: 8, BytesOut: 80}
	if got, ever := route.ReadTunnels(); got != want || !ever {
		t.Errorf("while they live: %+v, want %+v", got, want)
	}
	u.Close(metrics.TunnelClosed)
	u.Close(metrics.TunnelCut)
	want.Open, want.Ended[metrics.TunnelClosed], want.Ended[metrics.TunnelCut] = 0, 1, 1
	if got, _ := route.ReadTunnels(); got != want {
		t.Errorf("afterwards: %+v, want %+v", got, want)
	}
	if route.Tunnels() != u {
		t.Error("a second asking makes other counts")
	}
}

func TestARouteWithOpenTunnelsStaysShown(t *testing.T) {
	r := metrics.New(metrics.Options{Linger: -1})
	gw := r.Gateway("shop")
	chat := gw.Route("chat")
	gw.Route("plain")
	chat.Tunnels().Open()
	r.Retain(nil)
	if gs := r.Gateways(); len(gs) != 1 || gs[0] != gw {
		t.Fatalf("gateways %v are shown, want the one with a tunnel", gs)
	}
	if routes := gw.Routes(); len(routes) != 1 || routes[0] != chat {
		t.Errorf("routes %v are shown, want the one with a tunnel", routes)
	}
	chat.Tunnels().Close(metrics.TunnelClosed)
	if gs := r.Gateways(); len(gs) != 0 {
		t.Errorf("%d gateways are shown after the tunnel has ended, want none", len(gs))
	}
}
