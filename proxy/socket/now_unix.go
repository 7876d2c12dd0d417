// SPDX-License-Identifier: Apache-2.0

//go:build unix

package socket

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// readNow reads what is there, whatever the deadlines say.
func (c *Conn) readNow(b []byte) (n int, err error) {
	failed := c.raw.Control(func(fd uintptr) {
		for {
			n, err = syscall.Read(int(fd), b)
			if !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN):
		return 0, errAgain
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// writeNow writes what the kernel takes at once, whatever the deadlines say.
func (c *Conn) writeNow(b []byte) (n int) {
	// Nobody can be told of a failure.
	_ = c.raw.Control(func(fd uintptr) {
		for {
			var err error
			n, err = syscall.Write(int(fd), b)
			if !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	})
	return n
}
