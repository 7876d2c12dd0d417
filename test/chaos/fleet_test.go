// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// fleet is the origins. It belongs to one goroutine.
type fleet struct {
	dir     string
	log     *events
	origins []*server
}

// server is one origin through all its processes.
type server struct {
	name, address, journal string
	cmd                    *exec.Cmd
	held                   io.Closer // its end tells the process that the tests are gone
	errors                 record
	ended                  chan error
}

func newFleet(ctx context.Context, dir string, log *events, ports []int) (*fleet, error) {
	f := &fleet{dir: dir, log: log}
	for i, port := range ports {
		name := "origin-" + strconv.Itoa(i)
		f.origins = append(f.origins, &server{
			name: name, address: "127.0.0.1:" + strconv.Itoa(port), journal: filepath.Join(dir, name),
		})
	}
	for _, s := range f.origins {
		if err := f.start(ctx, s); err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

// start starts a process and waits until it listens.
func (f *fleet) start(ctx context.Context, s *server) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), self)
	s.cmd.Env = append(os.Environ(), originName+"="+s.name, originAddress+"="+s.address, originJournal+"="+s.journal)
	s.cmd.Stderr = &s.errors
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.held, s.ended = in, make(chan error, 1)
	line, err := bufio.NewReader(out).ReadString('\n')
	cmd, ended := s.cmd, s.ended
	go func() { ended <- cmd.Wait() }()
	if err != nil {
		return fmt.Errorf("%s: %w: %w\n%s", s.name, err, <-s.ended, &s.errors)
	}
	f.log.add("%s: %s", s.name, line[:len(line)-1])
	return nil
}

// restart ends an origin, in order or at once, and starts it anew.
func (f *fleet) restart(ctx context.Context, s *server, sig syscall.Signal) error {
	f.log.add("%s: %v", s.name, sig)
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-s.ended:
		s.ended <- nil // close does not wait for what has ended
		if sig != syscall.SIGKILL && err != nil {
			return fmt.Errorf("%s: %w\n%s", s.name, err, &s.errors)
		}
	case <-late.C:
		return fmt.Errorf("%s has not ended within %v of %v", s.name, patience, sig)
	}
	_ = s.held.Close()
	return f.start(ctx, s)
}

// close ends all processes.
func (f *fleet) close() {
	for _, s := range f.origins {
		if s.cmd == nil || s.cmd.Process == nil {
			continue
		}
		_ = s.cmd.Process.Kill() // it may have ended
		if s.ended != nil {
			f.log.add("%s: %v", s.name, <-s.ended)
		}
	}
}

// acted returns how often each id was acted on.
func (f *fleet) acted() (map[uint64]int, error) {
	times := make(map[uint64]int)
	for _, s := range f.origins {
		b, err := os.ReadFile(s.journal)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for line := range bytes.Lines(b) {
			id, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			times[id]++
		}
	}
	return times, nil
}
