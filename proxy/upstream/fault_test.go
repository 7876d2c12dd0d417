// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// caught notes faults. It is safe for concurrent use.
type caught struct {
	mu  sync.Mutex // guards all
	all []string
}

func (c *caught) take(during string, fault any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fmt.Sprint(during, ": ", fault))
}

func (c *caught) first() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return ""
	}
	return c.all[0]
}

func TestAFaultInALookupIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c caught
		var faulty atomic.Bool
		faulty.Store(true)
		p, _ := newPool(func(o *upstream.Options) { o.Caught = c.take })
		p.SetFind(func(string) []netip.Addr {
			if faulty.Load() {
				panic("boom")
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		})
		runPool(t, p)
		target := p.Target("shop.test", 80)
		p.Settle(t.Context(), []*upstream.Target{target}) // which would wait for ever
		if target.LookupError() == nil || target.Usable() {
			t.Errorf("after a fault: error %v, usable %v", target.LookupError(), target.Usable())
		}
		if got, want := c.first(), "looking a name up: boom"; got != want {
			t.Errorf("caught %q, want %q", got, want)
		}
		faulty.Store(false)
		pass(10 * time.Second)
		if got := instances(target); got != "127.0.0.1:80" || target.LookupError() != nil {
			t.Errorf("after another look-up: instances %q, error %v", got, target.LookupError())
		}
		faulty.Store(true)
		pass(10 * time.Second)
		if got := instances(target); got != "127.0.0.1:80" || target.LookupError() == nil {
			t.Errorf("after another fault: instances %q, error %v; want the last good ones", got, target.LookupError())
		}
	})
}

func TestFaultsInChecksAreTakenNoteOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c caught
		p, w := watched(t, func(o *upstream.Options) { o.Caught = c.take })
		lead(p, fixed("81"), watch(), nil)
		w.hears("127.0.0.1:81", func(context.Context) error { panic("boom") })
		pass(10 * time.Second)
		if got, want := c.first(), "checking an instance: boom"; got != want {
			t.Errorf("caught %q, want %q", got, want)
		}
	})
}
