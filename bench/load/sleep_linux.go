// SPDX-License-Identifier: Apache-2.0

package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// exactSleeps lets the calling goroutine's sleeps in the kernel end when they
// should, instead of up to 50 µs later, until the returned function is called.
func exactSleeps() (restore func()) {
	runtime.LockOSThread() // the slack belongs to the thread
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // the default
		runtime.UnlockOSThread()
	}
}

// nap sleeps for d in the kernel; a timer of Go's may be a millisecond late.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}
