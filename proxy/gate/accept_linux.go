// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// TurnAway accepts one connection, if any waits, sends it the answer as far as
// the kernel takes that at once, and closes it. An empty answer is a reset. It
// does not block, and reports whether there was one.
func TurnAway(ln *net.TCPListener, answer []byte) bool {
	raw, err := ln.SyscallConn()
	if err != nil {
		return false
	}
	done := false
	err = raw.Control(func(fd uintptr) {
		nfd, _, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		for errors.Is(err, unix.EINTR) {
			nfd, _, err = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		}
		if err != nil {
			return
		}
		done = true
		dismissFD(nfd, answer)
	})
	return err == nil && done
}

// dismissFD sends a last answer on a descriptor and closes it. What the client
// has sent is read first: closing with bytes unread would be a reset, which
// may overtake the answer.
func dismissFD(fd int, answer []byte) {
	defer func() { _ = unix.Close(fd) }()
	if len(answer) == 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		return
	}
	buf := make([]byte, 4<<10)
	_, _ = unix.Read(fd, buf)
	_, _ = unix.Write(fd, answer)
	_ = unix.Shutdown(fd, unix.SHUT_WR)
}
