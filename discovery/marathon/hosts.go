// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// lookAgain is how often the address of a host is asked for, and lookRetry
	// how often while there is none.
	lookAgain, lookRetry = time.Minute, 10 * time.Second
	// lookTimeout bounds a look-up, and how long instances wait for it.
	lookTimeout = 5 * time.Second
	// lookups bounds how many are under way, and round how many are waited for
	// before what they found is told.
	lookups, round = 32, 64
)

// hosts finds the addresses of hosts that have names, as agents may. The last
// good answer stays. All methods are safe for concurrent use.
type hosts struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	wake   chan struct{} // holds a token when there is news for run

	mu    sync.Mutex // guards known
	known map[string]hostEntry
}

// hostEntry is what is known of a host.
type hostEntry struct {
	addr  netip.Addr // invalid while there is none
	again time.Time  // when to ask
}

func newHosts(lookup func(context.Context, string) ([]netip.Addr, error)) *hosts {
	return &hosts{lookup: lookup, wake: make(chan struct{}, 1), known: make(map[string]hostEntry)}
}

// address returns the address of a host as far as it is known. It does not
// block; one that is asked for is looked up soon.
func (h *hosts) address(host string) (netip.Addr, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.known[host]
	if !ok {
		h.known[host] = hostEntry{}
		h.nudge()
	}
	return e.addr, e.addr.IsValid()
}

// nudge wakes run. A token that is there already says the same.
func (h *hosts) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// prepare looks up those of the hosts of which nothing is known, for as long as
// a look-up may take.
func (h *hosts) prepare(ctx context.Context, names []string) {
	h.mu.Lock()
	fresh := slices.DeleteFunc(slices.Clone(names), func(host string) bool {
		_, ok := h.known[host]
		return ok
	})
	h.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	h.find(ctx, fresh)
	h.nudge() // as it is known now when to ask again
}

// run asks again in time until ctx ends, and tells whenever an address is
// another one.
func (h *hosts) run(ctx context.Context, moved func(hosts map[string]bool)) {
	timer := time.NewTimer(lookRetry)
	defer timer.Stop()
	for {
		due, next := h.due(time.Now())
		if len(due) > 0 {
			if m := h.find(ctx, due); len(m) > 0 {
				moved(m)
			}
			continue
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-timer.C:
		}
	}
}

// due returns the hosts to ask for now, a round of them at most, or how long
// there are none. Those that have waited longest come first, after those that
// are new.
func (h *hosts) due(now time.Time) (due []string, next time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next = lookAgain
	for host, e := range h.known {
		if wait := e.again.Sub(now); wait > 0 {
			next = min(next, wait)
		} else {
			due = append(due, host)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return h.known[a].again.Compare(h.known[b].again) })
	return due[:min(len(due), round)], next
}

// find looks hosts up and returns those whose address is another one now.
func (h *hosts) find(ctx context.Context, names []string) map[string]bool {
	moved := make(map[string]bool)
	var g errgroup.Group
	g.SetLimit(lookups)
	for _, host := range names {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, lookTimeout)
			defer cancel()
			list, err := h.lookup(ctx, host)
			if err != nil {
				list = nil
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.note(host, list) {
				moved[host] = true
			}
			return nil
		})
	}
	_ = g.Wait() // they return no errors
	return moved
}

// note takes note of the addresses of a host, and reports whether another one
// of them counts now: the one that did, as long as it is there, or else the
// least, those of IPv4 first.
func (h *hosts) note(host string, list []netip.Addr) bool {
	e := h.known[host]
	if len(list) == 0 {
		e.again = time.Now().Add(lookRetry)
		h.known[host] = e
		return false
	}
	all := make([]netip.Addr, len(list))
	for i, a := range list {
		all[i] = a.Unmap()
	}
	before := e.addr
	if !slices.Contains(all, before) {
		e.addr = slices.MinFunc(all, netip.Addr.Compare) // by family first
	}
	e.again = time.Now().Add(lookAgain)
	h.known[host] = e
	return e.addr != before
}

// keep forgets all hosts but those.
func (h *hosts) keep(names map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for host := range h.known {
		if !names[host] {
			delete(h.known, host)
		}
	}
}

// addresses returns what is known, and recall takes what was.
func (h *hosts) addresses() map[string]netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[string]netip.Addr, len(h.known))
	for host, e := range h.known {
		if e.addr.IsValid() {
			all[host] = e.addr
		}
	}
	return all
}

// recall takes note of addresses that were known once.
func (h *hosts) recall(all map[string]netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for host, addr := range all {
		if _, ok := h.known[host]; !ok && addr.IsValid() {
			h.known[host] = hostEntry{addr: addr}
		}
	}
	h.nudge()
}
