// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package socket_test

// queued cannot tell here.
func queued(uintptr) int { return 1 }
