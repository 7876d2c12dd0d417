// SPDX-License-Identifier: Apache-2.0

package socket

import "golang.org/x/sys/unix"

// hungUpFD looks whether both directions have ended, without waiting.
func hungUpFD(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p[:], 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// endedFD looks whether the peer has ended its direction, be it behind bytes
// that were not read.
func endedFD(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p[:], 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
