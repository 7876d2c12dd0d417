// SPDX-License-Identifier: Apache-2.0

//go:build !linux || race

package socket

import "time"

// Splice moves exactly n bytes from src to c, inside the kernel where it can,
// and returns how many c took. Either side expires if it stands still for as
// long as wait. io.ErrUnexpectedEOF means that src ended before.
func (c *Conn) Splice(src *Conn, n int64, wait time.Duration) (int64, error) {
	return c.copyFrom(src, n, wait)
}
