// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package socket

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// Loop reads from the connection and tells h, until h is done (nil), the peer
// ends (io.EOF), or the connection fails or expires. Inside it Read must not
// be called: the callback holds the read lock.
func (c *Conn) Loop(h Handler) error {
	if c.loopFn == nil {
		if c.by != nil {
			return c.carriedLoop(h)
		}
		c.loopFn = c.loop
	}
	if err := c.ready(); err != nil {
		return err
	}
	c.handler, c.err = h, nil
	defer c.leave() // after a panic, too
	err := c.raw.Read(c.loopFn)
	for err != nil && c.onlyWoken(err) {
		if err = nil; h.Woken() == Done {
			break
		}
		err = c.raw.Read(c.loopFn)
	}
	c.handler = nil
	if err != nil {
		return c.translate(err)
	}
	return c.err
}

// leave ends what may only be done inside a callback.
func (c *Conn) leave() {
	c.inside = false
	if c.layer != nil {
		c.layer.wire.inside = false
	}
}

// loop is the callback of Loop. Its first call must try a read: the edge of
// data that came with the accept may be wiped by the reset on entry.
func (c *Conn) loop(fd uintptr) bool {
	c.inside, c.fd = true, fd
	for {
		buf := c.handler.Buffer()
		n, errno := readFD(fd, buf)
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
		switch c.handler.Data(n) {
		case More:
		case Done:
			return true
		case Park:
			if n < len(buf) {
				// The end may have come together with the data, in one edge
				// that is used up: the sweep looks once.
				c.handler.Idle()
				if !c.suspect.Load() { // dearer to write than to read
					c.suspect.Store(true)
				}
				return false
			}
		}
	}
}

// RoundTrip sends out in one write and reads until h is done. The goroutine
// parks after the write without trying to read.
func (c *Conn) RoundTrip(out []byte, h Handler) error {
	if c.tripFn == nil {
		if c.by != nil {
			return c.carriedTrip(out, h)
		}
		c.tripFn = c.trip
	}
	if err := c.ready(); err != nil {
		return &WriteError{Err: err, Unsent: true}
	}
	c.handler, c.out, c.err = h, out, nil
	if c.layer != nil {
		defer c.leave()
	}
	err := c.raw.Read(c.tripFn)
	for err != nil && c.onlyWoken(err) {
		err = c.raw.Read(c.tripFn)
	}
	if c.out != nil { // it had expired before
		err = &WriteError{Err: c.translate(err), Unsent: true}
	}
	c.handler, c.out = nil, nil
	if err != nil {
		return c.translate(err)
	}
	return c.err
}

func (c *Conn) trip(fd uintptr) bool {
	if out := c.out; out != nil {
		c.out = nil
		n, errno := writeFD(fd, out)
		if errno == syscall.EAGAIN || errno == syscall.EINTR {
			n, errno = 0, 0
		}
		if errno != 0 {
			c.err = &WriteError{Err: os.NewSyscallError("write", errno), Unsent: true}
			return true
		}
		if n < len(out) {
			if m, err := c.tcp.Write(out[n:]); err != nil {
				c.err = &WriteError{Err: c.translate(err), Unsent: n+m == 0}
				return true
			}
		}
		return false
	}
	for {
		n, errno := readFD(fd, c.handler.Buffer())
		switch {
		case errno == syscall.EAGAIN:
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
		// A short read is not trusted to be the last one before the end: a
		// message cut short must not wait for its deadline.
		if c.handler.Data(n) == Done {
			return true
		}
	}
}

// write writes what the kernel takes at once, inside Loop, where the
// descriptor is at hand.
func (c *Conn) write(b []byte) (int, error) {
	if !c.inside {
		return 0, nil
	}
	n, errno := writeFD(c.fd, b)
	if errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR {
		return 0, os.NewSyscallError("write", errno)
	}
	return n, nil
}

// readFD reads without telling the scheduler: the descriptor does not block.
func readFD(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

func writeFD(fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
