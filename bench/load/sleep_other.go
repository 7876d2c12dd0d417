// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package load

import "time"

// exactSleeps has nothing to set here.
func exactSleeps() (restore func()) { return func() {} }

// nap sleeps for d.
func nap(d time.Duration) { time.Sleep(d) }
