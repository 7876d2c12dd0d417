// SPDX-License-Identifier: Apache-2.0

package socket

import "time"

// Sender writes to a connection on behalf of others than the goroutine that
// reads, which may be inside Loop. The zero Sender is ready once it was told of
// a connection; one goroutine uses it at a time.
type Sender struct {
	conn *Conn
	by   putter
	once trier
}

// Over tells the sender which connection it writes to.
func (s *Sender) Over(c *Conn) { s.conn = c }

// Try writes what the kernel takes of b at once, and returns how much that is:
// nothing where it cannot be had without waiting, as over TLS.
func (s *Sender) Try(b []byte) (int, error) {
	if s.conn.layer != nil {
		return 0, nil
	}
	return s.once.try(s.conn, b)
}

// Send writes all of b, and returns how much it did. The connection expires if
// the peer takes nothing of it for the time wait.
func (s *Sender) Send(b []byte, wait time.Duration) (int, error) {
	c := s.conn
	if c.layer != nil {
		return c.layer.write(b, wait)
	}
	sent := 0
	for sent < len(b) {
		piece := b[sent:min(len(b), sent+pieceOfWrite)]
		c.stuck.Store(Now() + int64(wait))
		n, err := s.by.put(c, piece)
		c.stuck.Store(0)
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}
