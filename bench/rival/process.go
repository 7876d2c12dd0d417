// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a program that was started. Its methods may be called by several
// goroutines at once.
type Process struct {
	Name    string // of its kind
	Version string // as Kind.Available tells it
	Address string // HOST:PORT that it answers on
	// TLS is what clients connect with: each connection with a whole handshake.
	// It is nil where TLS is not spoken, and must not be changed.
	TLS *tls.Config

	h2   bool // clients speak HTTP/2
	cmd  *exec.Cmd
	log  string // path
	done chan struct{}
	err  error // what it ended with; read after done
}

// PID returns the number of the process, the parent of all others it has.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// CPUTime returns the processor time, of user and system, that the process
// and its children have used, by the clocks that Linux keeps for each process:
// they count nanoseconds, also of threads that have ended. Children that have
// ended do not count. Other systems than Linux have an error.
func (p *Process) CPUTime() (time.Duration, error) {
	var sum time.Duration
	err := p.each(func(pid int) error {
		used, err := cpuTime(pid)
		sum += used
		return err
	})
	return sum, err
}

// Memory returns the bytes of memory that the process and its children hold:
// the sum of their resident set sizes, in which what they share counts more
// than once. Other systems than Linux have an error.
func (p *Process) Memory() (int64, error) {
	var sum int64
	err := p.each(func(pid int) error {
		held, err := residentSize(pid)
		sum += held
		return err
	})
	return sum, err
}

// each calls do for the process and its children.
func (p *Process) each(do func(pid int) error) error {
	if p.ended() {
		return fmt.Errorf("%s has ended: %w", p.Name, p.ending())
	}
	pids, err := tree(p.PID())
	for _, pid := range pids {
		err = errors.Join(err, do(pid))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ending returns what the process ended with. It is called after done.
func (p *Process) ending() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// Stop asks the process to end, ends it after five seconds, and waits for its
// end. It returns why the process had ended before, if it had.
func (p *Process) Stop() error {
	if p.ended() {
		return fmt.Errorf("%s had ended: %w", p.Name, p.ending())
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may just have ended
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return nil
}

// CPUs returns how many processors this process could use when it started.
func CPUs() int { return runtime.NumCPU() }
