// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end a process when this one is gone, however
// that came about.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
