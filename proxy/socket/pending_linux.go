// SPDX-License-Identifier: Apache-2.0

package socket

import "golang.org/x/sys/unix"

// pendingFD returns how many bytes wait in the kernel.
func pendingFD(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
