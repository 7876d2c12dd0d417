// SPDX-License-Identifier: Apache-2.0

//go:build !linux || race

package socket

// inform makes reads inside Loop tell what is left to be read, where the kernel
// can tell it.
func (c *Conn) inform() bool { return false }
