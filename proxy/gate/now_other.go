// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package gate

import (
	"net"
	"time"
)

// readNow reads what has arrived, and reports whether more may come. A
// millisecond stands for no wait, which cannot be asked for here.
func readNow(c *net.TCPConn, buf []byte) (n int, open bool) {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	n, err := c.Read(buf)
	timeout, ok := err.(net.Error)
	return n, err == nil || ok && timeout.Timeout()
}

// writeNow writes what the kernel takes at once.
func writeNow(c *net.TCPConn, b []byte) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
	_, _ = c.Write(b)
}
