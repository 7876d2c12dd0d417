// SPDX-License-Identifier: Apache-2.0

//go:build unix

package socket

import (
	"errors"
	"syscall"
)

// peekFD looks at what a read would find.
func peekFD(fd uintptr) int {
	var b [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return peekNothing
		case err != nil || n == 0:
			return peekEnded
		}
		return peekData
	}
}
