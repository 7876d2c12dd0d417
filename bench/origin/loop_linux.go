// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"container/heap"
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bufferSize is how much is read at once. What is kept of earlier reads goes
// in front: an incomplete head or line, never more than a head may have.
const bufferSize = 256 << 10

// serve serves with one loop over epoll, on one thread. Its calls are not told
// to the scheduler but for the wait, and it allocates nothing for a request.
func serve(ctx context.Context, listeners []*net.TCPListener) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, err := newLoop(listeners)
	if err != nil {
		return err
	}
	defer l.close()
	stop := context.AfterFunc(ctx, l.wake)
	defer func() {
		if !stop() {
			<-l.woken // it may still be about to write to the descriptor
		}
	}()
	l.run()
	return nil
}

// loop serves all connections. Everything is level-triggered: what is left for
// later comes up again by itself.
type loop struct {
	epoll     int
	waker     int // becomes readable when run has to end
	woken     chan struct{}
	timer     int // becomes readable when the first deadline is over
	listeners []int
	paused    bool    // no descriptor was left, so connections wait
	conns     []*conn // by descriptor
	deadlines deadlines
	buf       []byte
	page      *page
	events    [512]unix.EpollEvent
}

// conn is a connection. What is not empty or zero of the fields in the middle
// says what it waits for.
type conn struct {
	fd     int
	x      exchange
	kept   []byte // read, and not taken yet
	events uint32 // that it waits for

	unsent []byte // of the last answer's head
	left   int64  // of the last answer's body
	last   bool   // nothing follows that answer
	// deadline is the end of a delay, or of lingering.
	deadline  time.Time
	lingering bool

	place int // in deadlines
}

func newLoop(listeners []*net.TCPListener) (l *loop, err error) {
	l = &loop{
		epoll: -1, waker: -1, timer: -1, woken: make(chan struct{}),
		buf: make([]byte, bufferSize), page: newPage(),
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if l.waker, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	for _, ln := range listeners {
		fd, err := own(ln)
		if err != nil {
			return nil, err
		}
		l.listeners = append(l.listeners, fd)
	}
	for _, fd := range append([]int{l.waker, l.timer}, l.listeners...) {
		if err := l.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return nil, os.NewSyscallError("epoll_ctl", err)
		}
	}
	return l, nil
}

// own returns a descriptor of a listening socket that the runtime's poller
// does not watch as well.
func own(ln *net.TCPListener) (fd int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return -1, err
	}
	err2 := raw.Control(func(s uintptr) {
		fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0)
		if err == nil { // accepted connections inherit it
			err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
	})
	if err := errors.Join(err, err2, ln.Close()); err != nil {
		return -1, err
	}
	return fd, nil
}

// close closes all that the loop has open.
func (l *loop) close() {
	for _, c := range l.conns {
		if c != nil {
			_ = unix.Close(c.fd)
		}
	}
	for _, fd := range append(l.listeners, l.epoll, l.waker, l.timer) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// wake lets run end. Anyone may call it, once.
func (l *loop) wake() {
	defer close(l.woken)
	_, _ = unix.Write(l.waker, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (l *loop) run() {
	for {
		n := l.wait()
		for i := range n {
			e := &l.events[i]
			switch fd := int(e.Fd); {
			case fd < len(l.conns) && l.conns[fd] != nil:
				l.serve(l.conns[fd], e.Events)
			case fd == l.waker:
				return
			case fd == l.timer:
				l.expire()
			default:
				l.accept(fd)
			}
		}
	}
}

// wait returns how many events there are. It looks without waiting first,
// since while there is work there is no need to tell the scheduler.
func (l *loop) wait() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(&l.events)), uintptr(len(l.events)), 0, 0, 0)
	if errno == 0 && n > 0 {
		return int(n)
	}
	waited, err := unix.EpollWait(l.epoll, l.events[:], -1)
	if err != nil { // a signal
		return 0
	}
	return waited
}

func (l *loop) watch(how, fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, how, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// accept takes all connections that wait at a listener.
func (l *loop) accept(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
			l.pause(true)
			return
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return
		}
		for fd >= len(l.conns) {
			l.conns = append(l.conns, make([]*conn, 1024)...)
		}
		l.conns[fd] = &conn{fd: fd, place: -1, events: unix.EPOLLIN}
		if err := l.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			l.end(l.conns[fd])
		}
	}
}

// pause stops to accept until a connection ends, or begins again. It cannot
// be left to the next look: there would be one at once.
func (l *loop) pause(on bool) {
	var events uint32
	if !on {
		events = unix.EPOLLIN
	}
	for _, fd := range l.listeners {
		_ = l.watch(unix.EPOLL_CTL_MOD, fd, events)
	}
	l.paused = on
}

// end closes a connection.
func (l *loop) end(c *conn) {
	l.deadlines.remove(c)
	l.conns[c.fd] = nil
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.fd), 0, 0)
	if l.paused {
		l.pause(false)
	}
}

