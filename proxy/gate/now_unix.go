// SPDX-License-Identifier: Apache-2.0

//go:build unix

package gate

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// readNow reads what has arrived, and reports whether more may come.
func readNow(c *net.TCPConn, buf []byte) (n int, open bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Read(func(fd uintptr) bool {
		m, err := unix.Read(int(fd), buf)
		n = max(m, 0)
		open = n > 0 || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
		return true
	})
	return n, err == nil && open
}

// writeNow writes what the kernel takes at once.
func writeNow(c *net.TCPConn, b []byte) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	// A client that cannot be told is closed all the same.
	_ = raw.Write(func(fd uintptr) bool {
		_, _ = unix.Write(int(fd), b)
		return true
	})
}
