// SPDX-License-Identifier: Apache-2.0

//go:build unix

package socket

import (
	"errors"
	"io"
	"os"
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

// lookFD reads what is there and leaves it: 0 bytes if that is nothing.
func lookFD(fd uintptr, b []byte) (int, error) {
	for {
		n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, os.NewSyscallError("recvfrom", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
