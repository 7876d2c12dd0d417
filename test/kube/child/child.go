// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package child starts processes that end when the process which started them
// does, however that ends.
package child

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// job is a function for the thread, and where its error goes.
type job struct {
	f    func() error
	done chan error
}

// thread starts the goroutine that has a thread to itself, once, and returns
// what it takes jobs from. The kernel kills children when the thread that
// started them ends, and Go ends threads as it likes, unless they are locked.
var thread = sync.OnceValue(func() chan<- job {
	jobs := make(chan job)
	go func() {
		runtime.LockOSThread()
		for j := range jobs {
			j.done <- j.f()
		}
	}()
	return jobs
})

// Do runs f on the thread that starts children. What f changes of the thread
// it must change back.
func Do(f func() error) error {
	j := job{f, make(chan error, 1)}
	thread() <- j
	return <-j.done
}

// Prepare has cmd lead a process group of its own, which dies with this
// process if Do starts it.
func Prepare(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// Start starts cmd so that it dies with this process.
func Start(cmd *exec.Cmd) error {
	Prepare(cmd)
	return Do(cmd.Start)
}
