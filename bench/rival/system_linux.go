// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// AllowedCPUs returns the numbers of the processors that this thread may use,
// in order. Inside a container they need not begin at 0.
func AllowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var all []int
	for cpu := 0; len(all) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	return all, nil
}

// Pin pins all threads of a process to one processor, and with them those
// that they start. Other systems than Linux have an error.
func Pin(pid, cpu int) error {
	pinned := make(map[int]bool)
	for { // until no thread came up meanwhile
		tids, err := threads(pid)
		if err != nil {
			return err
		}
		before := len(pinned)
		for _, tid := range tids {
			if pinned[tid] {
				continue
			}
			pinned[tid] = true
			if err := pin(tid, cpu); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if len(pinned) == before {
			return nil
		}
	}
}

// pinThread pins the calling thread; a negative number leaves it alone.
func pinThread(cpu int) error {
	if cpu < 0 {
		return nil
	}
	return pin(0, cpu)
}

func pin(tid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("pin to processor %d: %w", cpu, err)
	}
	return nil
}

func threads(pid int) (tids []int, err error) {
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, err
}

// tree returns a process and all below it.
func tree(pid int) ([]int, error) {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		tids, err := threads(all[i])
		if err != nil {
			return nil, err
		}
		for _, tid := range tids {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", all[i], tid))
			if err != nil {
				return nil, err
			}
			for field := range strings.FieldsSeq(string(text)) {
				child, err := strconv.Atoi(field)
				if err != nil {
					return nil, err
				}
				all = append(all, child)
			}
		}
	}
	return all, nil
}

// cpuTime reads the clock of a process, whose number is as clock_getcpuclockid
// makes it: the complement of the process above three bits, which say that it
// is the whole process (no 4) by the scheduler's account (2).
func cpuTime(pid int) (time.Duration, error) {
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &used); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(used.Nano()), nil
}

// residentSize reads the second number of statm, which counts pages.
func residentSize(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm has no sizes", pid)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// attach has a program end with this process, and keeps signals of the
// terminal from it: who started it ends it.
func attach(cmd *exec.Cmd, last syscall.Signal) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: last}
}

// endGroup ends children that outlived their parent.
func endGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// fileLimit returns how many descriptors a program may have open.
func fileLimit() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}
