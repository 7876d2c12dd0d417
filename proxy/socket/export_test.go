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

// Divide divides bytes that arrive in pieces of n into records of TLS: how many
// there are, and whether the last one is whole.
func Divide(b []byte, n int) (records int, whole bool) {
	var w wire
	for len(b) > 0 {
		m := min(n, len(b))
		w.divide(b[:m])
		records += w.records
		w.records = 0
		b = b[m:]
	}
	return records, w.whole()
}
