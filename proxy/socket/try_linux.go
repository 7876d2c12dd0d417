// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package socket

import (
	"os"
	"syscall"
)

// trier writes without waiting. It belongs to one goroutine at a time; the zero
// trier is ready.
type trier struct {
	b     []byte
	n     int
	errno syscall.Errno
	fn    func(uintptr) bool
}

// try writes what the kernel takes of b at once.
func (t *trier) try(c *Conn, b []byte) (int, error) {
	if t.fn == nil {
		t.fn = t.write
	}
	t.b, t.n, t.errno = b, 0, 0
	err := c.raw.Write(t.fn)
	t.b = nil
	switch {
	case err != nil:
		return 0, c.translate(err)
	case t.errno != 0:
		return 0, os.NewSyscallError("write", t.errno)
	}
	return t.n, nil
}

// write is the callback. It never waits.
func (t *trier) write(fd uintptr) bool {
	for {
		n, errno := writeFD(fd, t.b)
		switch errno {
		case 0:
			t.n = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			t.errno = errno
		}
		return true
	}
}