// serve does what a connection is ready for.
func (l *loop) serve(c *conn, events uint32) {
	switch {
	case c.lingering:
		if n, errno := readFD(c.fd, l.buf); errno == 0 && n == 0 || errno != 0 && errno != unix.EAGAIN {
			l.end(c)
		}
	case !c.deadline.IsZero():
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			l.end(c)
		}
	case len(c.unsent) > 0 || c.left > 0:
		if l.flush(c) {
			l.take(c, c.kept)
		}
	default:
		l.read(c)
	}
}

// read reads once; if there is more, the connection comes up again.
func (l *loop) read(c *conn) {
	kept := copy(l.buf, c.kept)
	n, errno := readFD(c.fd, l.buf[kept:])
	switch {
	case errno == unix.EAGAIN, errno == unix.EINTR:
	case errno != 0, n == 0:
		l.end(c)
	default:
		l.take(c, l.buf[:kept+n])
	}
}

// take serves the requests that are there and keeps what is left. It stops
// where an answer has to wait.
func (l *loop) take(c *conn, in []byte) {
	for len(in) > 0 {
		n, do := c.x.next(in)
		in = in[n:]
		goOn := true
		switch do {
		case read:
			goOn = false
		case consent:
			c.unsent = append(c.unsent, proceed...)
			goOn = l.flush(c)
		case reply:
			goOn = l.reply(c)
		}
		if !goOn {
			break
		}
	}
	c.kept = append(c.kept[:0], in...)
}

// reply sends the answer, or as much as there is room for, or has it wait for
// its delay. It reports whether the next request may be looked at.
func (l *loop) reply(c *conn) bool {
	a := &c.x.answer
	if a.delay > 0 {
		l.schedule(c, a.delay)
		a.delay = 0
		l.want(c, 0)
		return false
	}
	b, head := l.page.frame(*a)
	n, errno := writeFD(c.fd, b)
	switch {
	case errno == unix.EAGAIN, errno == unix.EINTR:
		n = 0
	case errno != 0:
		l.end(c)
		return false
	case n == len(b) && a.body() <= pageBody && !a.close:
		return true
	}
	c.unsent = append(c.unsent, b[min(n, head):head]...)
	c.left = a.body() - int64(max(0, n-head))
	c.last = a.close
	return l.flush(c)
}

// flush sends what is left of an answer, waits for room if there is none, and
// ends the connection after its last answer. It reports whether the next
// request may be looked at.
func (l *loop) flush(c *conn) bool {
	for len(c.unsent) > 0 || c.left > 0 {
		b := c.unsent
		if len(b) == 0 {
			b = l.page.filler(c.left)
		}
		n, errno := writeFD(c.fd, b)
		switch {
		case errno == unix.EAGAIN:
			l.want(c, unix.EPOLLOUT)
			return false
		case errno == unix.EINTR:
		case errno != 0:
			l.end(c)
			return false
		case len(c.unsent) > 0:
			c.unsent = c.unsent[n:]
		default:
			c.left -= int64(n)
		}
	}
	switch {
	case c.last && c.x.answer.refused:
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
		c.lingering = true
		l.schedule(c, linger)
	case c.last:
		l.end(c)
		return false
	}
	l.want(c, unix.EPOLLIN)
	return !c.last
}

// want says what a connection waits for. That cannot fail for a descriptor
// which is watched already.
func (l *loop) want(c *conn, events uint32) {
	if c.events != events {
		c.events = events
		_ = l.watch(unix.EPOLL_CTL_MOD, c.fd, events)
	}
}

// schedule has a connection come up after a time.
func (l *loop) schedule(c *conn, after time.Duration) {
	c.deadline = time.Now().Add(after)
	heap.Push(&l.deadlines, c)
	l.arm()
}

// arm sets the timer to the first deadline.
func (l *loop) arm() {
	if len(l.deadlines) == 0 {
		return
	}
	until := max(1, time.Until(l.deadlines[0].deadline)) // zero would disarm it
	_ = unix.TimerfdSettime(l.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(until))}, nil)
}

// expire answers those whose delay is over, and closes those that lingered.
func (l *loop) expire() {
	_, _ = readFD(l.timer, make([]byte, 8))
	now := time.Now()
	for len(l.deadlines) > 0 && !l.deadlines[0].deadline.After(now) {
		c := l.deadlines[0]
		l.deadlines.remove(c)
		c.deadline = time.Time{}
		if c.lingering {
			l.end(c)
			continue
		}
		l.want(c, unix.EPOLLIN)
		if l.reply(c) {
			l.take(c, c.kept)
		}
	}
	l.arm()
}

// deadlines are the connections that wait for a time, as a heap: the one that
// comes first is the first.
type deadlines []*conn

func (d *deadlines) Len() int           { return len(*d) }
func (d *deadlines) Less(i, j int) bool { return (*d)[i].deadline.Before((*d)[j].deadline) }

func (d *deadlines) Swap(i, j int) {
	h := *d
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is for package heap.
func (d *deadlines) Push(x any) {
	c := x.(*conn)
	c.place = len(*d)
	*d = append(*d, c)
}

// Pop is for package heap.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	c := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	c.place = -1
	return c
}

func (d *deadlines) remove(c *conn) {
	if c.place >= 0 {
		heap.Remove(d, c.place)
	}
}

// readFD reads without telling the scheduler: the descriptor does not block.
func readFD(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

func writeFD(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
