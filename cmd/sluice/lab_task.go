// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/shop"
	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// maxBoot bounds how long a task of the lab may take to start.
const maxBoot = 10 * time.Minute

// processes runs the tasks of the lab's Marathon: each is a process of its own,
// of this program, that serves the shop in the version of the task's image. The
// app's environment says by BOOT how long it takes until it listens.
type processes struct{}

// Start starts the process of a task. What it is told are its arguments: the
// environment of an app could ask anything of a process.
func (processes) Start(l marathontest.Launch) (marathontest.Process, error) {
	boot, err := time.ParseDuration(cmp.Or(l.Env["BOOT"], "0s"))
	if err != nil || boot < 0 || boot > maxBoot {
		return nil, fmt.Errorf("BOOT: %q is not how long a task takes to start; 0s to %s", l.Env["BOOT"], maxBoot)
	}
	ports, err := taskPorts(l)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{os.Args[0], "lab", "task", "--version=" + versionOf(l.Image), "--boot=" + boot.String()}
	for _, port := range ports {
		args = append(args, "--listen="+net.JoinHostPort(l.Address, strconv.Itoa(port)))
	}
	p := &taskProcess{ports: ports, done: make(chan struct{})}
	p.cmd = &exec.Cmd{Path: self, Args: args, Env: []string{"GORACE=" + os.Getenv("GORACE")}}
	// The task ends when this pipe does, which it does with this process however
	// that ends.
	if p.life, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait() // ends with the process, which Stop ends
	return p, nil
}

// taskPorts returns the ports that a task is to listen on, with free ones in
// place of zeroes.
func taskPorts(l marathontest.Launch) ([]int, error) {
	ports := make([]int, len(l.Ports))
	missing := 0
	for i, port := range l.Ports {
		if ports[i] = port; port == 0 {
			missing++
		}
	}
	if missing == 0 {
		return ports, nil
	}
	free, err := freePorts(context.Background(), l.Address, missing)
	if err != nil {
		return nil, err
	}
	for i, port := range ports {
		if port == 0 {
			ports[i], free = free[0], free[1:]
		}
	}
	return ports, nil
}

// versionOf is the tag of an image.
func versionOf(image string) string {
	if _, tag, ok := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":"); ok {
		return tag
	}
	return "latest"
}

// taskProcess is a task that runs.
type taskProcess struct {
	cmd   *exec.Cmd
	ports []int
	life  io.Closer
	stop  sync.Once
	done  chan struct{}
}

func (p *taskProcess) wait() {
	_ = p.cmd.Wait() // how it ended is of no matter
	close(p.done)
}

// Ports are those that it listens on once it has started.
func (p *taskProcess) Ports() []int { return p.ports }

// Done is closed when it has ended.
func (p *taskProcess) Done() <-chan struct{} { return p.done }

// stopTime is how long a task may take to end before it is killed.
const stopTime = 15 * time.Second

// Stop has the task let requests in flight end.
func (p *taskProcess) Stop() {
	p.stop.Do(func() {
		_ = p.life.Close()
		late := time.NewTimer(stopTime)
		defer late.Stop()
		select {
		case <-p.done:
		case <-late.C:
			_ = p.cmd.Process.Kill()
		}
	})
	<-p.done
}

// taskFlags are the flags of the task of a lab.
type taskFlags struct {
	version   string
	boot      time.Duration
	addresses []string
}

// newLabTask returns the verb that is a task of the lab. It is for the lab alone.
func newLabTask() *cobra.Command {
	var f taskFlags
	cmd := &cobra.Command{
		Use: "task", Short: "Be a task of the lab's Marathon, until standard input ends", Hidden: true,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.InOrStdin()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.version, "version", "", "version that it serves")
	flags.DurationVar(&f.boot, "boot", 0, "how long it takes until it listens")
	flags.StringArrayVar(&f.addresses, "listen", nil, "address to listen on; may be repeated")
	return cmd
}

// run serves until standard input ends. A terminal's signals go to all processes
// in it, and are for the lab to follow.
func (f *taskFlags) run(ctx context.Context, stdin io.Reader) error {
	signal.Ignore(os.Interrupt, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the process at the latest
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	booted := time.NewTimer(f.boot)
	defer booted.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-booted.C:
	}
	one := shop.One{Version: f.version, Name: strconv.Itoa(os.Getpid()), Addresses: f.addresses}
	if len(f.addresses) == 0 { // an app without ports
		<-ctx.Done()
		return nil
	}
	return one.Run(ctx)
}
