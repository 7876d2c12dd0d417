// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package socket

import (
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeSize is the size asked for: what one system call moves at most. A
// larger one makes the receiver wait longer for its first byte.
const pipeSize = 512 << 10

// splicer moves bytes between two sockets through a pipe, inside the kernel:
// splice(2). Its functions are made once, so that moving allocates nothing.
type splicer struct {
	in, out int // the ends of the pipe that are written to and read from
	size    int
	left    int64 // to be taken from the source
	held    int   // bytes in the pipe
	errno   syscall.Errno
	ended   bool // the source
	fillFn  func(uintptr) bool
	drainFn func(uintptr) bool
	dst     *Conn
	wait    int64
}

var splicers = sync.Pool{New: func() any { return newSplicer() }}

// newSplicer returns nil if no pipe can be had.
func newSplicer() *splicer {
	var fds [2]int
	if syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK) != nil {
		return nil
	}
	s := &splicer{out: fds[0], in: fds[1], size: 64 << 10}
	// Refused if the user's pipes hold too much already: the usual size then.
	if n, err := unix.FcntlInt(uintptr(s.in), unix.F_SETPIPE_SZ, pipeSize); err == nil {
		s.size = n
	}
	s.fillFn, s.drainFn = s.fill, s.drain
	runtime.SetFinalizer(s, (*splicer).close)
	return s
}

func (s *splicer) close() {
	_, _ = syscall.Close(s.in), syscall.Close(s.out)
}

// release gives an empty pipe back.
func (s *splicer) release() {
	s.dst = nil
	if s.held > 0 {
		runtime.SetFinalizer(s, nil)
		s.close()
		return
	}
	splicers.Put(s)
}

// Splice moves exactly n bytes from src to c, inside the kernel where it can,
// and returns how many c took. Either side expires if it stands still for as
// long as wait. io.ErrUnexpectedEOF means that src ended before.
func (c *Conn) Splice(src *Conn, n int64, wait time.Duration) (int64, error) {
	if !c.bare() || !src.bare() {
		return c.copyFrom(src, n, wait)
	}
	s, _ := splicers.Get().(*splicer)
	if s == nil {
		return c.copyFrom(src, n, wait)
	}
	defer s.release()
	s.left, s.held, s.ended, s.dst, s.wait = n, 0, false, c, int64(wait)
	moved := int64(0)
	for moved < n {
		src.Due(Now() + s.wait)
		err := s.take(src)
		src.Due(0)
		if err != nil {
			return moved, err
		}
		err = s.give()
		moved = n - s.left - int64(s.held)
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// take fills the pipe with what src has.
func (s *splicer) take(src *Conn) error {
	err := src.raw.Read(s.fillFn)
	for err != nil && src.onlyWoken(err) {
		err = src.raw.Read(s.fillFn)
	}
	switch {
	case err != nil:
		return src.translate(err)
	case s.errno != 0:
		return os.NewSyscallError("splice", s.errno)
	case s.ended:
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (s *splicer) fill(fd uintptr) bool {
	s.held, s.errno = spliceFD(int(fd), s.in, int(min(s.left, int64(s.size))), 0)
	if s.errno == syscall.EAGAIN {
		return false
	}
	s.ended = s.held == 0 && s.errno == 0
	s.left -= int64(s.held)
	return true
}

// give empties the pipe into the destination.
func (s *splicer) give() error {
	c := s.dst
	err := c.raw.Write(s.drainFn)
	if c.stuck.Load() != 0 {
		c.stuck.Store(0)
	}
	switch {
	case err != nil:
		return &SpliceError{c.translate(err)}
	case s.errno != 0:
		return &SpliceError{os.NewSyscallError("splice", s.errno)}
	}
	return nil
}

func (s *splicer) drain(fd uintptr) bool {
	for s.held > 0 {
		flags := 0
		if s.left > 0 {
			flags = unix.SPLICE_F_MORE
		}
		n, errno := spliceFD(s.out, int(fd), s.held, flags)
		if s.errno = errno; errno == syscall.EAGAIN {
			s.dst.stuck.Store(Now() + s.wait)
			return false
		}
		if errno != 0 {
			return true
		}
		s.held -= n
	}
	return true
}

// spliceFD moves up to n bytes without telling the scheduler: neither end
// blocks, and what a pipe holds is moved in some ten microseconds.
func spliceFD(from, to, n, flags int) (int, syscall.Errno) {
	const usual = unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MOVE
	for {
		m, _, e := syscall.RawSyscall6(syscall.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), uintptr(usual|flags))
		switch e {
		case 0:
			return int(m), 0
		case syscall.EINTR:
		default:
			return 0, e
		}
	}
}
