// SPDX-License-Identifier: Apache-2.0

package upstream

import "time"

// Aged makes an idle connection idle for d; a negative one keeps it fresh.
func (c *Conn) Aged(d time.Duration) {
	c.idleSince -= int64(d)
	c.idleUntil -= int64(d)
}

// Reap does what Run does every second.
func (p *Pool) Reap() { p.reap() }

// Names counts the names that are looked up or are addresses.
func (p *Pool) Names() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.names)
}
