// SPDX-License-Identifier: Apache-2.0

package socket

import "time"

// Sender writes to a connection on behalf of others than the goroutine that
// reads, which may be inside Loop. The zero Sender is ready once it was told of
// a connection; one goroutine uses it at a time.
type Sender struct {
	conn *Conn
	by   putter
}

// Over tells the sender which connection it writes to.
func (s *Sender) Over(c *Conn) { s.conn = c }

// Send writes all of b, and returns how much it did. The connection expires if
// the peer takes nothing for the time wait.
func (s *Sender) Send(b []byte, wait time.Duration) (int, error) {
	c := s.conn
	if c.layer != nil {
		return c.layer.write(b, wait)
	}
	c.stuck.Store(Now() + int64(wait))
	n, err := s.by.put(c, b)
	c.stuck.Store(0)
	return n, err
}
