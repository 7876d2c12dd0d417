// SPDX-License-Identifier: Apache-2.0

package files_test

import "syscall"

// mkfifo makes a named pipe, which nobody writes to.
func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }
