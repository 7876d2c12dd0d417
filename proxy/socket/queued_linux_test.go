// SPDX-License-Identifier: Apache-2.0

package socket_test

import "golang.org/x/sys/unix"

// queued returns how many bytes the peer has not taken yet.
func queued(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 1
	}
	return n
}
