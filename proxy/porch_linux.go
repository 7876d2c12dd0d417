// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// porch waits for the next connection at all listeners to which none come, in
// one goroutine: ten thousand of them would have stacks of 20 MB otherwise. A
// listener whose connection comes gets a goroutine of its own, which accepts
// as if there were no porch, for as long as more of them come. The zero porch
// is ready to use.
type porch struct {
	awake time.Duration // in place of awakeFor, unless it is zero

	mu     sync.Mutex // guards all below
	poll   *os.File   // an epoll; nil before the first listener, and at the end
	closed bool
	inside map[int32]*listener // by descriptor, those that are awake included
}

// armed has one readiness told, then none until it is set again.
const armed = unix.EPOLLIN | unix.EPOLLONESHOT

// enter has the porch wait for a connection of l, and reports whether it does.
func (p *porch) enter(l *listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open() {
		return false
	}
	fd, err := p.control(l, unix.EPOLL_CTL_ADD)
	if err != nil {
		return false
	}
	p.inside[fd] = l
	return true
}

// again has the porch wait once more, and reports whether it does.
func (p *porch) again(l *listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.control(l, unix.EPOLL_CTL_MOD)
	return err == nil
}

// leave ends what enter began, if it did.
func (p *porch) leave(l *listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd, err := p.control(l, unix.EPOLL_CTL_DEL); err == nil {
		delete(p.inside, fd)
	}
}

// open makes the epoll unless there is one, or there could be none: then none
// is made later, of which run would not know. The mutex is held.
func (p *porch) open() bool {
	if p.poll != nil || p.closed {
		return !p.closed
	}
	p.closed = true
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	err = unix.SetNonblock(fd, true) // so that who reads it parks
	poll := os.NewFile(uintptr(fd), "epoll")
	if err != nil || poll.SetReadDeadline(time.Time{}) != nil {
		_ = poll.Close()
		return false
	}
	p.poll, p.inside, p.closed = poll, make(map[int32]*listener), false
	return true
}

// control changes what is waited for at l. The mutex is held.
func (p *porch) control(l *listener, op int) (fd int32, err error) {
	if p.poll == nil {
		return 0, os.ErrClosed
	}
	poll, err := p.poll.SyscallConn()
	if err != nil {
		return 0, err
	}
	raw, err := l.ln.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	outer := poll.Control(func(epoll uintptr) {
		err = raw.Control(func(s uintptr) {
			fd = int32(s)
			failed = unix.EpollCtl(int(epoll), op, int(s), &unix.EpollEvent{Events: armed, Fd: fd})
		})
	})
	return fd, errors.Join(outer, err, failed)
}

// run calls wake for listeners whose connections have come, until ctx ends.
func (p *porch) run(ctx context.Context, wake func(*listener)) {
	p.mu.Lock()
	open, poll := p.open(), p.poll
	p.mu.Unlock()
	if !open {
		<-ctx.Done() // none is inside
		return
	}
	raw, err := poll.SyscallConn()
	if err != nil {
		return // it is closed
	}
	defer context.AfterFunc(ctx, func() { _ = poll.SetReadDeadline(time.Unix(1, 0)) })()
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := ready(raw, events)
		if err != nil {
			return // by the deadline
		}
		for _, e := range events[:n] {
			p.mu.Lock()
			l := p.inside[e.Fd]
			p.mu.Unlock()
			if l != nil {
				wake(l)
			}
		}
	}
}

// ready waits for events.
func ready(raw syscall.RawConn, events []unix.EpollEvent) (n int, err error) {
	err = raw.Read(func(fd uintptr) bool {
		n, _ = unix.EpollWait(int(fd), events, 0) // an interrupted one is repeated
		return n != 0
	})
	return max(n, 0), err
}

// close lets go of what the porch has. All listeners were paused.
func (p *porch) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.poll != nil {
		_ = p.poll.Close()
		p.poll = nil
	}
}
