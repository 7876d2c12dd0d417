// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"net/netip"
	"sync"
)

// addresses counts the connections of each network that has any.
type addresses struct {
	mu   sync.Mutex // guards open
	open map[netip.Addr]int
}

// network returns what stands for all addresses that one client may have:
// who is given an IPv6 network usually has all of its 64 lower bits.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a // no address at all
	}
	return p.Addr()
}

// enter counts one more, unless there are most already.
func (s *addresses) enter(a netip.Addr, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[a] >= most {
		return false
	}
	if s.open == nil {
		s.open = make(map[netip.Addr]int)
	}
	s.open[a]++
	return true
}

// leave counts one less. Nothing is kept of an address that has none.
func (s *addresses) leave(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[a]--; s.open[a] <= 0 {
		delete(s.open, a)
	}
}
