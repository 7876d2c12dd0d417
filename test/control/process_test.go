// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
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

// start runs the binary until the test ends, with before in front of it, such
// as what brings it into another network. A panic fails the test.
func start(t *testing.T, name, dir string, before []string, args ...string) *process {
	t.Helper()
	return startLine(t, name, dir, append(append(slices.Clip(before), program), args...))
}

// startLine runs a command as start does.
func startLine(t *testing.T, name, dir string, line []string) *process {
	t.Helper()
	p := &process{name: name, log: new(record), over: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.cmd = exec.CommandContext(ctx, line[0], line[1:]...)
	p.cmd.Dir = dir
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives tests that were cut
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.over)
	}()
	t.Cleanup(func() {
		cancel() // kills it if it has not ended
		<-p.over
		if text := p.log.String(); strings.Contains(text, "panic") {
			t.Errorf("%s had a panic:\n%s", name, text)
		} else if t.Failed() {
			t.Logf("%s wrote:\n%s", name, last(text, 6000))
		}
	})
	return p
}

// last returns the end of a text.
func last(text string, n int) string { return text[max(0, len(text)-n):] }

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%s: %v\n%s", p.name, err, p.log)
	}
}

// kill ends the process without a warning.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.over
}

// end ends the process in order.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
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
