// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is the binary, running.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *record
	over chan struct{} // closed when it has ended
	err  error         // what it ended with; read after over
}

// record keeps what is written. It is safe for concurrent use.
type record struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// start runs the binary until the test ends. A panic fails the test.
func start(t *testing.T, name, dir string, args ...string) *process {
	t.Helper()
	p := &process{name: name, log: new(record), over: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.cmd = exec.CommandContext(ctx, program, args...)
	p.cmd.Dir = dir
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives tests that were cut
	begun := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel kills it when the thread ends that started it
		err := p.cmd.Start()
		begun <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.over)
	}()
	if err := <-begun; err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel() // kills it if it has not ended
		<-p.over
		if text := p.log.String(); strings.Contains(text, "panic") {
			t.Errorf("%s had a panic:\n%s", name, text)
		} else if t.Failed() {
			t.Logf("%s wrote:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return p
}

// end ends the process in order.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, p.log)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.over:
		if p.err != nil {
			t.Errorf("%s ended with %v\n%s", p.name, p.err, p.log)
		}
	case <-late.C:
		t.Fatalf("%s has not ended within %v\n%s", p.name, patience, p.log)
	}
}

func (p *process) ended() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}
