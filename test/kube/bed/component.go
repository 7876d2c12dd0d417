// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/sluice-mesh/sluice/test/kube/child"
)

// component is one of the programs of the control plane.
type component struct {
	program string
	args    []string // the first says which program it is
	log     string

	mu    sync.Mutex // guards what follows
	cmd   *exec.Cmd  // nil if it does not run
	ended chan struct{}
}

// newComponent returns the component that program is with args, not started.
func newComponent(program, dir string, args ...string) *component {
	return &component{program: program, args: args, log: filepath.Join(dir, args[0]+".log")}
}

// start runs the component, which must not run.
func (c *component) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.program, c.args...) //nolint:noctx // it ends with the bed, not with a context
	cmd.Stdout, cmd.Stderr = log, log
	if err := child.Start(cmd); err != nil {
		return err
	}
	ended := make(chan struct{})
	c.cmd, c.ended = cmd, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // whoever misses the component reads its log
	}()
	return nil
}

// kill ends the component at once and waits until it has ended. One that does
// not run is left alone.
func (c *component) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill()
	<-c.ended
	c.cmd = nil
}

// signal sends s to the component.
func (c *component) signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return os.ErrProcessDone
	}
	return c.cmd.Process.Signal(s)
}

// gone is closed when the run that start began last has ended.
func (c *component) gone() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// runs reports whether the component was started and not killed since.
func (c *component) runs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cmd != nil
}
