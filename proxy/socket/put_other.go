// SPDX-License-Identifier: Apache-2.0

//go:build !linux || race

package socket

// putter writes to a connection whose reader is another goroutine.
type putter struct{}

// put writes all of b, and returns how much it did.
func (putter) put(c *Conn, b []byte) (int, error) { return c.writeOut(b, 0) }
