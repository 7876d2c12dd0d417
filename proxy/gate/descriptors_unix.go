// SPDX-License-Identifier: Apache-2.0

//go:build unix

package gate

import "golang.org/x/sys/unix"

// mostDescriptors is taken where the limit is higher, or none: a number of
// connections that is large for one process.
const mostDescriptors = 1 << 20

// descriptors returns how many descriptors this process may have open.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1 << 10 // the least that is usual
	}
	return int(min(uint64(l.Cur), mostDescriptors)) //nolint:unconvert // signed on some systems
}
