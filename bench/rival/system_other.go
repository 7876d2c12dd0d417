// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package rival

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

var errLinux = fmt.Errorf("only Linux can do this: %w", errors.ErrUnsupported)

// AllowedCPUs returns the numbers of the processors that this process may use.
func AllowedCPUs() ([]int, error) {
	all := make([]int, runtime.NumCPU())
	for i := range all {
		all[i] = i
	}
	return all, nil
}

// Pin pins all threads of a process to one processor. Only Linux can.
func Pin(int, int) error { return errLinux }

func pinThread(cpu int) error {
	if cpu < 0 {
		return nil
	}
	return errLinux
}

func tree(pid int) ([]int, error) { return []int{pid}, nil }

func cpuTime(int) (time.Duration, error) { return 0, errLinux }

func residentSize(int) (int64, error) { return 0, errLinux }

func attach(*exec.Cmd, syscall.Signal) {}

func endGroup(int) {}

// fileLimit returns what is there everywhere.
func fileLimit() int { return 1024 }
