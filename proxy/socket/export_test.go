// SPDX-License-Identifier: Apache-2.0

package socket

// Sweep looks at all connections as if it were the time now (see Now).
func (s *Sweeper) Sweep(now int64) { s.sweep(now) }

// Swept counts the connections that s looks at.
func (s *Sweeper) Swept() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for c := sh.head; c != nil; c = c.next {
			n++
		}
		sh.mu.Unlock()
	}
	return n
}

// Stuck reports whether a write waits until the peer takes something.
func (c *Conn) Stuck() bool { return c.stuck.Load() != 0 }
