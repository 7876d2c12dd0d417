// SPDX-License-Identifier: Apache-2.0

//go:build unix

package lastgood

import (
	"errors"
	"os"
	"syscall"
)

// flock locks f for this process, for as long as it is open. It reports false
// if another one has it.
func flock(f *os.File) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}
