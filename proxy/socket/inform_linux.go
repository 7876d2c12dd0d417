// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package socket

import (
	"encoding/binary"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inquiry is room for a read that also tells what is left: the arguments and
// results of recvmsg(2) with TCP_INQ.
type inquiry struct {
	message syscall.Msghdr
	vector  syscall.Iovec
	control [24]byte // a header of 16 bytes, and an int
}

// inform makes reads inside Loop tell what is left to be read, from its next
// call on: then a goroutine that has read all need not read once more to find
// that out. It reports whether they do. It must not be called inside the
// callback of Loop.
func (c *Conn) inform() bool {
	if !c.bare() {
		return false
	}
	err := os.ErrInvalid
	failed := c.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_INQ, 1) })
	if failed != nil || err != nil {
		return false
	}
	q := new(inquiry)
	c.loopFn = func(fd uintptr) bool { return c.informedLoop(fd, q) }
	return true
}

// informedLoop is loop, which parks as soon as nothing is left, and not after a
// read that finds nothing. The kernel says that something is left where an end
// has come, too. A reset that came together with data is not told: the sweep
// looks once, as after Park.
func (c *Conn) informedLoop(fd uintptr, q *inquiry) bool {
	c.inside, c.fd = true, fd
	for {
		buf := c.handler.Buffer()
		n, left, errno := q.read(fd, buf)
		switch {
		case errno == syscall.EAGAIN:
			c.handler.Idle()
			return false
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			c.err = os.NewSyscallError("read", errno)
			return true
		case n == 0:
			c.err = io.EOF
			return true
		}
		next := c.handler.Data(n)
		if next == Done {
			return true
		}
		if left == 0 {
			c.handler.Idle()
			if !c.suspect.Load() {
				c.suspect.Store(true)
			}
			return false
		}
	}
}

// read reads into b, which is not empty, and returns how much is left; more
// than 0 if that is not known.
func (q *inquiry) read(fd uintptr, b []byte) (n, left int, errno syscall.Errno) {
	q.vector.Base = unsafe.SliceData(b)
	q.vector.SetLen(len(b))
	q.message.Iov, q.message.Iovlen = &q.vector, 1
	q.message.Control = &q.control[0]
	q.message.SetControllen(len(q.control))
	r, _, e := syscall.RawSyscall(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&q.message)), 0)
	q.vector.Base = nil
	if e != 0 {
		return 0, 0, e
	}
	header := (*syscall.Cmsghdr)(unsafe.Pointer(&q.control))
	if int(q.message.Controllen) < syscall.CmsgLen(4) || header.Level != unix.IPPROTO_TCP || header.Type != unix.TCP_CM_INQ {
		return int(r), 1, 0
	}
	return int(r), int(int32(binary.NativeEndian.Uint32(q.control[syscall.CmsgLen(0):]))), 0
}
