// SPDX-License-Identifier: Apache-2.0

package socket

import "golang.org/x/sys/unix"

// measureFD asks the kernel what moved over a connection (tcp(7), TCP_INFO).
func measureFD(fd uintptr) (m measure, ok bool) {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return m, false
	}
	return measure{
		received: info.Bytes_received,
		acked:    info.Bytes_acked,
		unread:   pendingFD(fd) > 0,
		unsent:   info.Unacked > 0 || info.Notsent_bytes > 0,
	}, true
}
