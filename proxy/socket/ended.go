// SPDX-License-Identifier: Apache-2.0

package socket

// Ended reports whether the peer is known to have ended the connection, or
// whether it has expired. It may be called while nobody reads; an end behind
// bytes that were not read is not seen, unless they can only be those by which
// TLS says that it comes.
func (c *Conn) Ended() bool {
	if c.expired.Load() {
		return true
	}
	if c.by != nil {
		return c.by.Peer() != PeerStays
	}
	found := peekEnded
	err := c.raw.Control(func(fd uintptr) {
		found = peekFD(fd)
		if c.layer != nil && found == peekData && pendingFD(fd) <= closureSize && endedFD(fd) {
			found = peekEnded
		}
	})
	return err != nil || found == peekEnded
}

// closureSize is the size of the longest record that holds a closure alert: the
// header, the explicit nonce of TLS 1.2, the alert, and the tag (RFC 5288
// section 3). No request fits one.
const closureSize = 5 + 8 + 2 + 16
