// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package socket

// readNow cannot look here: the next read finds out.
func (c *Conn) readNow([]byte) (int, error) { return 0, errAgain }

// writeNow cannot tell here whether it would wait.
func (c *Conn) writeNow([]byte) int { return 0 }
