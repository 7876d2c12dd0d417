// SPDX-License-Identifier: Apache-2.0

package socket

// Ended reports whether the peer is known to have ended the connection, or
// whether it has expired. It may be called while nobody reads; an end behind
// bytes that were not read is not seen.
func (c *Conn) Ended() bool {
	if c.expired.Load() {
		return true
	}
	found := peekEnded
	if err := c.raw.Control(func(fd uintptr) { found = peekFD(fd) }); err != nil {
		return true
	}
	return found == peekEnded
}
