// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"net/netip"
	"sync/atomic"
	"time"
	"unique"

	"github.com/sluice-mesh/sluice/proxy/balance"
	"github.com/sluice-mesh/sluice/routing"
)

// Target is what one route leads to, instances or what is behind a name, and how
// one of them is chosen. It is safe for concurrent use.
type Target struct {
	pool     *Pool
	name     *name                   // nil if it was made of instances
	choosing unique.Handle[Choosing] // without Route, so that it is shared
	route    string
	chosen   atomic.Pointer[chosen]
	turns    *balance.Turns // nil before there are several instances; guarded by Pool.mu
	record   *record        // nil before anybody looks after them; guarded by Pool.mu

	asked []*routing.Instance // what it was made of: those in use, in the order of Instances
	ready bool                // at least one of them is
}

// name is a host and port, and the addresses found behind it. Targets of
// several routes share it; which instances these are depends on how a route
// speaks to them.
type name struct {
	host    string
	port    uint16
	literal bool             // host is an address: nothing to look up
	looking bool             // a look-up is under way; guarded by Pool.mu
	at      []netip.AddrPort // each once; guarded by Pool.mu
	targets []*Target        // those that follow the addresses; guarded by Pool.mu
	lookup  atomic.Pointer[lookup]
	done    chan struct{} // closed when the first look-up has ended
}

// lookup is the outcome of the latest look-up.
type lookup struct {
	addrs []netip.Addr
	err   error
	until time.Time // when the next one is due
}

// Instances returns the present instances. The slice is not to be changed.
func (t *Target) Instances() []*Instance { return t.chosen.Load().instances }

// Named reports whether it leads to what is behind a host, and not to instances
// that it was made of.
func (t *Target) Named() bool { return t.name != nil }

// Choosing returns how an instance is chosen.
func (t *Target) Choosing() Choosing {
	c := t.choosing.Value()
	c.Route = t.route
	return c
}

// watch returns how the instances are looked after.
func (t *Target) watch() routing.Watch { return t.choosing.Value().Watch.Value() }

// Usable reports whether there is an instance that may be chosen: of fixed
// ones, one that is ready and has a weight.
func (t *Target) Usable() bool { return t.chosen.Load().set.Usable() }

// Well reports whether there is an instance that may be chosen and is not known
// to fail. Where too few are, those that fail may be chosen as well.
func (t *Target) Well() bool {
	c := t.chosen.Load()
	return c.usable && c.set.Usable()
}

// ByID returns the instance of that ID, nil if there is none.
func (t *Target) ByID(id string) *Instance {
	for _, i := range t.Instances() {
		if i.ID() == id {
			return i
		}
	}
	return nil
}

// ForKey returns the instance that serves a client's key, nil if there is
// none. Those that get nothing for now are passed over.
func (t *Target) ForKey(key uint64) (best *Instance) {
	var top uint64
	c := t.chosen.Load()
	for k, i := range c.instances {
		if c.out(k) {
			continue
		}
		if score := routing.KeyScore(key, i.ID()); best == nil || score > top {
			best, top = i, score
		}
	}
	return best
}

// LookupError returns why the latest look-up of the name failed, nil if it
// did not. The instances of the last good one stay.
func (t *Target) LookupError() error {
	if t.name == nil {
		return nil
	}
	if l := t.name.lookup.Load(); l != nil {
		return l.err
	}
	return nil
}
