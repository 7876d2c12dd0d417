// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// by returns the target that speaks to the same instances in another way.
func by(p *upstream.Pool, t *upstream.Target, way upstream.Way) *upstream.Target {
	choosing := t.Choosing()
	choosing.Way = way
	return p.Balanced(t, choosing)
}

func TestAWayHasConnectionsOfItsOwn(t *testing.T) {
	p, _ := newPool(nil)
	o := listen(t)
	plain := o.target(p)
	proxied := by(p, plain, upstream.Way{Proxy: routing.ProxyV2})
	again := by(p, o.target(p), upstream.Way{Proxy: routing.ProxyV2})
	p.Retain([]*upstream.Target{plain, proxied, again})
	a, b := plain.Instances()[0], proxied.Instances()[0]
	if a == b || again.Instances()[0] != b {
		t.Error("two ways share an instance, or one way has two")
	}
	if a.ID() != b.ID() || a.String() != b.String() {
		t.Errorf("the instances are %v (%s) and %v (%s), want the same name", a, a.ID(), b, b.ID())
	}
	i := dial(t, a)
	a.Put(0, i, socket.Now(), time.Minute)
	if b.Get(0, socket.Now(), true) != nil {
		t.Error("a connection serves another way than that in which it was made")
	}

	var w upstream.Walk
	plain.Begin(&w, routingtest.NewRequest("GET", "shop.example", "/"), 0)
	w.Next()
	if a.InFlight() != 1 || b.InFlight() != 1 {
		t.Errorf("%d and %d exchanges are under way at the address, want 1: there is one server", a.InFlight(), b.InFlight())
	}
	w.End()

	own := dial(t, b)
	b.Put(0, own, socket.Now(), time.Minute)
	p.Retain([]*upstream.Target{plain})
	if own.Close() {
		t.Error("the idle connection of a way that nothing goes any more is open")
	}
	if a.Get(0, socket.Now(), true) == nil {
		t.Error("the connection of the way that stays is gone")
	}
	if fresh := by(p, plain, upstream.Way{Proxy: routing.ProxyV2}).Instances()[0]; fresh == b {
		t.Error("an instance that nothing led to comes back")
	}
}

func TestAnotherWayKeepsWhatIsKnownOfAnInstance(t *testing.T) {
	for _, tt := range []struct {
		name    string
		becomes outcome
		want    string // once it is spoken to in another way
	}{
		{"requests that failed eject it", resets, "82 10"},
		{"connections that could not be made do so no longer", refuses, "81 5, 82 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := watched(t, nil)
				w := routing.Watch{Ejection: routing.DefaultEjection(), SlowStart: time.Hour}
				target := lead(p, fixed("81", "82"), w, nil)
				for range 5 {
					request(t, target, "81", tt.becomes)
				}
				synctest.Wait()
				if got := shares(target, 10); got != "82 10" {
					t.Fatalf("shares before the change: %s", got)
				}
				target = by(p, target, upstream.Way{Proxy: routing.ProxyV1})
				p.Retain([]*upstream.Target{target})
				w.SlowStart = 0 // whoever comes back starts slowly
				choosing := target.Choosing()
				choosing.Watch = routing.PartOf(w)
				if got := shares(p.Balanced(target, choosing), 10); got != tt.want {
					t.Errorf("shares %s, want %s", got, tt.want)
				}
			})
		})
	}
}
