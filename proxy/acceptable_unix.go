// SPDX-License-Identifier: Apache-2.0

//go:build unix

package proxy

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// acceptable reports whether a connection waits to be accepted.
func acceptable(ln *net.TCPListener) bool {
	raw, err := ln.SyscallConn()
	if err != nil {
		return false
	}
	ready := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(fds, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			ready = err == nil && n == 1 && fds[0].Revents&unix.POLLIN != 0
			return
		}
	})
	return err == nil && ready
}
