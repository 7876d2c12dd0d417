// SPDX-License-Identifier: Apache-2.0

package rival_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-mesh/sluice/bench/rival"
)

// patience bounds how long a test waits for the end of a process. It is only
// used up where something is wrong.
const patience = time.Minute

// watch returns a function that checks that a process and all below it end.
func watch(t *testing.T, p *rival.Process) func() {
	t.Helper()
	pids, err := p.Tree()
	if err != nil {
		t.Fatal(err)
	}
	return watchAll(t, pids)
}

func watchAll(t *testing.T, pids []int) func() {
	t.Helper()
	var fds []unix.PollFd
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("pidfd_open %d: %v", pid, err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return func() {
		t.Helper()
		until := time.Now().Add(patience)
		for i := range fds {
			for {
				n, err := unix.Poll(fds[i:i+1], int(time.Until(until).Milliseconds()))
				if err == unix.EINTR {
					continue
				}
				if err != nil || n == 0 {
					t.Errorf("process %d is left, %v", pids[i], err)
				}
				break
			}
		}
	}
}

// processors returns on how many processors each thread of a process may run,
// and on which one it may run for sure.
func processors(t *testing.T, p *rival.Process) (threads int, cpus []int) {
	t.Helper()
	pids, err := p.Tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			var set unix.CPUSet
			if err := unix.SchedGetaffinity(tid, &set); err != nil {
				t.Fatal(err)
			}
			threads++
			for cpu := range 1024 {
				if set.IsSet(cpu) && !slices.Contains(cpus, cpu) {
					cpus = append(cpus, cpu)
				}
			}
		}
	}
	slices.Sort(cpus)
	return threads, cpus
}

func TestAllThreadsArePinned(t *testing.T) {
	t.Parallel()
	allowed, err := rival.AllowedCPUs()
	if err != nil || len(allowed) != rival.CPUs() {
		t.Fatalf("AllowedCPUs() = %v, %v, want %d of them", allowed, err, rival.CPUs())
	}
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			var in instances
			o := options(t, in.start(t)...)
			o.CPU = allowed[len(allowed)-1]
			p := start(t, k, o)
			if threads, cpus := processors(t, p); !slices.Equal(cpus, []int{o.CPU}) {
				t.Errorf("%d threads may run on %v, want %d", threads, cpus, o.CPU)
			}
			now, err := rival.AllowedCPUs()
			if err != nil || !slices.Equal(now, allowed) {
				t.Errorf("this process may run on %v, %v after the start, want %v", now, err, allowed)
			}
		})
	}
}

func TestPinMovesAllThreads(t *testing.T) {
	allowed, err := rival.AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	var in instances
	p := start(t, find(t, "sluice"), options(t, in.start(t)...))
	if threads, cpus := processors(t, p); threads < 2 || !slices.Equal(cpus, allowed) {
		t.Fatalf("%d threads may run on %v before, want some and %v", threads, cpus, allowed)
	}
	for _, cpu := range allowed {
		if err := rival.Pin(p.PID(), cpu); err != nil {
			t.Fatal(err)
		}
		if _, cpus := processors(t, p); !slices.Equal(cpus, []int{cpu}) {
			t.Errorf("after Pin(%d) it may run on %v", cpu, cpus)
		}
	}
}

func TestPinRefuses(t *testing.T) {
	if err := rival.Pin(1<<22+1, 0); err == nil {
		t.Error("Pin() of no process = nil, want an error")
	}
	if err := rival.Pin(os.Getpid(), 1023); err == nil {
		t.Error("Pin() to no processor = nil, want an error")
	}
}

// orphaning names the program that this process is to start and then wait to
// be killed, instead of running tests.
const orphaning = "RIVAL_TEST_ORPHANING"

func startAndWait() error {
	k, err := rival.Find(os.Getenv(orphaning))
	if err != nil {
		return err
	}
	o := rival.Options{Dir: os.Args[1], Sluice: os.Args[2], Origins: os.Args[3:], CPU: -1}
	p, err := rival.Start(context.Background(), k, o)
	if err != nil {
		return err
	}
	pids, err := p.Tree()
	if err != nil {
		return err
	}
	fmt.Println(strings.Trim(fmt.Sprint(pids), "[]"))
	select {}
}

// What is started does not outlive who started it, whatever ends that.
func TestTheEndOfTheParentLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			var in instances
			args := append([]string{t.TempDir(), sluice}, in.start(t)...)
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			cmd.Env = append(os.Environ(), orphaning+"="+k.Name)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			var pids []int
			for field := range strings.FieldsSeq(line) {
				pid, err := strconv.Atoi(field)
				if err != nil {
					t.Fatalf("it tells %q, want numbers of processes", line)
				}
				pids = append(pids, pid)
			}
			left := watchAll(t, pids)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			left()
		})
	}
}
