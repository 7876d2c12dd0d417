// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newEngine returns what moves the bytes of the run.
func newEngine(r *run, t target) (engine, error) {
	if t.tls != nil || t.addr.Addr().Zone() != "" {
		return newGoroutines(r, t), nil
	}
	return newPoller(r, t)
}

// poller is the engine for plaintext on Linux: one thread that waits for all
// connections by epoll. Its reads and writes never block, so Go's scheduler is
// not told of them; where it does wait, it is.
type poller struct {
	run     *run
	target  target
	address unix.Sockaddr
	epoll   int
	sockets []socket // by index of the connection
	events  []unix.EpollEvent
	buf     []byte
	made    uint32 // connections
	coarse  bool   // the kernel has no epoll_pwait2
}

// socket is one connection as it was opened.
type socket struct {
	fd         int
	generation int32  // tells events of this socket from those of the last
	connecting bool   // the outcome is awaited
	out        []byte // still to be sent, when there is room
}

// longestWait bounds one wait, so that the end of a context is noticed.
const longestWait = int64(20 * time.Millisecond)

// newPoller returns an engine for the run.
func newPoller(r *run, t target) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("load: %w", os.NewSyscallError("epoll_create1", err))
	}
	p := &poller{
		run: r, target: t, epoll: epoll, sockets: make([]socket, len(r.conns)),
		events: make([]unix.EpollEvent, 256), buf: make([]byte, 256<<10),
	}
	port := int(t.addr.Port())
	if a := t.addr.Addr(); a.Is4() {
		p.address = &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	} else {
		p.address = &unix.SockaddrInet6{Port: port, Addr: a.As16()}
	}
	for i := range p.sockets {
		p.sockets[i].fd = -1
	}
	r.net = p
	return p, nil
}

func (p *poller) drive(ctx context.Context, progress func(Progress)) (interrupted bool) {
	defer exactSleeps()()
	defer p.closeAll()
	r := p.run
	for {
		now := r.clock()
		if ctx.Err() != nil {
			interrupted = r.interrupt(now)
		}
		wake := r.turn(now)
		if r.phase == over {
			return interrupted
		}
		if report, due := r.report(now); due {
			progress(report)
		}
		n := p.wait(wake)
		for i := range p.events[:n] {
			p.event(&p.events[i])
			if r.due < never { // the schedule waits for no batch
				r.offer()
			}
		}
	}
}

// wait returns how many events there are, at the given time at the latest.
func (p *poller) wait(until int64) int {
	if n := p.poll(); n > 0 {
		return n
	}
	d := min(until-p.run.clock(), longestWait)
	if d <= 0 {
		return 0
	}
	if !p.coarse {
		// The kernel's own form of a timespec, whatever the word size.
		spec := [2]int64{0, d}
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&spec)), 0, 0)
		if errno == 0 {
			return int(n)
		}
		p.coarse = errno == unix.ENOSYS
		return 0
	}
	n, err := unix.EpollWait(p.epoll, p.events, int(d/int64(time.Millisecond)))
	if err != nil {
		return 0
	}
	return n
}

// poll returns how many events there are now.
func (p *poller) poll() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// event handles one event of one connection.
func (p *poller) event(e *unix.EpollEvent) {
	c := &p.run.conns[e.Fd] // what the field holds here is the index
	s := &p.sockets[e.Fd]
	if s.fd < 0 || s.generation != e.Pad {
		return // it was closed by an earlier event
	}
	if s.connecting {
		p.finishConnect(c, s)
		return
	}
	if e.Events&unix.EPOLLOUT != 0 {
		p.flush(c, s)
	}
	if e.Events&^unix.EPOLLOUT != 0 {
		p.read(c, s)
	}
}

// read reads once; what is left makes another event.
func (p *poller) read(c *conn, s *socket) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)), 0, 0, 0)
	now := p.run.clock()
	switch {
	case errno == unix.EAGAIN, errno == unix.EINTR:
	case errno != 0:
		p.run.ended(c, errno, now)
	case n == 0:
		p.run.ended(c, nil, now)
	default:
		p.run.received(c, p.buf[:n], now)
	}
}

func (p *poller) open(c *conn) (done bool, err error) {
	s := &p.sockets[c.index]
	if s.fd, err = p.socket(); err != nil {
		s.fd = -1
		return false, err
	}
	s.generation++
	err = unix.Connect(s.fd, p.address)
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EINTR) {
		// On one machine it is done by now, and costs no event.
		err = unix.Connect(s.fd, p.address)
	}
	switch {
	case err == nil, errors.Is(err, unix.EISCONN):
		err = p.watch(c.index, unix.EPOLL_CTL_ADD, unix.EPOLLIN)
		done = true
	case errors.Is(err, unix.EALREADY), errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EINTR):
		s.connecting = true
		err = p.watch(c.index, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
	}
	if err != nil {
		p.close(c)
		return false, os.NewSyscallError("connect", err)
	}
	return done, nil
}

// socket returns one that is ready to connect.
func (p *poller) socket() (fd int, err error) {
	family := unix.AF_INET6
	if p.target.addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if p.target.spread {
		// The port is chosen when connecting, so that it need only be free for
		// this target.
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		p.made++
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: p.target.local(p.made).As4()}); err != nil {
			_ = unix.Close(fd)
			return -1, os.NewSyscallError("bind", err)
		}
	}
	return fd, nil
}

// watch sets which events of a connection are told.
func (p *poller) watch(index, op int, events uint32) error {
	s := &p.sockets[index]
	e := unix.EpollEvent{Events: events, Fd: int32(index), Pad: s.generation}
	return unix.EpollCtl(p.epoll, op, s.fd, &e)
}

// finishConnect tells the run what became of connecting.
func (p *poller) finishConnect(c *conn, s *socket) {
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err == nil {
		err = p.watch(c.index, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
	}
	s.connecting = false
	if err != nil {
		p.close(c)
		p.run.openFailed(c, os.NewSyscallError("connect", err), p.run.clock())
		return
	}
	p.run.opened(c)
}

func (p *poller) send(c *conn, b []byte) {
	s := &p.sockets[c.index]
	if len(s.out) > 0 {
		s.out = append(slices.Clip(s.out), b...)
		return
	}
	if rest := p.write(s, b); len(rest) > 0 {
		s.out = rest
		_ = p.watch(c.index, unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLOUT)
	}
}

// flush sends what there was no room for.
func (p *poller) flush(c *conn, s *socket) {
	if s.out = p.write(s, s.out); len(s.out) == 0 {
		s.out = nil
		_ = p.watch(c.index, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
	}
}

// write sends as much of b as there is room for, and returns the rest. After
// an error there is none: the peer has ended the connection, and reading gets
// what it sent before that, and then the error.
func (p *poller) write(s *socket, b []byte) (rest []byte) {
	for len(b) > 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return b
		case errno != 0:
			if errno != unix.EPIPE && errno != unix.ECONNRESET {
				_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // so that reading ends
			}
			return nil
		default:
			p.run.tally.out += int64(n)
			b = b[n:]
		}
	}
	return nil
}

func (p *poller) close(c *conn) {
	s := &p.sockets[c.index]
	_ = unix.Close(s.fd)
	*s = socket{fd: -1, generation: s.generation}
}

// closeAll ends all connections and the loop.
func (p *poller) closeAll() {
	for i := range p.sockets {
		if p.sockets[i].fd >= 0 {
			p.close(&p.run.conns[i])
		}
	}
	_ = unix.Close(p.epoll)
}
