// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// What is done each second is done for what serves, not for all that there is.
func TestInstancesThatServedNothingAreNotLookedAt(t *testing.T) {
	p, _ := swept(t, nil)
	expect := func(what string, want int) {
		t.Helper()
		if got := p.Served(); got != want {
			t.Errorf("%s: %d instances are looked at each second, want %d", what, got, want)
		}
	}
	o := listen(t)
	used, unused := o.target(p), p.Target("10.0.0.1", 80)
	expect("nothing served", 0)
	i := used.Instances()[0]
	var begun sync.WaitGroup
	for range 8 {
		c := dial(t, i)
		begun.Go(func() { i.Put(0, c, socket.Now(), time.Minute) })
	}
	begun.Wait()
	expect("one served several clients at once", 1)
	if n := p.Idle(); n != 8 {
		t.Errorf("%d connections are idle, want 8", n)
	}
	p.Retain([]*upstream.Target{used, unused})
	expect("the table is another one", 1)
	other := by(p, unused, upstream.Way{Proxy: routing.ProxyV2})
	expect("one is spoken to in a special way", 2)
	p.Retain([]*upstream.Target{other})
	expect("the first one is gone", 1)
	p.Retain(nil)
	expect("all are gone", 0)
}

func TestTargetsThatNobodyLooksAfterAreNotReviewed(t *testing.T) {
	p, _ := swept(t, nil)
	instance := func(n byte) *routing.Instance {
		return &routing.Instance{Address: netip.AddrFrom4([4]byte{10, 0, 0, n}), Port: 80, Ready: true}
	}
	c := upstream.Choosing{Watch: routing.PartOf(routing.Watch{Ejection: routing.DefaultEjection()})}
	one := p.FixedBalanced([]*routing.Instance{instance(1)}, nil, c)
	two := p.FixedBalanced([]*routing.Instance{instance(1), instance(2)}, nil, c)
	three := p.FixedBalanced([]*routing.Instance{instance(1), instance(2), instance(3)}, two, c)
	expect := func(what string, want int) {
		t.Helper()
		if got := p.ReviewedTargets(); got != want {
			t.Errorf("%s: %d targets are reviewed, want %d", what, got, want)
		}
	}
	expect("one comes in the place of another", 2)
	p.Retain([]*upstream.Target{one, three})
	expect("the other is gone", 1)
	p.Review()
	expect("after a review", 1)
	p.Retain([]*upstream.Target{one})
	expect("nobody is looked after", 0)
}
