// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package socket

import (
	"os"
	"syscall"
)

// putter writes to a connection whose reader is another goroutine, without
// telling the scheduler of each call, as net.Conn does. It belongs to one
// goroutine; the zero putter is ready.
type putter struct {
	b     []byte // not written yet
	errno syscall.Errno
	fn    func(uintptr) bool
}

// put writes all of b, and returns how much it did.
func (p *putter) put(c *Conn, b []byte) (int, error) {
	if !c.bare() {
		return c.writeOut(b, 0)
	}
	if p.fn == nil {
		p.fn = p.write
	}
	p.b, p.errno = b, 0
	err := c.raw.Write(p.fn)
	n := len(b) - len(p.b)
	p.b = nil
	switch {
	case err != nil:
		return n, c.translate(err)
	case p.errno != 0:
		return n, os.NewSyscallError("write", p.errno)
	}
	return n, nil
}

// write is the callback: it waits when the kernel takes no more.
func (p *putter) write(fd uintptr) bool {
	for len(p.b) > 0 {
		n, errno := writeFD(fd, p.b)
		switch errno {
		case 0:
			p.b = p.b[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			p.errno = errno
			return true
		}
	}
	return true
}
