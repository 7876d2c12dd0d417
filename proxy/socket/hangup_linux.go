// SPDX-License-Identifier: Apache-2.0

package socket

import "golang.org/x/sys/unix"

// peerFD looks which directions have ended, without waiting. The kernel tells
// of an end that stands behind bytes, too: only a look at these tells whether
// the peer still has something to say.
func peerFD(fd uintptr) Peer {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p[:], 0)
	switch found := p[0].Revents; {
	case err != nil || n != 1:
		return PeerStays
	case found&(unix.POLLHUP|unix.POLLERR) != 0:
		return PeerGone
	case found&unix.POLLRDHUP != 0 && peekFD(fd) == peekEnded:
		return PeerHalfClosed
	}
	return PeerStays
}

// endedFD looks whether the peer has ended its direction, be it behind bytes
// that were not read.
func endedFD(fd uintptr) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p[:], 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
